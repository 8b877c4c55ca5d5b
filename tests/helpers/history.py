"""What handlers did, written by themselves outside the queue, and what must be true of it.

One file a process, opened with O_APPEND: a line that was written survives the kill of its writer.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from prismq import PrismQ
from prismq.domain.times import text_to_epoch, to_epoch
from tests.helpers.processes import Supervised, look

_CLOCK_S = 0.002  # the store keeps times to the millisecond


@dataclass
class Run:
    """One start of a handler; `end` is None where its process was killed before the handler ended."""

    task_id: int
    attempt: int
    worker_id: str
    pid: int
    start: float
    end: float | None = None


def record(folder: str, kind: str, task_id: int, attempt: int, worker_id: str) -> None:
    """Write one line; called by handlers."""
    descriptor = os.open(Path(folder) / f"{os.getpid()}.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # The true time, where a test has set the clock of this "host" wrong.
        at = time.time() - float(os.environ.get("PRISMQ_TEST_SKEW_S", "0"))
        os.write(descriptor, f"{kind} {task_id} {attempt} {worker_id} {at:.6f}\n".encode())
    finally:
        os.close(descriptor)


def read(folder: Path) -> list[Run]:
    """Every start with its end, in the order of the starts."""
    runs: list[Run] = []
    for file in folder.glob("*.txt"):
        open_runs: dict[tuple[int, str], Run] = {}
        for line in file.read_text().splitlines():
            kind, task_id, attempt, worker_id, at = line.split()
            key = int(task_id), worker_id
            if kind == "start":
                open_runs[key] = run = Run(int(task_id), int(attempt), worker_id, int(file.stem), float(at))
                runs.append(run)
            else:
                open_runs.pop(key).end = float(at)
    return sorted(runs, key=lambda run: run.start)


def problems(database: Path | str, folder: Path, acknowledged: Iterable[int], killed_at: dict[int, float]) -> list[str]:
    """What is wrong with a history, in words; empty where all is well. `killed_at`: pid → time of its SIGKILL."""
    wrong: list[str] = []
    acknowledged = set(acknowledged)
    rows = {
        task_id: (status, attempts, most)
        for task_id, status, attempts, most in look(
            database, "SELECT id, status, attempts, max_attempts FROM task_queue"
        )
    }
    lost = acknowledged - set(rows)
    if lost:
        wrong.append(f"{len(lost)} acknowledged tasks are gone: {sorted(lost)[:10]}")
    ended = {"completed", "failed", "dead_letter", "cancelled"}
    open_ones = [task_id for task_id, row in rows.items() if row[0] not in ended]
    if open_ones:
        wrong.append(f"{len(open_ones)} tasks have no end: {[(i, *rows[i]) for i in open_ones[:10]]}")
    wrong += [f"task {i} has {row[1]} attempts of {row[2]}" for i, row in rows.items() if row[1] > row[2]]
    twice = look(
        database,
        "SELECT task_id, count(*) FROM task_logs WHERE message LIKE '%→ completed' GROUP BY 1 HAVING count(*) > 1",
    )
    wrong += [f"task {task_id} was completed {count} times" for task_id, count in twice[:10]]
    by_task: defaultdict[int, list[Run]] = defaultdict(list)
    for run in read(folder):
        by_task[run.task_id].append(run)
    unrun = [i for i, row in rows.items() if row[0] == "completed" and not any(r.end for r in by_task.get(i, ()))]
    if unrun:
        wrong.append(f"{len(unrun)} tasks are completed but no handler ended: {unrun[:10]}")
    wrong += _overlaps(database, by_task, killed_at)
    return wrong


def _overlaps(database: Path | str, by_task: dict[int, list[Run]], killed_at: dict[int, float]) -> list[str]:
    declared = {
        (task_id, worker_id, attempt): to_epoch(at) if isinstance(at, datetime) else text_to_epoch(at)
        for task_id, worker_id, attempt, at in look(
            database, "SELECT task_id, worker_id, attempt, finished_at_utc FROM task_attempts WHERE outcome = 'lost'"
        )
    }
    wrong = []
    for task_id, runs in by_task.items():
        for first, second in itertools.pairwise(runs):
            end = first.end if first.end is not None else killed_at.get(first.pid, float("inf"))
            if end <= second.start + _CLOCK_S:
                continue
            lost_at = declared.get((task_id, first.worker_id, first.attempt))
            if lost_at is None or lost_at > second.start + _CLOCK_S:
                wrong.append(f"task {task_id}: {first} was running when {second} began; declared lost at {lost_at}")
    return wrong


def supervisors_kills(supervised: Iterable[Supervised]) -> dict[int, float]:
    """pid → time of the processes that a supervisor killed because they were wedged, from its own log."""
    killed: dict[int, float] = {}
    for one in supervised:
        for entry in one.events("worker_process_lost"):
            at = time.mktime(time.strptime(entry["timestamp"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone + 1
            killed.setdefault(int(entry["pid"]), at)
    return killed


def check_books(database: Path | str) -> list[str]:
    """The books against a count; a file against SQLite's own check."""
    with PrismQ(database) as q:
        depth, counted = q.store.insight.depth(), q.store.insight.recount()
    wrong = [] if depth == counted else [f"the books say {depth}, the table says {counted}"]
    if not isinstance(database, Path):
        return wrong
    [(verdict,)] = look(database, "PRAGMA integrity_check")
    return wrong if verdict == "ok" else [*wrong, f"integrity_check: {verdict}"]
