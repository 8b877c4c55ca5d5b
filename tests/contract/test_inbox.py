"""Putting work in."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

import pytest

from prismq.domain.errors import PrismqError, QueueDatabaseError
from prismq.domain.task import NewTask, TaskFilter
from prismq.domain.times import from_epoch
from prismq.storage.contract import Store
from tests.helpers.builders import a_task, claim_one, complete, retry_later, status_of, the_task
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine

UNWRITABLE = a_task(payload=cast(str, None))  # the payload is required


def types_in(store: Store) -> list[str]:
    return [task.type for task in reversed(store.tasks.find(TaskFilter(), limit=1000))]


def test_an_enqueued_task_is_in_the_store_for_everyone(engine: Engine, clock: FakeClock) -> None:
    done = engine.store.inbox.enqueue(a_task("thumbnail", payload='{"path": "cat.png"}'), clock.now())

    assert done.created
    task = the_task(engine.another(), done.task_id)
    assert (task.type, task.status, task.get_payload_dict()) == ("thumbnail", "queued", {"path": "cat.png"})


def test_every_option_of_an_enqueue_is_kept(store: Store, clock: FakeClock) -> None:
    new = NewTask(
        type="t", payload='{"a": 1}', queue="media", priority=7, max_attempts=2, compatibility='{"region": "eu"}',
        idempotency_key="once", tags='["red"]', timeout_s=1.5, backoff='{"initial_s": 2}', retention_s=60.0,
        headers={"traceparent": "00-é"}, schedule="nightly",
    )  # fmt: skip
    task = the_task(store, store.inbox.enqueue(new, clock.now()).task_id)

    kept = (
        task.type, task.queue, task.priority, task.max_attempts, task.idempotency_key, task.timeout_seconds,
        task.retention_seconds, task.schedule,
    )  # fmt: skip
    assert kept == ("t", "media", 7, 2, "once", 1.5, 60.0, "nightly")
    texts = [task.payload, task.compatibility, task.tags, task.backoff, task.headers]
    assert [json.loads(text or "") for text in texts] == [
        {"a": 1}, {"region": "eu"}, ["red"], {"initial_s": 2}, {"traceparent": "00-é"},
    ]  # fmt: skip
    assert (task.region, task.attempts, task.fencing_token, task.locked_by) == ("eu", 0, 0, None)
    assert task.created_at_utc == task.updated_at_utc == task.run_after_utc == from_epoch(clock.now())


def test_a_task_for_later_is_scheduled_and_one_for_the_past_is_ready_now(store: Store, clock: FakeClock) -> None:
    now = clock.now()
    later = store.inbox.enqueue(a_task(run_at=now + 60), now).task_id
    earlier = store.inbox.enqueue(a_task(run_at=now - 60), now).task_id

    assert (status_of(store, later), status_of(store, earlier)) == ("scheduled", "queued")
    assert the_task(store, later).run_after_utc == from_epoch(now + 60)
    assert the_task(store, earlier).run_after_utc == from_epoch(now)


# -- keys


def test_an_idempotency_key_that_exists_returns_the_earlier_task(store: Store, clock: FakeClock) -> None:
    first = store.inbox.enqueue(a_task(idempotency_key="k"), clock.now())
    again = store.inbox.enqueue(a_task("other", idempotency_key="k"), clock.now())

    assert first.created
    assert again == (first.task_id, False)
    assert types_in(store) == ["job"]


def test_an_idempotency_key_holds_after_the_task_has_ended(store: Store, clock: FakeClock) -> None:
    first = store.inbox.enqueue(a_task(idempotency_key="k"), clock.now())
    complete(store, clock, claim_one(store, clock))
    clock.advance(1e6)

    assert store.inbox.enqueue(a_task(idempotency_key="k"), clock.now()) == (first.task_id, False)
    assert status_of(store, first.task_id) == "completed"


def test_a_deleted_task_frees_its_idempotency_key(store: Store, clock: FakeClock) -> None:
    first = store.inbox.enqueue(a_task(idempotency_key="k"), clock.now())
    store.tasks.delete(TaskFilter(ids=(first.task_id,)))

    assert store.inbox.enqueue(a_task(idempotency_key="k"), clock.now()).created


def test_a_unique_key_is_held_for_its_window_and_no_longer(store: Store, clock: FakeClock) -> None:
    new = a_task(unique_key="u", unique_for_s=60.0)
    first = store.inbox.enqueue(new, clock.now())
    clock.advance(59.9)
    inside = store.inbox.enqueue(new, clock.now())
    clock.advance(0.2)
    after = store.inbox.enqueue(new, clock.now())

    assert inside == (first.task_id, False)
    assert after.created
    assert after.task_id != first.task_id


def test_a_unique_window_holds_although_the_task_has_ended(store: Store, clock: FakeClock) -> None:
    new = a_task(unique_key="u", unique_for_s=60.0)
    first = store.inbox.enqueue(new, clock.now())
    complete(store, clock, claim_one(store, clock))

    assert store.inbox.enqueue(new, clock.now()) == (first.task_id, False)


@pytest.mark.parametrize("step", ["queued", "claimed", "scheduled for a retry"])
def test_a_pending_unique_key_is_held_until_the_task_has_ended(store: Store, clock: FakeClock, step: str) -> None:
    new = a_task(unique_key="u", unique_pending=True)
    first = store.inbox.enqueue(new, clock.now())
    if step != "queued":
        lease = claim_one(store, clock)
        if step != "claimed":
            retry_later(store, clock, lease, 1e6)
    clock.advance(1e5)

    assert store.inbox.enqueue(new, clock.now()) == (first.task_id, False)


def test_a_pending_unique_key_is_free_once_the_task_has_ended(store: Store, clock: FakeClock) -> None:
    new = a_task(unique_key="u", unique_pending=True)
    store.inbox.enqueue(new, clock.now())
    complete(store, clock, claim_one(store, clock))

    assert store.inbox.enqueue(new, clock.now()).created


def test_a_pending_unique_key_also_holds_its_window(store: Store, clock: FakeClock) -> None:
    new = a_task(unique_key="u", unique_for_s=60.0, unique_pending=True)
    store.inbox.enqueue(new, clock.now())
    complete(store, clock, claim_one(store, clock))
    inside = store.inbox.enqueue(new, clock.now())
    clock.advance(60)

    assert not inside.created
    assert store.inbox.enqueue(new, clock.now()).created


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_a_cancelled_or_deleted_task_frees_its_unique_key(store: Store, clock: FakeClock, how: str) -> None:
    new = a_task(unique_key="u", unique_for_s=1e6, unique_pending=True)
    which = TaskFilter(ids=(store.inbox.enqueue(new, clock.now()).task_id,))
    if how == "cancel":
        store.tasks.cancel(which, clock.now())
    else:
        store.tasks.delete(which)

    assert store.inbox.enqueue(new, clock.now()).created


def test_unique_keys_of_different_names_do_not_meet(store: Store, clock: FakeClock) -> None:
    assert store.inbox.enqueue(a_task(unique_key="u1", unique_for_s=60.0), clock.now()).created
    assert store.inbox.enqueue(a_task(unique_key="u2", unique_for_s=60.0), clock.now()).created


# -- many


def test_enqueue_many_gives_ids_in_the_order_given(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    done = store.inbox.enqueue_many([a_task(f"t{n}") for n in range(50)], clock.now())

    assert all(one.created for one in done)
    assert [the_task(store, one.task_id).type for one in done] == [f"t{n}" for n in range(50)]
    assert [one.task_id for one in done] == sorted(one.task_id for one in done)


def test_enqueue_many_of_nothing_is_nothing(store: Store, clock: FakeClock) -> None:
    assert store.inbox.enqueue_many([], clock.now()) == []


def test_enqueue_many_writes_none_where_one_cannot_be_written(store: Store, clock: FakeClock) -> None:
    with pytest.raises(QueueDatabaseError):
        store.inbox.enqueue_many([a_task("a"), UNWRITABLE, a_task("b")], clock.now())

    assert types_in(store) == []


def test_enqueue_many_returns_the_holders_of_keys_among_the_new_ones(store: Store, clock: FakeClock) -> None:
    held = store.inbox.enqueue(a_task("held", unique_key="u", unique_for_s=60.0), clock.now()).task_id
    done = store.inbox.enqueue_many(
        [
            a_task("new"),
            a_task("keyed", idempotency_key="k"),
            a_task("twice", idempotency_key="k"),
            a_task("again", unique_key="u", unique_for_s=60.0),
        ],
        clock.now(),
    )

    assert [one.created for one in done] == [True, True, False, False]
    assert done[2].task_id == done[1].task_id
    assert done[3].task_id == held
    assert types_in(store) == ["held", "new", "keyed"]


# -- transactions


def test_a_task_of_a_transaction_exists_once_it_commits(engine: Engine, clock: FakeClock) -> None:
    store, other = engine.store, engine.another()
    with store.inbox.transaction():
        store.inbox.enqueue(a_task("a"), clock.now())
        store.inbox.enqueue_many([a_task("b"), a_task("c")], clock.now())
        store.inbox.enqueue(a_task("d", unique_key="u", unique_for_s=60.0), clock.now())
        assert types_in(other) == []

    assert types_in(other) == ["a", "b", "c", "d"]


def test_a_task_of_a_transaction_does_not_exist_if_it_rolls_back(store: Store, clock: FakeClock) -> None:
    with pytest.raises(ZeroDivisionError), store.inbox.transaction():  # noqa: PT012
        store.inbox.enqueue(a_task("a", unique_key="u", unique_for_s=60.0), clock.now())
        store.inbox.enqueue_many([a_task("b")], clock.now())
        raise ZeroDivisionError

    assert types_in(store) == []
    assert store.inbox.enqueue(a_task("a", unique_key="u", unique_for_s=60.0), clock.now()).created


def test_the_users_own_writes_go_with_the_task(engine: Engine, clock: FakeClock) -> None:
    engine.hand("CREATE TABLE orders (number INTEGER)")
    with pytest.raises(ZeroDivisionError), engine.store.inbox.transaction() as connection:  # noqa: PT012
        connection.execute("INSERT INTO orders VALUES (1)")
        engine.store.inbox.enqueue(a_task(), clock.now())
        raise ZeroDivisionError
    with engine.store.inbox.transaction() as connection:
        connection.execute("INSERT INTO orders VALUES (2)")
        engine.store.inbox.enqueue(a_task(), clock.now())

    assert engine.look("SELECT number FROM orders") == [(2,)]
    assert len(types_in(engine.store)) == 1


def test_bound_says_whether_this_thread_is_inside_a_transaction(engine: Engine) -> None:
    inbox = engine.store.inbox
    connection = engine.callers_connection()
    assert not inbox.bound()
    with inbox.transaction():
        assert inbox.bound()
    assert not inbox.bound()
    with inbox.transaction(connection):
        assert inbox.bound()
    assert not inbox.bound()


def test_a_failed_enqueue_many_leaves_nothing_in_the_transaction_around_it(store: Store, clock: FakeClock) -> None:
    with store.inbox.transaction():
        store.inbox.enqueue(a_task("before"), clock.now())
        with pytest.raises(QueueDatabaseError):
            store.inbox.enqueue_many([a_task("half"), UNWRITABLE], clock.now())
        store.inbox.enqueue(a_task("after"), clock.now())

    assert types_in(store) == ["before", "after"]


def _commit(connection: Any) -> None:
    connection.commit()


def _roll_back(connection: Any) -> None:
    connection.rollback()


@pytest.mark.parametrize(("end", "expected"), [(_commit, ["a", "b", "c", "d"]), (_roll_back, [])])
def test_on_the_callers_own_connection_the_caller_commits(
    engine: Engine, clock: FakeClock, end: Callable[[Any], None], expected: list[str]
) -> None:
    connection = engine.callers_connection()
    store = engine.store
    with store.inbox.transaction(connection) as bound:
        assert bound is connection
        one = store.inbox.enqueue(a_task("a"), clock.now())
        more = store.inbox.enqueue_many([a_task("b"), a_task("c")], clock.now())
        last = store.inbox.enqueue(a_task("d", unique_key="u", unique_for_s=60.0), clock.now())
    assert types_in(store) == []
    ids = [one.task_id, *(new.task_id for new in more), last.task_id]
    end(connection)

    assert types_in(store) == expected
    if expected:
        assert [the_task(store, task_id).type for task_id in ids] == expected


def test_a_failed_enqueue_many_leaves_nothing_in_the_callers_transaction(engine: Engine, clock: FakeClock) -> None:
    connection, store = engine.callers_connection(), engine.store
    with store.inbox.transaction(connection):
        store.inbox.enqueue(a_task("before"), clock.now())
        with pytest.raises(QueueDatabaseError):
            store.inbox.enqueue_many([a_task("half"), UNWRITABLE], clock.now())
    connection.commit()

    assert types_in(store) == ["before"]


def test_after_the_callers_transaction_enqueues_are_our_own_again(engine: Engine, clock: FakeClock) -> None:
    connection, store = engine.callers_connection(), engine.store
    with pytest.raises(ZeroDivisionError), store.inbox.transaction(connection):
        raise ZeroDivisionError
    store.inbox.enqueue(a_task("own"), clock.now())

    assert types_in(engine.another()) == ["own"]


def test_something_that_is_no_connection_is_refused(store: Store) -> None:
    with pytest.raises(QueueDatabaseError, match="transaction"), store.inbox.transaction("queue.db"):
        pass


# -- errors


def test_a_task_that_cannot_be_written_is_an_error_of_ours(store: Store, clock: FakeClock) -> None:
    with pytest.raises(PrismqError):
        store.inbox.enqueue(UNWRITABLE, clock.now())
    assert types_in(store) == []
    assert store.inbox.enqueue(a_task(), clock.now()).created
