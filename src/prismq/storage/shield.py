"""Interrupts that must wait: a thread inside the store may hold the writer's lock, and must not be torn out of it."""

from __future__ import annotations

import threading

_pending: dict[int, type[BaseException]] = {}


def leave_word(thread_id: int, kind: type[BaseException]) -> None:
    """Have `kind` raised in that thread at its next `checkpoint`."""
    _pending[thread_id] = kind


def take_back(thread_id: int) -> None:
    """Forget what was left for that thread."""
    _pending.pop(thread_id, None)


def waits(thread_id: int) -> bool:
    """Whether that thread has yet to meet what was left for it."""
    return thread_id in _pending


def checkpoint() -> None:
    """Called on the way out of the store: raises what was left for this thread meanwhile."""
    if _pending:
        kind = _pending.pop(threading.get_ident(), None)
        if kind is not None:
            raise kind
