"""Operations by their id, and the same verbs on an operation in hand."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any
from uuid import UUID

from database_service_client.models import OperationPage, OperationRecord
from database_service_client.steps import Call, Steps, Stream, paged
from database_service_client.verb import stream, verb
from database_service_client.verbs.following import Following, Op


class OperationsVerbs(Following[Op]):
    """`client.operations`: long work, whoever began it."""

    @verb
    def page(
        self, *, state: str | None = None, cursor: str | None = None, limit: int | None = None
    ) -> Steps[OperationPage]:
        """The newest first. `cursor` is `next_cursor` of the page before, `limit` at most 200."""
        return (yield from self._page(state, cursor, limit))

    @stream
    def each(self, *, state: str | None = None) -> Stream[Op]:
        """All of them, the newest first; pages are read as they are needed."""
        return paged(lambda cursor: self._page(state, cursor, None), lambda page: map(self._bind, page.operations))

    @verb
    def get(self, operation_id: UUID) -> Steps[Op]:
        """One, as it is now."""
        return (yield from self._look(operation_id))

    @verb
    def wait(
        self, operation_id: UUID, timeout: float | None = None, on_progress: Callable[[Op], object] | None = None
    ) -> Steps[Op]:
        """As `operation.wait`, by id."""
        return (yield from self._wait(operation_id, timeout, on_progress))

    @verb
    def cancel(self, operation_id: UUID) -> Steps[Op]:
        """No further step; the one in hand is finished, what is done stays."""
        return (yield from self._cancel(operation_id))

    @verb
    def pause(self, operation_id: UUID) -> Steps[Op]:
        """Rest after the step in hand, until it is resumed."""
        return (yield from self._steer(operation_id, "pause"))

    @verb
    def resume(self, operation_id: UUID) -> Steps[Op]:
        """Go on with the next step."""
        return (yield from self._steer(operation_id, "resume"))

    @verb
    def retry(self, operation_id: UUID) -> Steps[Op]:
        """As `operation.retry`, by id."""
        return (yield from self._steer(operation_id, "retry"))

    @verb
    def rollback(self, operation_id: UUID) -> Steps[Op]:
        """As `operation.rollback`, by id."""
        return (yield from self._roll_back(operation_id))

    def _page(self, state: str | None, cursor: str | None, limit: int | None) -> Steps[OperationPage]:
        query = {"state": state, "cursor": cursor, "limit": limit}
        return (yield from self._asker.get(OperationPage, Call(method="GET", path="/operations", query=query)))


class OperationVerbs(Following[Op]):
    """What can be done with an operation in hand. Each gives the operation as it is then; the one in hand stays as it was."""

    id: UUID

    @verb
    def wait(self, timeout: float | None = None, on_progress: Callable[[Op], object] | None = None) -> Steps[Op]:
        """Until it has succeeded. `timeout` is seconds, None: as long as it takes.

        `on_progress` is called with the operation whenever it is seen to have changed, which is looked at each second.
        OperationFailed or OperationCancelled where it ends otherwise, OperationNotOver when the time is up, or Unreachable
        where the service is away then; before, it is waited for.
        """
        return (yield from self._wait(self.id, timeout, on_progress))

    @verb
    def refresh(self) -> Steps[Op]:
        """As it is now."""
        return (yield from self._look(self.id))

    @verb
    def cancel(self) -> Steps[Op]:
        """No further step; the one in hand is finished, what is done stays. OperationOver where it is too late."""
        return (yield from self._cancel(self.id))

    @verb
    def pause(self) -> Steps[Op]:
        """Rest after the step in hand, until it is resumed."""
        return (yield from self._steer(self.id, "pause"))

    @verb
    def resume(self) -> Steps[Op]:
        """Go on with the next step."""
        return (yield from self._steer(self.id, "resume"))

    @verb
    def retry(self) -> Steps[Op]:
        """Another operation, which does what this one did not get done; asked again, it is the same one.

        NothingToRetry where it neither failed nor was cancelled, or nothing is left of it to be done.
        """
        return (yield from self._steer(self.id, "retry"))

    @verb
    def rollback(self) -> Steps[Op]:
        """Another operation, which brings back what this one moved; asked again, it is the same one.

        MoveNotReversible where there is nothing to go back to. Where something was written since, which is found out on
        the way, that operation fails, and the database stays where it is.
        """
        return (yield from self._roll_back(self.id))


def values(record: OperationRecord) -> dict[str, Any]:
    """Its fields, for an operation that knows its client."""
    return {each.name: getattr(record, each.name) for each in fields(record)}
