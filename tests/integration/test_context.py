"""What a task says and asks: logs, progress, its own transaction."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing

import pytest

from prismq import Backoff, PrismQ, PrismqError, TaskFailed, current_task
from prismq.domain import events as ev
from prismq.domain.errors import LeaseLost
from prismq.domain.limits import LOGS_PER_ATTEMPT_MAX
from tests.helpers.processes import wait_until
from tests.integration.support import WAIT_S, Gate, Seen, a_worker, wait_status

SOON = Backoff(initial_s=0.01, cap_s=0.02)


def test_log_lines_are_kept_in_order_before_the_end_and_tied_to_the_attempt(q: PrismQ) -> None:
    names = [f"line {n}" for n in range(20)]

    @q.task(max_attempts=2, backoff=SOON)
    def talk() -> None:
        log = current_task().log
        for n in range(20):
            log.info(names[n], n=n, what={"deep": [1, 2]}, odd=object)
        log.error("broken \ud800 text", value=float("nan"))
        if current_task().attempt == 1:
            raise ValueError("once")

    with a_worker(q):
        handle = talk.enqueue()
        handle.result(WAIT_S)
    lines = q.tasks.logs(handle.id)
    for attempt in (1, 2):
        own = [line for line in lines if line.attempt == attempt and "claimed → processing" not in (line.message or "")]
        assert [line.message for line in own[:20]] == [f"line {n}" for n in range(20)]
        assert own[20].level == "ERROR"
        assert (own[20].message or "").startswith("broken")
        assert own[3].get_details_dict()["n"] == 3
    assert [line.attempt for line in lines] == sorted(line.attempt or 0 for line in lines)
    retried = next(line for line in lines if line.level == "WARNING")
    assert "attempt 1/2 failed, retry in" in (retried.message or "")
    assert "in talk" in retried.get_details_dict()["stack_trace"]
    assert (lines[-1].message or "").endswith("→ completed")


def test_a_task_that_logs_without_end_is_cut_and_marked(q: PrismQ) -> None:
    @q.task
    def flood() -> None:
        for n in range(LOGS_PER_ATTEMPT_MAX + 500):
            current_task().log.info(f"line {n}")

    with a_worker(q):
        handle = flood.enqueue()
        handle.result(WAIT_S)
    lines = q.tasks.logs(handle.id, limit=10_000)
    own = [line for line in lines if "→" not in (line.message or "")]  # a slow one has a line for its start, too
    assert len(own) == LOGS_PER_ATTEMPT_MAX
    assert "log cut here" in (own[-1].message or "")


def test_log_lines_and_progress_can_be_seen_while_the_task_runs(q: PrismQ) -> None:
    gate = Gate()

    @q.task
    async def talk() -> None:
        import asyncio

        current_task().log.info("halfway")
        current_task().progress(5, 10, "half")
        gate.entered.release()
        while not gate._open.is_set():
            await asyncio.sleep(0.01)

    with a_worker(q):
        handle = talk.enqueue()
        gate.wait_entered()
        wait_until(lambda: handle.progress == {"done": 5, "total": 10, "note": "half"}, "progress is seen", 5)
        wait_until(lambda: any(one.message == "halfway" for one in q.tasks.logs(handle.id)), "the line is seen", 5)
        wait_status(handle, "processing")
        gate.open()
        handle.result(WAIT_S)


def test_current_task_knows_its_task_and_is_nobody_outside(q: PrismQ) -> None:
    @q.task(queue="special")
    def who() -> dict[str, object]:
        task = current_task()
        return {
            "id": task.id, "type": task.type, "queue": task.queue, "attempt": task.attempt, "of": task.max_attempts,
            "key": task.idempotency_key, "headers": dict(task.headers), "schedule": task.schedule,
        }  # fmt: skip

    with a_worker(q) as worker:
        handle = who.options(idempotency_key="k1", headers={"trace": "abc"}).enqueue()
        assert handle.result(WAIT_S) == {
            "id": handle.id, "type": who.name, "queue": "special", "attempt": 1, "of": 5, "key": "k1",
            "headers": {"trace": "abc"}, "schedule": None,
        }  # fmt: skip
        assert handle.task().locked_by in (worker.worker_id, None)
    with pytest.raises(PrismqError, match="outside a task"):
        current_task()


def _effects(q: PrismQ) -> list[str]:
    connection = q.store.database.get_connection()  # type: ignore[attr-defined]
    return [row[0] for row in connection.execute("SELECT value FROM effects ORDER BY rowid")]


@pytest.fixture
def effects(q: PrismQ) -> None:
    q.store.database.get_connection().execute("CREATE TABLE effects (value TEXT)")  # type: ignore[attr-defined]


@pytest.mark.usefixtures("effects")
def test_a_task_and_its_own_writes_commit_together(q: PrismQ) -> None:
    @q.task
    def write(value: str) -> str:
        with current_task().transaction() as connection:
            connection.execute("INSERT INTO effects VALUES (?)", (value,))
        return value * 2

    with a_worker(q):
        handles = [write.enqueue(f"v{n}") for n in range(50)]
        assert [handle.result(WAIT_S) for handle in handles]
        wait_until(lambda: all(handle.task().result for handle in handles), "the results are kept", 5)
    assert sorted(_effects(q)) == sorted(f"v{n}" for n in range(50))


@pytest.mark.parametrize("executor", ["auto", "async"])
@pytest.mark.usefixtures("effects")
def test_a_task_completes_on_a_connection_of_its_own_while_it_goes_on(q: PrismQ, seen: Seen, executor: str) -> None:
    """The commit is the handler's; the worker finds it done, and adds the result."""

    def write(value: str, pause_s: float) -> str:
        with closing(sqlite3.connect(q.database)) as connection:
            connection.execute("BEGIN")
            with current_task().transaction(connection):
                connection.execute("INSERT INTO effects VALUES (?)", (value,))
            connection.commit()
        time.sleep(pause_s)
        return value * 2

    async def awrite(value: str, pause_s: float) -> str:
        return write(value, pause_s)

    task = q.task(name="write")(awrite if executor == "async" else write)
    with a_worker(q, lease_duration_seconds=1, heartbeat_interval_seconds=0.2):
        quick, slow = task.enqueue("q", 0.0), task.enqueue("s", 1.5)
        wait_until(lambda: quick.task().result and slow.task().result, "the results", WAIT_S)
        assert [quick.result(WAIT_S), slow.result(WAIT_S)] == ["qq", "ss"]
    assert sorted(_effects(q)) == ["q", "s"]
    assert slow.task().attempts == 1
    assert seen.of(ev.LeaseLostEvent) == []


@pytest.mark.usefixtures("effects")
def test_a_commit_that_never_comes_leaves_the_end_to_the_worker(q: PrismQ) -> None:
    @q.task(max_attempts=2, backoff=SOON)
    def write() -> str:
        with closing(sqlite3.connect(q.database)) as connection:
            connection.execute("BEGIN")
            with current_task().transaction(connection):
                connection.execute("INSERT INTO effects VALUES ('x')")
            connection.rollback()
        if current_task().attempt == 1:
            raise ValueError("nothing was written")
        return "done"

    with a_worker(q):
        handle = write.enqueue()
        assert handle.result(WAIT_S) == "done"
    assert _effects(q) == []
    assert handle.task().attempts == 2


@pytest.mark.usefixtures("effects")
def test_a_task_that_fails_inside_its_transaction_leaves_no_writes(q: PrismQ) -> None:
    @q.task(max_attempts=2, backoff=SOON)
    def write() -> None:
        with current_task().transaction() as connection:
            connection.execute("INSERT INTO effects VALUES ('x')")
            if current_task().attempt == 1:
                raise ValueError("before the commit")

    with a_worker(q):
        write.enqueue().result(WAIT_S)
    assert _effects(q) == ["x"]


@pytest.mark.usefixtures("effects")
def test_a_task_that_fails_after_its_transaction_stays_completed(q: PrismQ) -> None:
    @q.task(max_attempts=3, backoff=SOON)
    def write() -> None:
        with current_task().transaction() as connection:
            connection.execute("INSERT INTO effects VALUES ('x')")
        raise ValueError("too late")

    with a_worker(q) as worker:
        handle = write.enqueue()
        assert handle.result(WAIT_S) is None
        wait_until(lambda: worker.runtime.idle, "the worker is idle", 5)
        wait_until(
            lambda: any("too late" in (line.message or "") for line in q.tasks.logs(handle.id)), "it is logged", 5
        )
    assert _effects(q) == ["x"]
    assert handle.task().attempts == 1


@pytest.mark.usefixtures("effects")
def test_a_task_whose_lease_was_taken_cannot_commit_and_is_told(q: PrismQ) -> None:
    gate = Gate()
    told: list[BaseException] = []

    @q.task
    def write(value: str) -> str:
        first = not gate._open.is_set()
        if first:
            gate.block()
        try:
            with current_task().transaction() as connection:
                connection.execute("INSERT INTO effects VALUES (?)", (f"{value} {'first' if first else 'second'}",))
        except LeaseLost as error:
            told.append(error)
            raise
        return value

    with a_worker(q, concurrency=2):
        handle = write.enqueue("v")
        gate.wait_entered()
        # Somebody else has been given the task meanwhile.
        connection = q.store.database.get_connection()  # type: ignore[attr-defined]
        connection.execute("UPDATE task_queue SET fencing_token = fencing_token + 1, status = 'queued'")
        gate.open()
        # The task is completed with its transaction; what the function returns after it comes a moment later.
        wait_until(lambda: handle.task().result, "its result is kept", WAIT_S)
        assert handle.result(WAIT_S) == "v"
        wait_until(lambda: told, "the loser was told", 5)
    assert _effects(q) == ["v second"]
    assert "no longer holds its lease" in str(told[0])


@pytest.mark.usefixtures("effects")
def test_a_task_may_go_on_after_its_transaction_for_longer_than_a_lease(q: PrismQ, seen: Seen) -> None:
    @q.task
    def write() -> str:
        with current_task().transaction() as connection:
            connection.execute("INSERT INTO effects VALUES ('x')")
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            time.sleep(0.01)
        return "done"

    with a_worker(q, lease_duration_seconds=0.9) as worker:
        handle = write.enqueue()
        wait_status(handle, "completed")
        wait_until(lambda: worker.runtime.idle, "the worker is idle", WAIT_S)
    assert handle.result(1) == "done"
    assert seen.of(ev.LeaseLostEvent) == []


def test_enqueues_inside_a_tasks_transaction_come_with_its_completion(q: PrismQ) -> None:
    @q.task(name="next")
    def following(n: int) -> int:
        return n

    @q.task(name="first", max_attempts=2, backoff=SOON)
    def first() -> int:
        with current_task().transaction():
            handle = following.enqueue(1)
            if current_task().attempt == 1:
                raise ValueError
        return handle.id

    with a_worker(q):
        handle = first.enqueue()
        # The task is completed with its transaction; what the function returns after it comes a moment later.
        wait_until(lambda: handle.task().result, "its result is kept", WAIT_S)
        child = handle.result(WAIT_S)
        assert q.handle(child).result(WAIT_S) == 1
    assert q.tasks.count(type="next") == 1


def test_a_long_task_keeps_its_lease_while_it_runs(q: PrismQ, seen: Seen) -> None:
    started: list[int] = []

    @q.task
    def long() -> None:
        started.append(1)
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            pass  # computes: the other threads get the interpreter only now and then

    with a_worker(q, lease_duration_seconds=0.6), a_worker(q, lease_duration_seconds=0.6):
        long.enqueue().result(WAIT_S)
    assert started == [1]
    assert seen.of(ev.LeasesRenewed)
    assert seen.of(ev.LeaseExpired) == []


def test_a_worker_that_lost_its_lease_stops_the_handler_and_writes_nothing(q: PrismQ, seen: Seen) -> None:
    gate = Gate()
    ended = threading.Event()

    @q.task
    def long(first: list[int]) -> str:
        gate.entered.release()
        if current_task().attempt == 1:
            try:
                while True:
                    time.sleep(0.01)
            finally:
                ended.set()
        return "second"

    with a_worker(q, lease_duration_seconds=0.6, concurrency=1):
        handle = long.enqueue([])
        gate.wait_entered()
        wait_status(handle, "processing")
        connection = q.store.database.get_connection()  # type: ignore[attr-defined]
        connection.execute("UPDATE task_queue SET status = 'queued', locked_by = NULL, lease_until_utc = NULL")
        assert ended.wait(WAIT_S)
        assert handle.result(WAIT_S) == "second"
    assert seen.of(ev.LeaseLostEvent)
    assert handle.task().attempts == 2


def test_a_log_call_never_fails_a_task_even_while_the_store_is_away(q: PrismQ) -> None:
    @q.task
    def talk() -> int:
        blocker = sqlite3.connect(q.store.database.db_path, isolation_level=None)  # type: ignore[attr-defined]
        blocker.execute("BEGIN IMMEDIATE")
        for n in range(100):
            current_task().log.info(f"{n}")
        blocker.execute("ROLLBACK")
        blocker.close()
        return 1

    with a_worker(q):
        handle = talk.enqueue()
        assert handle.result(WAIT_S) == 1
    assert len(q.tasks.logs(handle.id)) >= 100


def test_a_result_of_a_transaction_with_an_error_in_it_is_not_lost_from_sight(q: PrismQ) -> None:
    @q.task(max_attempts=1)
    def write() -> None:
        with current_task().transaction() as connection:
            connection.execute("INSERT INTO no_such_table VALUES (1)")

    with a_worker(q), pytest.raises(TaskFailed, match="no_such_table"):
        write.enqueue().result(WAIT_S)
