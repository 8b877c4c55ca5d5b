"""The store as a whole: creation, faults, marks of change."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from prismq.domain.errors import QueueDatabaseError, QueueSchemaError
from prismq.domain.status import TaskStatus
from prismq.domain.task import TaskFilter
from prismq.domain.worker import WorkerCommand
from prismq.storage.contract import Batch, Schedule, Store
from tests.helpers.builders import KEEP_ALL, a_report, a_request, a_task, a_worker, claim_one, settlement
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine


def test_prepare_creates_a_new_store_and_leaves_one_that_is_there_alone(engine: Engine, clock: FakeClock) -> None:
    store = engine.empty()
    store.prepare()
    store.inbox.enqueue(a_task(), clock.now())
    store.prepare()
    assert store.tasks.count(TaskFilter()) == 1


def test_initialise_applies_every_migration_once(engine: Engine, clock: FakeClock) -> None:
    store = engine.empty()
    applied = store.initialise()
    assert applied == sorted(applied)
    assert applied[0] == 1
    store.inbox.enqueue(a_task(), clock.now())
    assert store.initialise() == []
    assert store.tasks.count(TaskFilter()) == 1


def test_check_passes_on_a_working_store_and_not_on_an_empty_one(engine: Engine) -> None:
    engine.store.check()
    with pytest.raises(QueueSchemaError):
        engine.empty().check()


def test_the_change_mark_changes_when_another_has_written_and_only_then(engine: Engine, clock: FakeClock) -> None:
    other = engine.another()
    mark = engine.store.change_mark()
    if mark is None:  # asking is not cheap here: hints and polling are what there is
        return
    assert engine.store.change_mark() == mark
    other.inbox.enqueue(a_task(), clock.now())
    changed = engine.store.change_mark()
    assert changed != mark
    engine.hand("INSERT INTO task_queue (type, payload) VALUES ('t', '{}')")
    assert engine.store.change_mark() != changed


def test_a_store_can_be_used_again_after_close(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    store.close()
    assert store.tasks.count(TaskFilter()) == 1


def test_the_name_says_which_engine_and_where(store: Store) -> None:
    assert store.name.strip()
    assert "password" not in store.name


def _lease(store: Store, clock: FakeClock):
    store.inbox.enqueue(a_task(), clock.now())
    return claim_one(store, clock)


OPERATIONS: dict[str, Callable[[Store, float], object]] = {
    "enqueue": lambda s, now: s.inbox.enqueue(a_task(), now),
    "enqueue unique": lambda s, now: s.inbox.enqueue(a_task(unique_key="u"), now),
    "enqueue_many": lambda s, now: s.inbox.enqueue_many([a_task()], now),
    "claim": lambda s, now: s.work.exchange(Batch(), a_request(rng=Random(1)), now),
    "renew": lambda s, now: s.work.renew(["w"], 1, now),
    "cancel_requests": lambda s, now: s.work.cancel_requests("w"),
    "next_due": lambda s, now: s.work.next_due(),
    "get": lambda s, now: s.tasks.get(1),
    "find": lambda s, now: s.tasks.find(TaskFilter()),
    "count": lambda s, now: s.tasks.count(TaskFilter()),
    "cancel": lambda s, now: s.tasks.cancel(TaskFilter(), now),
    "retry": lambda s, now: s.tasks.retry(TaskFilter(), now),
    "run_now": lambda s, now: s.tasks.run_now(TaskFilter(), now),
    "reprioritise": lambda s, now: s.tasks.reprioritise(TaskFilter(), 1, now),
    "delete": lambda s, now: s.tasks.delete(TaskFilter()),
    "attempts": lambda s, now: s.tasks.attempts(1),
    "logs": lambda s, now: s.tasks.logs(1),
    "register": lambda s, now: s.workers.register(a_worker(), now),
    "heartbeat": lambda s, now: s.workers.heartbeat(a_report(), now),
    "stop": lambda s, now: s.workers.stop("w", "stopped", None, now),
    "worker": lambda s, now: s.workers.get("w"),
    "workers": lambda s, now: s.workers.all(),
    "ask": lambda s, now: s.workers.ask("w", WorkerCommand.PAUSE, None, "ann", now),
    "take_commands": lambda s, now: s.workers.take_commands("w", now),
    "hint_ports": lambda s, now: s.workers.hint_ports(),
    "forget": lambda s, now: s.workers.forget(now),
    "pause": lambda s, now: s.queues.pause("q", "ann", now),
    "resume": lambda s, now: s.queues.resume("q"),
    "limit": lambda s, now: s.queues.limit("q", 1),
    "queues": lambda s, now: s.queues.all(now),
    "declare": lambda s, now: s.schedules.declare(Schedule("n", "* * * * *", "UTC", "latest", a_task()), now),
    "schedules": lambda s, now: s.schedules.all(),
    "fire": lambda s, now: s.schedules.fire(Schedule("n", "* * * * *", "UTC", "latest", a_task()), now, 0, now),
    "skip": lambda s, now: s.schedules.skip("n", now),
    "pause schedule": lambda s, now: s.schedules.pause("n", True, now),
    "remove": lambda s, now: s.schedules.remove("n"),
    "expire_leases": lambda s, now: s.upkeep.expire_leases(now),
    "prune": lambda s, now: s.upkeep.prune(KEEP_ALL, now),
    "fold": lambda s, now: s.upkeep.fold(now),
    "book": lambda s, now: s.upkeep.book(now),
    "standing": lambda s, now: s.standing(now),
    "depth": lambda s, now: s.insight.depth(),
    "recount": lambda s, now: s.insight.recount(),
    "outcomes": lambda s, now: s.insight.outcomes(0, now),
    "oldest_ready_s": lambda s, now: s.insight.oldest_ready_s(now),
}


@pytest.mark.parametrize("operation", list(OPERATIONS))
def test_what_the_store_cannot_do_is_an_error_of_ours_that_says_what_to_do(
    engine: Engine, clock: FakeClock, operation: str
) -> None:
    with pytest.raises(QueueDatabaseError, match="prismq init"):
        OPERATIONS[operation](engine.empty(), clock.now())


@pytest.mark.parametrize("operation", list(OPERATIONS))
def test_every_operation_works_on_an_empty_queue(store: Store, clock: FakeClock, operation: str) -> None:
    OPERATIONS[operation](store, clock.now())


def test_a_settlement_where_there_is_no_queue_is_an_error_of_ours(engine: Engine, clock: FakeClock) -> None:
    lease = _lease(engine.store, clock)
    batch = Batch([settlement(lease, TaskStatus.COMPLETED, clock.now())])
    with pytest.raises(QueueDatabaseError):
        engine.empty().work.exchange(batch, None, clock.now())
