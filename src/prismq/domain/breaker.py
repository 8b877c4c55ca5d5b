"""A circuit breaker for each task type: when its tasks fail all at once, they wait instead, and one of them is tried.

After M. Nygard, "Release It!" (2007). closed: its tasks are claimed. open: they are not. half_open: the next that is
claimed is a probe. probing: the probe is out, the others wait for its end. What it decides is pure: see `next_state`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class BreakerState(str, Enum):
    """What is done with the tasks of a type."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"
    PROBING = "probing"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Breaker:
    """A type's breaker. Times are seconds since 1970.

    since: of its state. opened_at: when it was opened, however often it has been tried since. trips: how often it
    opened in a row. probe_at: when it is tried next; None while open: when somebody closes it. probe_task_id: the task
    that is tried.
    """

    type: str
    state: BreakerState
    since: float
    reason: str = ""
    changed_by: str = ""
    opened_at: float | None = None
    trips: int = 0
    probe_at: float | None = None
    probe_task_id: int | None = None

    @property
    def is_shut(self) -> bool:
        """Whether it keeps tasks waiting."""
        return self.state is not BreakerState.CLOSED


@dataclass(frozen=True)
class BreakerRule:
    """When a breaker opens and how it is tried; times in seconds."""

    failure_ratio: float = 0.9
    attempts_min: int = 50
    window_s: float = 120.0
    crashes: int = 5  # tasks lost with their workers within the window, more than completed
    open_s: float = 60.0
    open_s_max: float = 900.0

    def wait_s(self, trips: int) -> float:
        """How long it stays open the `trips`-th time in a row (the first is 1): twice as long each time, capped."""
        return min(self.open_s_max, self.open_s * 2.0 ** min(max(0, trips - 1), 30))


@dataclass(frozen=True)
class Endings:
    """How the attempts of a type ended within the window."""

    completed: int = 0
    failed: int = 0  # attempts that failed, retried or not
    lost: int = 0  # with their worker

    def trouble(self, rule: BreakerRule) -> str | None:
        """Why the breaker should open; None where it should not."""
        ended = self.completed + self.failed
        if ended >= rule.attempts_min and self.failed >= rule.failure_ratio * ended:
            return f"{self.failed:,} of {ended:,} attempts failed within {rule.window_s:g} s"
        if self.lost >= rule.crashes and self.lost > self.completed:
            return f"{self.lost:,} of its tasks were lost with their workers within {rule.window_s:g} s"
        return None


class Probe(str, Enum):
    """What became of the task that was tried."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    GONE = "gone"  # deleted, cancelled, or given back without having been tried


def opened(breaker: Breaker | None, type_: str, reason: str, rule: BreakerRule, now: float, by: str) -> Breaker:
    """The breaker of the type, opened; it stays open for longer each time in a row."""
    trips = breaker.trips + 1 if breaker is not None else 1
    was_shut = breaker is not None and breaker.is_shut
    return Breaker(
        type_,
        BreakerState.OPEN,
        now,
        reason,
        by,
        breaker.opened_at if breaker is not None and was_shut else now,
        trips,
        now + rule.wait_s(trips),
    )


def closed(breaker: Breaker, reason: str, now: float, by: str) -> Breaker:
    """The breaker, closed."""
    return Breaker(breaker.type, BreakerState.CLOSED, now, reason, by)


def next_state(
    breaker: Breaker | None, type_: str, endings: Endings, probe: Probe | None, rule: BreakerRule, now: float, by: str
) -> Breaker | None:
    """What the breaker becomes; None where it stays as it is.

    A closed one is not judged before a window has passed since it was closed: what failed before counts no more.
    """
    if breaker is None or breaker.state is BreakerState.CLOSED:
        if breaker is not None and now - breaker.since < rule.window_s:
            return None
        reason = endings.trouble(rule)
        return None if reason is None else opened(breaker, type_, reason, rule, now, by)
    if breaker.state is BreakerState.OPEN:
        if breaker.probe_at is None or now < breaker.probe_at:
            return None
        return replace(breaker, state=BreakerState.HALF_OPEN, since=now, probe_at=None, changed_by=by)
    if breaker.state is BreakerState.PROBING:
        if probe is Probe.SUCCEEDED:
            return closed(breaker, "the task that was tried completed", now, by)
        if probe is Probe.FAILED:
            return opened(breaker, type_, f"{breaker.reason}; the task that was tried failed", rule, now, by)
        if probe is Probe.GONE:
            return replace(breaker, state=BreakerState.HALF_OPEN, since=now, probe_task_id=None, changed_by=by)
    return None
