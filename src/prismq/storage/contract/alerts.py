"""Alerts: their states and history, silences, what has to be said to whom, and the samples of service levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

PENDING, FIRING, RESOLVED = "pending", "firing", "resolved"
DUTY = "alerts"  # who has it evaluates the rules and tells the channels


@dataclass(frozen=True)
class AlertRecord:
    """One time that an alert was pending, fired and was resolved. Times are seconds since 1970."""

    rule: str
    labels: Mapping[str, str]
    severity: str
    state: str
    value: float | None
    threshold: float | None
    summary: str
    description: str
    since: float  # when its figure went past the threshold
    seen: float  # when it was last looked at
    clear_since: float | None = None  # since when its figure has been fine again
    fired_at: float | None = None
    resolved_at: float | None = None
    notified_at: float | None = None
    escalated_at: float | None = None
    told: tuple[str, ...] = ()  # the channels that have to hear of the end, too
    acked_at: float | None = None
    acked_by: str | None = None
    ack_note: str | None = None
    alert_id: int = 0  # 0: not written yet

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        """What tells it from the other open ones."""
        return self.rule, tuple(sorted(self.labels.items()))


class NewNotice(NamedTuple):
    """Something to be said to a channel, at `due` or later."""

    channel: str
    kind: str  # firing, repeat, escalation or resolved
    content: Mapping[str, Any]
    due: float


class Notice(NamedTuple):
    """The same, written down. `given_up`: it was tried for as long as makes sense."""

    notice_id: int
    alert_id: int
    channel: str
    kind: str
    content: Mapping[str, Any]
    created_at: float
    due: float
    tries: int
    error: str | None
    done_at: float | None
    given_up: bool


@dataclass(frozen=True)
class AlertChange:
    """An alert as it is from now on, and what has to be said about it; `gone`: it is forgotten."""

    record: AlertRecord
    notices: Sequence[NewNotice] = ()
    gone: bool = False


class Silence(NamedTuple):
    """Alerts whose labels match are not told between the two times. `matchers`: see observability/alerts/matching."""

    silence_id: int
    matchers: Mapping[str, str]
    starts: float
    until: float
    created_by: str
    created_at: float
    reason: str


class ChannelState(NamedTuple):
    """How a channel has done."""

    channel: str
    delivered_at: float | None
    failing_since: float | None  # None: the last delivery went well
    error: str | None


class Canary(NamedTuple):
    """The canary of a queue. `waiting_since`: since when none has been completed in time."""

    queue: str
    task_id: int
    enqueued_at: float
    done_at: float | None = None
    took_s: float | None = None
    waiting_since: float | None = None


@dataclass(frozen=True)
class Sample:
    """Of a slot of `span_s` seconds: how many of `total` were good."""

    series: str
    slot: float
    good: float
    total: float
    span_s: int = field(default=60)


class AlertStore(Protocol):
    """Alerts, and who is told of them."""

    def open(self) -> list[AlertRecord]:
        """Those that are pending or firing, the oldest first."""
        ...

    def history(self, *, rule: str | None = None, limit: int = 100, before_id: int | None = None) -> list[AlertRecord]:
        """Those that fired, resolved or not, newest first; `before_id` is the cursor of the next page."""
        ...

    def get(self, alert_id: int) -> AlertRecord | None:
        """The alert, or None."""
        ...

    def record(self, changes: Sequence[AlertChange], holder: str, now: float) -> bool:
        """Write the changes and what has to be said about them, all or nothing.

        False, with nothing written, unless `holder` has the duty DUTY now: a process that stood still for a while
        must not undo what its successor did. Acknowledgements are kept as they are in the store."""
        ...

    def acknowledge(self, alert_id: int, by: str, note: str | None, now: float) -> bool:
        """Somebody looks after it: it is neither repeated nor escalated. False where it is not open."""
        ...

    def silences(self, now: float, *, past: bool = False) -> list[Silence]:
        """Those that are, or will be, in force; with `past` all that are kept, newest first."""
        ...

    def silence(self, silence: Silence) -> int:
        """Write a new one; its id. That in `silence` does not count."""
        ...

    def unsilence(self, silence_id: int, now: float) -> bool:
        """End it now; False where it is not in force."""
        ...

    def due_notices(self, now: float, *, limit: int = 1000) -> list[Notice]:
        """What has to be said by now and was not, the oldest first."""
        ...

    def notices(self, *, alert_id: int | None = None, limit: int = 100) -> list[Notice]:
        """What was, or has to be, said, newest first."""
        ...

    def delivered(self, channel: str, notice_ids: Sequence[int], now: float) -> None:
        """The channel took these."""
        ...

    def not_delivered(
        self, channel: str, notice_ids: Sequence[int], error: str, now: float, *, retry_at: float | None
    ) -> None:
        """The channel did not take these: they are due again at `retry_at`; None gives them up."""
        ...

    def channels(self) -> list[ChannelState]:
        """How each channel has done that was ever used, by name."""
        ...

    def forget_channels(self, known: Sequence[str]) -> None:
        """Drop the states, and what is left to be said, of channels with other names than these."""
        ...

    def canaries(self) -> list[Canary]:
        """The canary of each queue that has one, by name."""
        ...

    def put_canary(self, canary: Canary) -> None:
        """Insert or replace that of its queue."""
        ...

    def forget_canaries(self, queues: Sequence[str]) -> None:
        """Drop those of other queues than these."""
        ...

    def prune(self, before: float) -> int:
        """Delete alerts that were resolved, silences that ended, and notices that were done before; how many."""
        ...


class LevelStore(Protocol):
    """Samples of what the books do not hold: requests of the API, the health of workers."""

    def add(self, samples: Sequence[Sample]) -> None:
        """Add to what its slot holds already: several processes may count the same series."""
        ...

    def between(self, since: float, until: float) -> list[Sample]:
        """Those whose slot begins in [since, until), by series and time."""
        ...

    def fold(self, now: float) -> int:
        """Merge samples older than two days into slots of an hour; how many rows went."""
        ...

    def prune(self, before: float) -> int:
        """Delete those whose slot begins before; how many."""
        ...
