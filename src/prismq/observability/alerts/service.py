"""Threads round the steps: as long as the block lasts, this process watches where it is its duty."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Callable, Sequence

from prismq.clock import Clock

_END_S = 10.0
_AFTER_FAULT_S = 15.0

Step = Callable[[], float]  # does what is due; the seconds until it wants to be called again


def holder_of(role: str) -> str:
    """A name for this process that no other has."""
    return f"{role} {socket.gethostname()} {uuid.uuid4().hex[:8]}"


class Service:
    """`with Service(clock, [watch.step, ...], closing=watch.close): ...`; a step that raises is called again later."""

    def __init__(
        self,
        clock: Clock,
        steps: Sequence[Step],
        *,
        closing: Callable[[], None] | None = None,
        on_fault: Callable[[Exception], None] | None = None,
    ) -> None:
        self._clock, self._closing, self._on_fault = clock, closing, on_fault
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(step,), name=f"prismq-watch-{number}", daemon=True)
            for number, step in enumerate(steps)
        ]

    def _run(self, step: Step) -> None:
        while not self._stop.is_set():
            try:
                wait_s = step()
            except Exception as error:  # noqa: BLE001 - who watches must not be the first to fall silent
                wait_s = _AFTER_FAULT_S
                if self._on_fault is not None:
                    self._on_fault(error)
            self._clock.wait(self._stop, wait_s)

    def __enter__(self) -> None:
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_END_S)
        if self._closing is not None:
            self._closing()
