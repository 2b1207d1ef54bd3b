"""The key ring's use on the wire: ids of keys, never keys."""

from pydantic import Field

from database_service.api.schemas.common import Out, Text
from database_service.views.keys import Keys, KeyUse


class KeyOut(Out):
    id: Text
    on_ring: bool = Field(description="False: something needs a key that this service does not have.")
    seals: bool = Field(description="It is the newest: everything is sealed and signed with it from now on.")
    secrets: int = Field(description="Passwords that are sealed with it.")
    links: int = Field(description="Links of the audit trail that are signed with it.")
    tokens: int = Field(description="Valid API tokens that are stored under it. Each is stored anew when it is used.")
    removable: bool = Field(description="It is on the ring, and nothing needs it.")

    @classmethod
    def of(cls, key: KeyUse) -> "KeyOut":
        return cls(
            id=key.id,
            on_ring=key.on_ring,
            seals=key.seals,
            secrets=key.secrets,
            links=key.links,
            tokens=key.tokens,
            removable=key.on_ring and not key.needed,
        )


class KeysOut(Out):
    """Those of the ring in its order, then those that are missing from it."""

    keys: list[KeyOut]
    plain_tokens: int = Field(
        description="Valid API tokens of an older release, stored under no key until they are used."
    )

    @classmethod
    def of(cls, keys: Keys) -> "KeysOut":
        return cls(keys=[KeyOut.of(key) for key in keys.keys], plain_tokens=keys.plain_tokens)
