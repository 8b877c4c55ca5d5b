"""Why a task is not running: each reason planted in a store, and its words."""

from __future__ import annotations

from typing import Any

import pytest

from prismq.domain.errors import TaskNotFound
from prismq.domain.lease import ErrorInfo
from prismq.domain.status import TaskStatus
from prismq.domain.task import TaskFilter
from prismq.domain.worker import WorkerStatus
from prismq.observability.why import Explanation, explain
from prismq.storage.contract import Batch, Progress, Store
from tests.helpers.builders import (
    LEASE_S,
    a_report,
    a_task,
    a_worker,
    claim,
    claim_one,
    complete,
    dead_letter,
    retry_later,
    settle,
    start,
)
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine

T = TaskStatus


def works(store: Store, clock: FakeClock, worker_id: str = "w1", *, busy: int = 0, **columns: Any) -> None:
    """A worker that has just reported, and looks for work."""
    row = a_worker(worker_id, **{"slots": 4, "types": '["job"]', "strategy": "priority", **columns})
    store.workers.register(row, clock.now())
    report = a_report(
        worker_id,
        busy=busy,
        status=row.status,
        slots=row.slots,
        last_look_at=clock.now(),
        last_claim_at=clock.now(),
    )
    store.workers.heartbeat(report, clock.now())


def enqueue(store: Store, clock: FakeClock, **options: Any) -> int:
    return store.inbox.enqueue(a_task(**options), clock.now()).task_id


def why(store: Store, clock: FakeClock, task_id: int) -> Explanation:
    found = explain(store, task_id, clock.now())
    document = found.to_dict()
    assert document["reasons"][0]["code"] == found.reasons[0].code
    assert document["sentence"] == found.sentence
    return found


def codes(found: Explanation) -> list[str]:
    return [one.code for one in found.reasons]


def test_a_task_that_is_not_there_is_said_not_to_be(store: Store, clock: FakeClock) -> None:
    with pytest.raises(TaskNotFound, match="there is no task 7"):
        explain(store, 7, clock.now())


# -- not yet


def test_scheduled_for_later(store: Store, clock: FakeClock) -> None:
    works(store, clock)
    due_at = clock.now() + 90
    task_id = enqueue(store, clock, run_at=due_at)
    found = why(store, clock, task_id)
    assert found.sentence == "It is scheduled to run in 1 m 30 s, at 2033-05-18 03:34:50 UTC."
    assert (found.expected_at, found.expected, found.blocked) == (due_at, "due", False)
    assert found.reasons[0].advice == f"prismq tasks run-now {task_id}"
    assert found.to_dict()["reasons"][0]["data"] == {
        "due_at_utc": "2033-05-18T03:34:50+00:00", "in_seconds": 90.0,
    }  # fmt: skip


def test_waiting_for_a_retry(store: Store, clock: FakeClock) -> None:
    works(store, clock)
    task_id = enqueue(store, clock)
    for _ in range(2):
        retry_later(store, clock, claim_one(store, clock), 40, error=ErrorInfo("ValueError", "it broke\nbadly", ""))
        clock.advance(40)
    retry_later(store, clock, claim_one(store, clock), 45, error=ErrorInfo("ValueError", "it broke\nbadly", ""))
    clock.advance(5)
    works(store, clock)
    found = why(store, clock, task_id)
    assert found.sentence == (
        "Attempt 3 of 5 failed 5 s ago with ValueError: it broke; attempt 4 follows in 40 s, "
        "at 2033-05-18 03:35:25 UTC."
    )
    assert codes(found) == ["retry"]
    assert found.expected_at == clock.now() + 40
    assert found.reasons[0].data["attempt"] == 4
    assert found.reasons[0].data["error_type"] == "ValueError"


def test_snoozed(store: Store, clock: FakeClock) -> None:
    works(store, clock)
    task_id = enqueue(store, clock)
    lease = claim_one(store, clock)
    settle(
        store, clock, lease, T.SCHEDULED, run_after=clock.now() + 60, counts=False, reason="the market is closed"
    )  # fmt: skip
    found = why(store, clock, task_id)
    assert found.sentence == (
        "It put itself back (the market is closed) and runs again in 1 m, at 2033-05-18 03:34:20 UTC."
    )
    assert codes(found) == ["snoozed"]


def test_due_and_not_yet_seen(store: Store, clock: FakeClock) -> None:
    works(store, clock)
    task_id = enqueue(store, clock, run_at=clock.now() + 2)
    clock.advance(3)
    found = why(store, clock, task_id)
    assert found.sentence == "It became due 1 s ago; the next worker that looks for work makes it ready."
    assert (codes(found), found.expected) == (["due"], "now")
    works(store, clock, busy=4)
    found = why(store, clock, task_id)
    assert found.sentence == (
        "It became due 1 s ago; the next worker that looks for work makes it ready, and none looks while all 4 slots "
        "of those that can take it are busy."
    )
    assert (codes(found), found.expected) == (["due"], None)


def test_what_will_stand_in_its_way_is_told_before_its_time(store: Store, clock: FakeClock) -> None:
    task_id = enqueue(store, clock, run_at=clock.now() + 90)
    store.queues.pause("default", "ann", clock.now())
    found = why(store, clock, task_id)
    assert codes(found) == ["queue_paused", "no_worker", "scheduled"]
    assert (found.blocked, found.expected_at) == (True, None)


# -- it may not, or nobody can


def test_its_queue_is_paused(store: Store, clock: FakeClock) -> None:
    works(store, clock)
    task_id = enqueue(store, clock)
    store.queues.pause("default", "ann", clock.now())
    clock.advance(20)
    found = why(store, clock, task_id)
    assert found.sentence == "The queue 'default' was paused by ann 20 s ago."
    assert codes(found) == ["queue_paused"]
    assert found.reasons[0].advice == "prismq queues resume default"
    assert (found.blocked, found.expected_at) == (True, None)


def test_no_worker_runs_at_all(store: Store, clock: FakeClock) -> None:
    task_id = enqueue(store, clock)
    assert why(store, clock, task_id).sentence == "No worker is running."
    works(store, clock)
    clock.advance(120)
    found = why(store, clock, task_id)
    assert found.sentence == "No worker is running (1 worker fell silent)."
    assert found.reasons[0].data == {"silent": ["w1"]}


@pytest.mark.parametrize(
    ("columns", "code", "sentence"),
    [
        ({"queues": '["mail"]'}, "queue_unserved", "No live worker serves the queue 'default'."),
        (
            {"types": '["jobs"]'}, "type_unserved",
            "No live worker of the queue 'default' knows the type 'job'. Did you mean 'jobs'?",
        ),
        (
            {"capabilities": '{"memory_gb": 16, "region": ["us", "eu"]}'}, "compatibility_unserved",
            ("No live worker offers what it needs; w1, the nearest, lacks memory_gb of at least 24 "
            "(the worker offers 16)."),
        ),
        ({"status": "paused"}, "workers_not_taking",
         "The workers that could are not taking new tasks (paused)."),
        ({"status": "draining"}, "workers_not_taking",
         "The workers that could are not taking new tasks (draining)."),
    ],
)  # fmt: skip
def test_no_worker_takes_it(store: Store, clock: FakeClock, columns: dict[str, Any], code: str, sentence: str) -> None:
    works(store, clock, **{"capabilities": '{"memory_gb": 24, "region": "eu"}', **columns})
    works(store, clock, "w0-elsewhere", queues='["elsewhere"]')
    task_id = enqueue(store, clock, compatibility='{"memory_gb": 24, "region": "eu"}')
    found = why(store, clock, task_id)
    assert (found.sentence, codes(found), found.blocked) == (sentence, [code], True)


def test_the_nearest_worker_is_the_one_that_lacks_least(store: Store, clock: FakeClock) -> None:
    works(store, clock, "far", capabilities="{}")
    works(store, clock, "near", capabilities='{"gpu": true}')
    found = why(store, clock, enqueue(store, clock, compatibility='{"gpu": true, "region": "eu"}'))
    assert found.reasons[0].data == {
        "required": {"gpu": True, "region": "eu"}, "missing": ["region 'eu' (the worker offers none)"],
        "nearest_worker": "near", "offered": {"gpu": True, "region": None},
    }  # fmt: skip


def test_what_it_needs_cannot_be_read(engine: Engine, clock: FakeClock) -> None:
    works(engine.store, clock)
    engine.hand("INSERT INTO task_queue (type, payload, compatibility) VALUES ('job', '{}', '[1]')")
    assert codes(why(engine.store, clock, 1)) == ["compatibility_unreadable"]


def test_its_worker_lives_and_claims_nothing(store: Store, clock: FakeClock) -> None:
    works(store, clock)
    task_id = enqueue(store, clock)
    for _ in range(4):
        clock.advance(10)
        store.workers.heartbeat(a_report(last_look_at=clock.now()), clock.now())
    found = why(store, clock, task_id)
    assert found.sentence == "The workers that could are not taking new tasks (not consuming)."
    assert found.reasons[0].data == {"conditions": {"not consuming": ["w1"]}}


def test_its_queue_runs_as_many_as_it_may(store: Store, clock: FakeClock) -> None:
    works(store, clock)
    store.queues.limit("default", 2)
    store.inbox.enqueue_many([a_task(), a_task()], clock.now())
    claim(store, clock)
    task_id = enqueue(store, clock)
    found = why(store, clock, task_id)
    assert found.sentence == "The queue 'default' runs 2 tasks (tasks 1 and 2), and its limit is 2."
    assert codes(found) == ["limit_reached", "ahead"]
    assert found.reasons[0].data == {"queue": "default", "running": 2, "max_running": 2, "held_by": [1, 2]}
    assert not found.blocked


# -- its turn


def test_it_is_next(store: Store, clock: FakeClock) -> None:
    works(store, clock, busy=1)
    found = why(store, clock, enqueue(store, clock))
    assert found.sentence == (
        "It is next: 1 worker that can take it has 1 of 4 slots busy, and a worker should claim it at its next look."
    )
    assert (found.expected_at, found.expected) == (clock.now(), "now")


def test_others_are_ahead_and_there_is_no_pace_yet(store: Store, clock: FakeClock) -> None:
    works(store, clock, busy=4)
    store.inbox.enqueue_many([a_task(priority=1)] * 3 + [a_task("unknown", priority=1)], clock.now())
    clock.advance(5)
    found = why(store, clock, enqueue(store, clock))
    assert found.sentence == (
        "3 tasks are ahead of it, in order of priority; 1 worker that can take it has 4 of 4 slots busy. "
        "Nothing has ended in the last 5 s, so there is no pace to judge by."
    )
    assert (found.expected_at, found.expected) == (None, None)


def test_others_are_ahead_and_its_turn_is_reckoned(store: Store, clock: FakeClock) -> None:
    works(store, clock, busy=4)
    store.inbox.enqueue_many([a_task()] * 30, clock.now())
    for lease in claim(store, clock, limit=20):
        complete(store, clock, lease)
    clock.advance(10)
    task_id = enqueue(store, clock)
    while store.upkeep.book(clock.now()):  # ends may be counted a little later
        pass
    found = why(store, clock, task_id)
    assert found.sentence == (
        "10 tasks are ahead of it, in order of priority; 1 worker that can take it has 4 of 4 slots busy. "
        "At the pace of the last 10 s (2.0 a second), its turn comes about in 5.5 s, at 2033-05-18 03:33:35 UTC."
    )
    assert found.expected == "estimate"
    assert found.expected_at == pytest.approx(clock.now() + 5.5)
    assert found.reasons[0].data["ahead"] == found.reasons[0].data["ahead_at_most"] == 10


def test_it_is_next_and_every_slot_is_busy(store: Store, clock: FakeClock) -> None:
    works(store, clock, busy=4, strategy="lifo")
    enqueue(store, clock)
    found = why(store, clock, enqueue(store, clock))
    assert found.sentence.startswith("It is next, and every slot is busy; 1 worker that can take it has 4 of 4")
    assert found.reasons[0].data["strategy"] == "lifo"


def test_its_workers_draw_lots(store: Store, clock: FakeClock) -> None:
    works(store, clock, busy=4, strategy="weighted_random")
    store.inbox.enqueue_many([a_task()] * 3, clock.now())
    found = why(store, clock, enqueue(store, clock))
    assert found.sentence.startswith(
        "Its workers draw by lot, weighted by priority, and 3 other tasks are ready; 1 worker that can take it has"
    )
    assert codes(found) == ["by_lot"]


def test_a_task_that_comes_back_tells_of_its_last_attempt(store: Store, clock: FakeClock) -> None:
    task_id = enqueue(store, clock)
    for _ in range(2):
        start(store, clock, claim_one(store, clock))
        clock.advance(LEASE_S)
        store.upkeep.expire_leases(clock.now())
    works(store, clock, "w2")
    found = why(store, clock, task_id)
    assert codes(found) == ["next", "returned", "suspect"]
    assert found.reasons[1].text == (
        "Attempt 2 of 5 was lost with its worker on w1: WorkerLost: its lease ran out: the worker died, stopped, or "
        "lost the store. It is ready for attempt 3."
    )
    assert found.reasons[2].text == (
        "2 workers died while they held it, so a process runs it beside no other such task."
    )


# -- in a worker's hands


def test_claimed_and_behind_busy_slots(store: Store, clock: FakeClock) -> None:
    works(store, clock, busy=4)
    store.workers.heartbeat(a_report(busy=4, held=9), clock.now())
    task_id = enqueue(store, clock)
    claim_one(store, clock)
    clock.advance(4)
    found = why(store, clock, task_id)
    assert found.sentence == (
        "Worker w1 claimed it 4 s ago for attempt 1 of 5; it waits for one of the worker's 4 slots, which are all busy "
        "(9 tasks held)."
    )
    assert codes(found) == ["claimed"]


def test_running_with_progress_and_a_timeout(store: Store, clock: FakeClock) -> None:
    works(store, clock)
    task_id = enqueue(store, clock, timeout_s=100.0)
    lease = claim_one(store, clock)
    start(store, clock, lease)
    progress = Progress(task_id, lease.fencing_token, '{"done": 250, "total": 1000, "note": "frames"}')
    store.work.exchange(Batch(progress={task_id: progress}), None, clock.now())
    clock.advance(10)
    found = why(store, clock, task_id)
    assert found.sentence == (
        "Attempt 1 of 5 has been running for 10 s on w1, 250 of 1,000 done (25%): frames. At that pace it ends in "
        "30 s, at 2033-05-18 03:34:00 UTC. Its timeout of 1 m 40 s ends in 1 m 30 s, at 2033-05-18 03:35:00 UTC."
    )
    assert codes(found) == ["running"]


def test_its_workers_heartbeat_is_late(store: Store, clock: FakeClock) -> None:
    works(store, clock)
    task_id = enqueue(store, clock)
    start(store, clock, claim_one(store, clock, lease_s=60.0))
    clock.advance(40)
    found = why(store, clock, task_id)
    assert found.sentence == (
        "Worker w1 last reported 40 s ago; unless the lease is renewed, the task becomes queued in 20 s, "
        "at 2033-05-18 03:34:20 UTC."
    )
    assert codes(found) == ["heartbeat_late", "running"]
    assert found.reasons[0].data["return_at"] == clock.now() + 20


def test_its_worker_was_lost_and_nobody_is_there_to_take_it_back(store: Store, clock: FakeClock) -> None:
    works(store, clock)
    task_id = enqueue(store, clock, max_attempts=1)
    start(store, clock, claim_one(store, clock))
    store.workers.stop("w1", WorkerStatus.LOST.value, "killed", clock.now())
    clock.advance(LEASE_S + 1)
    found = why(store, clock, task_id)
    assert found.sentence == (
        "Worker w1 was lost (it last reported 31 s ago); its lease is over, and the task becomes dead_letter when a "
        "worker's housekeeping looks, every 2 s."
    )
    assert found.reasons[1].text == "No worker is running, so nobody takes it back."
    assert codes(found) == ["heartbeat_late", "no_housekeeping", "running"]
    assert found.blocked


def test_its_lease_ran_out_under_a_worker_that_lives(store: Store, clock: FakeClock) -> None:
    works(store, clock)
    task_id = enqueue(store, clock)
    claim_one(store, clock, lease_s=5.0)
    clock.advance(6)
    found = why(store, clock, task_id)
    assert found.sentence == (
        "Its lease ran out 1 s ago; the task becomes queued when a worker's housekeeping looks, every 2 s."
    )
    assert codes(found) == ["lease_over", "claimed"]


def test_its_holder_is_nobody_that_is_known(engine: Engine, clock: FakeClock) -> None:
    task_id = enqueue(engine.store, clock)
    engine.hand("UPDATE task_queue SET status = 'processing', locked_by = 'ghost' WHERE id = 1")
    found = why(engine.store, clock, task_id)
    assert found.sentence.startswith("Worker ghost is not known here; its lease is over, and the task becomes queued")


def test_asked_to_stop_and_still_running(store: Store, clock: FakeClock) -> None:
    works(store, clock)
    task_id = enqueue(store, clock)
    start(store, clock, claim_one(store, clock))
    store.tasks.cancel(TaskFilter(ids=(task_id,)), clock.now())
    clock.advance(3)
    found = why(store, clock, task_id)
    assert found.state == "cancelling"
    assert found.sentence == "It was asked to stop 3 s ago, and w1 still holds it."
    assert codes(found) == ["cancelling", "running"]


# -- keys


def test_the_unique_key_that_it_holds(store: Store, clock: FakeClock) -> None:
    works(store, clock)
    task_id = enqueue(store, clock, unique_key="job()", unique_for_s=60, unique_pending=True)
    found = why(store, clock, task_id)
    assert found.reasons[-1].text == (
        "It holds the unique key 'job()' until 2033-05-18 03:34:20 UTC and until it has ended: the same call enqueues "
        "nothing."
    )
    complete(store, clock, claim_one(store, clock))
    assert "holds_key" in codes(why(store, clock, task_id))
    clock.advance(61)
    assert "holds_key" not in codes(why(store, clock, task_id))


# -- it has ended


def test_completed_after_a_retry(store: Store, clock: FakeClock) -> None:
    task_id = enqueue(store, clock)
    lease = claim_one(store, clock)
    clock.advance(2)
    retry_later(store, clock, lease, 10, error=ErrorInfo("ValueError", "it broke", ""))
    clock.advance(10)
    lease = claim_one(store, clock)
    clock.advance(3)
    complete(store, clock, lease)
    clock.advance(60)
    found = why(store, clock, task_id)
    assert [one.text for one in found.reasons] == [
        "It completed 1 m ago at attempt 2 of 5, after it ran for 3 s.",
        "Attempt 1 on w1 failed after 2 s: ValueError: it broke.",
    ]
    assert codes(found) == ["completed", "attempt"]


def test_a_dead_letter(store: Store, clock: FakeClock) -> None:
    task_id = enqueue(store, clock, max_attempts=1)
    lease = claim_one(store, clock)
    clock.advance(2)
    dead_letter(store, clock, lease)
    found = why(store, clock, task_id)
    assert found.sentence == ("It became a dead letter just now, when attempt 1 of 1 ended with ValueError: it broke.")
    assert found.reasons[0].advice == f"prismq tasks retry {task_id}"
    assert found.reasons[1].text == "Attempt 1 on w1 failed after 2 s: ValueError: it broke."


def test_failed_for_good(store: Store, clock: FakeClock) -> None:
    task_id = enqueue(store, clock)
    settle(store, clock, claim_one(store, clock), T.FAILED, error=ErrorInfo("PermanentError", "no such file", ""))
    clock.advance(7)
    found = why(store, clock, task_id)
    assert found.sentence == "It failed for good 7 s ago at attempt 1 of 5: PermanentError: no such file."
    assert codes(found) == ["failed", "attempt"]


def test_cancelled_before_it_ran(store: Store, clock: FakeClock) -> None:
    task_id = enqueue(store, clock)
    store.tasks.cancel(TaskFilter(ids=(task_id,)), clock.now())
    clock.advance(7)
    assert why(store, clock, task_id).sentence == "It was cancelled 7 s ago, before it ran."
