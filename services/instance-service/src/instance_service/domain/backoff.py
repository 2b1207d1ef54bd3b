"""When to look at a row again after something failed."""

from datetime import timedelta

from instance_service.domain.policy import Policy


def delay(policy: Policy, attempts: int, spread: float) -> timedelta:
    """Doubling from `backoff_first` to `backoff_most`; `spread` in 0..1 shortens it by up to a third, so that rows part ways."""
    doubled = policy.backoff_first * (1 << min(max(attempts - 1, 0), 30))
    return min(doubled, policy.backoff_most) * (1 - spread / 3)
