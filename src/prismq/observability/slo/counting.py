"""How many of what was promised were good, from the books and the samples. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from prismq.domain.sketch import Sketch
from prismq.observability.slo.levels import API, PROCESSING, START, SUCCESS, WORKERS, Level
from prismq.storage.contract import Outcomes
from prismq.storage.contract.alerts import Sample

# What the samples are called in the store.
SERIES = {API: "api", WORKERS: "workers"}
_FAILED = ("failed", "dead_letter")


class Tally(NamedTuple):
    """How many there were, and how many of them were good: tasks, attempts, requests, or a worker's minutes."""

    good: float
    total: float

    @property
    def bad_ratio(self) -> float:
        """The part that was bad; 0 where nothing was counted."""
        return max(0.0, (self.total - self.good) / self.total) if self.total else 0.0


def tally(level: Level, outcomes: Iterable[Outcomes], samples: Iterable[Sample]) -> Tally:
    """What a stretch of time has of the level. Durations are within 2 % of the truth, see domain/sketch.py.

    `start`: attempts that started, whatever became of them. `success`: tasks that ended, but for cancelled ones.
    `processing`: completed tasks.
    """
    if level.name in SERIES:
        mine = [one for one in samples if one.series == SERIES[level.name]]
        return Tally(sum(one.good for one in mine), sum(one.total for one in mine))
    found = [one for one in outcomes if not level.queue or one.queue == level.queue]
    if level.name == SUCCESS:
        completed = sum(one.tasks for one in found if one.outcome == "completed")
        return Tally(completed, completed + sum(one.tasks for one in found if one.outcome in _FAILED))
    if level.name == PROCESSING:
        return _within([one.run_bins for one in found if one.outcome == "completed"], level.target_s)
    if level.name == START:
        return _within([one.wait_bins for one in found], level.target_s)
    return Tally(0, 0)


def _within(bins: list[str | None], target_s: float | None) -> Tally:
    sketch = Sketch.merged(bins)
    return Tally(sketch.count if target_s is None else sketch.count_within(target_s), sketch.count)


def burn_rate(level: Level, counted: Tally) -> float:
    """How many times faster than it can last the error budget is used up; 1 uses it up exactly over the window.

    https://sre.google/workbook/alerting-on-slos/
    """
    return counted.bad_ratio / level.budget
