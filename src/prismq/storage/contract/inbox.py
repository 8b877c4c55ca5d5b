"""Putting work in."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from prismq.domain.task import Enqueued, NewTask


class Inbox(Protocol):
    """Putting work in."""

    def enqueue(self, new: NewTask, now: float) -> Enqueued:
        """Write one task; once this returns, the task is in the store (see the engine's durability).

        With an idempotency key that exists, or a unique key that is held, the earlier task is returned
        and nothing is written. Inside `transaction()` the task exists if and only if that commits.
        """
        ...

    def enqueue_many(self, news: Sequence[NewTask], now: float) -> list[Enqueued]:
        """Write all of `news`, or none where one cannot be written. Ids come in the order given."""
        ...

    def transaction(self, connection: Any = None) -> AbstractContextManager[Any]:
        """Bind this thread's enqueues to one transaction, and yield its connection.

        Without `connection` the store's own is used, and it commits at the end or rolls back on any
        exception. A caller's own connection is left to the caller to commit.
        """
        ...

    def bound(self) -> bool:
        """Whether this thread is inside `transaction()`."""
        ...
