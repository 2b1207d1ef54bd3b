"""Nudges: 'look at this now'. They may be lost or doubled; the sweep is the guarantee behind them."""

from typing import Protocol

from instance_service.domain.ids import InstanceId


class Nudge(Protocol):
    """Sends nothing but ids and never waits: a broker that is away costs the caller nothing."""

    def instance(self, instance_id: InstanceId) -> None: ...

    def provision(self, instance_id: InstanceId) -> None:
        """Its database is to be asked for, and waited for, at once."""
        ...


class Silent:
    """No broker: for tests that drive the sweep themselves."""

    def instance(self, instance_id: InstanceId) -> None:
        pass

    def provision(self, instance_id: InstanceId) -> None:
        pass
