"""What the rules are judged by: read once, at one time, at a cost that does not grow with the number of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from prismq.observability.condition import Unserved, WorkerView
from prismq.observability.exposition.samples import Samples
from prismq.observability.slo.report import Burn
from prismq.storage.contract import HeldTask, Outcomes, QueueInfo, Space
from prismq.storage.contract.alerts import Canary, ChannelState

Pair = tuple[str, str]  # queue and type


class Timetable(NamedTuple):
    """A schedule as the rules see it. Times are seconds since 1970."""

    name: str
    last_slot: float
    due: float  # the slot after the last one
    last_success: float | None  # the slot whose task completed last; None: as far as is known, none did
    paused: bool


class Usual(NamedTuple):
    """How long tasks of a type run: how many were counted, and the time that 99 of 100 stay below."""

    tasks: int
    p99_s: float


class BackupFigures(NamedTuple):
    """Of the scheduled backups. `age_s`: of the newest; of the watch itself, where there is none yet."""

    interval_s: float
    age_s: float
    exists: bool


@dataclass(frozen=True)
class Figures:
    """Everything that the built-in rules look at. None is what is not configured, or cannot be known here."""

    at: float  # seconds since 1970
    depth: Mapping[tuple[str, str, str, str], int] = field(default_factory=dict)
    used: bool = False  # whether anything was ever enqueued
    queues: Sequence[QueueInfo] = ()
    crew: Sequence[WorkerView] = ()
    unserved: Sequence[Unserved] = ()
    windows: Mapping[float, Sequence[Outcomes]] = field(default_factory=dict)  # by length in seconds, without bins
    held: Sequence[HeldTask] = ()
    crashed: Sequence[HeldTask] = ()  # ended lately without success, after more than one crash
    usual: Mapping[Pair, Usual] = field(default_factory=dict)  # of types that run now
    timetables: Sequence[Timetable] = ()
    response_s: float = 0.0
    connections_left: int | None = None
    space: Space | None = None
    wal_bytes: int = 0
    redis_up: bool | None = None
    redis_error: str = ""
    backup: BackupFigures | None = None
    broken_backup: str | None = None
    faults: Mapping[str, str] = field(default_factory=dict)  # what the doctor finds, by check
    channels: Sequence[ChannelState] = ()
    canaries: Sequence[Canary] = ()
    burns: Sequence[Burn] = ()
    targets: Mapping[str, float] = field(default_factory=dict)  # seconds promised, by queue
    samples: Samples | None = None  # the exposition, where rules of one's own ask for it
