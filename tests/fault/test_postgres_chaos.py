"""A server that crashes every few seconds, a Redis that dies and forgets, and a failover, under real workers."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from prismq import PrismQ
from prismq.domain.errors import QueueDatabaseError
from prismq.domain.task import NewTask
from tests.helpers.history import check_books, problems, read, supervisors_kills
from tests.helpers.postgres import PostgresServer
from tests.helpers.processes import Supervised, look, supervised, wait_until
from tests.helpers.redis import RedisServer, redis_server

TASKS = 20_000
CRASHES = 8
DRAIN_S = 120.0
LEASE_S = 4.0
AWAY_S = 3.0
UNFINISHED = "SELECT count(*) FROM task_queue WHERE status IN ('scheduled', 'queued', 'claimed', 'processing')"
TWICE = "SELECT task_id FROM task_logs WHERE message LIKE '%→ completed' GROUP BY 1 HAVING count(*) > 1"


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """A server of the test's own, to be crashed."""
    with contextlib.closing(PostgresServer()) as own:
        yield own


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.url(server.new_queue())


@pytest.fixture
def history(tmp_path: Path) -> Path:
    folder = tmp_path / "history"
    folder.mkdir()
    return folder


class Client(threading.Thread):
    """Enqueues in bulk and one by one, each with a key; what was not acknowledged is sent again."""

    def __init__(self, url: str, rng: Random, total: int, batches: int) -> None:
        super().__init__(daemon=True)
        self._q = PrismQ(url)
        self._rng = rng
        self.total = total
        self._most = 2 * total // batches
        self.acknowledged: list[int] = []
        self.repeated = 0

    def run(self) -> None:
        while len(self.acknowledged) < self.total:
            done = len(self.acknowledged)
            size = min(self._rng.choice([1, self._rng.randint(1, self._most), self._most]), self.total - done)
            self.acknowledged += self._sent([self._task(done + n) for n in range(size)])
            time.sleep(self._rng.uniform(0.0, 0.2))  # so that it lasts, as those who enqueue do
        self._q.close()

    def _sent(self, news: list[NewTask]) -> list[int]:
        while True:
            try:
                return [handle.id for handle in self._q.enqueue_many(news)]
            except QueueDatabaseError:
                self.repeated += 1
                time.sleep(0.05)  # the server is away for a while; the keys make it safe to come again

    def _task(self, number: int) -> NewTask:
        key = f"client {number}"
        if self._rng.random() < 0.9:
            return NewTask("noop", max_attempts=100, idempotency_key=key)
        seconds = self._rng.uniform(0.005, 0.05)
        kind = self._rng.choice(["nap", "anap"])
        return NewTask(kind, f'{{"seconds": {seconds:.4f}}}', max_attempts=100, idempotency_key=key)


def _workers(url: str, tmp_path: Path, history: Path, **settings: object) -> Supervised:
    return Supervised(
        url, logs=tmp_path, env={"PRISMQ_TEST_HISTORY": str(history)},
        **{"processes": 2, "concurrency": 8, "lease_duration_seconds": LEASE_S, "shutdown_grace_seconds": 3,
           "poll_interval_seconds": 0.5, **settings},
    )  # fmt: skip


def _left(url: str) -> int:
    return int(look(url, UNFINISHED)[0][0])


def _judge(url: str, history: Path, client: Client, workers: Supervised) -> None:
    wrong = problems(url, history, client.acknowledged, supervisors_kills([workers])) + check_books(url)
    assert wrong == [], "\n".join(wrong[:20])
    assert len(set(client.acknowledged)) == client.total
    assert look(url, "SELECT status, count(*) FROM task_queue GROUP BY 1") == [("completed", client.total)]
    assert look(url, TWICE) == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_server_that_crashes_every_few_seconds_loses_nothing_and_completes_nothing_twice(
    server: PostgresServer, url: str, tmp_path: Path, history: Path, seed: int
) -> None:
    rng = Random(seed)
    client = Client(url, Random(rng.random()), TASKS, 200)
    workers = _workers(url, tmp_path, history)
    crashes, began = 0, time.monotonic()
    client.start()
    try:
        while crashes < CRASHES or client.is_alive():
            time.sleep(rng.uniform(1.0, 4.0))
            server.stop("immediate")
            if crashes == CRASHES // 2:  # this time for longer than a worker with nothing to do goes without a look
                time.sleep(AWAY_S)
            server.start()
            crashes += 1
        client.join(DRAIN_S)
        wait_until(lambda: _left(url) == 0, "all is done", DRAIN_S, every_s=0.1)
        took_s = time.monotonic() - began
        assert workers.stop() == 0
    except AssertionError:
        print(workers.log()[-6000:])
        raise
    finally:
        workers.destroy()
    runs = read(history)
    away = len(workers.events("store_unavailable"))
    print(
        f"seed {seed}: {TASKS} tasks, {crashes} crashes in {took_s:.0f} s, {len(runs)} runs, {client.repeated} enqueues"
        f" repeated, {away} times unavailable, {len(workers.events('worker_process_lost'))} processes replaced"
    )
    _judge(url, history, client, workers)
    assert away, "no worker noticed a crash"
    assert workers.events("store_recovered")


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_workers_killed_while_the_server_crashes_lose_nothing(
    server: PostgresServer, url: str, tmp_path: Path, history: Path, seed: int
) -> None:
    """Both at once: what a dead worker held comes back even where nobody could be told of its death."""
    rng = Random(seed)
    client = Client(url, Random(rng.random()), 3_000, 60)
    workers = _workers(url, tmp_path, history)
    killed: dict[int, float] = {}
    client.start()
    try:
        for _ in range(4):
            pids = wait_until(workers.workers, "a worker process", 60)
            victim = rng.choice(pids)
            server.stop("immediate")
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
                killed[victim] = time.time()
            server.start()
            time.sleep(rng.uniform(0.5, 1.5))
        client.join(DRAIN_S)
        wait_until(lambda: _left(url) == 0, "all is done", DRAIN_S, every_s=0.1)
        assert workers.stop() == 0
    except AssertionError:
        print(workers.log()[-6000:])
        raise
    finally:
        workers.destroy()
    wrong = problems(url, history, client.acknowledged, {**supervisors_kills([workers]), **killed}) + check_books(url)
    assert wrong == [], "\n".join(wrong[:20])
    assert look(url, "SELECT status, count(*) FROM task_queue GROUP BY 1") == [("completed", 3_000)]


# -- Redis


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.mark.timeout(200)
def test_redis_killed_and_flushed_while_tasks_run_costs_time_and_nothing_else(
    url: str, tmp_path: Path, history: Path, redis: RedisServer
) -> None:
    with PrismQ(url, redis_url=redis.url) as q:
        settings = {"env": {"PRISMQ_TEST_HISTORY": str(history), "PRISMQ_REDIS_URL": redis.url}, "logs": tmp_path}
        with supervised(url, **settings, processes=1, concurrency=4, poll_interval_seconds=3.0) as workers:
            assert q.enqueue("add", {"a": 1, "b": 1}).result(30) == 2
            sent = [q.enqueue("add", {"a": n, "b": 1}) for n in range(200)]
            redis.kill()
            wait_until(lambda: workers.events("hints_lost"), "the warning", 30)
            sent += [q.enqueue("add", {"a": n, "b": 1}) for n in range(200, 400)]
            wait_until(lambda: _left(url) == 0, "the poll finds them", 60, every_s=0.05)
            redis.start()  # empty: it keeps nothing
            wait_until(lambda: workers.events("hints_recovered"), "the recovery", 60)
            sent += [q.enqueue("add", {"a": n, "b": 1}) for n in range(400, 600)]
            wait_until(lambda: _left(url) == 0, "all is done", 60, every_s=0.05)
            redis.flush()
            assert q.enqueue("add", {"a": 5, "b": 6}).result(30) == 11
            assert workers.stop() == 0
        assert {event["level"] for event in workers.events("hints_lost")} == {"WARNING"}
        assert [handle.result(1) for handle in sent] == [n + 1 for n in range(600)]
    assert problems(url, history, [handle.id for handle in sent], {}) + check_books(url) == []


# -- failover


@pytest.mark.timeout(200)
def test_after_a_failover_workers_and_clients_find_the_new_primary(
    server: PostgresServer, tmp_path: Path, history: Path
) -> None:
    name = server.new_queue()
    with contextlib.closing(server.standby()) as standby:
        both = f"postgresql://prismq@127.0.0.1:{standby.port},127.0.0.1:{server.port}/{name}"
        client, q = Client(both, Random(1), 1_500, 60), PrismQ(both)
        assert q.enqueue("add", {"a": 1, "b": 1}).id
        workers = _workers(both, tmp_path, history)
        try:
            client.start()
            wait_until(lambda: len(client.acknowledged) > 300, "it has begun", 60)
            wait_until(
                lambda: look(server.url(name), "SELECT 1 FROM task_queue WHERE status = 'completed'"), "runs", 60
            )
            server.stop("immediate")
            standby.promote()
            client.join(DRAIN_S)
            here = standby.url(name)
            wait_until(lambda: _left(here) == 0, "all is done on the new primary", DRAIN_S, every_s=0.1)
            # A program that was connected to the old one, and has rested since: nothing has to be told to it.
            client.acknowledged.append(q.enqueue("add", {"a": 20, "b": 22}).id)
            assert q.handle(client.acknowledged[-1]).result(30) == 42
            assert workers.stop() == 0
        except AssertionError:
            print(workers.log()[-6000:])
            raise
        finally:
            workers.destroy()
            q.close()
        # The standby follows synchronously: what was acknowledged is there.
        wrong = problems(here, history, client.acknowledged, supervisors_kills([workers])) + check_books(here)
        assert wrong == [], "\n".join(wrong[:20])
        assert look(here, "SELECT status, count(*) FROM task_queue GROUP BY 1") == [("completed", 1_502)]
        assert look(here, TWICE) == []


def test_a_url_whose_hosts_all_refuse_writes_says_so(server: PostgresServer) -> None:
    name = server.new_queue()
    with contextlib.closing(server.standby()) as standby:
        url = f"postgresql://prismq@127.0.0.1:{standby.port}/{name}"
        with PrismQ(url) as q, pytest.raises(QueueDatabaseError, match=r"takes no writes|Give the primary"):
            q.enqueue("add", {"a": 1, "b": 1})
