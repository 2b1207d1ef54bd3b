"""Logins of a tenant database: made, opened again, dropped with nothing left behind."""

import asyncio
from collections.abc import Mapping, Sequence, Set

from database_service.dataplane import ddl, ending
from database_service.dataplane.connect import AdminSessions, Session
from database_service.dataplane.ddl import Script
from database_service.domain.errors import NameTaken
from database_service.domain.tenancy import Admin, LoginSpec, TenantSpec
from database_service.secretbox import scram_verifier


async def verifiers(logins: Sequence[LoginSpec]) -> Mapping[str, str]:
    """SCRAM texts by role. Made off the loop: each takes milliseconds of CPU by design."""
    texts = await asyncio.gather(*(asyncio.to_thread(scram_verifier, login.password) for login in logins))
    return dict(zip((login.role for login in logins), texts, strict=True))


def login(there: Set[str], tenant: TenantSpec, role: str, verifier: str) -> Script:
    """Makes the login, or, where it is `there`, opens it with this password."""
    make = ddl.reopen_login if role in there else ddl.create_login
    return make(role, tenant.owner_role, verifier, tenant.limits)


async def shut_out(session: Session, role: str) -> None:
    """It cannot log in and has no session."""
    await session.run(ddl.close_login(role))
    await ending.end_sessions(session, (), (role,))


_HOMES = """
SELECT DISTINCT datname::text AS database, pg_get_userbyid(datdba)::text AS owner
FROM pg_shdepend JOIN pg_database ON pg_database.oid = dbid
WHERE refclassid = 'pg_authid'::regclass AND refobjid = (SELECT oid FROM pg_authid WHERE rolname::text = $1)
ORDER BY database
"""
"""Where a role owns something or was granted something. Any tenant may grant to any role, and so nail it down."""


async def forget(sessions: AdminSessions, session: Session, admin: Admin, role: str) -> None:
    """Drop a role of ours. What it owns goes to the owner of the database it is in; what was granted to it is revoked.

    NameTaken if it still owns a whole database, which is never dropped on the way.
    """
    for home in await session.rows(_HOMES, role):
        if home["owner"] == role:
            raise NameTaken(f"The role {role!r} still owns the database {home['database']!r}.")
        async with sessions.inside(admin, home["database"]) as there:
            await there.run(ddl.give_up_objects(role, home["owner"]))
    await session.run(ddl.joined((ddl.give_up_grants(role), ddl.drop_role(role))))
