"""QueueMaintenance: names, keys and messages are the contract."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from prismq import NewTask, PrismQ, QueueBusyError, QueueDatabase, QueueMaintenance, QueueMaintenanceError
from prismq.clock import SYSTEM_CLOCK
from prismq.domain.limits import EXPIRE_CHUNK
from prismq.domain.task import TaskFilter
from prismq.domain.times import epoch_to_text
from tests.helpers.builders import claim
from tests.helpers.processes import hand


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def db(path: Path) -> Iterator[QueueDatabase]:
    with QueueDatabase(path, busy_timeout_s=0.1) as database:
        database.initialize_schema()
        yield database


@pytest.fixture
def upkeep(db: QueueDatabase) -> QueueMaintenance:
    return QueueMaintenance(db)


@pytest.fixture
def q(db: QueueDatabase, path: Path) -> Iterator[PrismQ]:
    with PrismQ(path) as queue:
        yield queue


@pytest.mark.parametrize("mode", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_a_checkpoint_says_what_it_did(upkeep: QueueMaintenance, q: PrismQ, path: Path, mode: str) -> None:
    assert getattr(QueueMaintenance, f"CHECKPOINT_{mode}") == mode
    q.enqueue("job")
    found = upkeep.checkpoint(mode)
    assert set(found) == {"busy", "log", "checkpointed"}
    assert found["busy"] == 0
    assert found["checkpointed"] == found["log"]
    assert (mode == "TRUNCATE") == (path.with_name("queue.db-wal").stat().st_size == 0)
    assert upkeep.checkpoint(mode.lower())["busy"] == 0


def test_a_checkpoint_that_a_reader_stands_in_the_way_of_says_so(
    upkeep: QueueMaintenance, q: PrismQ, path: Path
) -> None:
    q.enqueue("job")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM task_queue").fetchone()
        q.enqueue("job")
        found = upkeep.checkpoint()
        assert found["checkpointed"] < found["log"]
        assert upkeep.checkpoint(QueueMaintenance.CHECKPOINT_TRUNCATE)["busy"] == 1


@pytest.mark.parametrize("mode", ["HALF", "", "PASSIVE; DROP TABLE task_queue"])
def test_a_mode_that_there_is_none_of_is_refused(upkeep: QueueMaintenance, mode: str) -> None:
    with pytest.raises(QueueMaintenanceError, match="Invalid checkpoint mode"):
        upkeep.checkpoint(mode)


def test_the_statistics_have_the_keys_of_the_contract(upkeep: QueueMaintenance, q: PrismQ, path: Path) -> None:
    q.enqueue("job")
    found = upkeep.get_database_stats()
    assert set(found) == {"page_count", "page_size", "total_size_mb", "freelist_count", "wal_mode", "wal_size_mb"}
    assert found["wal_mode"] is True
    assert found["total_size_mb"] == found["page_count"] * found["page_size"] / 1_048_576
    assert found["wal_size_mb"] == path.with_name("queue.db-wal").stat().st_size / 1_048_576 > 0


def test_vacuum_gives_free_pages_back(upkeep: QueueMaintenance, q: PrismQ) -> None:
    q.enqueue_many([NewTask("job", f'{{"x": "{"y" * 3000}"}}') for _ in range(300)])
    q.store.tasks.delete(TaskFilter())
    before = upkeep.get_database_stats()
    assert before["freelist_count"] > 100
    upkeep.vacuum()
    after = upkeep.get_database_stats()
    assert after["freelist_count"] == 0
    assert after["page_count"] < before["page_count"]


def test_vacuum_inside_a_transaction_is_refused(upkeep: QueueMaintenance, db: QueueDatabase) -> None:
    with db.transaction(), pytest.raises(QueueMaintenanceError, match="inside a transaction"):
        upkeep.vacuum()


def test_vacuum_does_not_wait_for_ever_for_a_writer(upkeep: QueueMaintenance, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(QueueBusyError):
            upkeep.vacuum()


def test_optimize_says_what_was_done(upkeep: QueueMaintenance, q: PrismQ, db: QueueDatabase) -> None:
    q.enqueue("job")
    found = upkeep.optimize()
    assert (found["analyzed"], found["vacuumed"]) == (True, False)
    assert set(found["stats_before"]) == set(found["stats_after"]) == set(upkeep.get_database_stats())
    assert db.execute("SELECT count(*) FROM sqlite_stat1 WHERE tbl = 'task_queue'").fetchone()[0] > 0
    assert upkeep.optimize(full=True)["vacuumed"] is True


def test_integrity_of_a_whole_file_is_ok_and_of_a_damaged_one_is_not(
    upkeep: QueueMaintenance, q: PrismQ, db: QueueDatabase, path: Path
) -> None:
    q.enqueue_many([NewTask("job", f'{{"x": "{"y" * 3000}"}}') for _ in range(100)])
    assert upkeep.integrity_check() == ["ok"]
    q.close()
    db.close()
    with path.open("rb+") as file:
        file.seek(path.stat().st_size - 4096 * 20)
        file.write(b"\xff" * 4096 * 5)
    found = upkeep.integrity_check()
    assert found
    assert found != ["ok"]


def test_stale_leases_go_back_to_the_queue(upkeep: QueueMaintenance, q: PrismQ, path: Path) -> None:
    count = EXPIRE_CHUNK + 3
    q.enqueue_many([NewTask("job") for _ in range(count)])
    claim(q.store, SYSTEM_CLOCK, limit=count)
    assert upkeep.cleanup_stale_leases() == 0
    for ago_s, timeout_s, returned in ((200, 300, 0), (301, 300, count)):
        hand(path, "UPDATE task_queue SET lease_until_utc = ?", (epoch_to_text(SYSTEM_CLOCK.now() - ago_s),))
        assert upkeep.cleanup_stale_leases(timeout_seconds=timeout_s) == returned
    assert q.store.tasks.count(TaskFilter(statuses=("queued",))) == count
    assert q.store.keeping.compare_books() == {}
    with pytest.raises(QueueMaintenanceError, match="timeout_seconds"):
        upkeep.cleanup_stale_leases(-1)
