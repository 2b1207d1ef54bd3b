"""Secrets at rest: sealed with a rotatable key ring; passwords and SCRAM verifiers are made here."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from database_service.domain.errors import SecretUnreadable
from database_service.domain.secret import Secret

SCRAM_ITERATIONS = 4096
"""PostgreSQL's default; its own clients and poolers expect no fewer."""
_PASSWORD_BYTES = 24
_NONCE_BYTES = 12
_KEY_BYTES = 32
_FINGERPRINT = b"database-service: key fingerprint"


@dataclass(frozen=True, repr=False)
class Macs:
    """Keyed digests (HMAC-SHA256, 32 bytes) of one purpose. Each key is derived from one of the ring's for this purpose
    alone, so what is learnt of it neither opens a secret nor serves another purpose."""

    keys: Mapping[str, bytes]
    """By their ids on the ring, the newest first."""

    @property
    def newest(self) -> str:
        return next(iter(self.keys))

    def of(self, message: bytes) -> bytes:
        """Under the newest key."""
        return hmac.digest(self.keys[self.newest], message, "sha256")

    def all_of(self, message: bytes) -> Iterator[tuple[str, bytes]]:
        """Under every key, each with its id, the newest first."""
        return ((key_id, hmac.digest(key, message, "sha256")) for key_id, key in self.keys.items())

    def fits(self, mac: bytes, message: bytes, key_id: str) -> bool:
        """Whether it is this message's, compared in constant time; False where the key is not on the ring."""
        key = self.keys.get(key_id)
        return key is not None and hmac.compare_digest(mac, hmac.digest(key, message, "sha256"))


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

    @property
    def newest(self) -> str:
        """The id of the key that seals."""
        return next(iter(self.keys))

    @cached_property
    def token_macs(self) -> Macs:
        """What API tokens are stored as."""
        return self._macs(b"database-service: API tokens")

    @cached_property
    def event_macs(self) -> Macs:
        """What signs the links of the audit trail."""
        return self._macs(b"database-service: audit trail")

    def _macs(self, purpose: bytes) -> Macs:
        return Macs({key_id: _derived(key, purpose) for key_id, key in self.keys.items()})

    def fingerprints(self) -> dict[str, str]:
        """By which each key is known again by who has it; the key cannot be told from it."""
        return {key_id: hmac.digest(key, _FINGERPRINT, "sha256").hex()[:32] for key_id, key in self.keys.items()}

    def seal(self, secret: Secret, place: object) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self.newest].encrypt(nonce, secret.reveal().encode(), str(place).encode())
        return self.newest.encode() + b":" + nonce + sealed

    def sealed_again(self, sealed: bytes, place: object) -> bytes:
        """The same secret, sealed with the newest key. SecretUnreadable."""
        return self.seal(self.open(sealed, place), place)

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


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=purpose).derive(key)


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
