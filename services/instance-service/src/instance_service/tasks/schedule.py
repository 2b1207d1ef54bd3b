"""The beat: what is done by the clock. A message that is not taken before the next is sent counts for nothing."""

from typing import Any

from instance_service.broker.celery import CLEAR_LEFTOVERS, SWEEP
from instance_service.settings import Settings


def schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """Seconds between two runs of each task."""
    every = {SWEEP: settings.sweep_interval_s, CLEAR_LEFTOVERS: settings.leftovers_interval_s}
    return {
        task: {"task": task, "schedule": seconds, "options": {"expires": seconds}} for task, seconds in every.items()
    }
