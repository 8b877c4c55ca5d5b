"""One attempt in this process: what is known of it while it waits, runs and ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Literal

from prismq.domain.handler import Handler
from prismq.domain.lease import ErrorInfo, Lease
from prismq.domain.limits import LOGS_PER_ATTEMPT_MAX
from prismq.domain.status import TaskStatus

Why = Literal["cancel", "timeout", "lost", "shutdown"]


class Attempt:
    """A lease in this worker's hands.

    The thread that settles owns `was`; the runner owns the times; `tell_to_stop` may come from any thread.
    """

    __slots__ = (
        "_gate", "_interrupt", "astray", "completed_within", "deadline", "ended", "extra", "handler", "lease",
        "logs_left", "offered", "renewals", "started_at", "started_mono", "stop_why", "stopped_mono", "stuck_told",
        "taken_mono", "transport", "undelivered", "was",
    )  # fmt: skip

    def __init__(self, lease: Lease, handler: Handler | None, taken_mono: float = 0.0) -> None:
        self.lease = lease
        self.taken_mono = taken_mono
        self.handler = handler
        self.was = TaskStatus.CLAIMED
        self.started_at: float | None = None
        self.started_mono: float | None = None
        self.deadline: float | None = None  # monotonic
        self.ended = False
        self.completed_within = False  # its own transaction has settled it
        self.offered = False  # its handler's own connection may have; that end is written again, which is harmless
        self.stop_why: Why | None = None
        self.stopped_mono: float | None = None
        self.stuck_told = False
        self.transport = ""  # how it was stopped, for people
        self.logs_left = LOGS_PER_ATTEMPT_MAX
        self.renewals = 0  # of the lease, as far as they were logged
        self.extra: dict[str, Any] | None = None  # for its lines: what it bound, and its trace ids
        self._gate = threading.Lock()
        self.astray = False  # an interrupt was raised where no exception can get out; set without the gate
        self.undelivered = False  # told to stop, but `interrupt` could not be made yet
        self._interrupt: Callable[[Why], bool] | None = None

    @property
    def key(self) -> tuple[int, int]:
        """(task, fencing token): no other attempt has it."""
        return self.lease.task_id, self.lease.fencing_token

    @property
    def timeout_s(self) -> float | None:
        """The enqueue's timeout before the handler's."""
        if self.lease.timeout_s is not None:
            return self.lease.timeout_s
        return self.handler.timeout_s if self.handler else None

    def open_gate(self, interrupt: Callable[[Why], bool], now: float, mono: float) -> bool:
        """The handler is about to run; from here on `interrupt` reaches it. False where it was told to stop before.

        `interrupt` returns False where the moment is not right; it is then asked again, see `nudge`.
        """
        with self._gate:
            if self.stop_why is not None:
                return False
            timeout_s = self.timeout_s
            self.started_mono = mono
            self.deadline = None if timeout_s is None else mono + timeout_s
            self.started_at = now
            self._interrupt = interrupt
            return True

    def close_gate(self) -> bool:
        """The handler has returned; nothing may reach it any more. True where an interrupt is on its way."""
        with self._gate:
            self.ended = True
            self._interrupt = None
            return self.stop_why is not None

    def tell_to_stop(self, why: Why, mono: float) -> bool:
        """Ask the handler to stop, once; False where it had been asked or has ended."""
        with self._gate:
            if self.ended or self.stop_why is not None:
                return False
            self.stop_why = why
            self.stopped_mono = mono
            if self._interrupt is not None:
                self.undelivered = not self._interrupt(why)
            return True

    def nudge(self) -> bool:
        """Try again to deliver an interrupt; True where there is none left to deliver."""
        with self._gate:
            due = self.undelivered or self.astray
            if due and not self.ended and self._interrupt is not None and self.stop_why is not None:
                self.undelivered = not self._interrupt(self.stop_why)
            return not self.undelivered or self.ended


class Ending:
    """How an attempt ended, as its runner saw it."""

    __slots__ = ("at", "attempt", "counts", "delay_s", "error", "reason", "result", "to")

    def __init__(
        self,
        attempt: Attempt,
        to: TaskStatus,
        at: float,
        *,
        result: str | None = None,
        error: ErrorInfo | None = None,
        delay_s: float | None = None,
        counts: bool = True,
        reason: str = "",
    ) -> None:
        self.attempt = attempt
        self.to = to
        self.at = at
        self.result = result
        self.error = error
        self.delay_s = delay_s
        self.counts = counts
        self.reason = reason
