"""What a worker process is told at its start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from prismq.domain.limits import PREFETCH_MAX
from prismq.domain.strategy import SchedulingStrategy
from prismq.storage.contract import Retention
from prismq.worker.copies import BackupPlan
from prismq.worker.probe import ProbeOptions
from prismq.worker.remedy import RemedyPlan

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

_DAY_S = 86_400.0
DEFAULT_RETENTION = Retention(7 * _DAY_S, 90 * _DAY_S, 30 * _DAY_S, 7 * _DAY_S)


@dataclass(frozen=True)
class CaptureOptions:
    """What tasks say by other means than `current_task().log`, and is kept with them all the same.

    `level`: the least level of the standard logging; None: none of it. `output`: what they print, and warnings.
    """

    level: LogLevel | None = "INFO"
    output: bool = False


@dataclass(frozen=True)
class WorkerOptions:
    """Checked settings of one worker process; times in seconds. See docs/worker-configuration.md."""

    name: str = "worker"
    slots: int = 8
    queues: tuple[str, ...] | None = None  # None: every queue
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    strategy: SchedulingStrategy = SchedulingStrategy.PRIORITY
    only_known: bool = True
    prefetch: int | None = None  # None: as many as run within PREFETCH_AHEAD_S; see claimer.py
    lease_s: float = 60.0
    poll_s: float = 1.0
    heartbeat_s: float = 10.0
    grace_s: float = 30.0
    stop_grace_s: float = 5.0  # between telling a task to stop and taking stronger means
    log_level: LogLevel = "DEBUG"  # the least that goes to task_logs; transitions are DEBUG
    capture: CaptureOptions = field(default=CaptureOptions())
    hints: bool = True
    max_tasks: int | None = None
    max_memory_bytes: int | None = None
    attempts_cap: int | None = None  # fewer attempts than a task's own number, where an operator wants that
    retention: Retention = field(default=DEFAULT_RETENTION)
    archive_dir: str | None = None  # None: what is past its retention is deleted without a trace
    backups: BackupPlan | None = None
    remedies: RemedyPlan = field(default=RemedyPlan())
    restart_wedged: bool = True
    probe: ProbeOptions = field(default=ProbeOptions())

    @property
    def prefetch_max(self) -> int:
        """The most tasks to hold beyond the free slots."""
        return PREFETCH_MAX if self.prefetch is None else self.prefetch
