"""Every built-in alert: a planted fault, a received message, and another when the fault is gone."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prismq.domain.status import TaskStatus
from prismq.domain.task import TaskFilter
from prismq.observability.alerts.definitions import ALERTS
from prismq.observability.alerts.look import Surroundings
from prismq.observability.facts import RedisFigures
from prismq.storage.backups import BackupFolder
from prismq.storage.contract import Schedule, Store
from prismq.storage.contract.alerts import Sample
from prismq.storage.open import redis_info
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.store import PostgresStore
from tests.alerts.conftest import Watched
from tests.helpers.builders import a_report, a_task, a_worker, claim, claim_one, complete, dead_letter, start
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine, PostgresEngine, SqliteEngine
from tests.helpers.postgres import server
from tests.helpers.processes import wait_until
from tests.helpers.proxy import Proxy
from tests.helpers.receiver import Receiver
from tests.helpers.redis import redis_server

PROVEN: set[str] = {"NoActiveWorkers", "AlertChannelFailing"}  # in test_watch.py


@pytest.fixture(scope="module", autouse=True)
def _every_alert_is_proven(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if request.session.testsfailed == 0 and not request.config.option.keyword:
        assert {alert.name for alert in ALERTS} == PROVEN


def beat(store: Store, clock: FakeClock, worker: str = "w1", **report: Any) -> None:
    """A worker's heartbeat: it looks and claims as it should."""
    now = clock.now()
    values = {"slots": 4, "last_look_at": now, "last_claim_at": now, **report}
    store.workers.heartbeat(a_report(worker, **values), now)


def hire(store: Store, clock: FakeClock, worker: str = "w1", **columns: Any) -> None:
    store.workers.register(a_worker(worker, slots=4, types='["job"]', **columns), clock.now())


def prove(
    watched: Watched,
    rule: str,
    *,
    lasts_s: float,
    over_s: float,
    each: Callable[[], object] = lambda: None,
    mend: Callable[[], object],
    after: Callable[[], object] | None = None,
    every_s: float = 15.0,
) -> str:
    """The fault is planted: it is told after `lasts_s`, and over `over_s` after it is mended. The summary."""

    def pass_(seconds: float, meanwhile: Callable[[], object]) -> None:
        left = seconds
        while left > 0:
            watched.clock.advance(min(every_s, left))
            meanwhile()
            watched.step()
            left -= every_s

    watched.step()
    pass_(lasts_s, each)
    assert watched.told(rule) == ["firing"], [one.state for one in watched.open(rule)]
    summary = watched.firing(rule)[0].summary
    mend()
    pass_(over_s, after or each)
    assert watched.told(rule) == ["firing", "resolved"], watched.open(rule)
    assert "{" not in summary
    PROVEN.add(rule)
    return summary


# -- queues


def test_the_oldest_task_waits_longer_than_the_queue_promises(watched: Watched, store: Store, clock: FakeClock) -> None:
    hire(store, clock)
    store.inbox.enqueue(a_task(queue="within_30_seconds"), clock.now())
    summary = prove(
        watched, "OldestTaskOverTarget", lasts_s=105, over_s=150,
        each=lambda: beat(store, clock, busy=4), mend=lambda: store.tasks.delete(TaskFilter(queue="within_30_seconds")),
    )  # fmt: skip
    assert "the target is 30 s" in summary


# What is louder would keep these back: it is switched off where it would fire as well.
OFF = {"enabled": False}


def test_a_flood_takes_too_long_to_drain(store: Store, clock: FakeClock, pager: Receiver) -> None:
    watched = Watched(store, clock, pager, rules={"OldestTaskOverTarget": OFF})
    hire(store, clock)
    store.inbox.enqueue_many([a_task() for _ in range(3000)], clock.now())

    def one_a_minute() -> None:
        beat(store, clock, busy=4)
        complete(store, clock, claim_one(store, clock))

    prove(
        watched, "BacklogGrowing", lasts_s=1200, over_s=420, every_s=60, each=one_a_minute,
        mend=lambda: store.tasks.delete(TaskFilter(statuses=("queued",))), after=lambda: beat(store, clock),
    )  # fmt: skip


def test_tasks_that_no_worker_takes(watched: Watched, store: Store, clock: FakeClock) -> None:
    hire(store, clock, queues='["others"]')
    store.inbox.enqueue(a_task(queue="lonely"), clock.now())
    summary = prove(
        watched, "QueueUnserved", lasts_s=75, over_s=90, each=lambda: beat(store, clock),
        mend=lambda: store.workers.register(a_worker("w1", slots=4, types='["job"]'), clock.now()),
    )  # fmt: skip
    assert summary == "1 task of the queue lonely wait and no live worker takes them"


def test_a_flood_is_deep(watched: Watched, store: Store, clock: FakeClock) -> None:
    hire(store, clock)
    store.inbox.enqueue_many([a_task() for _ in range(1001)], clock.now())
    prove(
        watched, "HighQueueDepth", lasts_s=330, over_s=330, each=lambda: beat(store, clock, busy=4),
        mend=lambda: store.tasks.delete(TaskFilter(statuses=("queued",))),
    )  # fmt: skip


# -- tasks


def some_end(store: Store, clock: FakeClock, good: int, bad: int) -> None:
    store.inbox.enqueue_many([a_task() for _ in range(good + bad)], clock.now())
    for number, lease in enumerate(claim(store, clock, limit=good + bad)):
        (complete if number < good else dead_letter)(store, clock, lease)


def test_a_type_that_fails(watched: Watched, store: Store, clock: FakeClock) -> None:
    hire(store, clock)

    def each() -> None:
        beat(store, clock)
        some_end(store, clock, 3, 3)

    summary = prove(
        watched, "HighFailureRate", lasts_s=420, over_s=900, every_s=30, each=each, mend=lambda: None,
        after=lambda: beat(store, clock),
    )  # fmt: skip
    assert summary.startswith("50 % of the tasks of the queue default")


def test_a_type_that_fails_more_than_it_did(store: Store, clock: FakeClock, pager: Receiver) -> None:
    watched = Watched(store, clock, pager, rules={"HighFailureRate": OFF})
    hire(store, clock)
    for _ in range(24):
        some_end(store, clock, 20, 0)
        clock.advance(3000)
    beat(store, clock)
    clock.advance(1200)

    def each() -> None:
        beat(store, clock)
        some_end(store, clock, 4, 1)

    prove(
        watched, "FailureRateAboveBaseline", lasts_s=600, over_s=2400, every_s=60, each=each, mend=lambda: None,
        after=lambda: beat(store, clock),
    )  # fmt: skip


def test_new_dead_letters(watched: Watched, store: Store, clock: FakeClock) -> None:
    hire(store, clock)
    some_end(store, clock, 0, 2)
    summary = prove(
        watched, "DeadLettersGrew", lasts_s=15, over_s=1800, every_s=60, each=lambda: beat(store, clock),
        mend=lambda: None,
    )  # fmt: skip
    assert summary == "2 tasks of the type job in the queue default became dead letters"


def lose(store: Store, clock: FakeClock) -> None:
    """A worker is killed while it runs the task."""
    start(store, clock, claim_one(store, clock, worker="gone"))
    clock.advance(31)
    assert store.upkeep.expire_leases(clock.now())


def test_leases_that_were_lost(watched: Watched, store: Store, clock: FakeClock) -> None:
    hire(store, clock)
    store.inbox.enqueue(a_task(), clock.now())
    lose(store, clock)
    complete(store, clock, claim_one(store, clock))
    prove(
        watched, "LeasesLost", lasts_s=15, over_s=1800, every_s=60, each=lambda: beat(store, clock),
        mend=lambda: None,
    )  # fmt: skip


def test_a_task_that_kills_its_workers(watched: Watched, store: Store, clock: FakeClock) -> None:
    hire(store, clock)
    store.inbox.enqueue(a_task(max_attempts=2), clock.now())
    lose(store, clock)
    lose(store, clock)
    summary = prove(
        watched, "PoisonTask", lasts_s=15, over_s=2400, every_s=60, each=lambda: beat(store, clock),
        mend=lambda: store.tasks.retry(TaskFilter(statuses=("dead_letter",)), clock.now()),
        after=lambda: beat(store, clock),
    )  # fmt: skip
    assert summary.endswith("again: 2 attempts")


def test_a_task_that_hangs(watched: Watched, store: Store, clock: FakeClock) -> None:
    hire(store, clock)
    for _ in range(25):
        store.inbox.enqueue(a_task(), clock.now())
        lease = claim_one(store, clock)
        clock.advance(2)
        complete(store, clock, lease)
    store.inbox.enqueue(a_task(), clock.now())
    stuck = claim_one(store, clock, lease_s=3600)
    start(store, clock, stuck)
    summary = prove(
        watched, "TaskRunningLong", lasts_s=150, over_s=90, each=lambda: beat(store, clock, busy=1),
        mend=lambda: complete(store, clock, stuck, was=TaskStatus.PROCESSING),
    )  # fmt: skip
    assert "what 99 of 100 take" in summary


# -- workers


def test_a_worker_that_was_killed(watched: Watched, store: Store, clock: FakeClock) -> None:
    hire(store, clock, "w1")
    hire(store, clock, "w2")
    summary = prove(
        watched, "WorkerUnhealthy", lasts_s=420, over_s=90, each=lambda: beat(store, clock, "w2"),
        mend=lambda: store.workers.stop("w1", "lost", "killed", clock.now()),
    )  # fmt: skip
    assert summary.startswith("The worker w1 was last heard of")


def test_a_worker_that_is_alive_and_takes_nothing(watched: Watched, store: Store, clock: FakeClock) -> None:
    hire(store, clock)
    store.inbox.enqueue(a_task(), clock.now())
    prove(
        watched, "WorkerNotConsuming", lasts_s=180, over_s=90, mend=lambda: None, after=lambda: beat(store, clock),
        each=lambda: store.workers.touch("w1", clock.now()),
    )  # fmt: skip


# -- schedules and the canary


def hourly(store: Store, clock: FakeClock) -> Schedule:
    store.schedules.declare(Schedule("hourly", "0 * * * *", "UTC", "latest", a_task()), clock.now())
    return store.schedules.all()[0]


def fire(store: Store, clock: FakeClock) -> None:
    store.schedules.fire(store.schedules.all()[0], clock.now() // 3600 * 3600, 0, clock.now())


def test_a_schedule_that_does_not_fire(watched: Watched, store: Store, clock: FakeClock) -> None:
    hire(store, clock)
    hourly(store, clock)
    summary = prove(
        watched, "ScheduleMissed", lasts_s=3 * 3600, over_s=300, every_s=60, each=lambda: beat(store, clock),
        mend=lambda: fire(store, clock),
    )  # fmt: skip
    assert "hourly has not fired" in summary


def test_a_schedule_whose_tasks_fail(watched: Watched, store: Store, clock: FakeClock) -> None:
    hire(store, clock)
    hourly(store, clock)

    def each() -> None:
        beat(store, clock)
        if clock.now() - (store.schedules.all()[0].last_slot or 0) >= 3600:
            fire(store, clock)
            dead_letter(store, clock, claim_one(store, clock))

    def mend() -> None:
        store.tasks.retry(TaskFilter(statuses=("dead_letter",)), clock.now())
        for lease in claim(store, clock):
            complete(store, clock, lease)

    prove(
        watched, "ScheduleFailing", lasts_s=3.2 * 3600, over_s=180, every_s=60, each=each, mend=mend,
        after=lambda: beat(store, clock),
    )  # fmt: skip


def test_a_canary_that_nobody_completes(store: Store, clock: FakeClock, pager: Receiver) -> None:
    watched = Watched(store, clock, pager, canary_queues=["default"], canary_interval_seconds=30)
    hire(store, clock)

    def done() -> None:
        beat(store, clock)
        for lease in claim(store, clock):
            complete(store, clock, lease)

    prove(
        watched, "CanaryFailed", lasts_s=90, over_s=120, each=lambda: beat(store, clock, busy=4), mend=lambda: None,
        after=done,
    )  # fmt: skip
    [canary] = store.alerts.canaries()
    assert canary.waiting_since is None
    assert canary.took_s is not None


# -- service levels


@pytest.mark.parametrize(("rule", "good"), [("ErrorBudgetBurnFast", 4), ("ErrorBudgetBurnSlow", 9)])
def test_a_budget_that_burns(watched: Watched, store: Store, clock: FakeClock, rule: str, good: int) -> None:
    hire(store, clock)

    def each() -> None:
        beat(store, clock)
        some_end(store, clock, good, 1)

    summary = prove(
        watched, rule, lasts_s=1500, over_s=3600, every_s=60, each=each, mend=lambda: None,
        after=lambda: (beat(store, clock), some_end(store, clock, 5, 0)),
    )  # fmt: skip
    assert summary.startswith("The service level success burns its error budget at")


def test_requests_that_fail_burn_the_budget_of_the_api(watched: Watched, store: Store, clock: FakeClock) -> None:
    hire(store, clock)

    def answered(good: float) -> None:
        beat(store, clock)
        store.levels.add([Sample("api", clock.now(), good, 10)])

    prove(
        watched, "ErrorBudgetBurnFast", lasts_s=600, over_s=900, every_s=60, each=lambda: answered(9),
        mend=lambda: None, after=lambda: answered(10),
    )  # fmt: skip
    [record] = store.alerts.history(rule="ErrorBudgetBurnFast")
    told = float(record.summary.split(" burns its error budget at ")[1].split(" times ")[0])
    assert told > 14.4, "whoever reads that it is over reads how bad it was"


# -- the store


def test_a_database_that_cannot_be_used(watched: Watched, engine: Engine, store: Store, clock: FakeClock) -> None:
    hire(store, clock)
    watched.step()
    engine.hand("ALTER TABLE duties RENAME TO duties_gone")
    for _ in range(6):
        clock.advance(15)
        watched.watch.step()
    watched.pager.wait_for(1)
    engine.hand("ALTER TABLE duties_gone RENAME TO duties")
    watched.step(15)
    watched.step(15)
    assert watched.told("DatabaseUnreachable") == ["firing", "resolved"]
    [record] = store.alerts.history(rule="DatabaseUnreachable")
    assert record.state == "resolved"
    PROVEN.add("DatabaseUnreachable")


def test_the_pool_of_connections_is_used_up(engine: Engine, clock: FakeClock, pager: Receiver) -> None:
    if not isinstance(engine, PostgresEngine):
        return  # a file has a connection for each thread, and no end of them
    store = PostgresStore(PostgresDatabase(engine.url, server_clock=False, pool_size=4))
    watched = Watched(store, clock, pager)
    let_go, held = threading.Event(), threading.Barrier(4)

    def hold() -> None:
        with store.database.transaction():
            held.wait(30)
            let_go.wait(60)

    hire(store, clock)
    watched.step()
    threads = [threading.Thread(target=hold) for _ in range(3)]
    for thread in threads:
        thread.start()
    held.wait(30)

    def mend() -> None:
        let_go.set()
        for thread in threads:
            thread.join()

    prove(
        watched, "DatabaseConnectionPoolExhausted", lasts_s=330, over_s=150, each=lambda: beat(store, clock), mend=mend
    )
    store.close()


@pytest.mark.parametrize(("rule", "lasts_s", "over_s"), [("DiskAlmostFull", 15, 90), ("DiskFillingUp", 330, 330)])
def test_a_disk_with_less_space_than_it_should_have(
    engine: Engine, store: Store, clock: FakeClock, pager: Receiver, tmp_path: Path, rule: str, lasts_s: float,
    over_s: float,
) -> None:  # fmt: skip
    if not isinstance(engine, SqliteEngine):
        return  # the server's disk is out of sight
    others = {"DiskFillingUp": OFF, "DiskAlmostFull": OFF}
    # More than the whole disk can have: so much is surely not free.
    watched = Watched(
        store, clock, pager, rules={**others, rule: {"threshold": shutil.disk_usage(tmp_path).total + 1024**3}}
    )
    hire(store, clock)
    summary = prove(
        watched, rule, lasts_s=lasts_s, over_s=over_s, each=lambda: beat(store, clock),
        mend=lambda: watched.restart(rules={**others, rule: {"threshold": 1}}),
    )  # fmt: skip
    assert "iB are free where the database lies" in summary


class AskedClock(FakeClock):
    """Tells when somebody looks how late it is."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def monotonic(self) -> float:
        try:
            return super().monotonic()
        finally:
            self.asked.set()


def test_a_lock_that_somebody_holds_makes_the_database_slow(engine: Engine, pager: Receiver) -> None:
    clock = AskedClock()
    watched = Watched(
        engine.store, clock, pager, rules={"DatabaseSlow": {"for_seconds": 30, "resolve_after_seconds": 30}}
    )
    hire(engine.store, clock)
    holder = engine.callers_connection()

    def look_meanwhile() -> None:
        """A look that has to wait for the lock; two seconds pass until it is let go."""
        beat(engine.store, clock)
        lock = "BEGIN IMMEDIATE"
        if isinstance(engine, PostgresEngine):
            lock = "LOCK TABLE task_queue IN ACCESS EXCLUSIVE MODE"
        holder.execute(lock)
        clock.asked.clear()
        look = threading.Thread(target=watched.watch.step)
        look.start()
        if isinstance(engine, PostgresEngine):
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'task_queue'::regclass"
            wait_until(lambda: engine.look(waiting) != [(0,)], "the look waits for the lock")
        else:
            assert clock.asked.wait(30)  # it has begun, and cannot come to an end
        clock.advance(2)
        holder.rollback()
        look.join(30)
        watched.watch.deliverer.wait(30)

    watched.step()
    for _ in range(4):
        clock.advance(15)
        look_meanwhile()
    assert watched.told("DatabaseSlow") == ["firing"]
    assert watched.firing("DatabaseSlow")[0].summary == "One small exchange with the database takes 2 s"
    for _ in range(4):
        beat(engine.store, clock)
        watched.step(15)
    assert watched.told("DatabaseSlow") == ["firing", "resolved"]
    PROVEN.add("DatabaseSlow")


def test_what_the_doctor_finds_of_the_database(
    engine: Engine, store: Store, watched: Watched, clock: FakeClock
) -> None:
    hire(store, clock)
    if isinstance(engine, PostgresEngine):
        server = engine.server
        server.execute("ALTER SYSTEM SET autovacuum = off")
        server.execute("SELECT pg_reload_conf()")
    else:
        tasks = [a_task(payload=json.dumps({"text": "x" * 60_000}), run_at=clock.now() + 1e6) for _ in range(1500)]
        store.inbox.enqueue_many(tasks, clock.now())
        store.tasks.delete(TaskFilter(statuses=("scheduled",)))

    def each() -> None:
        beat(store, clock)
        watched.watch.looker._slow.wait(60)

    def mend() -> None:
        if isinstance(engine, PostgresEngine):
            server.execute("ALTER SYSTEM RESET autovacuum")
            server.execute("SELECT pg_reload_conf()")
        else:
            engine.hand("VACUUM")

    try:  # the doctor looks every ten minutes
        summary = prove(watched, "DatabaseFault", lasts_s=1300, over_s=1600, every_s=60, each=each, mend=mend)
    finally:
        mend()
    fault = "autovacuum is off" if isinstance(engine, PostgresEngine) else "MB are free pages"
    assert fault in summary


def test_a_log_that_a_reader_pins(engine: Engine, store: Store, clock: FakeClock, pager: Receiver) -> None:
    if not isinstance(engine, SqliteEngine):
        return  # the other engine has no such log of ours
    watched = Watched(store, clock, pager, rules={"WalTooLarge": {"threshold": 1_000_000, "clear": 900_000}})
    hire(store, clock)
    reader = engine.callers_connection()
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM task_queue").fetchall()
    store.inbox.enqueue_many([a_task(payload=f'"{"x" * 1000}"', run_at=clock.now() + 1e6) for _ in range(3000)], 0.0)

    def mend() -> None:
        reader.rollback()
        engine.hand("PRAGMA wal_checkpoint(TRUNCATE)")

    prove(watched, "WalTooLarge", lasts_s=330, over_s=330, each=lambda: beat(store, clock), mend=mend)


def test_a_redis_that_was_killed(store: Store, clock: FakeClock, pager: Receiver) -> None:
    with redis_server() as redis:

        def probe() -> RedisFigures:
            found = redis_info(redis.url)
            return RedisFigures(0.0, found.memory_bytes, found.connected_clients, found.ops_per_second)

        watched = Watched(store, clock, pager, around=Surroundings(redis_probe=probe))
        hire(store, clock)
        watched.step()
        assert watched.open("RedisDown") == []
        redis.kill()
        prove(watched, "RedisDown", lasts_s=75, over_s=90, each=lambda: beat(store, clock), mend=redis.start)


def test_backups_that_stopped(store: Store, clock: FakeClock, pager: Receiver, tmp_path: Path) -> None:
    folder = BackupFolder(store.keeping, clock, tmp_path / "backups")
    folder.create("scheduled")
    around = Surroundings(backup_interval_s=3600, backup_dir=str(tmp_path / "backups"))
    watched = Watched(store, clock, pager, around=around)
    hire(store, clock)
    prove(
        watched, "BackupTooOld", lasts_s=7300, over_s=60, every_s=60, each=lambda: beat(store, clock),
        mend=lambda: folder.create("scheduled"),
    )  # fmt: skip


def test_a_backup_that_cannot_be_restored(store: Store, clock: FakeClock, pager: Receiver, tmp_path: Path) -> None:
    folder = BackupFolder(store.keeping, clock, tmp_path / "backups")
    made = folder.create("scheduled").path
    made.write_bytes(b"nonsense" * 1000)
    watched = Watched(store, clock, pager, around=Surroundings(backup_dir=str(tmp_path / "backups")))
    hire(store, clock)

    def each() -> None:
        beat(store, clock)
        watched.watch.looker._slow.wait(60)

    clock.advance(5)

    def mend() -> None:
        made.unlink()
        folder.create("scheduled")

    prove(watched, "BackupBroken", lasts_s=60, over_s=1300, every_s=30, each=each, mend=mend)


def test_a_server_that_refuses_everybody_is_told_of_and_its_return(clock: FakeClock, pager: Receiver) -> None:
    name = server().new_queue()
    proxy = Proxy(server())
    store = PostgresStore(PostgresDatabase(proxy.url(name), server_clock=False))
    try:
        watched = Watched(store, clock, pager)
        hire(store, clock)
        watched.step()
        proxy.refuse(True)
        for _ in range(6):
            clock.advance(15)
            watched.watch.step()
        [got] = watched.pager.wait_for(1)
        assert got.message["alerts"][0]["rule"] == "DatabaseUnreachable"
        proxy.refuse(False)
        watched.step(15)
        watched.step(15)
        assert watched.told("DatabaseUnreachable") == ["firing", "resolved"]
    finally:
        store.close()
        proxy.close()
        server().drop(name)
