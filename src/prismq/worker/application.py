"""What a worker needs of an application; PrismQ has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from prismq.clock import Clock
from prismq.domain.events import Emit
from prismq.domain.handler import Handler
from prismq.domain.redaction import Redactor
from prismq.storage.contract import Schedule, Store
from prismq.worker.runners.base import Around, Tracing
from prismq.worker.scheduler import ScheduleTracing


class ApplicationTracing(Tracing, ScheduleTracing, Protocol):
    """What makes spans of all that a worker and its supervisor do."""


class Application(Protocol):
    """Handlers, storage and wiring, ready to work with."""

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Task functions by type."""
        ...

    @property
    def store(self) -> Store:
        """The storage, set up. Raises QueueSchemaError where its schema is not this version's."""
        ...

    @property
    def around(self) -> Sequence[Around]:
        """Middleware round the handlers, first one outermost."""
        ...

    @property
    def declared_schedules(self) -> Sequence[Schedule]:
        """Periodic tasks that the code declares."""
        ...

    @property
    def emit(self) -> Emit:
        """Where events go."""
        ...

    @property
    def clock(self) -> Clock:
        """Where time comes from."""
        ...

    @property
    def database(self) -> str:
        """Where the queue is, for a process that has the application but not this object: a path or a URL."""
        ...

    @property
    def tracing(self) -> ApplicationTracing | None:
        """What makes spans; None where tracing is off."""
        ...

    @property
    def redactor(self) -> Redactor:
        """What keeps secrets out of log lines."""
        ...

    def configure_logging(self, level: str, *, as_json: bool, least: str | None = None) -> None:
        """Set up the log lines of a program of ours. `least`: the level from which on the program's own records are
        made all the same, for those who take them elsewhere."""
        ...

    def connect(self, database: str) -> None:
        """Use this database from now on."""
        ...
