"""The story of a task, from a store."""

from __future__ import annotations

import pytest

from prismq.domain.errors import TaskNotFound
from prismq.domain.lease import ErrorInfo
from prismq.domain.status import TaskStatus
from prismq.domain.task import TaskFilter
from prismq.observability.timeline import Moment, timeline
from prismq.storage.contract import Batch, Store
from prismq.worker.lines import RANKS, line_for
from tests.helpers.builders import (
    LEASE_S,
    a_line,
    a_task,
    claim_one,
    complete,
    dead_letter,
    retry_later,
    settlement,
    start,
)
from tests.helpers.clock import FakeClock

T = TaskStatus
RAN_OUT = "its lease ran out: the worker died, stopped, or lost the store"
BROKEN = ErrorInfo("ValueError", "it broke\nbadly", "Traceback …")


def told(store: Store, clock: FakeClock, began: float, task_id: int = 1) -> list[tuple[float, str, str]]:
    found = timeline(store, task_id)
    assert [one.to_dict()["event"] for one in found] == [one.text for one in found]
    return [(round(one.at - began, 3), one.kind, one.text) for one in found]


def written(store: Store, clock: FakeClock, *entries: object) -> None:
    """Settle as a journal does: with the line of each."""
    lines = [line for entry in entries if (line := line_for(entry, floor=RANKS["DEBUG"])) is not None]  # type: ignore[arg-type]
    store.work.exchange(Batch(settlements=list(entries), logs=lines), None, clock.now())  # type: ignore[arg-type]


def test_a_task_that_is_not_there_has_no_story(store: Store) -> None:
    with pytest.raises(TaskNotFound):
        timeline(store, 1)


def test_a_retry_and_then_a_result(store: Store, clock: FakeClock) -> None:
    began = clock.now()
    store.inbox.enqueue(a_task(queue="sums"), began)
    clock.advance(1)
    lease = claim_one(store, clock)
    clock.advance(2)
    retry_later(store, clock, lease, 10, error=BROKEN)
    clock.advance(10)
    lease = claim_one(store, clock)
    clock.advance(1)
    start(store, clock, lease)
    clock.advance(3)
    complete(store, clock, lease, was=T.PROCESSING, started_at=clock.now() - 3)

    assert told(store, clock, began) == [
        (0, "enqueued", "enqueued on sums"),
        (1, "claimed", "attempt 1 claimed by w1"),
        (1, "started", "attempt 1 started"),
        (3, "attempt_failed", "attempt 1 failed after 2 s: ValueError: it broke"),
        (13, "claimed", "attempt 2 claimed by w1"),
        (14, "started", "attempt 2 started"),
        (17, "completed", "attempt 2 completed after 3 s"),
    ]
    failed, done = timeline(store, 1)[3], timeline(store, 1)[-1]
    assert (failed.duration_s, failed.attempt, failed.worker_id) == (2.0, 1, "w1")
    assert (failed.error_type, failed.error_message, failed.traceback) == BROKEN
    assert done.to_dict() == {
        "at_utc": "2033-05-18T03:33:37+00:00", "kind": "completed", "event": "attempt 2 completed after 3 s",
        "duration_seconds": 3.0, "worker_id": "w1", "attempt": 2, "error_type": None, "error_message": None,
        "traceback": None, "ahead": False,
    }  # fmt: skip


def test_what_is_to_come_stands_last(store: Store, clock: FakeClock) -> None:
    began = clock.now()
    store.inbox.enqueue(a_task(), began)
    lease = claim_one(store, clock)
    assert told(store, clock, began)[-1] == (LEASE_S, "lease_ends", "the lease ends, unless it is renewed")
    retry_later(store, clock, lease, 10)
    last = timeline(store, 1)[-1]
    assert (last.kind, last.text, last.ahead) == ("due", "attempt 2 is due", True)


def test_a_lost_worker_and_the_dead_letters(store: Store, clock: FakeClock) -> None:
    began = clock.now()
    store.inbox.enqueue(a_task(max_attempts=1), began)
    start(store, clock, claim_one(store, clock))
    clock.advance(LEASE_S)
    store.upkeep.expire_leases(clock.now())
    assert told(store, clock, began)[-2:] == [
        (30, "attempt_lost", f"attempt 1 was lost with its worker after 30 s: WorkerLost: {RAN_OUT}"),
        (30, "dead_letter", "became dead_letter"),
    ]  # fmt: skip


def test_work_that_was_given_back_or_put_off_counts_no_attempt(store: Store, clock: FakeClock) -> None:
    began = clock.now()
    store.inbox.enqueue(a_task(), began)
    lease = claim_one(store, clock)
    written(store, clock, settlement(lease, T.QUEUED, clock.now(), counts=False, reason="given back: the worker stops"))
    clock.advance(1)
    lease = claim_one(store, clock)
    later = clock.now() + 60
    written(store, clock, settlement(lease, T.SCHEDULED, clock.now(), run_after=later, counts=False, reason="not yet"))
    assert told(store, clock, began) == [
        (0, "enqueued", "enqueued on default"),
        (0, "released", "attempt 1 given back: the worker stops"),
        (1, "claimed", "attempt 1 claimed"),
        (1, "started", "attempt 1 started"),
        (1, "snoozed", "attempt 1 put off: not yet"),
        (61, "due", "the first attempt is due"),
    ]


def test_what_operators_did_is_part_of_it_and_so_is_an_earlier_life(store: Store, clock: FakeClock) -> None:
    began = clock.now()
    store.inbox.enqueue(a_task(max_attempts=1, run_at=began + 60), began)
    only_this = TaskFilter(ids=(1,))
    clock.advance(1)
    store.tasks.reprioritise(only_this, 5, clock.now())
    clock.advance(1)
    store.tasks.run_now(only_this, clock.now())
    lease = claim_one(store, clock)
    clock.advance(1)
    dead_letter(store, clock, lease)
    clock.advance(1)
    store.tasks.retry(only_this, clock.now())
    lease = claim_one(store, clock)
    clock.advance(1)
    written(store, clock, settlement(lease, T.COMPLETED, clock.now()))
    clock.advance(1)
    store.tasks.retry(only_this, clock.now())
    clock.advance(1)
    store.tasks.cancel(only_this, clock.now())
    assert told(store, clock, began) == [
        (0, "enqueued", "enqueued on default"),
        (1, "priority_changed", "priority 100 → 5"),
        (2, "run_now", "scheduled → queued: run now"),
        (2, "claimed", "attempt 1 claimed by w1"),
        (2, "started", "attempt 1 started"),
        (3, "dead_letter", "attempt 1 failed for the last time after 1 s: ValueError: it broke"),
        (4, "retried_by_operator", "dead_letter → queued: retried by an operator"),
        (5, "completed", "attempt 1 completed after 1 s"),
        (6, "retried_by_operator", "completed → queued: retried by an operator"),
        (7, "cancelled", "cancelled while it waited"),
    ]


def test_a_running_task_that_was_cancelled(store: Store, clock: FakeClock) -> None:
    began = clock.now()
    store.inbox.enqueue(a_task(), began)
    lease = claim_one(store, clock)
    clock.advance(1)
    store.tasks.cancel(TaskFilter(ids=(1,)), clock.now())
    clock.advance(1)
    written(store, clock, settlement(lease, T.CANCELLED, clock.now(), reason="cancelled while it ran"))
    assert told(store, clock, began)[-2:] == [
        (1, "cancel_requested", "claimed: asked to cancel"),
        (2, "cancelled", "attempt 1 was cancelled after 2 s: cancelled while it ran"),
    ]


def test_what_a_task_says_itself_is_no_part_of_it(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    lease = claim_one(store, clock)
    lines = [a_line(lease, text, clock) for text in ("a → b", "priority 1 → 2", "queued for later", "run now")]
    store.work.exchange(Batch(logs=lines), None, clock.now())
    assert [one.kind for one in timeline(store, 1)] == ["enqueued", "claimed", "lease_ends"]


def test_every_kind_that_is_told_is_named_where_they_are_listed() -> None:
    kinds = set((Moment.__doc__ or "").partition("`kind` is one of ")[2].replace("\n", " ").rstrip(". ").split(", "))
    kinds = {" ".join(kind.split()) for kind in kinds}
    assert {
        "enqueued", "claimed", "started", "attempt_failed", "attempt_lost", "released", "snoozed", "cancel_requested",
        "priority_changed", "run_now", "retried_by_operator", "completed", "failed", "dead_letter", "cancelled", "due",
        "lease_ends",
    } == kinds  # fmt: skip
