"""What has happened since the last flush, from every thread; and as what it is to be written.

Appending is lock-free (a deque's append is atomic), so that a task never waits for another's log line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from prismq.domain.lease import LogLine, Settlement
from prismq.domain.limits import JOURNAL_LOGS_MAX, LOG_UNIT_CHARS, RENEWAL_LINES_MAX
from prismq.domain.span import AttemptSpans
from prismq.domain.status import TaskStatus
from prismq.domain.times import epoch_to_text
from prismq.storage.contract import Batch, Progress
from prismq.worker.attempt import Attempt, Ending
from prismq.worker.lines import RANKS, line_for
from prismq.worker.options import LogLevel


class Journal:
    """Gathers endings, starts, log lines and progress for the next exchange with the store."""

    def __init__(self, *, log_level: LogLevel, ring: Callable[[], None] = lambda: None) -> None:
        self._floor = RANKS[log_level]
        self._ring = ring
        self._endings: deque[Ending] = deque()
        self._started: deque[Attempt] = deque()
        self._logs: deque[LogLine] = deque()
        self._progress: dict[int, Progress] = {}
        self._spans: deque[AttemptSpans] = deque()
        self._results: deque[tuple[int, int, str | None]] = deque()
        self._dropped = 0
        self.on_finish: Callable[[], None] = ring

    # -- from any thread

    def started(self, attempt: Attempt) -> None:
        """The handler has begun; written if it does not end soon."""
        self._started.append(attempt)

    def finish(self, ending: Ending) -> None:
        """The attempt has ended."""
        # An interrupt may have struck its runner just before it could say so itself.
        ending.attempt.ended = True
        self._endings.append(ending)
        self.on_finish()

    def takes(self, attempt: Attempt, level: str) -> bool:
        """Whether a line of this level would be kept."""
        return attempt.logs_left > 0 and RANKS.get(level, RANKS["INFO"]) >= self._floor

    def bind(self, attempt: Attempt, fields: dict[str, Any]) -> None:
        """Have these fields on what is reported of the attempt."""
        attempt.extra = {**(attempt.extra or {}), **fields}

    def log(self, attempt: Attempt, at: float, level: str, message: str, details: str | None) -> None:
        """A line of the task itself, bounded per attempt and, while the store is away, in all."""
        if not self.takes(attempt, level):
            return
        attempt.logs_left -= cost_of(message, details)
        if attempt.logs_left <= 0:
            level, message, details = "WARNING", "log cut here: this attempt has written its most lines", None
        if len(self._logs) >= JOURNAL_LOGS_MAX:
            self._dropped += 1
            return
        self._logs.append(LogLine(attempt.lease.task_id, at, level, message, details, attempt.lease.attempt))
        self._ring()

    def renewed(self, attempt: Attempt, at: float, until: float) -> None:
        """The lease of an attempt that has run for a while was renewed; the first times are worth a line."""
        if attempt.renewals >= RENEWAL_LINES_MAX or self._floor > RANKS["DEBUG"] or attempt.ended:
            return
        attempt.renewals += 1
        message = f"lease renewed until {epoch_to_text(until)}"
        if attempt.renewals == RENEWAL_LINES_MAX:
            message += "; from now on it is renewed without a line"
        if len(self._logs) < JOURNAL_LOGS_MAX:
            self._logs.append(LogLine(attempt.lease.task_id, at, "DEBUG", message, None, attempt.lease.attempt))

    def spans(self, attempt: Attempt, trace_id: str, text: str) -> None:
        """The spans of an attempt, when it has ended."""
        if len(self._spans) < JOURNAL_LOGS_MAX:
            lease = attempt.lease
            self._spans.append(AttemptSpans(lease.task_id, lease.fencing_token, lease.attempt, trace_id, text))

    def progress(self, attempt: Attempt, text: str) -> None:
        """The latest progress replaces what has not been written yet."""
        task_id, token = attempt.key
        self._progress[task_id] = Progress(task_id, token, text)
        self._ring()

    def offered(self, attempt: Attempt) -> None:
        """The handler's own connection completes the task if and when it commits."""
        attempt.offered = True

    def result(self, attempt: Attempt, text: str | None) -> None:
        """The result, or that there is none, of a task that its own transaction has completed."""
        self._results.append((*attempt.key, text))
        self._ring()

    # -- from the thread that settles

    @property
    def pending(self) -> int:
        """How many endings wait to be written."""
        return len(self._endings)

    @property
    def dropped_logs(self) -> int:
        """How many lines were dropped because the store was away for too long."""
        return self._dropped

    def next_start_due(self, delay_s: float) -> float | None:
        """When (monotonic) the oldest unwritten start wants writing; None where there is none."""
        while self._started and self._started[0].ended:
            self._started.popleft()
        if not self._started:
            return None
        return (self._started[0].started_mono or 0.0) + delay_s

    def take(self, mono: float, start_delay_s: float) -> tuple[Batch, list[Ending]]:
        """Everything that is to be written now: starts older than `start_delay_s`, and all the rest."""
        batch = Batch()
        self._take_starts(batch, mono, start_delay_s)
        endings: list[Ending] = []
        while self._endings:
            endings.append(self._endings.popleft())
        # After the endings: what a task said before it ended is there by now, and comes before its end.
        while self._logs:
            batch.logs.append(self._logs.popleft())
        for ending in endings:
            settlement = _settle(ending)
            if settlement is not None:
                batch.settlements.append(settlement)
                line = self._line_for(settlement)
                if line is not None:
                    batch.logs.append(line)
        while self._spans:
            batch.spans.append(self._spans.popleft())
        while self._results:
            batch.results.append(self._results.popleft())
        if self._progress:
            batch.progress, self._progress = self._progress, {}
        return batch, endings

    def _line_for(self, settlement: Settlement) -> LogLine | None:
        try:
            return line_for(settlement, floor=self._floor)
        except Exception as error:  # noqa: BLE001 - a line that cannot be written must not lose the endings of others
            task_id, attempt = settlement.lease.task_id, settlement.lease.attempt
            return LogLine(task_id, settlement.at, "ERROR", f"its log line could not be made: {error!r}", None, attempt)

    def _take_starts(self, batch: Batch, mono: float, start_delay_s: float) -> None:
        while self._started:
            attempt = self._started[0]
            started_mono = attempt.started_mono
            if not attempt.ended and started_mono is not None and mono - started_mono < start_delay_s:
                return
            self._started.popleft()
            # A start that has been announced, or an end that is on its way, says it all.
            if attempt.ended or attempt.was is TaskStatus.PROCESSING or attempt.started_at is None:
                continue
            self.write_start(batch, attempt, attempt.started_at)

    def write_start(self, batch: Batch, attempt: Attempt, at: float) -> None:
        """Put into `batch` the word that a handler runs; from now on the row is expected to say so."""
        attempt.was = TaskStatus.PROCESSING
        start = Settlement(attempt.lease, TaskStatus.CLAIMED, TaskStatus.PROCESSING, at, started_at=at)
        batch.settlements.append(start)
        line = self._line_for(start)
        if line is not None:
            batch.logs.append(line)


def cost_of(message: str, details: str | None) -> int:
    """How many of an attempt's lines this one counts for."""
    return 1 + (len(message) + len(details or "")) // LOG_UNIT_CHARS


def _settle(ending: Ending) -> Settlement | None:
    attempt = ending.attempt
    if attempt.completed_within or attempt.stop_why == "lost":
        return None
    run_after = None if ending.delay_s is None else ending.at + ending.delay_s
    return Settlement(
        attempt.lease,
        attempt.was,
        ending.to,
        ending.at,
        started_at=attempt.started_at,
        run_after=run_after,
        error=ending.error,
        result=ending.result,
        counts=ending.counts,
        reason=ending.reason,
    )
