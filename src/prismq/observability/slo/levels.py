"""What is promised: the four service levels of every queue system, and one for each queue with a promise of its own.

A queue named after its promise needs no setting, see domain/promise.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prismq.config.alerts import SloConfig
from prismq.domain.promise import own_promise

SUCCESS, PROCESSING, API, WORKERS, START = "success", "processing", "api", "workers", "start"
DAY_S = 86_400.0


class Level(NamedTuple):
    """A promise: of what is counted, the part `objective` is good. `queue` is empty where it is about all of them."""

    name: str
    queue: str
    objective: float
    window_s: float
    target_s: float | None  # within which an attempt starts, or a task runs

    @property
    def budget(self) -> float:
        """The part that may be bad."""
        return 1 - self.objective


def targets(config: SloConfig, queues: Iterable[str]) -> dict[str, float]:
    """By queue: the seconds within which its tasks are promised to start, where there is a promise."""
    promises = {queue: own_promise(queue, config.promises) for queue in {*queues, *config.promises}}
    return {queue: promise.target_s for queue, promise in promises.items() if promise is not None}


def levels_of(config: SloConfig, queues: Iterable[str]) -> list[Level]:
    """Every service level that is promised: the general ones, then those of the queues, by name."""
    window_s = config.window_days * DAY_S
    general: Mapping[str, tuple[float | None, float | None]] = {
        SUCCESS: (config.success_objective, None),
        PROCESSING: (config.processing_objective, config.processing_target_seconds),
        API: (config.api_objective, None),
        WORKERS: (config.workers_objective, None),
    }
    found = [
        Level(name, "", objective, window_s, target_s)
        for name, (objective, target_s) in general.items()
        if objective is not None
    ]
    for queue, target_s in sorted(targets(config, queues).items()):
        promise = config.promises.get(queue)
        objective = config.queue_objective if promise is None or promise.objective is None else promise.objective
        found.append(Level(START, queue, objective, window_s, target_s))
    return found
