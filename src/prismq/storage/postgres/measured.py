"""Cursors that tell a meter what is run with them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import psycopg

from prismq.clock import SYSTEM_CLOCK
from prismq.storage.measuring import Meter


@lru_cache(maxsize=64)
def measured(meter: Meter) -> type[psycopg.Cursor[tuple[Any, ...]]]:
    """A kind of cursor for a connection's `cursor_factory`. In a pipeline it sees the sending alone."""

    class Cursor(psycopg.Cursor[tuple[Any, ...]]):
        def execute(self, query: Any, *args: Any, **options: Any) -> Any:
            """See psycopg.Cursor.execute."""
            began = SYSTEM_CLOCK.monotonic()
            try:
                return super().execute(query, *args, **options)
            finally:
                if isinstance(query, str):
                    meter.statement(query, SYSTEM_CLOCK.monotonic() - began)

        def executemany(self, query: Any, *args: Any, **options: Any) -> Any:
            """See psycopg.Cursor.executemany. However many rows: one statement."""
            began = SYSTEM_CLOCK.monotonic()
            try:
                return super().executemany(query, *args, **options)
            finally:
                if isinstance(query, str):
                    meter.statement(query, SYSTEM_CLOCK.monotonic() - began)

    return Cursor
