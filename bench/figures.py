"""Figures: rounds of measurements, taken in turn, and what is said of them."""

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Round:
    """One stretch of one subject: milliseconds of each thing done, and the seconds it took to do them all."""

    ms: Sequence[float]
    seconds: float

    @property
    def rate(self) -> float:
        return len(self.ms) / self.seconds

    @property
    def median(self) -> float:
        return statistics.median(self.ms)

    @property
    def p99(self) -> float:
        return percentile(self.ms, 99)


@dataclass(slots=True)
class Series:
    """All rounds of one subject."""

    rounds: list[Round] = field(default_factory=list)

    @property
    def ms(self) -> list[float]:
        return [ms for one in self.rounds for ms in one.ms]

    @property
    def rate(self) -> float:
        """The median round's, per second."""
        return statistics.median(one.rate for one in self.rounds)

    def told(self) -> dict[str, object]:
        medians, rates = [one.median for one in self.rounds], [one.rate for one in self.rounds]
        return {
            "rounds": len(self.rounds),
            "count": len(self.ms),
            "median_ms": round(statistics.median(self.ms), 3),
            "p95_ms": round(percentile(self.ms, 95), 3),
            "p99_ms": round(percentile(self.ms, 99), 3),
            "median_ms_of_rounds": [round(min(medians), 3), round(max(medians), 3)],
            "per_second": round(self.rate, 1),
            "per_second_of_rounds": [round(min(rates), 1), round(max(rates), 1)],
        }


Measure = Callable[[], Awaitable[Round]]


async def in_turn(rounds: int, subjects: Mapping[str, Measure]) -> dict[str, Series]:
    """Every subject once in each round, forwards and backwards by turns, so that a noisy minute hits all alike."""
    series = {name: Series() for name in subjects}
    for number in range(rounds):
        names = list(subjects) if number % 2 == 0 else list(subjects)[::-1]
        for name in names:
            series[name].rounds.append(await subjects[name]())
    return series


def ratio(ours: Series, baseline: Series, figure: Callable[[Round], float]) -> dict[str, float]:
    """Ours divided by the baseline, round by round: the median of the rounds, the lowest and the highest."""
    ratios = [figure(a) / figure(b) for a, b in zip(ours.rounds, baseline.rounds, strict=True)]
    return {
        "median": round(statistics.median(ratios), 3),
        "lowest": round(min(ratios), 3),
        "highest": round(max(ratios), 3),
    }


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest one of `values`."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]
