"""Long work as a client sees it: read, waited for, steered."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar
from uuid import UUID

from database_service_client.drivers import Speaking
from database_service_client.errors import (
    ApiError,
    OperationCancelled,
    OperationFailed,
    OperationNotOver,
    OperationOver,
    Unreachable,
)
from database_service_client.models import OperationRecord
from database_service_client.steps import Call, Steps, tell
from database_service_client.waiting import LONGEST_HELD_S, ROUND_S, Deadline

Op = TypeVar("Op", bound=OperationRecord)

_HELD_WITH_PROGRESS_S = 1
"""The service answers a held request when the operation is over: who wants to see it go on must look more often."""


class Following(Speaking, Generic[Op]):
    """What all parts of a client share that deal with operations; `Op` is an operation that knows its client."""

    @abstractmethod
    def _bind(self, record: OperationRecord) -> Op: ...

    def _operation(self, call: Call) -> Steps[Op]:
        return self._bind((yield from self._asker.get(OperationRecord, call)))

    def _look(self, operation_id: UUID, held_s: int = 0, until: float | None = None) -> Steps[Op]:
        path, query = f"/operations/{operation_id}", {"wait": held_s or None}
        return (yield from self._operation(Call(method="GET", path=path, query=query, held_s=held_s, until=until)))

    def _wait(self, operation_id: UUID, timeout: float | None, on_progress: Callable[[Op], object] | None) -> Steps[Op]:
        time = self._asker.time
        deadline = Deadline.after(time, timeout)
        most_s = _HELD_WITH_PROGRESS_S if on_progress else LONGEST_HELD_S
        before: Op | None = None
        while True:
            began = time.now()
            held_s = 0 if on_progress and before is None else deadline.held_s(most_s)
            try:
                seen = yield from self._look(operation_id, held_s, deadline.until)
            except (Unreachable, ApiError) as error:
                yield from deadline.outlast(error)
                continue
            if seen != before:
                yield from tell(on_progress, seen)
            if seen.over:
                return _succeeded(seen)
            if deadline.passed:
                raise OperationNotOver(seen)
            before = seen
            yield from deadline.rest_of_round(began, ROUND_S if held_s else 0)

    def _cancel(self, operation_id: UUID) -> Steps[Op]:
        try:
            return (yield from self._steer(operation_id, "cancel"))
        except OperationOver:
            seen = yield from self._look(operation_id)
            if seen.state == "cancelled":  # perhaps by us, and the answer was lost on the way
                return seen
            raise

    def _steer(self, operation_id: UUID, how: str) -> Steps[Op]:
        return (yield from self._operation(Call(method="POST", path=f"/operations/{operation_id}/{how}")))

    def _roll_back(self, operation_id: UUID) -> Steps[Op]:
        return (yield from self._steer(operation_id, "rollback"))


def _succeeded(seen: Op) -> Op:
    match seen.state:
        case "failed":
            raise OperationFailed(seen)
        case "cancelled":
            raise OperationCancelled(seen)
        case _:
            return seen
