"""The queue under test: one task that does nothing."""

from __future__ import annotations

from pathlib import Path

from prismq import PrismQ, TaskFunction


def make(path: Path | str) -> tuple[PrismQ, TaskFunction[[int], None]]:
    """A queue at `path`, a file or a URL, and its no-op task."""
    q = PrismQ(path)

    @q.task(name="noop")
    def noop(n: int) -> None:
        """Do nothing."""

    return q, noop
