"""Service levels as they are: what was kept, what is left of the budget, how fast it goes, and day by day."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from prismq.config.alerts import SloConfig
from prismq.domain.words import duration
from prismq.observability.slo.counting import Tally, burn_rate, tally
from prismq.observability.slo.levels import DAY_S, SUCCESS, Level, levels_of
from prismq.storage.contract import Store

# Pairs of windows, after https://sre.google/workbook/alerting-on-slos/: both have to burn, so that an alert comes soon
# and goes soon.
FAST, SLOW = (3600.0, 300.0), (21_600.0, 1800.0)
WINDOWS_S = (300.0, 1800.0, 3600.0, 21_600.0)

_TITLES = {
    "success": "tasks complete",
    "processing": "completed tasks run no longer than their target",
    "api": "requests are answered without a fault of the server",
    "workers": "workers are healthy",
    "start": "attempts start within the promise",
}


class Burn(NamedTuple):
    """How fast the budget of a level goes: by window in seconds, with how much was counted in it."""

    level: Level
    rates: dict[float, float]
    totals: dict[float, float]


class Day(NamedTuple):
    """A day of a level."""

    at: float  # seconds since 1970: its beginning, in UTC
    good: float
    total: float


class Status(NamedTuple):
    """A level as it is."""

    level: Level
    counted: Tally  # over the whole window
    burn: Burn
    days: list[Day]

    @property
    def achieved(self) -> float | None:
        """The part that was good; None where nothing was counted."""
        return self.counted.good / self.counted.total if self.counted.total else None

    @property
    def spent(self) -> float:
        """The part of the error budget that is used up; above 1 the promise is broken."""
        return self.counted.bad_ratio / self.level.budget

    @property
    def state(self) -> str:
        """`no data`, `kept`, `at risk` (more than three quarters are used up) or `broken`."""
        if not self.counted.total:
            return "no data"
        return "broken" if self.spent > 1 else "at risk" if self.spent > 0.75 else "kept"

    @property
    def title(self) -> str:
        """What is promised, in words."""
        return title_of(self.level)

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "slo": self.level.name,
            "queue": self.level.queue or None,
            "promise": self.title,
            "target_seconds": self.level.target_s,
            "objective": self.level.objective,
            "window_seconds": self.level.window_s,
            "good": round(self.counted.good, 3),
            "total": round(self.counted.total, 3),
            "achieved": None if self.achieved is None else round(self.achieved, 6),
            "state": self.state,
            "error_budget_spent": round(self.spent, 6),
            "error_budget_left": round(1 - self.spent, 6),
            "burn_rates": [
                {"window_seconds": window_s, "rate": round(rate, 6), "total": round(self.burn.totals[window_s], 3)}
                for window_s, rate in self.burn.rates.items()
            ],
        }


def title_of(level: Level) -> str:
    """What a level promises, in words."""
    words = _TITLES.get(level.name, level.name)
    if level.queue:
        words = f"attempts of the queue {level.queue} start within {duration(level.target_s)}"
    elif level.target_s is not None:
        words = f"completed tasks run no longer than {duration(level.target_s)}"
    return f"{100 * level.objective:g} % of {words}"


def burns(store: Store, levels: Sequence[Level], now: float) -> list[Burn]:
    """How fast each budget goes over each of WINDOWS_S. Raises QueueDatabaseError."""
    counted: dict[float, tuple[Any, Any]] = {}
    samples = store.levels.between(now - max(WINDOWS_S), now)
    wants_bins = any(level.name != SUCCESS for level in levels)
    for window_s in WINDOWS_S:
        outcomes = store.insight.outcomes(now - window_s, now, bins=wants_bins)
        counted[window_s] = (outcomes, [one for one in samples if one.slot >= now - window_s - one.span_s])
    found = []
    for level in levels:
        tallies = {window_s: tally(level, *of) for window_s, of in counted.items()}
        rates = {window_s: burn_rate(level, one) for window_s, one in tallies.items()}
        found.append(Burn(level, rates, {window_s: one.total for window_s, one in tallies.items()}))
    return found


Days = dict[tuple[Level, float], Tally]  # of days that are over, for who asks again and again

_LATE_S = 3600.0  # a day is over when this much of the next has passed: what is booked late is in it by then


def statuses(
    store: Store, config: SloConfig, now: float, *, with_days: bool = True, kept: Days | None = None
) -> list[Status]:
    """Every level as it is now; the days of the window, oldest first. Raises QueueDatabaseError.

    The books hold minutes for a day, then ten minutes, then hours: a day of a month ago is as exact as today. `kept`
    spares reading days again that are over; it is filled and tidied here, and belongs to one store.
    """
    queues = {queue for queue, *_ in store.insight.depth()} | {one.queue for one in store.queues.all(now)}
    levels = levels_of(config, queues)
    if not levels:
        return []
    kept = {} if kept is None else kept
    midnight = now // DAY_S * DAY_S
    days = [midnight - number * DAY_S for number in range(config.window_days - 1, -1, -1)]
    for key in [key for key in list(kept) if key[1] < days[0]]:
        kept.pop(key, None)
    by_level: dict[Level, list[Day]] = {level: [] for level in levels}
    for day in days:
        missing = [level for level in levels if (level, day) not in kept]
        # A slot belongs to the day that it begins in; the last one of a day ends with it.
        outcomes = store.insight.outcomes(day, min(now, day + DAY_S - 1)) if missing else []
        samples = store.levels.between(day, day + DAY_S) if missing else []
        for level in levels:
            counted = tally(level, outcomes, samples) if level in missing else kept[level, day]
            by_level[level].append(Day(day, counted.good, counted.total))
            if now - day >= DAY_S + _LATE_S:
                kept[level, day] = counted
    return [
        Status(
            burn.level,
            Tally(sum(one.good for one in by_level[burn.level]), sum(one.total for one in by_level[burn.level])),
            burn,
            by_level[burn.level] if with_days else [],
        )
        for burn in burns(store, levels, now)
    ]
