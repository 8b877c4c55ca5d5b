"""How the file is opened: where it may lie, whose it may be, and what every connection is set to."""

from __future__ import annotations

import sqlite3
import threading
from dataclasses import dataclass, field
from pathlib import Path

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.errors import QueueDatabaseError, QueueSchemaError
from prismq.domain.sketch import merge_json
from prismq.storage.measuring import Meter
from prismq.storage.sqlite.errors import translated
from prismq.storage.sqlite.location import check_location
from prismq.storage.sqlite.measured import measured
from prismq.storage.sqlite.pragmas import PRAGMAS, SQLITE_VERSION_MIN, Durability

MEMORY = ":memory:"


def equip(connection: sqlite3.Connection) -> None:
    """Give a connection the functions that our statements call."""
    connection.create_function("prismq_merge_bins", 2, merge_json, deterministic=True)


@dataclass
class Opening:
    """What it takes to open one file, as often as wanted. `busy_ms`: milliseconds; the rest as QueueDatabase has it."""

    path: Path
    durability: Durability
    busy_ms: int
    adopt: bool
    meter: Meter | None = None  # what connections opened from then on tell what they do
    _checked: bool = field(default=False, init=False)

    @property
    def in_memory(self) -> bool:
        """Whether there is no file: then all threads have to share one connection."""
        return str(self.path) == MEMORY

    def connect(self) -> sqlite3.Connection:
        """A new connection, with `sqlite3.Row` rows and in autocommit mode.

        Raises QueueDatabaseError where the file cannot be opened, QueueSchemaError where it is another program's.
        """
        if sqlite3.sqlite_version_info < SQLITE_VERSION_MIN:
            needed = ".".join(map(str, SQLITE_VERSION_MIN))
            raise QueueDatabaseError(f"this Python has SQLite {sqlite3.sqlite_version}; prismq needs {needed} or later")
        if not self._checked and not self.in_memory:
            check_location(self.path)
            self._checked = True
        path = str(self.path)
        with translated(path):
            connection = sqlite3.connect(
                path,
                isolation_level=None,
                check_same_thread=False,
                factory=sqlite3.Connection if self.meter is None else measured(self.meter),
                timeout=self.busy_ms / 1000,
                cached_statements=256,
            )
        try:
            with translated(path):
                connection.row_factory = sqlite3.Row
                if not self.adopt:
                    self._refuse_foreign(connection)
                self._switch_to_wal(connection)
                for name, value in PRAGMAS.items():
                    if name == "busy_timeout":
                        value = self.busy_ms
                    if name == "synchronous" and self.durability == "full":
                        value = "FULL"
                    connection.execute(f"PRAGMA {name} = {value}")
                equip(connection)
        except QueueDatabaseError:
            connection.close()
            raise
        return connection

    def _refuse_foreign(self, connection: sqlite3.Connection) -> None:
        """Before anything is changed: another program's file must stay as it is."""
        rows = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        ).fetchall()
        names = [name for (name,) in rows]
        if names and "task_queue" not in names:
            raise QueueSchemaError(
                f"{self.path} is a SQLite database of another program (tables: {', '.join(names[:5])}) and holds no "
                f"queue. Give another path, or, to keep the queue in that file beside your own tables, run "
                f"`prismq init --adopt` or open it once with PrismQ(path, adopt=True)"
            )

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        # The switch of a new file needs it for itself, and SQLite does not wait for that by itself.
        deadline = SYSTEM_CLOCK.monotonic() + self.busy_ms / 1000
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or SYSTEM_CLOCK.monotonic() > deadline:
                    raise
                SYSTEM_CLOCK.wait(threading.Event(), 0.01)
