"""An identity provider (OpenID Connect) over real HTTP with real keys: it checks what it is asked, and misbehaves when told to."""

import asyncio
import base64
import hashlib
import secrets
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode

import uvicorn
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT = "hub & co"
SECRET = "a secret: 100% of the client's own"
"""With what has to be encoded on its way."""

Claims = dict[str, Any]


def rsa_key(kid: str) -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


def ec_key(kid: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})


@dataclass
class IdentityProvider:
    """`person` is who signs in. Whatever is set besides is how it misbehaves."""

    issuer: str
    redirect_uri: str
    person: Claims = field(default_factory=lambda: {"sub": "24400320", "preferred_username": "anna", "groups": ["dba"]})
    key: RSAKey | ECKey = field(default_factory=lambda: rsa_key("first"))
    shows: list[RSAKey | ECKey] = field(default_factory=list)
    """Keys in its key set."""
    says: Claims = field(default_factory=dict)
    """Said otherwise in its discovery document."""
    refuses: str = ""
    """Sends people back with this error."""
    bends: Callable[[Claims], Claims] = lambda claims: claims
    """What becomes of an id token's claims."""
    signs: Callable[[Claims], str] | None = None
    answers: dict[str, Response] = field(default_factory=dict)
    """By path: instead of what is right."""
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """While it is cleared, nothing is answered."""
    asked: "Counter[str]" = field(default_factory=Counter)
    sent: list[str] = field(default_factory=list)
    """Codes and id tokens: what nobody may read in a log."""
    _codes: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open.set()
        self.shows.append(self.key)

    def turn(self, key: RSAKey | ECKey) -> None:
        """Sign with another key from now on, and show that one alone."""
        self.key, self.shows = key, [key]

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._asked(self._discovery)),
                Route("/keys", self._asked(self._keys)),
                Route("/authorize", self._asked(self._authorize)),
                Route("/token", self._asked(self._token), methods=["POST"]),
            ]
        )

    def _asked(self, answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def answered(request: Request) -> Response:
            self.asked[request.url.path] += 1
            await self.open.wait()
            if request.url.path in self.answers:
                return self.answers[request.url.path]
            told: Response = await answer(request)
            return told

        return answered

    async def _discovery(self, _: Request) -> Response:
        told = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
        }
        return JSONResponse(told | self.says)

    async def _keys(self, _: Request) -> Response:
        return JSONResponse({"keys": [key.as_dict(private=False) for key in self.shows]})

    async def _authorize(self, request: Request) -> Response:
        """Everybody is signed in already."""
        asked = dict(request.query_params)
        wrong = [
            name
            for name, wanted in {
                "response_type": "code",
                "client_id": CLIENT,
                "redirect_uri": self.redirect_uri,
                "code_challenge_method": "S256",
            }.items()
            if asked.get(name) != wanted
        ] + [name for name in ("state", "nonce", "code_challenge") if len(asked.get(name, "")) < 43]
        if wrong or "openid" not in asked.get("scope", "").split():
            return Response(f"wrong: {wrong}", 400)
        if self.refuses:
            return self._back({"error": self.refuses, "state": asked["state"]})
        code = secrets.token_urlsafe(32)
        self._codes[code] = asked
        self.sent.append(code)
        return self._back({"code": code, "state": asked["state"], "iss": self.issuer})

    def _back(self, told: Mapping[str, str]) -> Response:
        return RedirectResponse(f"{self.redirect_uri}?{urlencode(told)}", 302)

    async def _token(self, request: Request) -> Response:
        given = dict(parse_qsl((await request.body()).decode()))
        if self._client(request, given) != (CLIENT, SECRET):
            return JSONResponse({"error": "invalid_client"}, 401)
        asked = self._codes.pop(given["code"], None)
        if asked is None or given["redirect_uri"] != self.redirect_uri or not _proven(asked, given):
            return JSONResponse({"error": "invalid_grant"}, 400)
        return JSONResponse(
            {"access_token": "unused", "token_type": "Bearer", "id_token": self._id_token(asked["nonce"])}
        )

    def _client(self, request: Request, form: Mapping[str, str]) -> tuple[str, ...]:
        if "client_secret_post" in self.says.get("token_endpoint_auth_methods_supported", ()):
            return form.get("client_id", ""), form.get("client_secret", "")
        pair = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        return tuple(unquote_plus(part) for part in pair.split(":"))

    def _id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "nonce": nonce, "iat": now, "exp": now + 300, **self.person}
        token = (self.signs or self.signed)(self.bends(claims))
        self.sent.append(token)
        return token

    def signed(self, claims: Claims) -> str:
        """As is right."""
        return jwt.encode({"alg": self.key.alg, "kid": self.key.kid}, claims, self.key)


def _proven(asked: Mapping[str, str], given: Mapping[str, str]) -> bool:
    digest = hashlib.sha256(given["code_verifier"].encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]


@asynccontextmanager
async def running_provider(redirect_uri: str) -> AsyncIterator[IdentityProvider]:
    with socket.create_server(("127.0.0.1", 0)) as door:
        provider = IdentityProvider(f"http://127.0.0.1:{door.getsockname()[1]}", redirect_uri)
        server = uvicorn.Server(uvicorn.Config(provider.app, log_config=None, lifespan="off", access_log=False))
        serving = asyncio.create_task(server.serve(sockets=[door]))
        try:
            yield provider
        finally:
            provider.open.set()
            server.should_exit = True
            await serving
