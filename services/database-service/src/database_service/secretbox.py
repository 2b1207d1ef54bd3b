"""Secrets at rest: sealed with a rotatable key ring; passwords and SCRAM verifiers are made here."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from database_service.domain.errors import SecretUnreadable
from database_service.domain.secret import Secret

SCRAM_ITERATIONS = 4096
"""PostgreSQL's default; its own clients and poolers expect no fewer."""
_PASSWORD_BYTES = 24
_NONCE_BYTES = 12
_KEY_BYTES = 32


@dataclass(frozen=True, repr=False)
class SecretBox:
    """Seals with the ring's first key and opens with any. `place` (the row's id) is authenticated: a sealed text moved to
    another row does not open there."""

    keys: Mapping[str, bytes]
    _ciphers: dict[str, AESGCM] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.keys:
            raise ValueError("the key ring is empty")
        for key_id, key in self.keys.items():
            if len(key) != _KEY_BYTES:
                raise ValueError(f"key {key_id!r} has {len(key)} bytes; {_KEY_BYTES} are needed")
            self._ciphers[key_id] = AESGCM(key)

    @classmethod
    def from_ring(cls, ring: str) -> "SecretBox":
        """From `id:base64key[,id:base64key…]`, the newest first. ValueError says which part is wrong, without showing it."""
        keys: dict[str, bytes] = {}
        for ordinal, part in enumerate(filter(None, (p.strip() for p in ring.split(","))), start=1):
            key_id, _, encoded = part.partition(":")
            if not key_id or not encoded or len(key_id) > 32:
                raise ValueError(f"entry {ordinal} of the key ring is not id:base64")
            try:
                keys[key_id] = base64.urlsafe_b64decode(encoded)
            except ValueError:
                raise ValueError(f"entry {ordinal} of the key ring is not base64") from None
        return cls(keys)

    def seal(self, secret: Secret, place: object) -> bytes:
        key_id = next(iter(self.keys))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[key_id].encrypt(nonce, secret.reveal().encode(), str(place).encode())
        return key_id.encode() + b":" + nonce + sealed

    def open(self, sealed: bytes, place: object) -> Secret:
        key_id, _, rest = sealed.partition(b":")
        cipher = self._ciphers.get(key_id.decode(errors="replace"))
        if cipher is None:
            raise SecretUnreadable("A secret was sealed with a key that is not on the ring.")
        try:
            text = cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], str(place).encode())
        except InvalidTag:
            raise SecretUnreadable("A sealed secret was changed or belongs elsewhere.") from None
        return Secret(text.decode())


def new_key(key_id: str) -> str:
    """A fresh entry for the key ring."""
    return f"{key_id}:{base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode()}"


def new_password() -> Secret:
    """192 random bits, of characters that need no quoting in a URI, an env file or a shell."""
    return Secret(secrets.token_urlsafe(_PASSWORD_BYTES))


def random_name_bytes() -> bytes:
    return secrets.token_bytes(8)


def scram_verifier(password: Secret, salt: bytes | None = None) -> str:
    """What the server stores instead of the password (RFC 5803; PostgreSQL's `SCRAM-SHA-256$…` text)."""
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.reveal().encode(), salt, SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")

    def b64(raw: bytes) -> str:
        return base64.b64encode(raw).decode()

    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{b64(salt)}${b64(stored_key)}:{b64(server_key)}"
