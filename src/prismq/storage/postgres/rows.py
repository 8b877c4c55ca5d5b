"""Rows as dataclasses: the columns are the fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Generic, TypeVar

from prismq.domain.task import Task, TaskAttempt, TaskLog
from prismq.storage.postgres.database import Connection

T = TypeVar("T", Task, TaskAttempt, TaskLog)


class Rows(Generic[T]):
    """How to read one table."""

    def __init__(self, table: str, kind: type[T]) -> None:
        self._kind: type[T] = kind
        self._names = [column.name for column in fields(kind)]
        self.select = f"SELECT {', '.join(self._names)} FROM {table}"

    def fetch(self, connection: Connection, rest: str, params: Sequence[Any] | Mapping[str, Any]) -> list[T]:
        """What `SELECT … FROM table` and the `rest` of the statement find."""
        rows = connection.execute(f"{self.select} {rest}", params).fetchall()
        return [self._kind(**dict(zip(self._names, row, strict=True))) for row in rows]


TASKS = Rows("task_queue", Task)
ATTEMPTS = Rows("task_attempts", TaskAttempt)
LOGS = Rows("task_logs", TaskLog)
