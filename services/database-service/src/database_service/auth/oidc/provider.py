"""Provider: what is asked of an identity provider, with an end to how long and how much it may answer."""

import asyncio
import json
import time
from base64 import b64encode
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx

from database_service.admission.gate import Why, aside
from database_service.admission.sharing import Shared
from database_service.auth.oidc.errors import ProviderMistrusted, ProviderUnavailable, SignInStale
from database_service.auth.oidc.flow import Flow
from database_service.auth.oidc.id_tokens import Expected, Keys, UnknownKey, checked
from database_service.domain.secret import Secret
from database_service.domain.web import is_private

PATIENCE_S = 10.0
"""For one answer, from the first byte to the last."""
KEPT_S = 3600.0
"""How long it is believed what the provider said of itself."""
AGAIN_S = 10.0
"""How soon its keys are looked at again for one that is not known."""
_LARGEST = 256 * 1024

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Client:
    """What we are to the provider, and where it sends people back to."""

    issuer: str
    client_id: str
    client_secret: Secret
    redirect_uri: str
    scope: str = "openid profile email"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where it is asked what, as it says itself (OpenID Connect Discovery)."""

    authorization: str
    token: str
    keys: str
    secret_in_form: bool
    """It takes the secret in the form alone, and not in a header."""

    @classmethod
    def read(cls, told: object, issuer: str) -> "Endpoints":
        """ProviderMistrusted where it is somebody else's, or leads to where others can read along."""
        said: Mapping[str, object] = told if isinstance(told, dict) else {}
        if said.get("issuer") != issuer:
            raise ProviderMistrusted(
                f"What is found below OIDC_ISSUER says that it is another issuer, and not exactly {issuer!r}."
            )
        methods = said.get("token_endpoint_auth_methods_supported")
        return cls(
            authorization=_endpoint(said, "authorization_endpoint", issuer),
            token=_endpoint(said, "token_endpoint", issuer),
            keys=_endpoint(said, "jwks_uri", issuer),
            secret_in_form=isinstance(methods, list) and "client_secret_basic" not in methods,
        )


def _endpoint(said: Mapping[str, object], name: str, issuer: str) -> str:
    url = said.get(name)
    if not isinstance(url, str) or not is_private(url) or urlsplit(url).scheme != urlsplit(issuer).scheme:
        raise ProviderMistrusted(f"The identity provider names no {name} that can be used.")
    return url


class _Remembered(Generic[T]):
    """What is looked up when it is wanted, by one for all who want it meanwhile."""

    def __init__(self, look: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._ask = look
        self._look = Shared[T]()
        self._known: tuple[float, T] | None = None

    async def no_older_than(self, seconds: float) -> T:
        if self._known is not None and time.monotonic() - self._known[0] <= seconds:
            return self._known[1]
        with aside(Why.PROVIDER):
            return await self._look.shared(self._seen)

    async def _seen(self) -> T:
        value = await self._ask()
        self._known = time.monotonic(), value
        return value


class Provider:
    """One identity provider. Whoever waits for it stands aside, so it can be as slow as it likes.

    All of it raises ProviderUnavailable, ProviderMistrusted and Overloaded.
    """

    def __init__(
        self, client: Client, *, patience_s: float = PATIENCE_S, kept_s: float = KEPT_S, again_s: float = AGAIN_S
    ) -> None:
        self.client = client
        self._patience_s = patience_s
        self._kept_s = kept_s
        self._again_s = again_s
        self._context = httpx.create_ssl_context()  # 20 ms of reading certificates, so once
        self._endpoints = _Remembered(self._look_for_endpoints)
        self._keys = _Remembered(self._look_for_keys)

    async def address(self, flow: Flow) -> str:
        """Where a browser goes to sign in."""
        where = (await self._endpoints.no_older_than(self._kept_s)).authorization
        asked = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": self.client.redirect_uri,
            "scope": self.client.scope,
            "state": flow.state.reveal(),
            "nonce": flow.nonce.reveal(),
            "code_challenge": flow.challenge,
            "code_challenge_method": "S256",
        }
        return f"{where}{'&' if urlsplit(where).query else '?'}{urlencode(asked)}"

    async def claims(self, code: Secret, flow: Flow, now: Callable[[], datetime]) -> Mapping[str, object]:
        """What the provider says of the person who came back with this code. SignInStale where it knows no such code (any more)."""
        token = await self._exchanged(code, flow)
        expected = Expected(self.client.issuer, self.client.client_id, flow.nonce)
        try:
            return checked(token, await self._keys.no_older_than(self._kept_s), expected, now())
        except UnknownKey:
            pass
        try:
            return checked(token, await self._keys.no_older_than(self._again_s), expected, now())
        except UnknownKey:
            raise ProviderMistrusted(
                "The identity provider's id token is signed with a key that it does not show."
            ) from None

    # -- what it is asked ---------------------------------------------------------------------------------------------

    async def _look_for_endpoints(self) -> Endpoints:
        url = f"{self.client.issuer.rstrip('/')}/.well-known/openid-configuration"
        return Endpoints.read(await self._document(url, "what it is (discovery)"), self.client.issuer)

    async def _look_for_keys(self) -> Keys:
        where = (await self._endpoints.no_older_than(self._kept_s)).keys
        return Keys.read(await self._document(where, "its keys (jwks_uri)"))

    async def _document(self, url: str, what: str) -> object:
        status, told = await self._answer("GET", url, what)
        if status != httpx.codes.OK:
            raise ProviderUnavailable(f"The identity provider was asked for {what}, and answered {status}.")
        return told

    async def _exchanged(self, code: Secret, flow: Flow) -> str:
        """The id token that the code is good for, once."""
        where = await self._endpoints.no_older_than(self._kept_s)
        form = {
            "grant_type": "authorization_code",
            "code": code.reveal(),
            "redirect_uri": self.client.redirect_uri,
            "code_verifier": flow.verifier.reveal(),
        }
        headers = {}
        if where.secret_in_form:
            form |= {"client_id": self.client.client_id, "client_secret": self.client.client_secret.reveal()}
        else:
            headers["Authorization"] = self._basic()
        with aside(Why.PROVIDER):
            status, told = await self._answer("POST", where.token, "an id token", data=form, headers=headers)
        return _id_token(status, told)

    def _basic(self) -> str:
        """Encoded as in a form first (RFC 6749, 2.3.1)."""
        pair = f"{quote_plus(self.client.client_id)}:{quote_plus(self.client.client_secret.reveal())}"
        return f"Basic {b64encode(pair.encode()).decode()}"

    async def _answer(
        self,
        method: str,
        url: str,
        what: str,
        *,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, object]:
        """Status and JSON; None where it is no JSON. Redirects are not followed: nothing that is asked here has moved."""
        sent = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        try:
            async with (
                asyncio.timeout(self._patience_s),
                httpx.AsyncClient(verify=self._context, timeout=self._patience_s) as http,
                http.stream(method, url, data=data, headers=sent) as answer,
            ):
                return answer.status_code, _json(await _body(answer))
        except TimeoutError:
            raise _unavailable(what, f"gave no whole answer within {self._patience_s:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise _unavailable(what, f"cannot be reached ({type(e).__name__})") from None


async def _body(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for part in answer.aiter_raw():  # not unpacked: what is small here stays small
        body += part
        if len(body) > _LARGEST:
            raise ProviderMistrusted(f"The identity provider answered more than {_LARGEST} bytes.")
    return bytes(body)


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _id_token(status: int, told: object) -> str:
    match told:
        case {"id_token": str(token)} if status == httpx.codes.OK:
            return token
        case {"error": "invalid_grant"}:
            raise SignInStale
        case {"error": "invalid_client" | "unauthorized_client"}:
            raise ProviderMistrusted("The identity provider does not take OIDC_CLIENT_ID with its secret.")
        case _ if status >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise ProviderUnavailable(f"The identity provider was asked for an id token, and answered {status}.")
        case _:
            raise ProviderMistrusted(
                f"The identity provider was asked for an id token, and answered {status} without one."
            )


def _unavailable(what: str, why: str) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"The identity provider was asked for {what}, and {why}. Try again in a moment, or sign in with a token."
    )
