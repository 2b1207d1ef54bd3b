"""The two worlds an instance stands between, in memory: databases that come when a test says so, and workloads that do."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import ClassVar
from uuid import UUID, uuid4

from instance_service.domain.databases import DatabaseSeen, Following, State
from instance_service.domain.errors import DatabaseRefused, DatabasesUnavailable, WorkloadFailed
from instance_service.domain.ids import CustomerId, InstanceId
from instance_service.domain.plans import Tier
from instance_service.domain.secret import Secret
from instance_service.domain.workloads import Address, Found, Login, Presence, Seen, WorkloadSpec

Effect = Callable[[str], None]


def _nothing(_: str) -> None:
    pass


@dataclass
class FakeDatabase:
    customer: CustomerId
    tier: Tier
    state: State
    address: Address
    logins: list[str]
    keys: dict[UUID, str] = field(default_factory=dict)
    """The login, or the operation, that each errand led to."""


@dataclass
class FakeDatabases:
    """Database-service with room (`room`) or without, there or `away`. `effect` is told of everything it is made to do."""

    room: bool = True
    away: bool = False
    refuses: str | None = None
    operation_takes: int = 0
    """Looks at a plan's change before it is over."""
    rotation_takes: int = 0
    """Times that a new login is asked for before there is one."""
    plan_fails: str | None = None
    effect: Effect = _nothing
    made: dict[str, FakeDatabase] = field(default_factory=dict)
    allocations: int = 0
    passwords_told: int = 0
    _left: dict[UUID, int] = field(default_factory=dict)

    def come(self) -> None:
        """What was waited for is there."""
        self.room = True
        for database in self.made.values():
            if database.state is State.COMING:
                database.state = State.READY

    def move(self, instance_id: InstanceId, port: int) -> None:
        self.made[str(instance_id)].address = Address("127.0.0.1", port)

    async def allocate(self, instance_id: str, customer_id: CustomerId, tier: Tier) -> DatabaseSeen:
        self._asked("allocate")
        if instance_id not in self.made:
            self.allocations += 1
            state = State.READY if self.room else State.COMING
            self.made[instance_id] = FakeDatabase(customer_id, tier, state, Address("127.0.0.1", 5432), ["login_1"])
        self._did("allocate")
        return self._seen(instance_id)

    async def look(self, instance_id: str, wait: timedelta = timedelta()) -> DatabaseSeen:
        if self.away:
            raise DatabasesUnavailable("database-service does not answer")
        return self._seen(instance_id)

    async def login(self, instance_id: str) -> Login:
        if self.away:
            raise DatabasesUnavailable("database-service does not answer")
        self.passwords_told += 1
        database = self.made[instance_id]
        return Login(database.address, "app", database.logins[-1], Secret(f"password of {database.logins[-1]}"))

    async def rotate(self, instance_id: str, key: UUID, overlap: timedelta) -> bool:
        self._asked("rotate")
        database = self.made[instance_id]
        if self.rotation_takes > 0:
            self.rotation_takes -= 1
            return False
        if key not in database.keys:
            database.logins.append(f"login_{len(database.logins) + 1}")
            database.keys[key] = database.logins[-1]
        self._did("rotate")
        return True

    async def change_plan(self, instance_id: str, tier: Tier, key: UUID) -> Following:
        self._asked("change_plan")
        database = self.made[instance_id]
        if key not in database.keys:
            operation = uuid4()
            database.keys[key], self._left[operation] = str(operation), self.operation_takes
            if self.plan_fails is None:
                database.tier = tier
        self._did("change_plan")
        return self._following(UUID(database.keys[key]))

    async def follow(self, operation_id: UUID) -> Following:
        if self.away:
            raise DatabasesUnavailable("database-service does not answer")
        self._left[operation_id] -= 1
        return self._following(operation_id)

    async def release(self, instance_id: str, why: str) -> None:
        self._asked("release")
        if instance_id in self.made:
            self.made[instance_id].state = State.ENDED
        self._did("release")

    def _following(self, operation_id: UUID) -> Following:
        left = self._left[operation_id]
        if left > 0:
            return Following(operation_id, over=False, progress={"phase": "copying", "left": left})
        return Following(operation_id, over=True, failed=self.plan_fails)

    def _seen(self, instance_id: str) -> DatabaseSeen:
        if (database := self.made.get(instance_id)) is None:
            return DatabaseSeen(State.ABSENT)
        return DatabaseSeen(database.state, database.address, "app", database.logins[-1])

    def _asked(self, what: str) -> None:
        if self.away:
            raise DatabasesUnavailable("database-service does not answer")
        if self.refuses:
            raise DatabaseRefused(self.refuses, "it said no")
        self.effect(f"before {what}")

    def _did(self, what: str) -> None:
        self.effect(f"after {what}")


@dataclass
class FakeWorkloads:
    """A runner of workloads. `begun` counts what was started in its life; `specs` is what runs or is kept, by id."""

    runs_images: ClassVar[bool] = True

    fails: str | None = None
    dies: bool = False
    """What is begun ends at once."""
    last_words: str = "it ended with code 1"
    clings: InstanceId | None = None
    """This one cannot be removed."""
    defect: InstanceId | None = None
    """Looking at this one raises what nobody thought of."""
    healthy: bool = True
    away: bool = False
    effect: Effect = _nothing
    specs: dict[InstanceId, WorkloadSpec] = field(default_factory=dict)
    stopped: set[InstanceId] = field(default_factory=set)
    begun: list[WorkloadSpec] = field(default_factory=list)

    async def ensure(self, spec: WorkloadSpec) -> None:
        if self.fails:
            raise WorkloadFailed(self.fails)
        self.effect("before ensure")
        if self.specs.get(spec.id) != spec or spec.id in self.stopped:
            self.begun.append(spec)
        self.specs[spec.id] = spec
        self.stopped.discard(spec.id)
        if self.dies:
            self.stopped.add(spec.id)
        self.effect("after ensure")

    async def observe(self, instance_id: InstanceId) -> Seen:
        if instance_id == self.defect:
            raise ZeroDivisionError
        if self.away:
            return Seen(Presence.UNKNOWN, detail="the engine does not answer")
        if instance_id not in self.specs:
            return Seen(Presence.ABSENT)
        if instance_id in self.stopped:
            return Seen(Presence.STOPPED, detail=self.last_words)
        version = self.specs[instance_id].version
        return Seen(Presence.RUNNING, self.healthy, Address("127.0.0.1", 8000), version, "" if self.healthy else "500")

    async def stop(self, instance_id: InstanceId) -> None:
        self.effect("before stop")
        if instance_id in self.specs:
            self.stopped.add(instance_id)
        self.effect("after stop")

    async def remove(self, instance_id: InstanceId) -> None:
        self.effect("before remove")
        if instance_id == self.clings:
            raise WorkloadFailed("It does not end.")
        self.specs.pop(instance_id, None)
        self.stopped.discard(instance_id)
        self.effect("after remove")

    async def list_ours(self) -> list[Found]:
        return [Found(spec.id, spec.name, Presence.RUNNING) for spec in self.specs.values()]
