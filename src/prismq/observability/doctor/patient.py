"""What is examined."""

from __future__ import annotations

from dataclasses import dataclass

from prismq.clock import Clock
from prismq.observability.condition import HEARTBEAT_S
from prismq.storage.contract import Store


@dataclass(frozen=True)
class Patient:
    """A queue, and what it is meant to be like. Times in seconds.

    `heartbeat_s`: the interval that its workers use. `backup_interval_s`: that of the scheduled backups; None where
    there are none. `backup_dir`: see BackupFolder. `redis_url`: the Redis that tells workers of new tasks; None where
    the database does.
    """

    store: Store
    clock: Clock
    heartbeat_s: float = HEARTBEAT_S
    backup_interval_s: float | None = None
    backup_dir: str | None = None
    redis_url: str | None = None
