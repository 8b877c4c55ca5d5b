"""Looking at tasks and acting on them."""

from __future__ import annotations

from contextlib import suppress

import pytest

from prismq.domain.limits import FILTER_CHUNK
from prismq.domain.status import TaskStatus
from prismq.domain.task import TaskFilter
from prismq.domain.times import from_epoch
from prismq.storage.contract import Batch, Cancelled, Store, as_ids
from tests.helpers.builders import (
    AN_ERROR,
    a_line,
    a_task,
    claim,
    claim_one,
    complete,
    dead_letter,
    retry_later,
    settle,
    start,
    status_of,
    the_task,
)
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine

ALL = TaskFilter()


def ids_of(store: Store, which: TaskFilter, **options: object) -> list[int]:
    return [task.id or 0 for task in store.tasks.find(which, **options)]  # type: ignore[arg-type]


def one_of_each(store: Store, clock: FakeClock) -> dict[str, int]:
    """A task in every status; the id by status."""
    found: dict[str, int] = {}
    for to in ("completed", "failed", "dead_letter", "cancelled", "processing", "claimed"):
        found[to] = store.inbox.enqueue(a_task(queue=to), clock.now()).task_id
        lease = claim_one(store, clock, queues=(to,))
        if to == "processing":
            start(store, clock, lease)
        elif to != "claimed":
            settle(store, clock, lease, TaskStatus(to))
    found["queued"] = store.inbox.enqueue(a_task(), clock.now()).task_id
    found["scheduled"] = store.inbox.enqueue(a_task(run_at=clock.now() + 1e5), clock.now()).task_id
    assert {status: status_of(store, task_id) for status, task_id in found.items()} == {s: s for s in found}
    return found


def now_of(store: Store, tasks: dict[str, int]) -> dict[str, str]:
    return {before: status_of(store, task_id) for before, task_id in tasks.items()}


WAITING = {"queued", "scheduled"}
LEASED = {"claimed", "processing"}
ENDED = {"completed", "failed", "dead_letter", "cancelled"}


# -- looking


def test_a_task_that_is_not_there_is_none(store: Store) -> None:
    assert store.tasks.get(1) is None


def test_find_gives_the_newest_first_and_pages_by_id(store: Store, clock: FakeClock) -> None:
    ids = [done.task_id for done in store.inbox.enqueue_many([a_task() for _ in range(7)], clock.now())]
    first = ids_of(store, ALL, limit=3)
    second = ids_of(store, ALL, limit=3, before_id=first[-1])
    third = ids_of(store, ALL, limit=3, before_id=second[-1])

    assert first + second + third == ids[::-1]


def test_a_stretch_of_ids_is_looked_at_and_no_more(store: Store, clock: FakeClock) -> None:
    ids = [store.inbox.enqueue(a_task(("odd", "even")[n % 2]), clock.now()).task_id for n in range(6)]
    even = TaskFilter(type="even")
    assert ids_of(store, even, from_id=ids[2]) == [ids[5], ids[3]]
    assert ids_of(store, even, before_id=ids[5], from_id=ids[1]) == [ids[3], ids[1]]
    assert ids_of(store, TaskFilter(statuses=("queued",)), before_id=ids[2], from_id=ids[2]) == []


def test_the_newest_that_are_queued_are_found_behind_many_that_are_not(
    store: Store, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prismq.storage.postgres.admin._NEWEST", 2)
    ids = [
        store.inbox.enqueue(a_task(queue=f"q{n % 2}", priority=50 * (n % 3)), clock.now()).task_id for n in range(12)
    ]
    for _ in range(4):
        store.inbox.enqueue(a_task(queue="ended"), clock.now())
        complete(store, clock, claim_one(store, clock, queues=("ended",)))
    queued = TaskFilter(statuses=("queued",))

    assert ids_of(store, queued, limit=5) == ids[:6:-1]
    assert ids_of(store, queued, limit=4, before_id=ids[7]) == ids[6:2:-1]
    assert ids_of(store, queued) == ids[::-1]
    assert ids_of(store, TaskFilter(statuses=("queued",), queue="q1"), limit=2) == [ids[11], ids[9]]


def test_every_field_of_a_filter_restricts(store: Store, clock: FakeClock) -> None:
    old = store.inbox.enqueue(a_task("a", queue="q", tags='["red","new"]', schedule="s"), clock.now()).task_id
    middle = clock.advance(100)
    new = store.inbox.enqueue(a_task("b", payload='{"name": "Cat.PNG"}', tags='["reddish"]'), clock.now()).task_id

    assert ids_of(store, TaskFilter(ids=(old,))) == [old]
    assert ids_of(store, TaskFilter(type="a")) == [old]
    assert ids_of(store, TaskFilter(queue="q")) == [old]
    assert ids_of(store, TaskFilter(schedule="s")) == [old]
    assert ids_of(store, TaskFilter(tag="red")) == [old]
    assert ids_of(store, TaskFilter(text="cat.png")) == [new]
    assert ids_of(store, TaskFilter(created_before=middle)) == [old]
    assert ids_of(store, TaskFilter(created_after=middle)) == [new]
    assert ids_of(store, TaskFilter(statuses=("PENDING",))) == [new, old]
    assert ids_of(store, TaskFilter(statuses=("completed", "failed"))) == []
    assert ids_of(store, TaskFilter(type="a", queue="default")) == []


@pytest.mark.parametrize("status", sorted(WAITING | LEASED | ENDED))
def test_tasks_are_found_by_status(store: Store, clock: FakeClock, status: str) -> None:
    tasks = one_of_each(store, clock)
    assert ids_of(store, TaskFilter(statuses=(status,))) == [tasks[status]]
    assert store.tasks.count(TaskFilter(statuses=(status,))) == 1


def test_text_is_found_in_the_error_too(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    lease = claim_one(store, clock)
    dead_letter(store, clock, lease)
    assert ids_of(store, TaskFilter(text="IT BROKE")) == [lease.task_id]
    assert ids_of(store, TaskFilter(text="it_broke")) == []


def test_tags_that_are_not_json_do_not_stop_a_search(engine: Engine, clock: FakeClock) -> None:
    with suppress(engine.refusal):  # an engine with a type for JSON does not take it
        engine.hand("INSERT INTO task_queue (type, payload, tags) VALUES ('t', '{}', 'red')")
    tagged = engine.store.inbox.enqueue(a_task(tags='["red"]'), clock.now()).task_id
    assert ids_of(engine.store, TaskFilter(tag="red")) == [tagged]


def test_a_time_that_nobody_can_read_does_not_hide_the_task(engine: Engine, clock: FakeClock) -> None:
    try:
        engine.hand("INSERT INTO task_queue (type, payload, run_after_utc) VALUES ('t', '{}', 'some day')")
    except engine.refusal:  # an engine with a type for times does not take it
        assert ids_of(engine.store, ALL) == []
        return
    engine.store.inbox.enqueue(a_task(), clock.now())
    [_, strange] = ids_of(engine.store, ALL)

    assert the_task(engine.store, strange).run_after_utc is None
    assert engine.store.work.next_due() is None or engine.store.work.next_due() == clock.now()
    assert claim(engine.store, clock) != []
    engine.store.insight.oldest_ready_s(clock.now())
    engine.store.queues.all(clock.now())


def test_count_counts_no_further_than_asked(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue_many([a_task() for _ in range(5)], clock.now())
    assert (store.tasks.count(ALL), store.tasks.count(ALL, at_most=3)) == (5, 3)


def test_the_filter_of_no_tasks_matches_none(store: Store, clock: FakeClock) -> None:
    ids = [done.task_id for done in store.inbox.enqueue_many([a_task(), a_task()], clock.now())]
    assert store.tasks.delete(as_ids([])) == 0
    assert store.tasks.delete(as_ids(ids[:1])) == 1
    assert ids_of(store, ALL) == ids[1:]


def test_logs_come_oldest_first_and_can_be_followed(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    lease = claim_one(store, clock)
    store.work.exchange(Batch(logs=[a_line(lease, f"m{n}", clock) for n in range(5)]), None, clock.now())
    first = store.tasks.logs(lease.task_id, limit=3)
    rest = store.tasks.logs(lease.task_id, after_id=first[-1].log_id or 0)

    assert [line.message for line in first] == ["m0", "m1", "m2"]
    assert [line.message for line in rest] == ["m3", "m4"]
    assert store.tasks.logs(lease.task_id + 1) == []


# -- acting


def test_cancel_ends_what_waits_and_asks_what_runs_to_stop(store: Store, clock: FakeClock) -> None:
    tasks = one_of_each(store, clock)
    assert store.tasks.cancel(ALL, clock.now()) == Cancelled(cancelled=2, cancelling=2)

    expected = {s: "cancelled" if s in WAITING else s for s in tasks}
    assert now_of(store, tasks) == expected
    assert {s for s in tasks if the_task(store, tasks[s]).cancel_requested_utc is not None} == LEASED
    assert the_task(store, tasks["processing"]).state == "cancelling"
    assert the_task(store, tasks["queued"]).finished_at_utc == from_epoch(clock.now())


def test_a_cancelled_task_is_never_claimed(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue_many([a_task(), a_task(run_at=clock.now() + 5)], clock.now())
    store.tasks.cancel(ALL, clock.now())
    clock.advance(10)
    assert claim(store, clock) == []


def test_asking_twice_to_stop_keeps_the_first_time(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    lease = claim_one(store, clock)
    asked_at = clock.now()
    store.tasks.cancel(ALL, clock.now())
    clock.advance(1)
    store.tasks.cancel(ALL, clock.now())
    assert the_task(store, lease.task_id).cancel_requested_utc == from_epoch(asked_at)


def test_retry_queues_ended_tasks_again_and_leaves_the_others_alone(store: Store, clock: FakeClock) -> None:
    tasks = one_of_each(store, clock)
    assert store.tasks.retry(ALL, clock.now()) == len(ENDED)
    assert now_of(store, tasks) == {s: "queued" if s in ENDED else s for s in tasks}


def test_a_retried_task_has_all_its_attempts_again_and_its_history(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(max_attempts=2), clock.now())
    retry_later(store, clock, claim_one(store, clock), 0)
    dead_letter(store, clock, claim_one(store, clock))
    clock.advance(50)
    assert store.tasks.retry(TaskFilter(statuses=("dead_letter",)), clock.now()) == 1

    lease = claim_one(store, clock)
    assert (lease.attempt, lease.fencing_token, lease.crashes) == (1, 3, 0)
    assert lease.run_after == clock.now()
    assert len(store.tasks.attempts(lease.task_id)) == 2
    task = the_task(store, lease.task_id)
    assert (task.finished_at_utc, task.result) == (None, None)
    retry_later(store, clock, lease, 0)
    assert len(store.tasks.attempts(lease.task_id)) == 3, "the new attempt does not overwrite an old one"


def test_the_result_of_a_completed_task_goes_when_it_is_retried(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    lease = claim_one(store, clock)
    complete(store, clock, lease, result="1")
    store.tasks.retry(ALL, clock.now())
    assert the_task(store, lease.task_id).result is None


def test_run_now_makes_scheduled_tasks_ready_and_leaves_the_others_alone(store: Store, clock: FakeClock) -> None:
    tasks = one_of_each(store, clock)
    assert store.tasks.run_now(ALL, clock.now()) == 1
    assert now_of(store, tasks) == {s: "queued" if s == "scheduled" else s for s in tasks}
    assert {lease.task_id for lease in claim(store, clock)} == {tasks["queued"], tasks["scheduled"]}


def test_reprioritise_changes_waiting_tasks_only(store: Store, clock: FakeClock) -> None:
    tasks = one_of_each(store, clock)
    assert store.tasks.reprioritise(ALL, 7, clock.now()) == 2
    assert {s for s in tasks if the_task(store, tasks[s]).priority == 7} == WAITING
    assert store.tasks.reprioritise(ALL, 7, clock.now()) == 0, "there is nothing left to change"
    assert now_of(store, tasks) == {s: s for s in tasks}


def test_delete_removes_what_is_not_leased_with_its_logs_and_attempts(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    tasks = one_of_each(store, clock)
    lease = claim_one(store, clock)
    store.work.exchange(Batch(logs=[a_line(lease, "x", clock)]), None, clock.now())
    settle(store, clock, lease, TaskStatus.FAILED, error=AN_ERROR)
    assert store.tasks.delete(ALL) == 6

    assert {s for s in tasks if store.tasks.get(tasks[s]) is not None} == LEASED
    assert engine.look(f"SELECT count(*) FROM task_logs WHERE task_id = {lease.task_id}") == [(0,)]
    assert engine.look(f"SELECT count(*) FROM task_attempts WHERE task_id = {lease.task_id}") == [(0,)]


def test_actions_say_in_the_tasks_log_what_was_done(store: Store, clock: FakeClock) -> None:
    task_id = store.inbox.enqueue(a_task(run_at=clock.now() + 5), clock.now()).task_id
    which = as_ids([task_id])
    store.tasks.reprioritise(which, 1, clock.now())
    store.tasks.run_now(which, clock.now())
    store.tasks.cancel(which, clock.now())
    store.tasks.retry(which, clock.now())

    assert len(store.tasks.logs(task_id)) == 4


@pytest.mark.parametrize("action", ["cancel", "retry", "run_now", "reprioritise", "delete"])
def test_an_action_on_many_goes_in_pieces_and_misses_none(store: Store, clock: FakeClock, action: str) -> None:
    count = FILTER_CHUNK * 2 + 5
    options = {"run_at": clock.now() + 60} if action == "run_now" else {}
    store.inbox.enqueue_many([a_task(**options) for _ in range(count)], clock.now())
    other = store.inbox.enqueue(a_task("other", **options), clock.now()).task_id
    which, now = TaskFilter(type="job"), clock.now()
    if action == "retry":
        store.tasks.cancel(which, now)
    done = {
        "cancel": lambda: store.tasks.cancel(which, now).cancelled,
        "retry": lambda: store.tasks.retry(which, now),
        "run_now": lambda: store.tasks.run_now(which, now),
        "reprioritise": lambda: store.tasks.reprioritise(which, 1, now),
        "delete": lambda: store.tasks.delete(which),
    }[action]()

    assert done == count
    assert the_task(store, other).status == ("scheduled" if action == "run_now" else "queued")
    assert store.insight.depth() == store.insight.recount()


def test_an_action_by_filter_means_only_what_matches(store: Store, clock: FakeClock) -> None:
    ids = [
        store.inbox.enqueue(a_task(type_, queue=queue), clock.now()).task_id
        for type_, queue in [("a", "q"), ("a", "r"), ("b", "q")]
    ]
    store.tasks.cancel(TaskFilter(type="a", queue="q"), clock.now())
    assert [status_of(store, task_id) for task_id in ids] == ["cancelled", "queued", "queued"]


def test_the_newest_failures_come_by_the_time_they_ended(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    for queue in ("a", "b", "a", "b"):
        store.inbox.enqueue(a_task(queue=queue), clock.now())
    store.inbox.enqueue(a_task(), clock.now())
    leases = claim(store, clock, limit=5)
    for lease in (leases[2], leases[0], leases[1]):
        dead_letter(store, clock, lease)
        clock.advance(1)
    settle(store, clock, leases[3], TaskStatus.FAILED, error=AN_ERROR)
    complete(store, clock, leases[4])
    ended = [leases[3], leases[1], leases[0], leases[2]]

    assert [task.id for task in store.tasks.newest_failures()] == [one.task_id for one in ended]
    assert [task.id for task in store.tasks.newest_failures(limit=2)] == [one.task_id for one in ended[:2]]
    of_a = [one.task_id for one in ended if the_task(store, one.task_id).queue == "a"]
    assert [task.id for task in store.tasks.newest_failures(queue="a", limit=5)] == of_a
    assert store.tasks.newest_failures(queue="nobody") == []
    engine.hand("UPDATE task_queue SET finished_at_utc = NULL WHERE id = ?", (ended[0].task_id,))
    assert store.tasks.newest_failures(limit=1)[0].id == ended[1].task_id
