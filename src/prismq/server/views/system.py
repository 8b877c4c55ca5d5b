"""The machinery under the queue: database, Redis, disk, backups, and what the doctor finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prismq.app import PrismQ
from prismq.domain.errors import QueueDatabaseError
from prismq.observability.backup import BackupInfo, QueueBackup
from prismq.observability.doctor.examination import Report, examine
from prismq.observability.doctor.patient import Patient
from prismq.observability.health import Check, Health
from prismq.storage.contract import DatabaseStats
from prismq.version import __version__

_BACKUPS_SHOWN = 10
# These read the whole database, and a page should not.
_SLOW_CHECKS = ("integrity", "books")


@dataclass(frozen=True)
class SystemPage:
    """The page. What could not be read is None, and `failure` says why."""

    health: Health
    checks: Sequence[tuple[str, Check]]
    database: str
    stats: DatabaseStats | None
    backups: Sequence[BackupInfo]
    backup_folder: str
    backup_failure: str
    failure: str
    report: Report | None
    version: str
    uptime_s: float


def system_page(q: PrismQ, health: Health, uptime_s: float, *, doctor: bool, backup_dir: str | None) -> SystemPage:
    """How the machinery stands. `doctor`: have the quick checks of `prismq doctor` made, too. Never raises for a
    database that is away."""
    stats, failure = None, ""
    try:
        stats = q.store.keeping.stats()
        name = q.store.name
    except QueueDatabaseError as error:
        failure, name = str(error), q.database
    backups: list[BackupInfo] = []
    folder = backup_failure = ""
    try:
        keeper = QueueBackup(q, backup_dir)
        folder = str(keeper.backup_dir)
        backups = keeper.list_backups()
    except (QueueDatabaseError, OSError) as error:
        backup_failure = str(error)
    report = None
    if doctor and not failure:
        report = examine(Patient(q.store, q.clock, backup_dir=backup_dir), skip=_SLOW_CHECKS)
    return SystemPage(
        health, list(health.checks.items()), name, stats, backups[:_BACKUPS_SHOWN], folder, backup_failure, failure,
        report, __version__, uptime_s,
    )  # fmt: skip
