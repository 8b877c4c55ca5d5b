"""What only PostgreSQL has: many who write at once, connections of the caller's own, jsonb, the server's clock."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from prismq.domain.errors import ConfigurationError, QueueDatabaseError
from prismq.domain.status import TaskStatus
from prismq.domain.task import TaskFilter
from prismq.domain.times import text_to_epoch
from prismq.storage.contract import Batch, Schedule
from prismq.storage.open import open_store
from prismq.storage.postgres import database as database_module
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.store import PostgresStore
from prismq.worker.scheduler import Scheduler
from tests.helpers.builders import LEASE_S, a_request, a_task, claim, claim_one, complete, settlement, the_task
from tests.helpers.clock import FakeClock
from tests.helpers.engines import PostgresEngine, postgres_engine
from tests.helpers.postgres import PgBouncer
from tests.helpers.processes import wait_until

T = TaskStatus


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[PostgresEngine]:
    with postgres_engine(tmp_path) as engine:
        yield engine
        assert engine.store.insight.depth() == engine.store.insight.recount()


def at_once(*jobs: Callable[[], object]) -> list[Any]:
    """Run them in threads that begin together; their answers. An error is raised."""
    barrier = threading.Barrier(len(jobs))
    answers: list[Any] = [None] * len(jobs)

    def run(number: int) -> None:
        barrier.wait()
        try:
            answers[number] = jobs[number]()
        except BaseException as error:
            answers[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


# -- many at once


def test_claimers_at_once_take_everything_and_nothing_twice(engine: PostgresEngine, clock: FakeClock) -> None:
    ids = [done.task_id for done in engine.store.inbox.enqueue_many([a_task() for _ in range(600)], clock.now())]
    stores = [engine.another() for _ in range(6)]

    def take(number: int) -> list[int]:
        taken: list[int] = []
        empty = 0
        while empty < 3:
            leases = claim(stores[number], clock, f"w{number}", limit=7)
            empty = 0 if leases else empty + 1
            taken += [lease.task_id for lease in leases]
            batch = Batch([settlement(lease, T.COMPLETED, clock.now()) for lease in leases])
            assert not stores[number].work.exchange(batch, None, clock.now()).lost
        return taken

    taken = at_once(*[lambda n=n: take(n) for n in range(6)])
    assert sorted(task_id for some in taken for task_id in some) == ids


def test_claimers_at_once_never_pass_a_limit(engine: PostgresEngine, clock: FakeClock) -> None:
    engine.store.inbox.enqueue_many([a_task(queue="small") for _ in range(60)], clock.now())
    engine.store.queues.limit("small", 5)
    stores = [engine.another() for _ in range(6)]
    for _ in range(4):
        won = at_once(*[lambda n=n: claim(stores[n], clock, f"w{n}", limit=4) for n in range(6)])
        leases = [lease for some in won for lease in some]
        assert len(leases) == 5
        for lease in leases:
            complete(engine.store, clock, lease)


@pytest.mark.parametrize("key", ["idempotency_key", "unique_key"])
def test_of_those_who_enqueue_one_key_at_once_one_creates_the_task(
    engine: PostgresEngine, clock: FakeClock, key: str
) -> None:
    stores = [engine.another() for _ in range(6)]
    options = {key: "k", **({"unique_for_s": 60.0} if key == "unique_key" else {})}
    for n in range(10):
        new = a_task(**{**options, key: f"k{n}"})
        answers = at_once(*[lambda s=s, new=new: s.inbox.enqueue(new, clock.now()) for s in stores])
        assert sorted(answer.created for answer in answers) == [False] * 5 + [True]
        assert len({answer.task_id for answer in answers}) == 1


def test_bulk_enqueues_at_once_share_their_keys(engine: PostgresEngine, clock: FakeClock) -> None:
    stores = [engine.another() for _ in range(4)]
    news = [a_task(idempotency_key=f"k{n}" if n % 2 else None) for n in range(40)]
    answers = at_once(*[lambda s=s: s.inbox.enqueue_many(news, clock.now()) for s in stores])
    for n in range(40):
        ids = {answer[n].task_id for answer in answers}
        assert len(ids) == (1 if n % 2 else 4)
        assert sum(answer[n].created for answer in answers) == len(ids)


def test_the_books_equal_a_count_at_every_moment(engine: PostgresEngine, clock: FakeClock) -> None:
    stores = [engine.another() for _ in range(3)]
    over = threading.Event()
    both = (
        "SELECT (SELECT json_object_agg(k, n) FROM (SELECT queue || ' ' || status AS k, sum(tasks) AS n FROM ("
        "SELECT queue, status, tasks FROM queue_depth UNION ALL SELECT queue, status, tasks FROM queue_depth_deltas)"
        " AS books GROUP BY 1 HAVING sum(tasks) <> 0) AS b),"
        " (SELECT json_object_agg(k, n) FROM (SELECT queue || ' ' || status AS k, count(*) AS n FROM task_queue"
        " GROUP BY 1) AS c)"
    )

    def work(number: int) -> None:
        rng = Random(number)
        batch = Batch()
        for _ in range(60):
            stores[number].inbox.enqueue_many(
                [a_task(queue=f"q{rng.randrange(2)}")] * rng.randrange(1, 130), clock.now()
            )
            leases = stores[number].work.exchange(batch, a_request(f"w{number}", limit=90), clock.now()).leases
            batch = Batch([settlement(lease, T.COMPLETED, clock.now()) for lease in leases])

    def look() -> int:
        looked = 0
        while not over.is_set() or not looked:
            [(books, counted)] = engine.look(both)
            assert json.loads(books or "{}") == json.loads(counted or "{}")
            engine.store.upkeep.book(clock.now())
            looked += 1
        return looked

    def work_all() -> None:
        try:
            at_once(*[lambda n=n: work(n) for n in range(3)])
        finally:
            over.set()

    looked, _ = at_once(look, work_all)
    assert looked > 5


# -- by hand


def test_a_payload_by_hand_may_be_any_json(engine: PostgresEngine, clock: FakeClock) -> None:
    engine.hand("INSERT INTO task_queue (type, payload) VALUES ('t', jsonb_build_object('format', 'png', 'n', 1))")
    lease = claim_one(engine.store, clock)
    assert json.loads(lease.payload) == {"format": "png", "n": 1}
    assert the_task(engine.store, lease.task_id).format == "png"


def test_ids_given_by_hand_are_not_given_out_again(engine: PostgresEngine, clock: FakeClock) -> None:
    engine.hand("INSERT INTO task_queue (id, type, payload) VALUES (777, 't', '{}')")
    assert engine.store.inbox.enqueue(a_task(), clock.now()).task_id == 778


def test_a_truncated_table_has_empty_books(engine: PostgresEngine, clock: FakeClock) -> None:
    engine.store.inbox.enqueue_many([a_task(), a_task(priority=1)], clock.now())
    engine.store.upkeep.book(clock.now())
    engine.store.inbox.enqueue(a_task(), clock.now())
    engine.hand("TRUNCATE task_queue CASCADE")
    assert engine.store.insight.depth() == {}
    engine.store.inbox.enqueue(a_task(), clock.now())


@pytest.mark.parametrize("payload", ['{"a": "\\u0000"}', '{"a": "\\ud800"}', '{"a": "\x00"}'])
@pytest.mark.parametrize("many", [1, 200])
def test_text_that_jsonb_cannot_keep_is_refused_and_says_why(
    engine: PostgresEngine, clock: FakeClock, payload: str, many: int
) -> None:
    inbox, bad = engine.store.inbox, a_task(payload=payload)
    with pytest.raises(QueueDatabaseError, match="cannot keep"):
        inbox.enqueue(bad, clock.now()) if many == 1 else inbox.enqueue_many([*[a_task()] * many, bad], clock.now())
    assert engine.store.tasks.count(TaskFilter()) == 0


@pytest.mark.parametrize("many", [2, 200], ids=["by INSERT", "by COPY"])
def test_strange_characters_arrive_as_they_were(engine: PostgresEngine, clock: FakeClock, many: int) -> None:
    strange = "a\tb\nc\rd\\e\\.f\"g'h{i,j}%k%s:l NULL \\N é 🦆 \u2028 \x0b"
    news = [
        a_task(f"t{n} {strange}", payload=json.dumps({"s": strange, "n": n}), queue=strange, tags=json.dumps([strange]))
        for n in range(many)
    ]
    done = engine.store.inbox.enqueue_many(news, clock.now())
    for n, one in enumerate(done):
        task = the_task(engine.store, one.task_id)
        assert (task.type, task.queue) == (f"t{n} {strange}", strange)
        assert json.loads(task.payload) == {"s": strange, "n": n}
        assert json.loads(task.tags or "") == [strange]


# -- the caller's own connection


def test_a_caller_whose_connection_commits_by_itself_is_told(engine: PostgresEngine, clock: FakeClock) -> None:
    connection = engine.callers_connection()
    connection.autocommit = True
    with pytest.raises(QueueDatabaseError, match="autocommit"), engine.store.inbox.transaction(connection):
        pytest.fail("it must not begin")
    with pytest.raises(ZeroDivisionError), connection.transaction():  # noqa: PT012
        with engine.store.inbox.transaction(connection):
            engine.store.inbox.enqueue(a_task(), clock.now())
        raise ZeroDivisionError
    assert engine.store.tasks.count(TaskFilter()) == 0


def test_the_callers_rows_and_search_path_stay_as_they_are(engine: PostgresEngine, clock: FakeClock) -> None:
    engine.hand("CREATE SCHEMA theirs")
    engine.hand("CREATE TABLE theirs.orders (number integer)")
    connection = engine.callers_connection()
    connection.row_factory = dict_row  # type: ignore[assignment]
    connection.execute("SET search_path = theirs")
    with engine.store.inbox.transaction(connection):
        connection.execute("INSERT INTO orders VALUES (1)")
        engine.store.inbox.enqueue(a_task(unique_key="u"), clock.now())
        engine.store.inbox.enqueue(a_task(idempotency_key="k"), clock.now())
        engine.store.inbox.enqueue_many([a_task()] * 150, clock.now())
        assert connection.execute("SELECT number FROM orders").fetchall() == [{"number": 1}]
    lease = claim_one(engine.another(), clock) if engine.store.tasks.count(TaskFilter()) else None
    assert lease is None, "nothing is there before the commit"
    connection.commit()
    lease = claim_one(engine.store, clock)
    engine.store.work.complete_within(connection, settlement(lease, T.COMPLETED, clock.now()))
    assert connection.execute("SHOW search_path").fetchall() == [{"search_path": "theirs"}]
    connection.commit()
    assert the_task(engine.store, lease.task_id).status == "completed"
    assert engine.store.tasks.count(TaskFilter()) == 152


def test_a_connection_to_another_database_is_refused(engine: PostgresEngine) -> None:
    with (
        closing(engine.server.connect("postgres")) as connection,
        pytest.raises(QueueDatabaseError, match="no queue in it"),
        engine.store.inbox.transaction(connection),
    ):
        pytest.fail("it must not begin")
    assert not engine.store.inbox.bound()


@pytest.mark.parametrize("commit", [True, False], ids=["commits", "rolls back"])
def test_tasks_go_with_an_async_connection(engine: PostgresEngine, clock: FakeClock, commit: bool) -> None:
    engine.hand("CREATE TABLE orders (number integer)")
    store, heard = engine.store, list[str]()

    async def both() -> None:
        async with await psycopg.AsyncConnection.connect(engine.url) as connection:
            connection.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
            for number in range(8):  # often enough for the driver to prepare its statement
                await connection.execute("INSERT INTO orders VALUES (%s)", (number,))
            with store.inbox.transaction(connection):
                store.inbox.enqueue(a_task(unique_key="u"), clock.now())
                await connection.execute("INSERT INTO orders VALUES (%s)", (9,))
                store.inbox.enqueue_many([a_task()] * 3, clock.now())
            await connection.execute("DO $$ BEGIN RAISE NOTICE 'still mine'; END $$")
            assert store.tasks.count(TaskFilter()) == 0
            await (connection.commit if commit else connection.rollback)()

    asyncio.run(both())
    gc.collect()
    assert heard == ["still mine"]
    assert store.tasks.count(TaskFilter()) == (4 if commit else 0)
    assert engine.look("SELECT count(*) FROM orders") == [(9 if commit else 0,)]


def alchemy_url(engine: PostgresEngine) -> str:
    return engine.url.replace("postgresql://", "postgresql+psycopg://")


@pytest.mark.parametrize("commit", [True, False], ids=["commits", "rolls back"])
def test_tasks_go_with_a_session_of_sqlalchemy(engine: PostgresEngine, clock: FakeClock, commit: bool) -> None:
    engine.hand("CREATE TABLE orders (number integer)")
    alchemy = create_engine(alchemy_url(engine))
    store = engine.store
    with Session(alchemy) as session:
        session.execute(text("INSERT INTO orders VALUES (1)"))
        with store.inbox.transaction(session):
            unique = a_task(payload='{"at": "100%"}', unique_key="u", unique_for_s=60.0)
            one = store.inbox.enqueue(unique, clock.now())
            again = store.inbox.enqueue(unique, clock.now())
            store.inbox.enqueue_many([a_task(idempotency_key="k")] * 3, clock.now())
            with pytest.raises(QueueDatabaseError):
                store.inbox.enqueue_many([a_task(payload="no json")], clock.now())
        assert (again.task_id, again.created) == (one.task_id, False)
        (session.commit if commit else session.rollback)()
    alchemy.dispose()
    assert store.tasks.count(TaskFilter()) == (2 if commit else 0)
    assert engine.look("SELECT count(*) FROM orders") == [(1 if commit else 0,)]


def test_tasks_go_with_an_async_session_of_sqlalchemy(engine: PostgresEngine, clock: FakeClock) -> None:
    store = engine.store

    async def enqueue(session: AsyncSession) -> None:
        await session.execute(text("SELECT 1"))
        with store.inbox.transaction(session):
            store.inbox.enqueue(a_task(), clock.now())

    async def both() -> None:
        alchemy = create_async_engine(alchemy_url(engine))
        async with AsyncSession(alchemy) as session:
            with pytest.raises(QueueDatabaseError, match=r"session\.connection"), store.inbox.transaction(session):
                pytest.fail("it must not begin")
            await enqueue(session)
            await session.rollback()
            assert store.tasks.count(TaskFilter()) == 0
            await enqueue(session)
            await session.commit()
        async with alchemy.connect() as connection:
            await connection.execute(text("SELECT 1"))
            with store.inbox.transaction(connection):
                store.inbox.enqueue(a_task(), clock.now())
            await connection.commit()
        await alchemy.dispose()

    asyncio.run(both())
    assert store.tasks.count(TaskFilter()) == 2


# -- hosts whose clocks differ


class Host:
    """A process on a host whose clock is off; the server's rules."""

    def __init__(self, engine: PostgresEngine, off_by_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real = database_module.SYSTEM_CLOCK
        self._off_by_s = off_by_s
        self._patch = monkeypatch
        self.store = PostgresStore(PostgresDatabase(engine.url))

    def now(self) -> float:
        return self._real.now() + self._off_by_s

    def monotonic(self) -> float:
        return self._real.monotonic()

    def __enter__(self) -> Host:
        self._patch.setattr(database_module, "SYSTEM_CLOCK", self)
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.setattr(database_module, "SYSTEM_CLOCK", self._real)


def test_hosts_whose_clocks_differ_agree_on_leases_and_due_times(
    engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, fast = Host(engine, -600.0, monkeypatch), Host(engine, 600.0, monkeypatch)
    with slow:
        slow.store.inbox.enqueue(a_task("now"), slow.now())
        slow.store.inbox.enqueue(a_task("later", run_at=slow.now() + 60), slow.now())
    with fast:
        [lease] = claim(fast.store, fast, "fast")  # type: ignore[arg-type]  # all that it takes is now()
        assert lease.type == "now"
        assert lease.claimed_at == pytest.approx(fast.now(), abs=5)
        assert lease.run_after == pytest.approx(fast.now(), abs=5)
        due = fast.store.work.next_due()
        assert due is not None
        assert due - fast.now() == pytest.approx(60, abs=5)
    for host in (slow, fast):
        with host:
            assert host.store.upkeep.expire_leases(host.now()) == []
    [(left_s,)] = engine.look("SELECT extract(epoch FROM lease_until_utc - now())::float8 FROM task_queue WHERE id = 1")
    assert left_s == pytest.approx(LEASE_S, abs=5)
    with slow:
        assert slow.store.work.renew(["fast"], LEASE_S, slow.now())
        assert slow.store.upkeep.expire_leases(slow.now() + LEASE_S + 5) != []
    for host in (slow, fast):
        host.store.close()


@pytest.mark.parametrize("off_by_s", [-600.0, 600.0])
def test_a_slot_fires_at_its_time_by_the_servers_clock_whatever_the_host_thinks(
    engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch, off_by_s: float
) -> None:
    slots = "SELECT headers ->> 'prismq.slot', created_at_utc, clock_timestamp() FROM task_queue ORDER BY id"
    with Host(engine, off_by_s, monkeypatch) as host:
        host.store.schedules.declare(Schedule("tick", "* * * * * *", "UTC", "all", a_task("tick")), host.now())
        scheduler = Scheduler(host.store.schedules, host, lambda event: None)
        wait_until(lambda: scheduler.step() and len(engine.look(slots)) > 1, "two seconds of the server's")
    for slot, created, now in engine.look(slots):
        assert text_to_epoch(slot) <= created.timestamp() <= now.timestamp()
        assert now.timestamp() - text_to_epoch(slot) < 60
    host.store.close()


# -- behind a pooler


@pytest.mark.parametrize("schema", ["public", "jobs"])
def test_all_of_it_works_behind_pgbouncer_in_transaction_mode(
    engine: PostgresEngine, clock: FakeClock, schema: str
) -> None:
    with closing(PgBouncer(engine.server)) as bouncer:
        stores = [
            PostgresStore(PostgresDatabase(bouncer.url(engine.name), schema=schema, server_clock=False))
            for _ in range(3)
        ]
        stores[0].prepare()

        def work(number: int) -> int:
            store, batch, done = stores[number], Batch(), 0
            for n in range(12):  # often enough that the driver would have prepared its statements
                store.inbox.enqueue(a_task(idempotency_key=f"{number}-{n}"), clock.now())
                store.inbox.enqueue(a_task(unique_key=f"{number}-{n}", unique_for_s=60.0), clock.now())
                store.inbox.enqueue_many([a_task()] * (150 if n == 5 else 3), clock.now())
                with store.inbox.transaction():
                    store.inbox.enqueue(a_task(), clock.now())
                leases = store.work.exchange(batch, a_request(f"w{number}", limit=50), clock.now()).leases
                store.work.renew([f"w{number}"], LEASE_S, clock.now())
                batch = Batch([settlement(lease, T.COMPLETED, clock.now()) for lease in leases])
                done += len(leases)
            store.work.exchange(batch, None, clock.now())
            return done

        done = sum(at_once(*[lambda n=n: work(n) for n in range(3)]))
        depth = stores[0].insight.depth()
        assert depth == stores[0].insight.recount()
        assert sum(depth.values()) == 3 * (12 * 3 + 11 * 3 + 150)
        assert depth["default", "job", "completed", "normal"] == done
        assert (engine.store.tasks.count(TaskFilter()) == 0) == (schema == "jobs")
        for store in stores:
            store.close()


# -- opening


def test_a_url_opens_this_engine(engine: PostgresEngine, clock: FakeClock) -> None:
    store = open_store("postgresql", engine.url)
    store.inbox.enqueue(a_task(), clock.now())
    assert "PostgreSQL" in store.name
    store.check()
    store.close()


def test_a_driver_that_is_not_installed_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, *rest: object) -> object:
        if name == "prismq.storage.postgres.database":
            raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
        return real(name, *rest)

    import builtins

    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", fail)
    with pytest.raises(ConfigurationError, match=r"pip install 'prismq\[postgres\]'"):
        open_store("postgresql", "postgresql://h/q")
