"""Statements on small tables, see storage/tables.py."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from typing_extensions import LiteralString

from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.tables import Row


class SqliteTables:
    """The Tables protocol on SQLite."""

    def __init__(self, database: QueueDatabase) -> None:
        self._database = database

    def rows(self, sql: LiteralString, **values: Any) -> list[Row]:
        """See Tables.rows."""
        return [tuple(row) for row in self._database.execute(sql, values).fetchall()]

    def run(self, sql: LiteralString, **values: Any) -> int:
        """See Tables.run."""
        return self._database.execute(sql, values).rowcount

    def transaction(self) -> AbstractContextManager[Any]:
        """See Tables.transaction."""
        return self._database.transaction()

    def at(self, epoch_s: float) -> str:
        """See Tables.at."""
        return epoch_to_text(epoch_s)

    def slot(self, epoch_s: float) -> str:
        """See Tables.slot. A file is used by one host."""
        return epoch_to_text(epoch_s)

    def slot_back(self, moment: str) -> float:
        """See Tables.slot_back."""
        return text_to_epoch(moment)

    def back(self, moment: str) -> float:
        """See Tables.back."""
        return text_to_epoch(moment)
