"""Connections that are cut at the worst moment, or go silent: nothing is lost, done twice or waited for without end."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial

import psycopg
import pytest

from prismq import PrismQ, QueueDatabaseError
from prismq.domain import events as ev
from prismq.domain.status import TaskStatus
from prismq.storage.contract import Batch
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.store import PostgresStore
from tests.helpers.builders import AN_ERROR, a_line, a_request, a_task, settlement
from tests.helpers.clock import FakeClock
from tests.helpers.postgres import server
from tests.helpers.processes import look, wait_until
from tests.helpers.proxy import Cut, Proxy
from tests.integration.support import Seen, a_worker

pytestmark = pytest.mark.timeout(120)
WAIT_S = 30.0
CUTS: tuple[Cut, ...] = ("question", "answer")


@pytest.fixture
def name() -> Iterator[str]:
    name = server().new_queue()
    yield name
    server().drop(name)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with contextlib.closing(Proxy(server())) as proxy:
        yield proxy


@pytest.fixture
def q(name: str, proxy: Proxy) -> Iterator[PrismQ]:
    """A queue whose connections lead through the proxy; in the end its books are right."""
    with PrismQ(proxy.url(name)) as q:
        q.store.check()
        yield q
    with PrismQ(server().url(name)) as straight:
        assert straight.store.insight.depth() == straight.store.insight.recount()


@pytest.fixture
def store(name: str, proxy: Proxy) -> Iterator[PostgresStore]:
    """The same, on the test's clock."""
    store = PostgresStore(PostgresDatabase(proxy.url(name), server_clock=False))
    store.check()
    yield store
    assert store.insight.depth() == store.insight.recount()
    store.close()


def count(name: str, where: str = "true") -> int:
    [(found,)] = look(server().url(name), f"SELECT count(*) FROM task_queue WHERE {where}")
    return int(found)


# -- in the middle of a commit


@pytest.mark.parametrize("which", [*CUTS, "insert"])
def test_an_enqueue_whose_commit_was_cut_is_safe_to_repeat_with_its_key(
    q: PrismQ, name: str, proxy: Proxy, which: Cut
) -> None:
    said: list[str] = []
    for number in range(20):
        proxy.cut_commit(1, which)
        key = f"key {number}"
        for _ in range(3):
            try:
                with nullcontext() if which == "insert" else q.transaction():
                    handle = q.enqueue("job", {"n": number}, idempotency_key=key)
                break
            except QueueDatabaseError as error:
                said.append(str(error))
        assert count(name, f"idempotency_key = '{key}'") == 1
        assert handle.created is (which == "question")
    assert proxy.cut_commits == [which] * 20
    assert len(said) == 20
    assert all("nobody knows" in text and "idempotency key is safe to repeat" in text for text in said), said
    assert count(name) == 20


@pytest.mark.parametrize("which", CUTS)
@pytest.mark.parametrize(
    "to", [TaskStatus.COMPLETED, TaskStatus.SCHEDULED, TaskStatus.DEAD_LETTER, TaskStatus.QUEUED, TaskStatus.FAILED]
)
def test_ends_whose_commit_was_cut_are_written_once_however_often_they_are_repeated(
    store: PostgresStore, clock: FakeClock, proxy: Proxy, name: str, to: TaskStatus, which: Cut
) -> None:
    store.inbox.enqueue_many([a_task() for _ in range(5)], clock.now())
    leases = store.work.exchange(Batch(), a_request(limit=5), clock.now()).leases
    options = {"run_after": clock.now() + 60} if to is TaskStatus.SCHEDULED else {}
    error = None if to in (TaskStatus.COMPLETED, TaskStatus.QUEUED) else AN_ERROR
    ends = [settlement(lease, to, clock.now(), error=error, **options) for lease in leases]
    lines = [a_line(lease, f"claimed → {to.value}", clock) for lease in leases]
    proxy.cut_commit(1, which)
    with pytest.raises(QueueDatabaseError, match="nobody knows"):
        store.work.exchange(Batch(settlements=ends, logs=lines), None, clock.now())
    for _ in range(2):
        assert store.work.exchange(Batch(settlements=ends, logs=lines), None, clock.now()).lost == frozenset()
    assert count(name, f"status = '{to.value}'") == 5
    assert look(server().url(name), "SELECT count(*), count(DISTINCT task_id) FROM task_logs") == [(5, 5)]
    outcomes = {row.outcome: row.tasks for row in store.insight.outcomes(0, clock.now() + 60)}
    assert sum(tasks for outcome, tasks in outcomes.items() if outcome != "enqueued") == 5, outcomes
    assert proxy.cut_commits == [which]


def test_a_claim_whose_answer_was_lost_comes_back_when_its_lease_is_over(
    store: PostgresStore, clock: FakeClock, proxy: Proxy, name: str
) -> None:
    store.inbox.enqueue_many([a_task() for _ in range(3)], clock.now())
    proxy.cut_commit(1, "answer")
    with pytest.raises(QueueDatabaseError):
        store.work.exchange(Batch(), a_request(limit=3, lease_s=30), clock.now())
    assert count(name, "status = 'claimed'") == 3
    clock.advance(31)
    assert len(store.upkeep.expire_leases(clock.now())) == 3
    assert len(store.work.exchange(Batch(), a_request("w2", limit=3), clock.now()).leases) == 3


@pytest.mark.parametrize("which", CUTS)
def test_a_worker_whose_commits_are_cut_loses_nothing_and_completes_nothing_twice(
    q: PrismQ, name: str, proxy: Proxy, which: Cut
) -> None:
    seen, ran = Seen(q), []
    guard = threading.Lock()

    @q.task(name="job", max_attempts=50)
    def job(n: int) -> int:
        with guard:
            ran.append(n)
        return n

    total = 600
    job.enqueue_many([(n,) for n in range(total)])
    with a_worker(q, concurrency=8, lease_duration_seconds=1.5, poll_interval_seconds=0.1):
        for number in range(12):
            proxy.cut_commit(1, which)
            wait_until(partial(_cut_or_done, proxy, number, name, total), "a cut", 20)
        wait_until(lambda: count(name, "status = 'completed'") == total, "all is done", 60)
    assert set(ran) == set(range(total))
    assert len(proxy.cut_commits) >= 3
    assert seen.of(ev.StoreUnavailable)
    twice = "SELECT task_id FROM task_logs WHERE message LIKE '%→ completed' GROUP BY 1 HAVING count(*) > 1"
    assert look(server().url(name), twice) == []


def _cut_or_done(proxy: Proxy, cuts: int, name: str, total: int) -> bool:
    return len(proxy.cut_commits) > cuts or count(name, "status = 'completed'") == total


# -- silence


def test_a_connection_that_goes_silent_is_given_up_in_the_time_that_was_said(
    name: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prismq.storage.postgres.database._ANSWER_S", 0.5)
    url = proxy.url(name, connect_timeout="2")
    with contextlib.closing(PostgresDatabase(url, statement_timeout_s=0.5)) as db:
        with db.reading() as connection:
            connection.execute("SELECT 1")
        proxy.hole(True)
        started = time.monotonic()
        with pytest.raises(QueueDatabaseError, match="no answer for 1 s"), db.reading() as connection:
            connection.execute("SELECT 1")
        with pytest.raises(QueueDatabaseError, match="did not answer in time"), db.reading():
            pass
        assert time.monotonic() - started < WAIT_S, "each of the two waits ends by itself"
        proxy.hole(False)
        with db.reading() as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_statement_timeout_of_the_urls_own_is_heeded(
    name: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prismq.storage.postgres.database._ANSWER_S", 0.5)
    for said, answer_s in (("700ms", 1.2), ("0", None), ("2min", 120.5)):
        url = proxy.url(name, options=f"-c%20statement_timeout%3D{said}")
        with contextlib.closing(PostgresDatabase(url)) as db, db.reading() as connection:
            assert connection.answer_s == answer_s


def test_a_worker_that_gets_no_answer_for_a_whole_lease_stops_its_tasks_in_time_and_says_why(
    q: PrismQ, name: str, proxy: Proxy
) -> None:
    """The watch does not wait for the store: with the timeouts as they are, the keeper's own call still hangs."""
    lease_s = 3.0
    began, stopped = threading.Event(), threading.Event()
    at: dict[str, float] = {}

    @q.task(name="job", max_attempts=3)
    def job() -> str:
        if stopped.is_set():
            return "done"
        began.set()
        try:
            while True:
                time.sleep(0.01)
        finally:
            at["stopped"] = time.monotonic()
            stopped.set()

    with a_worker(q, lease_duration_seconds=lease_s) as worker:
        handle = job.enqueue()
        assert began.wait(WAIT_S)
        wait_until(lambda: count(name, "status = 'processing'") == 1, "its start is written", WAIT_S)
        [(until,)] = look(server().url(name), "SELECT extract(epoch FROM max(lease_until_utc))::float8 FROM task_queue")
        proxy.hole(True)
        assert stopped.wait(WAIT_S), "the task was not stopped although its lease is over"
        assert proxy._holed.is_set()
        [(last,)] = look(server().url(name), "SELECT extract(epoch FROM max(lease_until_utc))::float8 FROM task_queue")
        wait_until(lambda: worker.runtime.exit_wanted, "the worker wants to be replaced", WAIT_S)
        assert "the store was away for longer than the lease of 3 s: 1 tasks were stopped" in worker.runtime.exit_wanted
        proxy.hole(False)
    assert last >= until
    straight = PrismQ(server().url(name))
    try:
        straight.store.upkeep.expire_leases(straight.clock.now() + lease_s)
        assert count(name, "status = 'queued'") == 1, "another may have it"
    finally:
        straight.close()
    assert handle.id


def test_a_server_that_refuses_for_a_while_is_told_of_and_everything_goes_on(
    q: PrismQ, name: str, proxy: Proxy
) -> None:
    seen = Seen(q)

    @q.task(name="job")
    def job(n: int) -> int:
        return n

    with a_worker(q, lease_duration_seconds=30):
        assert job.enqueue(1).result(WAIT_S) == 1
        proxy.refuse(True)
        seen.wait(ev.StoreUnavailable)
        seen.wait(ev.HintsLost)
        with pytest.raises(QueueDatabaseError, match="nothing listens there"):
            job.enqueue(2)
        proxy.refuse(False)
        seen.wait(ev.StoreRecovered)
        assert job.enqueue(3).result(WAIT_S) == 3
    assert count(name) == 2


def test_a_listening_session_in_a_hole_is_noticed(name: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    from prismq.clock import SYSTEM_CLOCK

    monkeypatch.setattr("prismq.storage.postgres.database._ANSWER_S", 0.2)
    monkeypatch.setattr("prismq.storage.postgres.notify._PING_EVERY", 1)
    store = PostgresStore(PostgresDatabase(proxy.url(name, connect_timeout="2"), statement_timeout_s=0.3))
    lost: list[str | None] = []
    ear = store.wakeups.ear(SYSTEM_CLOCK, lost.append)
    assert ear is not None
    try:
        wait_until(
            lambda: look(server().url(name), "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"), "it listens"
        )
        proxy.hole(True)
        wait_until(lambda: lost, "the loss is told", WAIT_S)
        proxy.hole(False)
        wait_until(lambda: lost[-1:] == [None], "the recovery is told", WAIT_S)
    finally:
        ear.close()
        store.close()


# -- what an operator, or the server itself, does to sessions


def test_sessions_terminated_at_random_lose_nothing(q: PrismQ, name: str) -> None:
    total = 1500
    done: list[int] = []
    guard = threading.Lock()

    @q.task(name="job", max_attempts=50)
    def job(n: int) -> int:
        with guard:
            done.append(n)
        return n

    acknowledged: list[int] = []
    over = threading.Event()

    def terminate() -> None:
        with server().connect("postgres", autocommit=True) as tool:
            while not over.wait(0.05):
                tool.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s AND backend_type = 'client backend' AND random() < 0.3",
                    (name,),
                )

    def enqueue() -> None:
        for n in range(total):
            while True:
                try:
                    acknowledged.append(job.options(idempotency_key=f"n{n}").enqueue(n).id)
                    break
                except QueueDatabaseError:
                    continue

    threads = [threading.Thread(target=terminate), threading.Thread(target=enqueue)]
    with a_worker(q, concurrency=8, lease_duration_seconds=2, poll_interval_seconds=0.1):
        for thread in threads:
            thread.start()
        try:
            threads[1].join(60)
            over_all = "status = 'completed'"
            wait_until(lambda: _quietly(name, over_all) == total, "all is done in spite of it", 60)
        finally:
            over.set()
            threads[0].join()
    assert len(set(acknowledged)) == len(acknowledged) == total
    assert set(done) == set(range(total))
    twice = "SELECT task_id FROM task_logs WHERE message LIKE '%→ completed' GROUP BY 1 HAVING count(*) > 1"
    assert look(server().url(name), twice) == []


def _quietly(name: str, where: str) -> int:
    try:
        return count(name, where)
    except psycopg.OperationalError:  # this look's own session was chosen
        return -1
