"""Faults of workers and clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby

from prismq.domain.finding import Check, Finding, Severity
from prismq.domain.task import TaskFilter
from prismq.domain.times import to_epoch
from prismq.domain.words import duration, plural
from prismq.domain.worker import Worker, WorkerStatus
from prismq.observability.condition import SILENT, age_of, views
from prismq.observability.doctor.patient import Patient
from prismq.version import __version__

# What a network's clocks differ by without anybody's fault; a lease is 60 s.
SKEW_S = 5.0
_NEWEST = 200


def checks_of(patient: Patient) -> list[Check]:
    """Of workers and clocks."""
    return [
        Check(
            "clock", "clocks that disagree: heartbeats or tasks of the future", "", lambda now: _clock(patient, now)
        ),
        Check(
            "dead-workers", "workers that are listed as live and have long been silent", "lists them as lost",
            lambda now: _dead(patient, now),
        ),
        Check("versions", "live workers of different versions", "", lambda now: _versions(patient, now)),
    ]  # fmt: skip


def _clock(patient: Patient, now: float) -> Iterator[Finding]:
    ahead = [(-age_of(one.heartbeat_utc, now), one) for one in patient.store.workers.all()]
    ahead = [(age, one) for age, one in ahead if age > SKEW_S]
    if ahead:
        age, worker = max(ahead, key=lambda one: one[0])
        yield Finding(
            "clock", Severity.PROBLEM,
            f"the last heartbeat of worker {worker.worker_id} (host {worker.hostname}) lies {duration(age)} "
            f"in the future",
            "Its clock and the one of this machine disagree, or this one was set back. Leases then seem to hold too "
            "long, or to have run out while their worker lives.",
            "Let both machines set their clocks by NTP (`timedatectl`, `w32tm /query /status`).",
        )  # fmt: skip
    future = [
        task for task in patient.store.tasks.find(TaskFilter(), limit=_NEWEST)
        if task.created_at_utc is not None and to_epoch(task.created_at_utc) - now > SKEW_S
    ]  # fmt: skip
    if future:
        most = max(to_epoch(task.created_at_utc) for task in future if task.created_at_utc is not None) - now
        yield Finding(
            "clock", Severity.WARNING,
            f"{plural(len(future), 'task')} of the newest {_NEWEST} (such as {future[0].id}) "
            f"{'was' if len(future) == 1 else 'were'} enqueued up to {duration(most)} in the future",
            "The machine that enqueued them has another time, or this one was set back. Tasks may run late, and "
            "statistics fall into the wrong minutes.",
            "Let the machines set their clocks by NTP; `prismq tasks run-now` starts what waits for a wrong time.",
        )  # fmt: skip


def _dead(patient: Patient, now: float) -> Iterator[Finding]:
    workers = patient.store.workers
    for view in views(workers.all(), (), (), now, patient.heartbeat_s):
        if view.condition == SILENT:
            worker = view.worker
            yield Finding(
                "dead-workers", Severity.WARNING,
                f"worker {worker.worker_id} (host {worker.hostname}, pid {worker.pid}) is listed as {worker.status} "
                f"and was last heard of {duration(view.age_s)} ago",
                "Its process is gone, or stands still. Its tasks go back to the queue when their leases run out.",
                "See on its host what became of it. If it lives after all, it is listed again with its next heartbeat.",
                _bury(patient, worker),
            )  # fmt: skip


def _bury(patient: Patient, worker: Worker) -> Callable[[], str]:
    def mend() -> str:
        note = "silent; found by prismq doctor"
        patient.store.workers.stop(worker.worker_id, WorkerStatus.LOST.value, note, patient.clock.now())
        return f"worker {worker.worker_id} is listed as lost"

    return mend


def _versions(patient: Patient, now: float) -> Iterator[Finding]:
    live = [one.worker for one in views(patient.store.workers.all(), (), (), now, patient.heartbeat_s) if one.live]
    # A worker registered by hand, or by another program, says nothing of its version.
    known = sorted((worker for worker in live if worker.version), key=lambda worker: worker.version or "")
    count = {version: len(list(group)) for version, group in groupby(known, key=lambda worker: worker.version)}
    if set(count) - {__version__}:
        listed = ", ".join(f"{version}: {plural(number, 'worker')}" for version, number in count.items())
        yield Finding(
            "versions", Severity.WARNING,
            f"the live workers and this command are not all of one version ({listed}; this command: {__version__})",
            "A deployment that has not reached every machine; a fault that was mended in one version is still there in "
            "the other.",
            "Restart the older workers with the new version: `prismq workers drain`, then start them again.",
        )  # fmt: skip
