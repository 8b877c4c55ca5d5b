"""A disk that is full, a file that others hold, clocks that jump."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from prismq import PrismQ, QueueBusyError, QueueDatabaseError, TaskFailed
from prismq.domain import events as ev
from prismq.domain.task import TaskFilter
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.store import SqliteStore
from prismq.worker.housekeeper import Housekeeper
from prismq.worker.reaper import Reaper
from tests.helpers.builders import KEEP_ALL, a_task, claim_one, status_of
from tests.helpers.clock import FakeClock
from tests.helpers.history import check_books
from tests.helpers.processes import look, wait_until
from tests.integration.support import Seen, a_worker

WAIT_S = 20.0
EVERY_MINUTE = "* * * * *"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB; skipped where none can be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here; the quota test covers it")
    try:
        yield folder
    finally:
        # Lazily: a test that failed may have left the file open.
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _fill_up(q: PrismQ) -> list[int]:
    """Enqueue until the disk is full; what was acknowledged."""
    acknowledged = []
    with pytest.raises(QueueDatabaseError, match="disk is full") as caught:  # noqa: PT012 - which one fails is open
        for _ in range(100_000):
            acknowledged.append(q.enqueue("job", {"text": "x" * 2000}).id)
    assert not isinstance(caught.value, QueueBusyError)
    return acknowledged


def test_a_full_disk_stops_the_queue_with_a_message_and_loses_nothing(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    q = PrismQ(small_disk / "queue.db")
    seen = Seen(q)

    @q.task(name="job")
    def job(text: str) -> int:
        return len(text)

    @q.task(name="fat", priority=1)
    def fat() -> str:
        return "x" * 500_000

    try:
        q.store.check()
        big = fat.enqueue()
        ballast.write_bytes(b"x" * 12_000_000)
        acknowledged = _fill_up(q)
        assert acknowledged
        with a_worker(q, concurrency=2):
            seen.wait(ev.StoreUnavailable, lambda event: "disk is full" in event.error)
            assert big.status != "completed"
            ballast.unlink()
            seen.wait(ev.StoreRecovered)
            wait_until(lambda: q.tasks.count(status="completed") == len(acknowledged) + 1, "all is done", 60)
            assert q.enqueue("job", {"text": "after"}).result(WAIT_S) == 5
    finally:
        q.close()
    assert check_books(small_disk / "queue.db") == []


def test_a_file_that_may_not_grow_stops_the_queue_with_a_message_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    q = PrismQ(path)
    database: QueueDatabase = q.store.database  # type: ignore[attr-defined]
    [(pages,)] = database.get_connection().execute("PRAGMA page_count").fetchall()
    database.get_connection().execute(f"PRAGMA max_page_count = {pages + 20}")
    acknowledged = _fill_up(q)
    with pytest.raises(QueueDatabaseError, match="disk is full"):
        q.enqueue_many([a_task("job", payload='{"text": "%s"}' % ("y" * 2000)) for _ in range(100)])
    assert look(path, "SELECT count(*) FROM task_queue") == [(len(acknowledged),)]
    database.get_connection().execute("PRAGMA max_page_count = 1073741823")
    assert q.enqueue("job", {"text": "z"}).id == acknowledged[-1] + 1
    q.close()
    assert check_books(path) == []


class Holder:
    """Another program with a write transaction open."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)

    def hold(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


def test_a_file_that_another_program_holds_is_waited_for_by_workers_and_told_to_clients(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    q = PrismQ(path, busy_timeout=0.2)
    seen = Seen(q)
    ran: list[int] = []

    @q.task(name="job")
    def job(n: int) -> int:
        ran.append(n)
        return n

    q.store.check()
    holder = Holder(path)
    with a_worker(q, lease_duration_seconds=30) as worker:
        assert job.enqueue(1).result(WAIT_S) == 1
        waiting = job.options(delay=0.2).enqueue(2)
        holder.hold()
        with pytest.raises(QueueBusyError, match="locked by another program"):
            job.enqueue(3)
        with pytest.raises(QueueBusyError):
            job.enqueue_many([(4,), (5,)])
        down = seen.wait(ev.StoreUnavailable)
        assert "locked by another program" in down.error
        assert worker.runtime.pump.down_since is not None
        holder.release()
        seen.wait(ev.StoreRecovered)
        assert waiting.result(WAIT_S) == 2
        assert job.enqueue(6).result(WAIT_S) == 6
    assert ran == [1, 2, 6]
    holder.close()
    q.close()
    assert check_books(path) == []


def test_a_task_that_ends_while_the_file_is_held_is_not_run_again(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    q = PrismQ(path, busy_timeout=0.1)
    seen = Seen(q)
    started, go = threading.Event(), threading.Event()
    ran: list[int] = []

    @q.task(name="job")
    def job() -> int:
        ran.append(1)
        started.set()
        go.wait(WAIT_S)
        return 7

    q.store.check()
    holder = Holder(path)
    with a_worker(q, lease_duration_seconds=30):
        handle = job.enqueue()
        assert started.wait(WAIT_S)
        wait_until(lambda: handle.status == "processing", "its start is written", WAIT_S)
        holder.hold()
        go.set()
        seen.wait(ev.StoreUnavailable)
        holder.release()
        assert handle.result(WAIT_S) == 7
    assert ran == [1]
    [worker] = look(path, "SELECT completed FROM workers")
    assert worker == (1,), "what the worker says of itself"
    holder.close()
    q.close()


def test_a_worker_whose_store_is_away_for_a_whole_lease_stops_its_tasks(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    q = PrismQ(path, busy_timeout=0.1)
    seen = Seen(q)
    started, stopped = threading.Semaphore(0), threading.Event()

    @q.task(name="job", max_attempts=2)
    def job(fast: bool = False) -> str:
        started.release()
        try:
            for _ in range(0 if stopped.is_set() else 3000):
                threading.Event().wait(0.01)
        finally:
            stopped.set()
        return "done"

    q.store.check()
    holder = Holder(path)
    with a_worker(q, lease_duration_seconds=1.0) as worker:
        handle = job.enqueue()
        assert started.acquire(timeout=WAIT_S)
        wait_until(lambda: handle.status == "processing", "its start is written", WAIT_S)
        holder.hold()
        assert stopped.wait(WAIT_S), "the task was not stopped although its lease is over"
        wait_until(lambda: worker.runtime.exit_wanted, "the worker wants to be replaced", WAIT_S)
        holder.release()
        assert handle.result(WAIT_S) == "done"
    assert seen.of(ev.LeaseLostEvent) or handle.task().attempts == 2
    holder.close()
    q.close()
    assert check_books(path) == []


@pytest.mark.parametrize("damage", ["header", "middle"])
def test_a_damaged_file_is_reported_and_not_made_worse(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "queue.db"
    with PrismQ(path) as q:
        for n in range(500):
            q.enqueue("job", {"n": n, "text": "x" * 200})
    with path.open("r+b") as file:
        file.seek(0 if damage == "header" else 8192)
        file.write(b"\xff" * 4096)
    with PrismQ(path) as q, pytest.raises(QueueDatabaseError, match=r"damaged|not a SQLite database"):  # noqa: PT012
        for _ in range(100):
            q.enqueue("job", {"n": 1, "text": "x" * 200})
        q.store.insight.recount()
        q.store.tasks.find(TaskFilter(), limit=1000)


def test_a_file_that_may_only_be_read_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with PrismQ(path) as q:
        q.enqueue("job", {})
        connection = q.store.database.get_connection()  # type: ignore[attr-defined]
        connection.execute("PRAGMA query_only = ON")
        with pytest.raises(QueueDatabaseError, match="cannot be written"):
            q.enqueue("job", {})


# -- clocks


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(QueueDatabase(tmp_path / "queue.db"))
    store.prepare()
    yield store
    assert store.insight.depth() == store.insight.recount()
    store.close()


def test_a_clock_that_jumps_forward_expires_no_lease_of_a_living_worker(store: SqliteStore, clock: FakeClock) -> None:
    reaper = Reaper(store.upkeep, clock, lambda event: None, lease_s=30)
    alive, dead = (store.inbox.enqueue(a_task(), clock.now()).task_id for _ in range(2))
    first = claim_one(store, clock, "alive")
    second = claim_one(store, clock, "dead")
    assert (first.task_id, second.task_id) == (alive, dead)
    reaper.step()
    clock.jump(86_400)
    for _ in range(20):
        clock.advance(2)
        reaper.step()
        store.work.renew(["alive"], 30, clock.now())
        assert status_of(store, alive) == "claimed"
    assert status_of(store, dead) == "queued"


def test_a_worker_that_dies_just_after_a_jump_does_not_take_the_living_with_it(
    store: SqliteStore, clock: FakeClock
) -> None:
    reaper = Reaper(store.upkeep, clock, lambda event: None, lease_s=30)
    alive = store.inbox.enqueue(a_task(), clock.now()).task_id
    claim_one(store, clock, "alive")
    dead = store.inbox.enqueue(a_task(), clock.now()).task_id
    claim_one(store, clock, "dead")
    reaper.step()
    clock.jump(3600)
    reaper.bury(["dead"], "its process was killed")
    assert status_of(store, alive) == "claimed"
    for _ in range(20):
        clock.advance(2)
        store.work.renew(["alive"], 30, clock.now())
        reaper.step()
    assert (status_of(store, alive), status_of(store, dead)) == ("claimed", "queued")


def test_a_clock_that_jumps_back_keeps_no_dead_workers_task_for_ever(store: SqliteStore, clock: FakeClock) -> None:
    """The supervisor returns it; a lease by the old clock would end an hour from now."""
    reaper = Reaper(store.upkeep, clock, lambda event: None, lease_s=30)
    task_id = store.inbox.enqueue(a_task(), clock.now()).task_id
    claim_one(store, clock, "dead")
    reaper.step()
    clock.jump(-3600)
    for _ in range(20):
        reaper.step()
        clock.advance(2)
    reaper.bury(["dead"], "its process was killed")
    assert status_of(store, task_id) == "queued"


def test_while_somebody_holds_the_lock_and_just_after_it_no_living_workers_lease_is_ended(
    store: SqliteStore, clock: FakeClock, tmp_path: Path
) -> None:
    """As a task does that computes in one C call while a thread beside it is in the middle of a transaction."""
    reaper = Reaper(store.upkeep, clock, lambda event: None, lease_s=30)
    alive, dead = (store.inbox.enqueue(a_task(), clock.now()).task_id for _ in range(2))
    claim_one(store, clock, "alive")
    claim_one(store, clock, "dead")
    reaper.step()
    with contextlib.closing(sqlite3.connect(tmp_path / "queue.db", isolation_level=None)) as another:
        another.execute("BEGIN IMMEDIATE")
        for _ in range(20):
            clock.advance(2)
            reaper.step()
        another.execute("ROLLBACK")
    assert status_of(store, alive) == status_of(store, dead) == "claimed"
    reaper.step()
    assert status_of(store, alive) == "claimed"
    store.work.renew(["alive"], 30, clock.now())
    for _ in range(10):
        clock.advance(2)
        reaper.step()
    assert (status_of(store, alive), status_of(store, dead)) == ("claimed", "queued")


def _schedule(store: SqliteStore, clock: FakeClock, missed: str = "latest") -> Housekeeper:
    from prismq.storage.contract import Schedule

    store.schedules.declare(Schedule("tick", EVERY_MINUTE, "UTC", missed, a_task("tick")), clock.now())
    return Housekeeper(store, clock, Random(0), lambda event: None, lease_s=30, retention=KEEP_ALL)


def _slots(store: SqliteStore) -> list[str]:
    rows: list[Any] = store.database.execute("SELECT idempotency_key FROM task_queue ORDER BY id").fetchall()
    return [row[0] for row in rows]


@pytest.mark.parametrize("back_s", [30, 90, 3600])
def test_a_clock_that_jumps_back_fires_no_slot_twice(store: SqliteStore, clock: FakeClock, back_s: float) -> None:
    keepers = [_schedule(store, clock), _schedule(store, clock)]

    def minutes(count: int) -> None:
        for _ in range(count * 12):
            clock.advance(5)
            for keeper in keepers:
                keeper.step()

    minutes(5)
    before = len(_slots(store))
    assert before in (4, 5)
    clock.jump(-back_s)
    minutes(int(back_s // 60) + 5)
    slots = _slots(store)
    assert len(slots) == len(set(slots))
    assert len(slots) > before


def test_a_clock_that_jumps_forward_fires_the_missed_slots_by_policy(store: SqliteStore, clock: FakeClock) -> None:
    keeper = _schedule(store, clock)
    keeper.step()
    clock.jump(86_400)
    clock.advance(2)
    keeper.step()
    assert len(_slots(store)) == 1


def test_a_task_for_later_waits_however_the_clock_jumps_back(tmp_path: Path) -> None:
    clock = FakeClock()
    with PrismQ(tmp_path / "queue.db", clock=clock) as q:
        handle = q.enqueue("job", {}, delay=60)
        clock.jump(-3600)
        clock.advance(120)
        assert handle.status == "scheduled"
        handle.cancel()
        with pytest.raises(TaskFailed):
            handle.result(1)
