"""The driver's connection, with an end to its patience."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import psycopg

from prismq.clock import SYSTEM_CLOCK


class Connection(psycopg.Connection[tuple[Any, ...]]):
    """Waits for no answer longer than `answer_s` seconds; None waits for ever.

    The server ends a statement that takes too long, and the system a connection whose peer is gone. Neither helps
    where something between takes every byte and passes none on, or where the server is stopped: then only who waits
    can end it. Raises psycopg.OperationalError; the connection is closed.
    """

    answer_s: float | None = None
    spoiled = False  # it works, but what the driver believes of it may be wrong: not to be used again

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """See psycopg.Connection.wait."""
        return super().wait(gen if self.answer_s is None else self._bounded(gen, self.answer_s), *args, **options)

    def _bounded(self, steps: Generator[Any, Any, Any], answer_s: float) -> Generator[Any, Any, Any]:
        deadline = SYSTEM_CLOCK.monotonic() + answer_s
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                if not ready and SYSTEM_CLOCK.monotonic() >= deadline:
                    # At once: whoever cleans up behind would wait for the same answer again.
                    self.pgconn.finish()
                    raise psycopg.OperationalError(
                        f"there was no answer for {answer_s:g} s: the server stands still, or the network on the way"
                    )
                wanted = steps.send(ready)
        except StopIteration as end:
            return end.value
