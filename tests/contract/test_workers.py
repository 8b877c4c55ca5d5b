"""Who works here, and what is asked of them."""

from __future__ import annotations

from prismq.domain.times import from_epoch
from prismq.domain.worker import WorkerCommand
from prismq.storage.contract import Store
from tests.helpers.builders import LEASE_S, a_report, a_task, a_worker, claim_one, complete
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine


def test_a_registered_worker_is_alive_as_of_now(store: Store, clock: FakeClock) -> None:
    worker = a_worker(
        "w1", capabilities='{"region": "eu"}', hostname="h", pid=7, supervisor_id="s", queues='["a"]', types='["t"]',
        strategy="fifo", version="1", slots=4, restarts=2, hint_port=1234, note="n",
    )  # fmt: skip
    store.workers.register(worker, clock.now())
    found = store.workers.get("w1")

    assert found is not None
    assert found.heartbeat_utc == found.started_at_utc == from_epoch(clock.now())
    worker.heartbeat_utc = worker.started_at_utc = from_epoch(clock.now())
    assert found == worker


def test_registering_again_replaces_the_row(store: Store, clock: FakeClock) -> None:
    store.workers.register(a_worker(slots=1), clock.now())
    store.workers.heartbeat(a_report(completed=5), clock.now())
    store.workers.stop("w1", "stopped", None, clock.now())
    store.workers.register(a_worker(slots=2), clock.advance(5))

    [found] = store.workers.all()
    assert (found.slots, found.status, found.stopped_at_utc, found.completed) == (2, "active", None, 0)


def test_a_worker_that_nobody_knows_is_none(store: Store) -> None:
    assert store.workers.get("w1") is None


def test_a_heartbeat_records_the_report_and_adds_its_counts(store: Store, clock: FakeClock) -> None:
    store.workers.register(a_worker(), clock.now())
    clock.advance(10)
    store.workers.heartbeat(a_report(completed=2, failed=1, retried=3, last_claim_at=clock.now()), clock.now())
    clock.advance(10)
    assert store.workers.heartbeat(
        a_report(status="draining", slots=8, busy=3, held=5, completed=4, last_look_at=clock.now(), cpu_percent=12.5,
                 memory_bytes=99, note="hm"),
        clock.now(),
    )  # fmt: skip
    found = store.workers.get("w1")

    assert found is not None
    assert (found.status, found.slots, found.busy, found.held, found.note) == ("draining", 8, 3, 5, "hm")
    assert (found.completed, found.failed, found.retried) == (6, 1, 3)
    assert (found.cpu_percent, found.memory_bytes) == (12.5, 99)
    assert (found.last_claim_utc, found.last_look_utc) == (from_epoch(clock.now() - 10), from_epoch(clock.now()))
    assert found.heartbeat_utc == from_epoch(clock.now())


def test_a_heartbeat_without_a_row_is_false(store: Store, clock: FakeClock) -> None:
    assert not store.workers.heartbeat(a_report("nobody"), clock.now())
    assert store.workers.all() == []


def test_all_workers_come_latest_heartbeat_first(store: Store, clock: FakeClock) -> None:
    for worker in ("a", "b", "c"):
        store.workers.register(a_worker(worker), clock.advance(1))
    store.workers.heartbeat(a_report("a"), clock.advance(1))
    assert [worker.worker_id for worker in store.workers.all()] == ["a", "c", "b"]


def test_a_worker_that_stops_says_how(store: Store, clock: FakeClock) -> None:
    store.workers.register(a_worker(hint_port=1), clock.now())
    store.workers.heartbeat(a_report(busy=1, held=2), clock.now())
    store.workers.stop("w1", "lost", "killed by signal 9", clock.advance(3))
    found = store.workers.get("w1")

    assert found is not None
    assert (found.status, found.note, found.busy, found.held) == ("lost", "killed by signal 9", 0, 0)
    assert found.stopped_at_utc == from_epoch(clock.now())


def test_commands_are_taken_once_by_the_worker_they_are_for_in_order(engine: Engine, clock: FakeClock) -> None:
    ours, theirs = engine.store.workers, engine.another().workers
    ours.ask("w1", WorkerCommand.PAUSE, None, "ann", clock.now())
    ours.ask("w2", WorkerCommand.DRAIN, None, "ann", clock.now())
    ours.ask("w1", WorkerCommand.RESIZE, 8, "bob", clock.now())

    assert theirs.take_commands("w1", clock.now()) == [
        (WorkerCommand.PAUSE, None, "ann"), (WorkerCommand.RESIZE, 8, "bob"),
    ]  # fmt: skip
    assert ours.take_commands("w1", clock.now()) == []
    ours.ask("w1", WorkerCommand.RESUME, None, "ann", clock.now())
    assert ours.take_commands("w1", clock.now()) == [(WorkerCommand.RESUME, None, "ann")]


def test_a_command_that_nobody_knows_does_not_hide_the_others(engine: Engine, clock: FakeClock) -> None:
    engine.hand(
        "INSERT INTO worker_commands (worker_id, command, asked_at_utc) VALUES ('w1', 'explode', '2026-01-01 00:00:00')"
    )
    engine.store.workers.ask("w1", WorkerCommand.PAUSE, None, "ann", clock.now())
    assert engine.store.workers.take_commands("w1", clock.now()) == [(WorkerCommand.PAUSE, None, "ann")]


def test_hints_go_to_live_workers_that_want_them(store: Store, clock: FakeClock) -> None:
    for n, port in enumerate([1001, None, 1002, 1003]):
        store.workers.register(a_worker(f"w{n}", hint_port=port), clock.now())
    store.workers.stop("w2", "stopped", None, clock.now())
    store.workers.heartbeat(a_report("w3", status="paused"), clock.now())
    assert sorted(store.workers.hint_ports()) == [1001, 1003]


def test_forget_removes_workers_that_ended_or_fell_silent_and_hold_nothing(store: Store, clock: FakeClock) -> None:
    for worker in ("ended", "silent", "holding", "ended later", "alive"):
        store.workers.register(a_worker(worker), clock.now())
    store.inbox.enqueue(a_task(), clock.now())
    lease = claim_one(store, clock, "holding", lease_s=LEASE_S * 100)
    store.workers.stop("ended", "stopped", None, clock.now())
    before = clock.advance(100)
    store.workers.stop("ended later", "stopped", None, clock.now())
    store.workers.heartbeat(a_report("alive"), clock.now())

    assert store.workers.forget(before) == 2
    assert {worker.worker_id for worker in store.workers.all()} == {"holding", "ended later", "alive"}
    complete(store, clock, lease)
    assert store.workers.forget(before) == 1
