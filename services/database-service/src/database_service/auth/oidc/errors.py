"""Why somebody who comes by the identity provider is not let in. No part of the API's contract: the hub's pages alone say it."""

from typing import ClassVar


class SignInFailed(Exception):
    """The message is for who wants to come in; it shows nothing that came from outside."""

    code: ClassVar[str]


class SignInStale(SignInFailed):
    code = "stale"

    def __init__(self) -> None:
        super().__init__(
            "This sign-in was not begun in this browser, was begun more than 10 minutes ago, or is over already; begin it again."
        )


class SignInRefused(SignInFailed):
    """The provider sent the person back without letting them in; the message has its word for why."""

    code = "refused"


class NoRole(SignInFailed):
    code = "no_role"

    def __init__(self, claim: str) -> None:
        super().__init__(
            f"The identity provider knows you, but nothing in the claim {claim!r} of what it says of you lets you in here. "
            "Whoever runs this says which values of it do (OIDC_VIEWERS, OIDC_OPERATORS)."
        )


class ProviderMistrusted(SignInFailed):
    """The provider answered what cannot be used or must not be believed; the message says what, and no value of it."""

    code = "provider_mistrusted"


class ProviderUnavailable(SignInFailed):
    """The provider does not answer, or answers with a failure of its own; the message says what it was asked for."""

    code = "provider_unavailable"
