"""Nudges: 'look at this now'. They may be lost or doubled; the sweep is the guarantee behind them."""

from typing import Protocol
from uuid import UUID


class Nudge(Protocol):
    """Sends nothing but ids and never waits: a broker that is away costs the caller nothing."""

    def server(self, server_id: UUID) -> None: ...

    def database(self, database_id: UUID) -> None: ...

    def operation(self, operation_id: UUID) -> None: ...

    def capacity(self) -> None:
        """Somebody waits for room, or spares were used up."""
        ...

    def drift(self) -> None:
        """Somebody wants a look for drift, or confirmed a removal."""
        ...

    def reseal(self) -> None:
        """The key ring has a new first key, and somebody wants the others gone."""
        ...


class Silent:
    """No broker: for the CLI's own work and for tests that drive the sweep themselves."""

    def server(self, server_id: UUID) -> None:
        pass

    def database(self, database_id: UUID) -> None:
        pass

    def operation(self, operation_id: UUID) -> None:
        pass

    def capacity(self) -> None:
        pass

    def drift(self) -> None:
        pass

    def reseal(self) -> None:
        pass
