"""What the housekeeping of a supervisor puts by: scheduled backups and the archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from prismq import PrismQ
from prismq.config import WorkerConfig
from prismq.domain import events as ev
from prismq.domain.task import TaskFilter
from prismq.storage.archive import ArchiveReader
from prismq.storage.contract import Retention
from prismq.worker.copies import BackupPlan, Pruner, ScheduledBackups
from prismq.worker.housekeeper import Housekeeper
from prismq.worker.settings import options_of
from tests.helpers.builders import a_task, claim_one, complete
from tests.helpers.clock import FakeClock
from tests.helpers.processes import hand

RETENTION = Retention(completed_s=100, failed_s=100, logs_s=1e9, workers_s=1e9)
HOUR_S = 3600.0


@pytest.fixture
def q(tmp_path: Path, clock: FakeClock) -> Iterator[PrismQ]:
    with PrismQ(tmp_path / "queue.db", clock=clock) as queue:
        queue.store.check()
        yield queue


@pytest.fixture
def events() -> list[ev.Event]:
    return []


def backups(q: PrismQ, clock: FakeClock, events: list[ev.Event], **plan: object) -> ScheduledBackups:
    values = {"interval_s": HOUR_S, "keep": 2, **plan}
    return ScheduledBackups(q.store, BackupPlan(**values), clock, events.append)  # type: ignore[arg-type]


def step(keeper: ScheduledBackups) -> float:
    wait_s = keeper.step()
    finish(keeper)
    return wait_s


def finish(keeper: ScheduledBackups | None) -> None:
    """Wait for the backup that is being made: closing gives it up."""
    if keeper is not None and keeper._thread is not None:
        keeper._thread.join()


def made(q: PrismQ) -> list[str]:
    return sorted(one.name for one in (q.store.keeping.folder / "backups").glob("*.db"))


def test_a_backup_is_made_when_one_is_due_and_the_oldest_goes(
    q: PrismQ, clock: FakeClock, events: list[ev.Event]
) -> None:
    keeper = backups(q, clock, events)
    for expected in (1, 2, 2):
        step(keeper)
        assert len(made(q)) == expected
        assert step(keeper) > 0
        assert len(made(q)) == expected
        clock.advance(HOUR_S)
    assert [type(event) for event in events] == [ev.BackupMade] * 3


def test_backups_that_a_person_made_stay_and_do_not_count(q: PrismQ, clock: FakeClock, events: list[ev.Event]) -> None:
    from prismq.storage.backups import BackupFolder

    mine = BackupFolder(q.store.keeping, clock).create("mine").path.name
    also_mine = BackupFolder(q.store.keeping, clock).create("not_scheduled").path.name
    keeper = backups(q, clock, events, keep=1)
    for _ in range(3):
        step(keeper)
        clock.advance(HOUR_S)
    assert len(made(q)) == 3
    assert {mine, also_mine} <= set(made(q))


def test_another_process_that_makes_it_is_not_disturbed(q: PrismQ, clock: FakeClock, events: list[ev.Event]) -> None:
    keeper = backups(q, clock, events)
    with q.store.keeping.alone("backup"):
        step(keeper)
    assert made(q) == []
    assert events == []
    step(keeper)
    assert len(made(q)) == 1


def test_a_clock_that_is_set_back_does_not_end_the_backups(q: PrismQ, clock: FakeClock, events: list[ev.Event]) -> None:
    keeper = backups(q, clock, events, keep=10)
    step(keeper)
    clock.jump(-10 * HOUR_S)
    step(keeper)
    assert len(made(q)) == 2
    assert step(keeper) > 0
    assert len(made(q)) == 2


def test_a_backup_that_fails_is_told_and_tried_again(
    q: PrismQ, clock: FakeClock, events: list[ev.Event], tmp_path: Path
) -> None:
    (tmp_path / "backups").write_text("in the way")
    keeper = backups(q, clock, events)
    step(keeper)
    [failed] = events
    assert isinstance(failed, ev.ChoreFailed)
    assert failed.chore == "backup"
    step(keeper)
    assert len(events) == 1  # not every second
    (tmp_path / "backups").unlink()
    clock.advance(300)
    step(keeper)
    assert len(made(q)) == 1


def test_the_housekeeper_archives_before_it_prunes(
    q: PrismQ, clock: FakeClock, events: list[ev.Event], tmp_path: Path
) -> None:
    keeper = Housekeeper(
        q.store, clock, Random(0), events.append, lease_s=30, retention=RETENTION, archive_dir="old",
        backups=BackupPlan(HOUR_S),
    )  # fmt: skip
    q.store.inbox.enqueue_many([a_task(payload='{"n": 1}')] * 3, clock.now())
    ids = []
    for _ in range(3):
        lease = claim_one(q.store, clock)
        complete(q.store, clock, lease)
        ids.append(lease.task_id)
    clock.advance(200)
    for _ in range(200):
        clock.advance(keeper.step())
    finish(keeper._backups)
    keeper.close()
    reader = ArchiveReader(tmp_path / "old")
    assert sorted(line["id"] for line in reader.newest(10)) == ids
    assert q.store.tasks.count(TaskFilter()) == 0
    assert len(made(q)) == 1
    assert [event.count for event in events if isinstance(event, ev.TasksPruned)] == [3]


def test_an_archive_that_cannot_be_written_keeps_the_tasks_and_is_told_once(
    q: PrismQ, clock: FakeClock, events: list[ev.Event], tmp_path: Path
) -> None:
    (tmp_path / "old").write_text("in the way")
    keeper = Housekeeper(q.store, clock, Random(0), events.append, lease_s=30, retention=RETENTION, archive_dir="old")
    q.store.inbox.enqueue(a_task(), clock.now())
    complete(q.store, clock, claim_one(q.store, clock))
    clock.advance(200)
    for _ in range(200):
        clock.advance(keeper.step())
    assert q.store.tasks.count(TaskFilter()) == 1
    [failed] = [event for event in events if isinstance(event, ev.ChoreFailed)]
    assert failed.chore == "archive"
    (tmp_path / "old").unlink()
    for _ in range(200):
        clock.advance(keeper.step())
    keeper.close()
    assert q.store.tasks.count(TaskFilter()) == 0


def test_the_settings_say_what_is_put_by() -> None:
    options = options_of(WorkerConfig())
    assert (options.backups, options.archive_dir) == (None, None)
    options = options_of(
        WorkerConfig(backup_interval_seconds=60, backup_keep=3, backup_dir="b", archive_dir="/var/archive")
    )
    assert options.backups == BackupPlan(60.0, 3, "b")
    assert options.archive_dir == "/var/archive"


def test_rows_that_a_hand_has_spoilt_do_not_hold_up_the_archive(
    q: PrismQ, clock: FakeClock, events: list[ev.Event], tmp_path: Path
) -> None:
    """A blob for a payload, text that is not UTF-8, and times that are none."""
    path = tmp_path / "queue.db"
    q.store.inbox.enqueue_many([a_task()] * 3, clock.now())
    hand(path, "UPDATE task_queue SET status = 'completed', finished_at_utc = '2025-01-01 00:00:00'")
    hand(path, "UPDATE task_queue SET payload = x'ff00' WHERE id = 1")
    hand(path, "UPDATE task_queue SET error_message = CAST(x'41ff' AS TEXT) WHERE id = 2")
    hand(path, "UPDATE task_queue SET created_at_utc = 'yesterday' WHERE id = 3")
    hand(path, "INSERT INTO task_logs (task_id, at_utc, message) VALUES (3, 'noon', 'x')")
    pruner = Pruner(q.store, RETENTION, clock, "old")
    assert pruner.step() == 3
    pruner.close()
    reader = ArchiveReader(tmp_path / "old")
    tasks = {line["id"]: line for line in reader.newest(10)}
    assert tasks[2]["task"]["error_message"] == "A\ufffd"
    assert tasks[3]["task"]["created_at_utc"] == "yesterday"
    assert tasks[3]["logs"][0]["at_utc"] == "noon"
