"""Where the classes of this package find the queue: a QueueDatabase, a Store, or a PrismQ."""

from __future__ import annotations

from typing import Any, NamedTuple

from prismq.clock import SYSTEM_CLOCK, Clock
from prismq.domain.errors import InvalidArgument
from prismq.storage.contract import Store
from prismq.storage.open import store_of


class Source(NamedTuple):
    """A store, and the clock to ask it by."""

    store: Store
    clock: Clock


def require_queue(db: Any) -> None:
    """Raises InvalidArgument where there is no queue behind `db`. Opens nothing."""
    if not (_is_program(db) or hasattr(db, "insight") or hasattr(db, "initialize_schema")):
        raise InvalidArgument(
            f"the queue is given as QueueDatabase(path) or PrismQ(path), not as {type(db).__name__} {str(db)[:60]!r}"
        )


def source_of(db: Any, clock: Clock | None = None) -> Source:
    """The store behind `db`. `clock` overrides that of a PrismQ; others have the machine's.

    Raises InvalidArgument for anything else, and what a PrismQ raises where its database cannot be used.
    """
    require_queue(db)
    if _is_program(db):
        return Source(db.store, clock or db.clock)
    if hasattr(db, "insight"):
        return Source(db, clock or SYSTEM_CLOCK)
    return Source(store_of(db), clock or SYSTEM_CLOCK)


def _is_program(db: Any) -> bool:
    # A PrismQ, which is built above this package. Its class is asked: it opens the database when its store is wanted.
    return hasattr(type(db), "store") and hasattr(type(db), "clock")
