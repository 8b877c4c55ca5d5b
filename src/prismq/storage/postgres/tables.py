"""Statements on small tables, see storage/tables.py."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from datetime import datetime
from functools import cache
from typing import Any

from typing_extensions import LiteralString

from prismq.domain.times import from_epoch, to_epoch
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.tables import Row


class PostgresTables:
    """The Tables protocol on PostgreSQL."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def rows(self, sql: LiteralString, **values: Any) -> list[Row]:
        """See Tables.rows."""
        with self._database.reading() as connection:
            return connection.execute(_placed(sql), values).fetchall()

    def run(self, sql: LiteralString, **values: Any) -> int:
        """See Tables.run."""
        with self._database.reading() as connection:
            return connection.execute(_placed(sql), values).rowcount

    def transaction(self) -> AbstractContextManager[Any]:
        """See Tables.transaction."""
        return self._database.transaction()

    def at(self, epoch_s: float) -> datetime:
        """See Tables.at."""
        return self._database.at(epoch_s)

    def slot(self, epoch_s: float) -> datetime:
        """See Tables.slot."""
        return from_epoch(epoch_s)

    def slot_back(self, moment: datetime) -> float:
        """See Tables.slot_back."""
        return to_epoch(moment)

    def back(self, moment: datetime) -> float:
        """See Tables.back."""
        return self._database.back(moment)


@cache
def _placed(sql: LiteralString) -> bytes:
    # `::` is a cast, and % would be the driver's.
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", sql.replace("%", "%%")).encode()
