"""The service levels: what was promised, what was kept, day by day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prismq.app import PrismQ
from prismq.config.alerts import SloConfig
from prismq.domain.times import from_epoch
from prismq.observability.slo.report import Days, Status, statuses

_TONES = {"kept": "good", "at risk": "wait", "broken": "bad", "no data": "mute"}


@dataclass(frozen=True)
class Column:
    """A day in the drawing: how high its bar is, 0 to 100, and what it says."""

    x: float
    height: float
    tone: str
    title: str


@dataclass(frozen=True)
class LevelRow:
    """A service level as the page shows it."""

    status: Status
    tone: str
    columns: Sequence[Column]

    @property
    def left(self) -> float:
        """The part of the budget that is left, 0 to 1, for the meter."""
        return max(0.0, min(1.0, 1 - self.status.spent))

    @property
    def words(self) -> str:
        """What the drawing shows, for those who do not see it."""
        return f"{self.status.title}, day by day: " + "; ".join(one.title for one in self.columns[-7:])


@dataclass(frozen=True)
class LevelsPage:
    """The page."""

    rows: Sequence[LevelRow]
    days: int
    broken: int
    at_risk: int


def levels_page(q: PrismQ, config: SloConfig, kept: Days) -> LevelsPage:
    """Every service level. Raises QueueDatabaseError."""
    found = statuses(q.store, config, q.clock.now(), kept=kept)
    rows = [LevelRow(one, _TONES[one.state], _columns(one)) for one in found]
    return LevelsPage(
        rows,
        config.window_days,
        sum(one.state == "broken" for one in found),
        sum(one.state == "at risk" for one in found),
    )


def _columns(one: Status) -> list[Column]:
    """A bar a day: the part that was good, drawn from the objective's tenfold budget up, so that a fault is seen."""
    columns = []
    for number, day in enumerate(one.days):
        when = from_epoch(day.at).strftime("%Y-%m-%d")
        if not day.total:
            columns.append(Column(number, 4.0, "mute", f"{when}: nothing was counted"))
            continue
        good = day.good / day.total
        spent = (1 - good) / one.level.budget
        tone = "good" if spent <= 1 else "wait" if spent <= 5 else "bad"
        columns.append(Column(number, max(6.0, 100 * (1 - min(1.0, spent / 10))), tone, f"{when}: {100 * good:.3f} %"))
    return columns
