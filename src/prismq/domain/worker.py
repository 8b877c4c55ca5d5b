"""A worker as others see it: the row it keeps, and what may be asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from prismq.domain.task import _Row, json_object


class WorkerStatus(str, Enum):
    """What a worker does with new work; the value is what the `status` column holds."""

    ACTIVE = "active"
    PAUSED = "paused"  # finishes what it has, claims nothing
    DRAINING = "draining"  # finishes what it has, then stops
    STOPPED = "stopped"
    LOST = "lost"  # ended without a word

    def __str__(self) -> str:
        return self.value


class WorkerCommand(str, Enum):
    """What an operator may ask of a worker."""

    PAUSE = "pause"
    RESUME = "resume"
    DRAIN = "drain"
    RESIZE = "resize"  # argument: slots

    def __str__(self) -> str:
        return self.value


@dataclass
class Worker(_Row):
    """A row of `workers`. Times are aware datetimes in UTC, JSON columns are text."""

    worker_id: str = ""
    capabilities: str = "{}"
    heartbeat_utc: datetime | None = None
    status: str = "active"
    hostname: str | None = None
    pid: int | None = None
    supervisor_id: str | None = None
    queues: str | None = None
    types: str | None = None
    strategy: str | None = None
    version: str | None = None
    slots: int = 0
    busy: int = 0
    held: int = 0
    started_at_utc: datetime | None = None
    stopped_at_utc: datetime | None = None
    last_claim_utc: datetime | None = None
    last_look_utc: datetime | None = None
    restarts: int = 0
    completed: int = 0
    failed: int = 0
    retried: int = 0
    run_s: float = 0.0
    cpu_percent: float | None = None
    memory_bytes: int | None = None
    hint_port: int | None = None
    note: str | None = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Worker:
        """Build from a row or from `to_dict()`; unknown keys are passed over."""
        return cls(**cls._from_dict(data))

    def get_capabilities_dict(self) -> dict[str, Any]:
        """What this worker offers; `{}` where it is not a JSON object."""
        return json_object(self.capabilities)
