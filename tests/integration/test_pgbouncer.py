"""Workers and commands behind PgBouncer in transaction mode, where a session is another's after each transaction."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from prismq import NewTask, PrismQ
from prismq.domain import events as ev
from prismq.observability.doctor.examination import examine
from prismq.observability.doctor.patient import Patient
from prismq.storage.postgres.database import PostgresDatabase
from tests.helpers.history import check_books
from tests.helpers.postgres import PgBouncer, server
from tests.helpers.processes import look, supervised, wait_until
from tests.helpers.redis import redis_server
from tests.integration.support import Seen, a_worker

pytestmark = pytest.mark.timeout(120)
WAIT_S = 30.0


@pytest.fixture
def name() -> Iterator[str]:
    name = server().new_queue()
    yield name
    assert check_books(server().url(name)) == []
    server().drop(name)


@pytest.fixture
def bouncer(name: str) -> Iterator[PgBouncer]:
    with contextlib.closing(PgBouncer(server(), connections=4)) as bouncer:
        yield bouncer


@pytest.fixture
def q(name: str, bouncer: PgBouncer) -> Iterator[PrismQ]:
    with PrismQ(bouncer.url(name)) as q:
        yield q


def _completed(name: str) -> int:
    return int(look(server().url(name), "SELECT count(*) FROM task_queue WHERE status = 'completed'")[0][0])


def test_workers_drain_a_queue_behind_the_pooler_by_polling(
    bouncer: PgBouncer, q: PrismQ, name: str, tmp_path: Path
) -> None:
    url, straight = bouncer.url(name), server().url(name)
    q.enqueue_many([NewTask("add", f'{{"a": {n}, "b": 1}}') for n in range(500)])
    with supervised(
        url, looked_at=straight, logs=tmp_path, processes=2, concurrency=4, poll_interval_seconds=0.2
    ) as crew:
        wait_until(lambda: _completed(name) == 500, "all is done", 60)
        late = q.enqueue("add", {"a": 20, "b": 22})
        assert late.result(WAIT_S) == 42, "without a hint the poll finds it"
        wait_until(lambda: len(crew.events("hints_lost")) == 2, "each worker says once that it hears nothing", WAIT_S)
        assert "behind a pooler in transaction mode" in crew.log()
        assert "Set redis_url, or give workers a URL that leads past the pooler" in crew.log()
        assert crew.stop() == 0
    assert crew.events("hints_recovered") == []


def test_with_redis_tasks_are_picked_up_at_once_behind_the_pooler_too(bouncer: PgBouncer, name: str) -> None:
    with redis_server() as redis, PrismQ(bouncer.url(name), redis_url=redis.url) as q:
        seen = Seen(q)

        @q.task(name="job")
        def job(n: int) -> int:
            return n

        with a_worker(q, poll_interval_seconds=600.0):
            for n in range(5):  # the poll would take minutes
                assert job.enqueue(n).result(WAIT_S) == n
        assert seen.of(ev.HintsLost) == []


def test_nothing_is_prepared_and_no_setting_outlives_its_transaction(bouncer: PgBouncer, name: str) -> None:
    with contextlib.closing(PostgresDatabase(bouncer.url(name), schema="public", statement_timeout_s=7)) as db:
        for _ in range(10):
            with db.reading() as connection:
                [(timeout, path)] = connection.execute(
                    "SELECT current_setting('statement_timeout'), current_setting('search_path')"
                ).fetchall()
                assert (timeout, path) == ("7s", "public")
        assert db.behind_pooler
        with db.reading() as connection:
            assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchall() == [(0,)]
        assert connection.answer_s == 12
    with psycopg.connect(bouncer.url(name), autocommit=True) as other:
        assert other.execute("SHOW statement_timeout").fetchall() == [("0",)]


def test_the_doctor_says_what_a_pooler_costs(q: PrismQ) -> None:
    q.store.check()
    report = examine(Patient(q.store, q.clock, 20.0))
    [found] = [finding for finding in report.findings if finding.check == "pooler"]
    assert "transaction mode" in found.what
    assert "redis_url" in found.advice


def test_a_pooler_that_is_restarted_costs_nobody_a_task(bouncer: PgBouncer, q: PrismQ, name: str) -> None:
    seen = Seen(q)

    @q.task(name="job", max_attempts=20)
    def job(n: int) -> int:
        return n

    with a_worker(q, lease_duration_seconds=2.0, poll_interval_seconds=0.1):
        job.enqueue_many([(n,) for n in range(300)])
        wait_until(lambda: _completed(name) > 0, "it has begun", WAIT_S)
        bouncer.restart()
        seen.wait(ev.StoreUnavailable)
        seen.wait(ev.StoreRecovered)
        wait_until(lambda: _completed(name) == 300, "all is done", WAIT_S)
