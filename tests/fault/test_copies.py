"""Backups under full load, and an archive whose writer is killed: with real processes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prismq import NewTask, PrismQ, QueueBackup, QueueDatabase
from prismq.domain.task import TaskFilter
from prismq.storage.archive import ArchiveReader
from tests.helpers.processes import hand, look, supervised, wait_until

pytestmark = pytest.mark.timeout(180)


def test_backups_made_during_a_full_speed_drain_are_whole_and_lose_no_task(tmp_path: Path) -> None:
    path, count = tmp_path / "queue.db", 20_000
    with PrismQ(path) as q:
        handles = q.enqueue_many([NewTask("noop") for _ in range(count)])
    ids = {handle.id for handle in handles}

    def ended() -> int:
        return int(look(path, "SELECT count(*) FROM task_queue WHERE status = 'completed'")[0][0])

    made: list[tuple[int, Path, int]] = []
    with supervised(path, processes=2, concurrency=8) as running, QueueDatabase(path) as db:
        backup = QueueBackup(db)
        wait_until(ended, "the drain has begun")
        while (before := ended()) < count and len(made) < 8:
            copy = backup.create_backup()
            made.append((before, copy, ended()))
        wait_until(lambda: ended() == count, "the drain has ended", 120)
        assert running.events("task_retry") == []
        assert running.stop() == 0
    assert made, "no backup was made while tasks ran"
    assert made[0][0] < count

    with QueueDatabase(path) as db:
        backup = QueueBackup(db)
        for number, (at_least, copy, at_most) in enumerate(made):
            target = backup.restore_backup(copy, tmp_path / "restored" / f"{number}.db")
            with PrismQ(target) as restored:
                keeping, insight = restored.store.keeping, restored.store.insight
                assert keeping.integrity_check() == ["ok"]
                assert keeping.compare_books() == {}
                assert insight.depth() == insight.recount()
                # One moment: everything that had been enqueued, and what had ended between its beginning and its end.
                assert {row[0] for row in look(target, "SELECT id FROM task_queue")} == ids
                done = restored.store.tasks.count(TaskFilter(statuses=("completed",)))
                assert at_least <= done <= at_most

    # And a worker can go on from the first of them: what was in hand then is tried again, nothing is left over.
    first = tmp_path / "restored" / "0.db"
    hand(
        first, "UPDATE task_queue SET lease_until_utc = '2000-01-01 00:00:00' WHERE status IN ('claimed', 'processing')"
    )
    with supervised(first, processes=1, concurrency=8):
        wait_until(
            lambda: look(first, "SELECT count(*) FROM task_queue WHERE status = 'completed'") == [(count,)],
            "the restored queue is drained",
            120,
        )
    assert look(first, "SELECT count(*), count(DISTINCT id) FROM task_queue") == [(count, count)]


def test_of_two_supervisors_one_makes_the_backup_that_is_due(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with PrismQ(path) as q:
        q.enqueue("noop")
    settings = {"backup_interval_seconds": 3600, "backup_keep": 2, "backup_dir": "copies"}
    with supervised(path, **settings) as one, supervised(path, **settings) as other:
        both = (one, other)
        wait_until(lambda: [event for running in both for event in running.events("backup_made")], "a backup is made")
        for running in both:
            running.one_worker()
            assert running.stop() == 0
        assert sum(len(running.events("backup_made")) for running in both) == 1
        assert [event for running in both for event in running.events("housekeeping_failed")] == []
    [made] = (tmp_path / "copies").iterdir()
    assert made.name.startswith("queue_backup_scheduled_")
    with QueueDatabase(path) as db:
        assert QueueBackup(db, "copies").verify_backup(made)


_PRUNE = """
import sys
from prismq import PrismQ
from prismq.clock import SYSTEM_CLOCK
from prismq.storage.contract import Retention
from prismq.worker.copies import Pruner

q = PrismQ(sys.argv[1])
pruner = Pruner(q.store, Retention(0, 0, 1e9, 1e9), SYSTEM_CLOCK, "archive")
print("ready", flush=True)
while pruner.step():
    pass
"""


def test_an_archive_whose_writer_is_killed_again_and_again_holds_every_task_in_the_end(
    tmp_path: Path, seed: int
) -> None:
    path, count = tmp_path / "queue.db", 10_000
    rng = random.Random(seed)
    with PrismQ(path) as q:
        q.enqueue_many([NewTask("job", f'{{"n": {n}, "text": "{"x" * 400}"}}') for n in range(count)])
    hand(path, "INSERT INTO task_logs (task_id, message) SELECT id, 'said ' || id FROM task_queue")
    hand(path, "UPDATE task_queue SET status = 'completed', finished_at_utc = '2025-01-01 00:00:00'")
    everything = {row[0] for row in look(path, "SELECT id FROM task_queue")}
    archive = tmp_path / "archive"

    def archived() -> dict[int, dict[str, object]]:
        return {line["id"]: line for line in ArchiveReader(archive).newest(count * 3)}

    kills, longest_s, left = 0, 0.02, everything
    for _ in range(200):
        process = subprocess.Popen([sys.executable, "-c", _PRUNE, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process:
            assert process.stdout.readline() == b"ready\n"
            try:
                code = process.wait(rng.uniform(0.0, longest_s))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills += 1
            else:
                assert code == 0
                break
        before, left = left, {row[0] for row in look(path, "SELECT id FROM task_queue")}
        if left == before:  # this machine needs longer for a batch
            longest_s *= 1.5
        assert left | set(archived()) == everything, "a task is in neither place"
    assert look(path, "SELECT count(*) FROM task_queue") == [(0,)]
    found = archived()
    assert set(found) == everything
    assert kills >= 2, "it was too quick to be killed"
    for task_id, line in found.items():
        assert [log["message"] for log in line["logs"]] == [f"said {task_id}"]  # type: ignore[attr-defined]
        assert len(line["task"]["payload"]) > 400  # type: ignore[index]
    with PrismQ(path) as q:
        assert q.store.keeping.compare_books() == {}
