"""What the stores have in common for small tables: the same statement, run by either engine.

The queries of tasks differ between the engines and each has its own; those of a table with a few rows need no
difference. They are written with `:name`, and mean the same in both dialects.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from typing_extensions import LiteralString

Row = tuple[Any, ...]


class Tables(Protocol):
    """An engine's statements and times."""

    def rows(self, sql: LiteralString, **values: Any) -> list[Row]:
        """What a statement finds or returns; one that writes is its own transaction outside of `transaction()`."""
        ...

    def run(self, sql: LiteralString, **values: Any) -> int:
        """Write; how many rows it changed."""
        ...

    def transaction(self) -> AbstractContextManager[Any]:
        """All or nothing, for what is run inside."""
        ...

    def at(self, epoch_s: float) -> Any:
        """A time, given as seconds since 1970 by this host's clock, as the engine stores it."""
        ...

    def slot(self, epoch_s: float) -> Any:
        """The beginning of a slot of time: the same moment whatever the hosts' clocks say."""
        ...

    def slot_back(self, moment: Any) -> float:
        """The reverse of `slot`."""
        ...

    def back(self, moment: Any) -> float:
        """The reverse of `at`."""
        ...
