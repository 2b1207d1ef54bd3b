"""Id tokens: whether one is the provider's, for us, of this flow and of now. The only place that knows of signatures (JOSE)."""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from joserfc import jws, jwt
from joserfc.errors import BadSignatureError, ClaimError, ExpiredTokenError, JoseError, UnsupportedAlgorithmError
from joserfc.jwk import JWKRegistry, Key

from database_service.auth.oidc.errors import ProviderMistrusted
from database_service.domain.secret import Secret

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
"""Those with a public key to check with. What an id token says of itself never adds to them."""
_KINDS = ("RSA", "EC", "OKP")
"""Kinds of keys that have a public half."""
LEEWAY_S = 60
"""Clocks of two machines are not one."""
_UNREADABLE = (JoseError, ValueError, TypeError, KeyError, RecursionError)
"""What the library ends with on text that is no token."""


class UnknownKey(Exception):
    """Signed with a key that is not among those we have: the provider may have changed them."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an id token has to say."""

    issuer: str
    client_id: str
    nonce: Secret


@dataclass(frozen=True, slots=True)
class Keys:
    """The provider's public keys."""

    _keys: Sequence[Key]

    @classmethod
    def read(cls, told: object) -> "Keys":
        """From a JWKS document. Keys of kinds that nobody here knows are left out, as are secret ones; ProviderMistrusted where
        none is left."""
        listed = told.get("keys") if isinstance(told, dict) else None
        keys = [key for each in listed if (key := _key(each))] if isinstance(listed, list) else []
        if not keys:
            raise ProviderMistrusted("The identity provider's key set (jwks_uri) has no key that can be used.")
        return cls(keys)

    def named(self, kid: object) -> Key:
        """UnknownKey. A token may name none where there is but one."""
        for key in self._keys:
            if len(self._keys) == 1 if kid is None else key.kid == kid:
                return key
        raise UnknownKey


def _key(told: object) -> Key | None:
    if not isinstance(told, dict) or told.get("use", "sig") != "sig" or told.get("kty") not in _KINDS:
        return None
    try:
        return JWKRegistry.import_key(told)
    except _UNREADABLE:
        return None


def checked(token: str, keys: Keys, expected: Expected, now: datetime) -> Mapping[str, object]:
    """Its claims. UnknownKey, or ProviderMistrusted, which says what is wrong and shows nothing of it."""
    try:
        key = keys.named(jws.extract_compact(token.encode()).headers().get("kid"))
        claims = jwt.decode(token, key, algorithms=ALGORITHMS).claims
        _registry(expected, now).validate(claims)
    except _UNREADABLE as e:
        raise _mistrusted(_words(e)) from None
    if not _same(claims.get("nonce"), expected.nonce):
        raise _mistrusted("is not of this sign-in: its claim 'nonce'")
    if not _is_for(claims, expected.client_id):
        raise _mistrusted("was made for somebody else: its claim 'azp'")
    return claims


def _registry(expected: Expected, now: datetime) -> jwt.JWTClaimsRegistry:
    return jwt.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=LEEWAY_S,
        iss={"essential": True, "value": expected.issuer},
        aud={"essential": True, "value": expected.client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )


def _same(told: object, nonce: Secret) -> bool:
    return isinstance(told, str) and hmac.compare_digest(told.encode(errors="replace"), nonce.reveal().encode())


def _is_for(claims: Mapping[str, object], client_id: str) -> bool:
    """One that is for others too has to say that we asked for it (OpenID Connect Core 3.1.3.7)."""
    audience = claims["aud"]
    others = isinstance(audience, list) and any(each != client_id for each in audience)
    return claims.get("azp", None if others else client_id) == client_id


def _words(error: Exception) -> str:
    match error:
        case UnsupportedAlgorithmError():
            return f"is not signed in a way that is taken here ({_listed(ALGORITHMS)})"
        case BadSignatureError():
            return "has a signature that does not fit"
        case ExpiredTokenError():
            return "is over; compare the clocks of the two machines"
        case ClaimError(claim="iat" | "nbf" as claim):
            return f"is of the future; compare the clocks of the two machines: its claim '{claim}'"
        case ClaimError(claim=claim):
            return f"does not say what it must: its claim '{claim}'"
        case _:
            return "cannot be read, or does not fit its key"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _mistrusted(words: str) -> ProviderMistrusted:
    return ProviderMistrusted(f"The identity provider's id token {words}.")
