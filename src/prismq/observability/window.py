"""What ended within a stretch of time, from the books."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from prismq.domain.sketch import Sketch
from prismq.storage.contract import Insight, Outcomes

HOUR_S, DAY_S = 3600.0, 86_400.0

_FAILED = ("failed", "dead_letter")
_OUTCOMES = ("completed", *_FAILED, "cancelled", "retried", "snoozed", "released", "lost", "timed_out")


class Window(NamedTuple):
    """Sums of a stretch of time."""

    seconds: float
    counts: dict[str, int]
    mean_run_s: float | None
    p50_run_s: float | None
    p95_run_s: float | None
    p95_wait_s: float | None

    @property
    def completed(self) -> int:
        """Tasks that completed."""
        return self.counts.get("completed", 0)

    @property
    def failed(self) -> int:
        """Tasks that ended without success."""
        return sum(self.counts.get(outcome, 0) for outcome in _FAILED)

    @property
    def failure_rate(self) -> float:
        """The part of the ended tasks that failed; 0 where none ended."""
        ended = self.completed + self.failed
        return self.failed / ended if ended else 0.0

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            **{outcome: self.counts.get(outcome, 0) for outcome in _OUTCOMES},
            "per_minute": round(self.completed / self.seconds * 60, 3),
            "failure_rate": round(self.failure_rate, 6),
            "mean_run_seconds": self.mean_run_s,
            "p50_run_seconds": self.p50_run_s,
            "p95_run_seconds": self.p95_run_s,
            "p95_wait_seconds": self.p95_wait_s,
        }


def ended_between(insight: Insight, since: float, until: float) -> list[Outcomes]:
    """What ended between two times, with bins of what completed: percentiles are of these, and to read the others'
    would take as long again. Raises QueueDatabaseError.
    """
    counts = insight.outcomes(since, until, bins=False)
    completed = insight.outcomes(since, until, only=("completed",))
    return [*(one for one in counts if one.outcome != "completed"), *completed]


def window_of(outcomes: Iterable[Outcomes], seconds: float) -> Window:
    """The sums of what ended in `seconds`."""
    counts: dict[str, int] = {}
    run_bins: list[str | None] = []
    wait_bins: list[str | None] = []
    run_s = 0.0
    for one in outcomes:
        counts[one.outcome] = counts.get(one.outcome, 0) + one.tasks
        if one.outcome == "completed":
            run_s += one.run_s
            run_bins.append(one.run_bins)
            wait_bins.append(one.wait_bins)
    run, wait = Sketch.merged(run_bins), Sketch.merged(wait_bins)
    completed = counts.get("completed", 0)
    mean_run_s = run_s / completed if completed else None
    return Window(seconds, counts, mean_run_s, run.quantile(0.5), run.quantile(0.95), wait.quantile(0.95))
