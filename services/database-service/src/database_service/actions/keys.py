"""The key ring: have everything sealed with its newest key."""

from database_service.deps import Deps


async def want_reseal(deps: Deps) -> None:
    """Have a worker do it now; else it is done within the hour."""
    deps.nudge.reseal()
