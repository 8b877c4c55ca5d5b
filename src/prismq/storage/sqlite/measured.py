"""Connections that tell a meter what is run on them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from prismq.clock import SYSTEM_CLOCK
from prismq.storage.measuring import CONTROL, Meter, kind_of


class _Cursor(sqlite3.Cursor):
    meter: Meter

    def execute(self, sql: str, *parameters: Any) -> Any:
        """See sqlite3.Cursor.execute."""
        return self._timed(super().execute, sql, parameters)

    def executemany(self, sql: str, *parameters: Any) -> Any:
        """See sqlite3.Cursor.executemany. However many rows: one statement."""
        return self._timed(super().executemany, sql, parameters)

    def _timed(self, run: Callable[..., Any], sql: str, parameters: Any) -> Any:
        began = SYSTEM_CLOCK.monotonic()
        try:
            return run(sql, *parameters)
        except sqlite3.OperationalError as error:
            # A BEGIN that finds the lock taken is tried again by who wants it, and counted there.
            if kind_of(sql) != CONTROL and ("locked" in str(error) or "interrupted" in str(error)):
                self.meter.busy()
            raise
        finally:
            self.meter.statement(sql, SYSTEM_CLOCK.monotonic() - began)


def measured(meter: Meter) -> type[sqlite3.Connection]:
    """A kind of connection for sqlite3.connect."""

    class Cursor(_Cursor):
        pass

    Cursor.meter = meter

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            """See sqlite3.Connection.cursor."""
            return super().cursor(factory)

        # Since Python 3.11 these do not ask cursor() for one.
        def execute(self, sql: str, *parameters: Any) -> Any:
            """See sqlite3.Connection.execute."""
            return self.cursor().execute(sql, *parameters)

        def executemany(self, sql: str, *parameters: Any) -> Any:
            """See sqlite3.Connection.executemany."""
            return self.cursor().executemany(sql, *parameters)

    return Connection
