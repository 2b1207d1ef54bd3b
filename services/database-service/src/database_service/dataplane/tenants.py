"""Tenants: everything we do to tenant servers, as their administrator. Every method is an idempotent `ensure`."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

from database_service.domain.ids import ServerId
from database_service.domain.plans import Limits
from database_service.domain.register import Entry, Registered
from database_service.domain.servers import Probe
from database_service.domain.tenancy import Admin, Inventory, LoginSpec, Ours, Overrun, TenantSpec
from database_service.domain.usage import Asked, Sample, Stop


class Tenants(Protocol):
    """The port reconcilers and actions use; `dataplane.sessions.TenantServers` is its one implementation.

    Errors of every method: TenantServerUnavailable (cannot reach, lost, timed out), and what each says.
    """

    async def probe(self, admin: Admin, timeout: timedelta) -> Probe:
        """A fresh login that runs SQL and a tiny write and reads facts in one query. Never raises: not ok says why."""
        ...

    async def harden(self, admin: Admin, templates: Sequence[str]) -> None:
        """Take everything from PUBLIC in postgres and template1, make our templates to build from, and an empty register."""
        ...

    async def change_password(self, current: Admin, following: Admin) -> None:
        """The administrator's role has the password that follows. One that it has already is success; no session ends."""
        ...

    async def install_certificate(self, admin: Admin, certificate: str) -> bool:
        """Whether the server shows this certificate (PEM), which is for the key that it has, to whoever connects; where not, it
        is given it, and the next call tells. No session ends.

        The one before need not be valid any more, but of an authority of ours.
        """
        ...

    async def build(self, admin: Admin, tenant: TenantSpec) -> None:
        """Roles, database, grants, limits and logins as `tenant` says, open for login.

        A database that was built before is renamed where its name differs and its door opened again; where it is
        missing: TenantDatabaseMissing. One of that name that is not owned by `tenant.owner_role`: NameTaken.
        """
        ...

    async def apply_limits(self, admin: Admin, tenant: TenantSpec) -> None:
        """Set the plan's limits on the database and on every login in `tenant.logins`."""
        ...

    async def make_login(self, admin: Admin, tenant: TenantSpec, login: LoginSpec) -> None:
        """A further login of this database, able to act as its owner, with this password."""
        ...

    async def drop_login(self, admin: Admin, tenant: TenantSpec, role: str) -> None:
        """End its sessions, give what it owns to the owner role, drop it. Not there is success."""
        ...

    async def close(self, admin: Admin, tenant: TenantSpec) -> None:
        """No login may log in and no session of the database is left; data stays. Not there is success."""
        ...

    async def drop(self, admin: Admin, tenant: TenantSpec) -> None:
        """Delete the database (under either name) and its roles. Not there is success.

        NameTaken if it was built and is somebody else's now. One that was never built owns no name: what is there stays.
        """
        ...

    async def enforce(self, admin: Admin, limits: Mapping[str, Limits]) -> Sequence[Overrun]:
        """End sessions of these login roles that broke their plan's times, whatever they SET in their session; of databases
        with too many temporary files or locks those that have most; and who keeps the queue of notifications from being
        cleared when it is half full."""
        ...

    async def usage(self, admin: Admin, asked: Sequence[Asked], size_interval: timedelta) -> Sequence[Sample]:
        """What these databases use now, in one statement; those that are not there are left out.

        A size costs a look at every file: it is taken of those that were written to or are being used, and of the others
        when the last one is older than `size_interval`, of so many at once that a look stays short.
        """
        ...

    async def stop(self, admin: Admin, tenant: TenantSpec, stop: Stop, storage_bytes: int) -> None:
        """What a database that is too large may no longer do, and no less than that; `storage_bytes` is what its plan gives.

        WRITES: rows and objects are refused, in its old sessions too, with an error that says why; superusers are not.
        DOOR: as `close`. NONE takes everything back. TenantServerUnavailable also where a table is in use all the time: all
        others are done then, and the same again goes on with it.
        """
        ...

    async def inventory(self, admin: Admin) -> Inventory:
        """Look at a server before it is adopted; changes nothing."""
        ...

    async def ours(self, admin: Admin) -> Ours:
        """All on this server that carries our marks; changes nothing, and never waits for who makes or drops a database."""
        ...

    async def write_register(self, admin: Admin, server_id: ServerId, entries: Sequence[Entry]) -> None:
        """Have the server keep these of itself and its databases, where nobody but its superusers can read or change them.

        What it keeps of a row that is newer stays. So does what it keeps of databases that are there and not in `entries`.
        """
        ...

    async def registered(self, admin: Admin) -> Registered:
        """What it keeps, and which databases of ours are on it; changes nothing."""
        ...

    async def drop_stray_database(self, admin: Admin, name: str, oid: int) -> None:
        """Delete just this database with what is in it. One that is not there, or is not ours by its marks, is left alone."""
        ...

    async def drop_stray_role(self, admin: Admin, role: str, oid: int) -> None:
        """End its sessions, give what it owns to the owner of the database it is in, drop it. Not there, or not ours by its
        mark: left alone. NameTaken while it owns a whole database.
        """
        ...

    async def sizes(self, admin: Admin, names: Sequence[str]) -> Mapping[str, int]:
        """Bytes of each of these databases; those that are not there are left out."""
        ...
