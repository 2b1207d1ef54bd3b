"""Tenant databases on their server: what of one is there, and the ways to open, close and drop it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from database_service.dataplane import ddl, ending, roles
from database_service.dataplane.connect import AdminSessions, Session
from database_service.dataplane.ddl import Script
from database_service.dataplane.dropping import INVALID, drop_databases
from database_service.domain import naming
from database_service.domain.errors import NameTaken, TenantDatabaseMissing
from database_service.domain.tenancy import Admin, TenantSpec


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a tenant is on its server."""

    ours: frozenset[str]
    """Which of its two names are databases that its owner role owns."""
    half_dropped: frozenset[str]
    """The same, of which its server died while it dropped them: they can be dropped, and nothing else."""
    foreign: frozenset[str]
    """Which of its two names are databases of somebody else."""
    owner_there: bool
    owner_is_ours: bool
    logins: frozenset[str]
    """Every login that acts as the owner, also those the spec does not name."""
    roles_there: frozenset[str]
    """Which of the logins that the spec names are roles at all, whosever."""

    def refuse_foreign_roles(self, tenant: TenantSpec, *wanted: str) -> None:
        """NameTaken if the owner role or one of these logins is there and is not ours."""
        if self.owner_there and not self.owner_is_ours:
            raise NameTaken(f"A role {tenant.owner_role!r} is on the server and is not ours.")
        for role in sorted(self.roles_there.intersection(wanted) - self.logins):
            raise NameTaken(f"A role {role!r} is on the server and is not a login of this database.")

    def refuse_foreign_databases(self) -> None:
        """NameTaken if one of the two names is somebody else's database."""
        for name in sorted(self.foreign):
            raise NameTaken(f"A database {name!r} is on the server and is not owned by this tenant.")

    def require_database(self, tenant: TenantSpec) -> str:
        """The name it has on the server now. TenantDatabaseMissing, NameTaken."""
        self.refuse_foreign_databases()
        if not self.ours:
            raise TenantDatabaseMissing(f"The database {tenant.physical_name or tenant.name!r} is not on its server.")
        return tenant.name if tenant.name in self.ours else next(iter(self.ours))


_LOOK = f"""
SELECT ARRAY(SELECT datname::text FROM pg_database WHERE datname::text = ANY ($1::text[])
               AND pg_get_userbyid(datdba)::text = $2 AND NOT {INVALID}) AS ours,
       ARRAY(SELECT datname::text FROM pg_database WHERE datname::text = ANY ($1::text[])
               AND pg_get_userbyid(datdba)::text = $2 AND {INVALID}) AS half_dropped,
       ARRAY(SELECT datname::text FROM pg_database
             WHERE datname::text = ANY ($1::text[]) AND pg_get_userbyid(datdba)::text <> $2) AS foreign_ones,
       EXISTS (SELECT FROM pg_authid WHERE rolname::text = $2) AS owner_there,
       EXISTS (SELECT FROM pg_authid WHERE rolname::text = $2 AND NOT rolsuper AND NOT rolcanlogin
                 AND shobj_description(oid, 'pg_authid') = $3) AS owner_is_ours,
       ARRAY(SELECT login.rolname::text
             FROM pg_auth_members JOIN pg_authid owner ON owner.oid = roleid JOIN pg_authid login ON login.oid = member
             WHERE owner.rolname::text = $2 AND shobj_description(login.oid, 'pg_authid') = $4) AS logins,
       ARRAY(SELECT rolname::text FROM pg_authid WHERE rolname::text = ANY ($5::text[])) AS roles_there
"""


async def look(session: Session, tenant: TenantSpec, *further: str) -> Standing:
    """`further` are names of logins to look for beside those of the spec."""
    names = sorted({tenant.name, tenant.physical_name or tenant.name})
    asked = [login.role for login in tenant.logins] + list(further)
    row = await session.row(_LOOK, names, tenant.owner_role, ddl.OWNER_MARK, ddl.LOGIN_MARK, asked)
    return Standing(
        ours=frozenset(row["ours"]),
        half_dropped=frozenset(row["half_dropped"]),
        foreign=frozenset(row["foreign_ones"]),
        owner_there=row["owner_there"],
        owner_is_ours=row["owner_is_ours"],
        logins=frozenset(row["logins"]),
        roles_there=frozenset(row["roles_there"]),
    )


async def build(session: Session, tenant: TenantSpec, verifiers: Mapping[str, str]) -> None:
    """`verifiers` are the SCRAM texts of the spec's logins. See Tenants.build."""
    standing = await look(session, tenant)
    standing.refuse_foreign_roles(tenant, *verifiers)
    made = _made(standing, tenant)
    if tenant.name not in standing.ours and standing.ours:
        await ending.end_sessions(session, sorted(standing.ours), ())  # a rename waits for none, it fails
    opened = ddl.open_database(tenant.name, tenant.owner_role, tenant.limits)
    await session.run(*_roles(standing, tenant, verifiers), *made, opened)


def _roles(standing: Standing, tenant: TenantSpec, verifiers: Mapping[str, str]) -> Sequence[Script]:
    """One transaction: a login is never there without being a member of its owner."""
    owner = () if standing.owner_there else (ddl.create_owner(tenant.owner_role),)
    logins = (roles.login(standing.logins, tenant, role, verifier) for role, verifier in verifiers.items())
    parts = (*owner, *logins)
    return (ddl.joined(parts),) if parts else ()


def _made(standing: Standing, tenant: TenantSpec) -> Sequence[Script]:
    """What brings the database under its name: nothing, a rename, or, only if it never was there, its creation."""
    standing.refuse_foreign_databases()
    if tenant.name in standing.ours:
        return ()
    if tenant.physical_name is None:
        return (_creation(tenant),)
    return (ddl.rename_database(standing.require_database(tenant), tenant.name),)


def _creation(tenant: TenantSpec) -> Script:
    strategy = ddl.Strategy.WAL_LOG if tenant.waited_for else ddl.Strategy.FILE_COPY
    return ddl.create_database(tenant.name, tenant.owner_role, naming.template_database(tenant.template), strategy)


async def apply_limits(session: Session, tenant: TenantSpec) -> None:
    """See Tenants.apply_limits. A login that is not there has no limits to set."""
    standing = await look(session, tenant)
    name = standing.require_database(tenant)
    there = [login.role for login in tenant.logins if login.role in standing.logins]
    await session.run(
        ddl.joined((ddl.limit_database(name, tenant.limits), *(ddl.limit_login(r, tenant.limits) for r in there)))
    )


def opened(standing: Standing, tenant: TenantSpec, name: str) -> Script:
    """What opens the door of one that is built, for those of the spec's logins that are there."""
    there = [login.role for login in tenant.logins if login.role in standing.logins]
    return ddl.joined((ddl.limit_database(name, tenant.limits), *map(ddl.open_login, there)))


async def close(session: Session, tenant: TenantSpec) -> None:
    """See Tenants.close. What is not ours is not touched."""
    standing = await look(session, tenant)
    names, logins = sorted(standing.ours), sorted(standing.logins)
    doors = (*map(ddl.close_login, logins), *map(ddl.close_database, names))
    if doors:
        await session.run(ddl.joined(doors))
        await ending.end_sessions(session, names, logins)


async def drop(sessions: AdminSessions, admin: Admin, tenant: TenantSpec) -> None:
    """See Tenants.drop. One that was never built does not own its name yet: whose it is, stays."""
    async with sessions.on(admin) as session:
        standing = await look(session, tenant)
        if tenant.physical_name is not None:
            standing.refuse_foreign_databases()
        await drop_databases(session, standing.ours | standing.half_dropped)
        ours = (*sorted(standing.logins), *((tenant.owner_role,) if standing.owner_is_ours else ()))
        for role in ours:
            await roles.forget(sessions, session, admin, role)


_SIZES = """
SELECT datname::text AS name, pg_database_size(oid) AS bytes FROM pg_database WHERE datname::text = ANY ($1::text[])
"""


async def sizes(session: Session, names: Sequence[str]) -> Mapping[str, int]:
    rows = await session.rows(_SIZES, list(names))
    return {row["name"]: row["bytes"] for row in rows if row["bytes"] is not None}
