"""Faults of backups: none, old, or not restorable."""

from __future__ import annotations

from collections.abc import Iterator

from prismq.domain.errors import QueueBackupError
from prismq.domain.finding import Check, Finding, Severity
from prismq.domain.times import to_epoch
from prismq.domain.words import duration
from prismq.observability.doctor.patient import Patient
from prismq.storage.backups import SCHEDULED, BackupFolder

LATE_INTERVALS = 2.0


def checks_of(patient: Patient) -> list[Check]:
    """Of backups."""
    return [
        Check(
            "backups", "scheduled backups that are missing or old", "makes one", lambda now: _backups(patient, now)
        ),
        Check(
            "newest-backup", "a newest backup that could not be restored (reads all of it)", "",
            lambda now: _newest(patient),
        ),
    ]  # fmt: skip


def _backups(patient: Patient, now: float) -> Iterator[Finding]:
    folder = BackupFolder(patient.store.keeping, patient.clock, patient.backup_dir)
    newest = next(iter(folder.list()), None)
    age_s = None if newest is None else now - to_epoch(newest.created_at)
    last = "there is none" if age_s is None else f"the newest is {duration(max(0.0, age_s))} old"
    interval_s = patient.backup_interval_s
    if interval_s is None:
        yield Finding(
            "backups", Severity.NOTE, f"no backups are scheduled; {last}",
            "When the disk is lost, or somebody deletes the wrong thing, the tasks are gone.",
            "Set backup_interval_seconds in the section `worker` of prismq.toml, such as 3600.",
        )  # fmt: skip
        return
    if age_s is not None and age_s <= LATE_INTERVALS * interval_s:
        return

    def mend() -> str:
        return f"made the backup {folder.create(SCHEDULED).path}"

    yield Finding(
        "backups", Severity.PROBLEM,
        f"a backup is due every {duration(interval_s)}, and {last} ({folder.folder})",
        "Workers make the backups; none runs, or it cannot write there (its log says `housekeeping_failed`).",
        "Look at the workers' log, then run `prismq backup create`, or `prismq doctor --fix`.",
        mend,
    )  # fmt: skip


def _newest(patient: Patient) -> Iterator[Finding]:
    newest = next(iter(BackupFolder(patient.store.keeping, patient.clock, patient.backup_dir).list()), None)
    if newest is None:
        return
    try:
        patient.store.keeping.verify(newest.path, thorough=False)
    except QueueBackupError as error:
        yield Finding(
            "newest-backup", Severity.PROBLEM, str(error),
            "The newest backup would be of no use on the day that it is needed.",
            "Delete it, check its disk, and make another with `prismq backup create`.",
        )  # fmt: skip
