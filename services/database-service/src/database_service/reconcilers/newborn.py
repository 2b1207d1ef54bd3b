"""New rows for databases: names and sealed passwords are stored here before anything outside uses them."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from database_service.deps import Deps
from database_service.domain import naming
from database_service.domain.databases import DEFAULT_TEMPLATE, Ask, Database, Login, Status
from database_service.domain.ids import DatabaseId, LoginId
from database_service.secretbox import new_password, random_name_bytes
from database_service.store import databases, logins, slots
from database_service.store.pool import Conn


@dataclass(frozen=True, slots=True)
class Held:
    """A row and the lease that its maker holds on it."""

    database: Database
    token: UUID


def _names(ask: Ask | None) -> tuple[str, str]:
    name = ask.database_name if ask and ask.database_name else naming.database_name(random_name_bytes())
    return name, naming.owner_role(random_name_bytes())


async def add_login(
    conn: Conn, deps: Deps, database_id: DatabaseId, *, overlap: timedelta = timedelta(), request_key: str | None = None
) -> Login | None:
    """A login to be made, with a fresh sealed password. None where this `request_key` already asked for one."""
    login_id = LoginId(uuid4())
    return await logins.insert(
        conn, login_id=login_id, database_id=database_id, role=naming.login_role(random_name_bytes()),
        password_sealed=deps.secrets.seal(new_password(), login_id), now=deps.now(), overlap=overlap, request_key=request_key,
    )  # fmt: skip


async def new_waiting(conn: Conn, deps: Deps, ask: Ask) -> Database:
    """A row without a seat, and so without a login yet. Raises AlreadyThere where the instance has one."""
    name, owner = _names(ask)
    return await databases.insert(
        conn, database_id=DatabaseId(uuid4()), status=Status.WAITING, now=deps.now(), ask=ask, tier=ask.plan_tier,
        template=ask.template, server_id=None, rank=None, name=name, owner_role=owner,
    )  # fmt: skip


async def new_seated(conn: Conn, deps: Deps, database_id: DatabaseId, ask: Ask, seat: slots.Seat) -> Held:
    """A row in the slot that `database_id` just took, leased to its maker, who builds it at once."""
    now, token = deps.now(), uuid4()
    name, owner = _names(ask)
    database = await databases.insert(
        conn, database_id=database_id, status=Status.CREATING, now=now, ask=ask, tier=ask.plan_tier, template=ask.template,
        server_id=seat.server_id, rank=seat.rank, name=name, owner_role=owner,
        lease_until=now + deps.policy.lease, lease_token=token,
    )  # fmt: skip
    await add_login(conn, deps, database.id)
    return Held(database, token)


async def new_spare(conn: Conn, deps: Deps, database_id: DatabaseId, seat: slots.Seat) -> Database:
    """A row in the slot that `database_id` just took. Nobody holds it: many are begun at once, and each is leased by its step."""
    name, owner = _names(None)
    database = await databases.insert(
        conn, database_id=database_id, status=Status.CREATING, now=deps.now(), ask=None, tier=deps.policy.spare_plan,
        template=DEFAULT_TEMPLATE, server_id=seat.server_id, rank=seat.rank, name=name, owner_role=owner,
    )  # fmt: skip
    await add_login(conn, deps, database.id)
    return database
