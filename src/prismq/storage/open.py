"""The only file that names the engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prismq.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from prismq.storage.contract import Store
    from prismq.storage.sqlite.pragmas import Durability


def open_store(
    scheme: str,
    location: str,
    *,
    durability: Durability = "normal",
    busy_timeout_s: float | None = None,
    adopt: bool = False,
) -> Store:
    """The store at `location` (a path for scheme `sqlite`). Nothing is opened or written yet.

    Raises ConfigurationError for an engine that this version does not have.
    """
    if scheme == "sqlite":
        from prismq.storage.sqlite.database import QueueDatabase
        from prismq.storage.sqlite.store import SqliteStore

        database = QueueDatabase(Path(location), durability=durability, busy_timeout_s=busy_timeout_s, adopt=adopt)
        return SqliteStore(database)
    raise ConfigurationError(
        f"there is no storage engine for {scheme!r} in this version of prismq; give a path or sqlite:///…"
    )


def store_of(database: Any) -> Store:
    """The store over a QueueDatabase that the caller already has."""
    from prismq.storage.sqlite.store import SqliteStore

    return SqliteStore(database)
