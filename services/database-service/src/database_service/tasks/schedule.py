"""The beat: what is done by the clock. A message that is not taken before the next is sent counts for nothing."""

from typing import Any

from database_service.settings import Settings

HOUR_S = 3600.0
LINK_S = 5.0
"""So long an event may be changed unnoticed."""


def schedule(settings: Settings) -> dict[str, dict[str, Any]]:
    """Seconds between two runs of each task."""
    every: dict[str, float] = {
        "sweep": settings.sweep_interval_s,
        "sweep_servers": settings.sweep_interval_s,
        "sweep_operations": settings.sweep_interval_s,
        "health_check_db_pools": settings.health_interval_s,
        "enforce_limits": settings.enforce_interval_s,
        "keep_registers": settings.register_interval_s,
        "sample_usage": settings.usage_interval_s,
        "refill_spares": settings.refill_interval_s,
        "cleanup_failed_pools": HOUR_S,  # a beat that is restarted each day would never come to a daily one
        "purge_released": HOUR_S,
        "forget_requests": HOUR_S,
        "forget_history": HOUR_S,
        "find_drift": settings.drift_interval_s,
        "reconcile_drift": settings.sweep_interval_s,
        "link_events": LINK_S,
        "link_late_events": HOUR_S,
        "reseal_secrets": HOUR_S,
    }
    return {
        name: {"task": name, "schedule": seconds, "options": {"expires": min(seconds, HOUR_S)}}
        for name, seconds in every.items()
    }
