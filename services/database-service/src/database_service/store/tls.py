"""Rows of `authorities` and of `certificates`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from database_service.domain.ids import ServerId
from database_service.domain.tls import Authority, Names
from database_service.store.pool import Conn

AUTHORITIES = "SELECT a.id, a.generation, a.certificate, a.issues_from FROM authorities a ORDER BY a.generation"


async def authorities(conn: Conn) -> list[Authority]:
    """Every one that is trusted, in the order of their generations."""
    return [_authority_of(row) for row in await conn.fetch(AUTHORITIES)]


ADD_AUTHORITY = """
INSERT INTO authorities (id, generation, certificate, key_sealed, issues_from, created_at) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (generation) DO NOTHING"""


async def add_authority(conn: Conn, new: Authority, key_sealed: bytes, now: datetime) -> None:
    """Another one of this generation that was first stays, and this one is nothing."""
    await conn.execute(ADD_AUTHORITY, new.id, new.generation, new.certificate, key_sealed, new.issues_from, now)


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority with its key, still sealed."""

    authority: Authority
    key_sealed: bytes


ISSUER = """
SELECT a.id, a.generation, a.certificate, a.issues_from, a.key_sealed FROM authorities a WHERE a.issues_from <= $1
ORDER BY a.generation DESC LIMIT 1 FOR KEY SHARE"""


async def issuer(conn: Conn, now: datetime) -> Issuer | None:
    """The newest whose time has come; it is not forgotten before this transaction ends. None: there is none yet."""
    row = await conn.fetchrow(ISSUER, now)
    return Issuer(_authority_of(row), row["key_sealed"]) if row else None


FORGET_AUTHORITIES = """
DELETE FROM authorities a WHERE a.generation < $1 AND a.issues_from <= $2
  AND NOT EXISTS (SELECT FROM certificates c JOIN servers s ON s.id = c.server_id
                  WHERE c.authority_id = a.id AND s.status <> 'gone')
  AND NOT EXISTS (SELECT FROM certificates c JOIN servers s ON s.id = c.server_id WHERE NOT c.installed AND s.status <> 'gone')
RETURNING a.id"""

FORGET_GONE = "DELETE FROM certificates c USING servers s WHERE s.id = c.server_id AND s.status = 'gone'"


async def forget_authorities(conn: Conn, before: int, now: datetime) -> list[UUID]:
    """Those of earlier generations that vouch for no server any more; returns their ids."""
    await conn.execute(FORGET_GONE)
    return [row["id"] for row in await conn.fetch(FORGET_AUTHORITIES, before, now)]


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate of a server, as it is stored."""

    authority_id: UUID
    certificate: str
    names: Names
    not_after: datetime


EQUIP = """
INSERT INTO certificates (server_id, authority_id, key_id, key_sealed, certificate, names, not_after, installed)
VALUES ($1, $2, $3, $4, $5, $6, $7, true) ON CONFLICT (server_id) DO NOTHING"""


async def equip(conn: Conn, server_id: ServerId, key_id: str, key_sealed: bytes, issued: Issued) -> None:
    """Its first one, which reaches the server together with its key. A server that has one keeps it."""
    await conn.execute(
        EQUIP, server_id, issued.authority_id, key_id, key_sealed, issued.certificate, sorted(issued.names),
        issued.not_after,
    )  # fmt: skip


STRIP = "DELETE FROM certificates WHERE server_id = $1"


async def strip(conn: Conn, server_id: ServerId) -> None:
    """It speaks no TLS from now on."""
    await conn.execute(STRIP, server_id)


RENEW = """
UPDATE certificates SET authority_id = $3, certificate = $4, names = $5, not_after = $6, installed = false
WHERE server_id = $1 AND certificate = $2"""


async def renew(conn: Conn, server_id: ServerId, before: str, issued: Issued) -> bool:
    """Its next one, in place of `before`. False: somebody else has renewed it meanwhile."""
    told = await conn.execute(
        RENEW, server_id, before, issued.authority_id, issued.certificate, sorted(issued.names), issued.not_after
    )
    return told != "UPDATE 0"


INSTALLED = "UPDATE certificates SET installed = true WHERE server_id = $1 AND certificate = $2 AND NOT installed"


async def installed(conn: Conn, server_id: ServerId, certificate: str) -> bool:
    """Its server has this one now. False: that was known, or there is a newer one."""
    return await conn.execute(INSTALLED, server_id, certificate) != "UPDATE 0"


def _authority_of(row: asyncpg.Record) -> Authority:
    return Authority(row["id"], row["generation"], row["certificate"], row["issues_from"])


BY_AUTHORITY = """
SELECT a.id, count(c.server_id) AS servers FROM authorities a
LEFT JOIN (certificates c JOIN servers s ON s.id = c.server_id AND s.status <> 'gone') ON c.authority_id = a.id
GROUP BY a.id"""


async def servers_of(conn: Conn, known: Sequence[Authority]) -> list[int]:
    """How many servers show a certificate of each of these."""
    counted = {row["id"]: row["servers"] for row in await conn.fetch(BY_AUTHORITY)}
    return [counted.get(authority.id, 0) for authority in known]
