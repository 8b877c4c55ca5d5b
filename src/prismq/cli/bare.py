"""A store as it is: not prepared, and perhaps older, damaged or missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prismq.cli.context import Call
    from prismq.storage.contract import Store


@contextmanager
def bare_store(call: Call, *, must_exist: bool = True) -> Iterator[Store]:
    """The store that this command line names. Raises QueueDatabaseError where it must exist and does not."""
    from prismq.storage.open import open_store

    target = call.require_database() if must_exist else call.target
    store = open_store(
        target.scheme,
        target.location,
        durability=call.settings.durability,
        busy_timeout_s=call.settings.busy_timeout_seconds,
    )
    try:
        yield store
    finally:
        store.close()
