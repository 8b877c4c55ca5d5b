"""A thread for what may take long: nobody waits for the store in the thread that draws."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What a piece of work gave: a value, or the exception that it raised."""

    value: Any = None
    error: Exception | None = None


class Desk:
    """Does one thing after another. `tell` is called with each answer, in the desk's own thread."""

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[tuple[Callable[[], Any], Callable[[Answer], None]] | None] = SimpleQueue()
        # A store that does not answer must not keep the program from ending.
        self._thread = threading.Thread(target=self._run, name=f"prismq-top-{name}", daemon=True)
        self._thread.start()

    def ask(self, work: Callable[[], Any], tell: Callable[[Answer], None]) -> None:
        """Have something done."""
        self._work.put((work, tell))

    def close(self, timeout_s: float = 1.0) -> None:
        """Do no more than what was begun; wait for that, but not for long."""
        self._work.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            work, tell = item
            try:
                answer = Answer(work())
            except Exception as error:  # noqa: BLE001 - whatever it is, the screen stays and says so
                answer = Answer(error=error)
            tell(answer)
