"""When the pump steps, and in whose thread."""

from __future__ import annotations

import threading
from collections.abc import Callable

from prismq.clock import Clock
from prismq.worker.bell import Bell
from prismq.worker.journal import Journal
from prismq.worker.slots import Slots

LINGER_S = 0.005  # while others still run, endings gather this long before they are written
_FLUSH_AT = 384  # endings that are written without waiting for more
_WATCH_S = 0.2  # how late a row inserted by hand, without a hint, may be seen
_DRY_AT = 16  # endings that are worth a turn of a thread that has run dry while others still run


class Driver:
    """Calls `step`, which says in how many seconds it wants to be called again, one thread at a time.

    It has a thread of its own; but a slot's thread that has run dry takes the turn itself: then tasks that are
    over sooner than a thread wakes up are claimed, run and settled without waking another. Where a step is mostly
    waiting for a server (`remote`), a slot's thread goes on with what has been claimed instead.
    """

    def __init__(
        self,
        step: Callable[[], float],
        *,
        journal: Journal,
        slots: Slots,
        bell: Bell,
        clock: Clock,
        changed: Callable[[], bool],
        calm: Callable[[], None],
        starved: Callable[[], bool] = lambda: False,
        remote: bool = False,
    ) -> None:
        """`changed`: whether somebody wrote to the store since it was last asked. `calm`: called a little after
        the last of a run of hints, which may have been of something else than new tasks. `starved`: whether the last
        step claimed nothing because no slot was free."""
        self._step = step
        self._journal = journal
        self._slots = slots
        self._bell = bell
        self._clock = clock
        self._changed = changed
        self._calm = calm
        self._starved = starved
        self._remote = remote
        self._turn = threading.Lock()
        self._due = float("-inf")  # monotonic
        self._enough = threading.Event()
        self._hinted = False
        self._closed = False
        slots.on_idle = self._on_idle

    def run(self, done: Callable[[], bool]) -> None:
        """Step when it is time, until `done`; this is the driver's own thread."""
        while True:
            self._wait()
            with self._turn:
                self._take_turn()
            if done():
                return

    def close(self) -> None:
        """Help no more."""
        self._closed = True

    def step_now(self, timeout_s: float) -> None:
        """Step once, from any thread; not where another does not end its turn in time."""
        if self._turn.acquire(timeout=timeout_s):
            try:
                self._take_turn()
            finally:
                self._turn.release()

    def on_finish(self) -> None:
        """An attempt has ended, in any thread."""
        self._bell.ring()
        if self._journal.pending >= _FLUSH_AT and not self._enough.is_set():
            self._enough.set()

    def _on_idle(self) -> None:
        self._enough.set()
        if self._starved():
            self._bell.ring()

    def help(self) -> None:
        """Called by a slot's thread between two tasks, when it has given back its slot."""
        slots, pending = self._slots, self._journal.pending
        if pending < (_FLUSH_AT if slots.waiting else _DRY_AT if slots.busy else 1) or self._closed:
            if not pending and self._starved():
                # Its ending was written before it gave back its slot, and that step found none to claim for.
                self._bell.ring()
            return
        if self._remote and slots.waiting:
            return
        if self._turn.acquire(blocking=False):
            try:
                self._take_turn(LINGER_S)
            finally:
                self._turn.release()

    def _take_turn(self, at_least_s: float = 0.0) -> None:
        self._bell.still()
        wait_s = self._step()
        # The thread that helped comes back by itself when it has run what it has just claimed.
        due = self._clock.monotonic() + (max(wait_s, at_least_s) if self._slots.waiting else wait_s)
        before, self._due = self._due, due
        if at_least_s and due < before:
            self._bell.wake()

    # -- in the driver's own thread

    def _wait(self) -> None:
        while (left := self._due - self._clock.monotonic()) > 0:
            hinted = self._bell.wait(min(left, _WATCH_S))
            if hinted:
                self._hinted = True
                return
            if self._bell.rung:
                self._linger()
                if self._bell.rung:  # else somebody else has seen to it
                    return
            elif left > _WATCH_S:
                if self._changed():
                    self._hinted = True
                    return
                if self._hinted:
                    self._hinted = False
                    self._calm()

    def _linger(self) -> None:
        self._enough.clear()
        # `waiting` too: between two tasks a slot is free for a moment, and more are to come all the same.
        if (self._slots.busy or self._slots.waiting) and 0 < self._journal.pending < _FLUSH_AT:
            self._clock.wait(self._enough, LINGER_S)
