"""Wires the watch over the alerts into the commands that run for long: `prismq worker` and `prismq server`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from random import SystemRandom
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prismq.app import PrismQ
    from prismq.config import Settings
    from prismq.observability.alerts.service import Step


def alerting(q: PrismQ, settings: Settings, role: str, *, more: Sequence[Step] = ()) -> AbstractContextManager[None]:
    """As long as the block lasts, this process watches where it is its duty. `more`: other steps to be called.

    Raises ConfigurationError for rules and channels that there are not.
    """
    from prismq.domain.events import ChoreFailed
    from prismq.observability.alerts.checking import missing_here
    from prismq.observability.alerts.look import Surroundings
    from prismq.observability.alerts.service import Service, holder_of
    from prismq.observability.alerts.watch import Watch, Watching
    from prismq.server.redis import redis_of

    def failed(error: Exception) -> None:
        q.emit(ChoreFailed("alerts", f"{type(error).__name__}: {error}"))

    if not settings.alerts.enabled:
        return Service(q.clock, more, on_fault=failed)
    probe, reader = redis_of(q)
    around = Surroundings(
        settings.worker.heartbeat_interval_seconds,
        settings.worker.backup_interval_seconds,
        settings.worker.backup_dir,
        probe,
        reader,
    )
    watch = Watch(
        q.store_as_it_is,
        q.clock,
        SystemRandom(),
        q.emit,
        Watching(holder_of(role), settings.alerts, settings.slo, around),
    )
    # Not refused: a file of settings is for all machines, and another one, which has the program, may watch.
    for name in settings.alerts.channels:
        if (missing := missing_here(name, settings.alerts)) is not None:
            q.emit(ChoreFailed("alerts", missing))
    return Service(q.clock, [watch.step, *more], closing=watch.close, on_fault=failed)
