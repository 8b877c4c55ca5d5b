"""Hands each event to every listener. One that raises is told of once and never stops the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from prismq.domain.events import Event, Gatherer, wanted

Listener = Callable[[Event], None]
T = TypeVar("T")
_logger = logging.getLogger("prismq.queue")


class Fanout(Gatherer):
    """An Emit with any number of listeners behind it."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners: tuple[Listener, ...] = listeners
        self._told: set[tuple[int, type]] = set()

    def add(self, listener: Listener) -> None:
        """Have `listener` called with every event from now on, in the thread that reports it."""
        self._listeners = (*self._listeners, listener)

    def remove(self, listener: Listener) -> None:
        """Call it no more."""
        self._listeners = tuple(other for other in self._listeners if other is not listener)

    def wants(self, kind: type[Event]) -> bool:
        """Whether any listener wants such events; see `prismq.domain.events.wanted`."""
        return any(wanted(listener, kind) for listener in self._listeners)

    def all(self, events: Sequence[Event]) -> None:
        """See Gatherer; a listener that is one too gets them at once."""
        for listener in self._listeners:
            if isinstance(listener, Gatherer):
                self._safely(listener, listener.all, events, events)
            else:
                for event in events:
                    self._safely(listener, listener, event, (event,))

    def _safely(self, listener: Listener, call: Callable[[T], None], with_: T, events: Sequence[Event]) -> None:
        try:
            call(with_)
        except Exception as error:  # noqa: BLE001 - whatever a listener does, the task goes on
            self._tell(listener, events, error)

    def _tell(self, listener: Listener, events: Sequence[Event], error: Exception) -> None:
        kind = (id(listener), type(error))
        if kind not in self._told:
            self._told.add(kind)
            name = getattr(listener, "__qualname__", type(listener).__name__)
            _logger.warning(
                "listener %s failed on %s (%r); told once, and the task went on",
                name,
                ", ".join(sorted({repr(type(event).__name__) for event in events})),
                error,
            )
