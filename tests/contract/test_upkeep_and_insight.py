"""Expired leases, retention, the books and the figures."""

from __future__ import annotations

import pytest

from prismq.domain.limits import BOOK_CHUNK, EXPIRE_CHUNK, PRUNE_CHUNK
from prismq.domain.sketch import Sketch
from prismq.domain.status import TaskStatus
from prismq.domain.task import TaskFilter
from prismq.domain.times import from_epoch
from prismq.storage.contract import Batch, Outcomes, Retention, Store
from tests.helpers.builders import (
    AN_ERROR,
    KEEP_ALL,
    LEASE_S,
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

T = TaskStatus
DAY = 86_400.0
HOUR = 3_600.0


def leased(store: Store, clock: FakeClock, worker: str = "w1", **options: object):
    store.inbox.enqueue(a_task(**options), clock.now())
    return claim_one(store, clock, worker)


# -- expired leases


def test_a_lease_is_over_at_its_end_and_not_before(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock)
    clock.advance(LEASE_S - 0.001)
    assert store.upkeep.expire_leases(clock.now()) == []
    clock.advance(0.001)
    [lost] = store.upkeep.expire_leases(clock.now())

    assert (lost.task_id, lost.type, lost.worker_id, lost.attempt, lost.to) == (lease.task_id, "job", "w1", 1, "queued")
    task = the_task(store, lease.task_id)
    assert (task.status, task.attempts, task.crashes, task.locked_by, task.lease_until_utc) == (
        "queued", 1, 1, None, None,
    )  # fmt: skip
    assert store.upkeep.expire_leases(clock.now()) == []


def test_a_task_that_kills_its_workers_ends_as_a_dead_letter_with_the_reason(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(max_attempts=3), clock.now())
    for attempt in (1, 2, 3):
        lease = claim_one(store, clock)
        assert lease.attempt == attempt
        start(store, clock, lease)
        clock.advance(LEASE_S)
        store.upkeep.expire_leases(clock.now())
    task = the_task(store, lease.task_id)

    assert (task.status, task.attempts, task.crashes) == ("dead_letter", 3, 3)
    assert "w1" in (task.error_message or "")
    assert task.finished_at_utc == from_epoch(clock.now())
    assert [attempt.outcome for attempt in store.tasks.attempts(lease.task_id)] == ["lost"] * 3
    assert claim(store, clock) == []


def test_attempts_never_exceed_their_maximum_by_crashing(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(max_attempts=2), clock.now())
    for _ in range(20):
        for lease in claim(store, clock):
            assert lease.attempt <= 2
            if lease.crashes % 2:
                start(store, clock, lease)
        clock.advance(LEASE_S)
        store.upkeep.expire_leases(clock.now())
    [task] = store.tasks.find(TaskFilter())
    assert task.attempts <= 2


def test_a_task_that_crashed_before_and_had_not_started_is_not_to_blame(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock, max_attempts=2)
    start(store, clock, lease)
    clock.advance(LEASE_S)
    store.upkeep.expire_leases(clock.now())
    again = claim_one(store, clock)
    assert (again.attempt, again.crashes) == (2, 1)
    clock.advance(LEASE_S)  # its worker died with another task; this one was only claimed
    [lost] = store.upkeep.expire_leases(clock.now())

    assert lost.to == "queued"
    task = the_task(store, lease.task_id)
    assert (task.attempts, task.crashes) == (1, 1)


def test_a_task_on_its_last_attempt_that_had_not_started_is_not_dead_lettered(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock, max_attempts=1)
    clock.advance(LEASE_S)
    [lost] = store.upkeep.expire_leases(clock.now())

    assert lost.to == "queued"
    assert (the_task(store, lease.task_id).attempts, claim_one(store, clock).attempt) == (0, 1)


def test_all_leases_of_a_dead_worker_end_at_once_with_the_reason(store: Store, clock: FakeClock) -> None:
    first, second, theirs = leased(store, clock, "dead"), leased(store, clock, "dead"), leased(store, clock, "alive")
    lost = store.upkeep.expire_leases(clock.now(), dead_workers=["dead"], reason="killed by signal 9")

    assert sorted(end.task_id for end in lost) == [first.task_id, second.task_id]
    assert status_of(store, theirs.task_id) == "claimed"
    assert "killed by signal 9" in (store.tasks.attempts(first.task_id)[0].error_message or "")
    assert "killed by signal 9" in (store.tasks.logs(first.task_id)[-1].message or "")


def test_a_lost_task_that_was_asked_to_stop_is_cancelled(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock)
    store.tasks.cancel(TaskFilter(), clock.now())
    clock.advance(LEASE_S)
    [lost] = store.upkeep.expire_leases(clock.now())

    assert lost.to == "cancelled"
    task = the_task(store, lease.task_id)
    assert (task.status, task.cancel_requested_utc) == ("cancelled", None)
    assert task.finished_at_utc is not None


def test_a_row_claimed_by_hand_without_an_end_is_returned(engine: Engine, clock: FakeClock) -> None:
    task_id = engine.store.inbox.enqueue(a_task(), clock.now()).task_id
    engine.hand("UPDATE task_queue SET status = 'processing', locked_by = 'a script'")
    [lost] = engine.store.upkeep.expire_leases(clock.now())
    assert (lost.task_id, lost.worker_id, lost.to) == (task_id, "a script", "queued")


def test_leases_expire_in_bounded_steps_and_all_of_them(store: Store, clock: FakeClock) -> None:
    count = EXPIRE_CHUNK + 10
    store.inbox.enqueue_many([a_task() for _ in range(count)], clock.now())
    claim(store, clock, limit=count)
    clock.advance(LEASE_S)
    assert [len(store.upkeep.expire_leases(clock.now())) for _ in range(3)] == [EXPIRE_CHUNK, 10, 0]


def test_only_one_of_two_reapers_ends_a_lease(engine: Engine, clock: FakeClock) -> None:
    leased(engine.store, clock)
    other = engine.another()
    clock.advance(LEASE_S)
    assert len(engine.store.upkeep.expire_leases(clock.now())) + len(other.upkeep.expire_leases(clock.now())) == 1


# -- retention

RETENTION = Retention(completed_s=100, failed_s=1000, logs_s=50, workers_s=1)


@pytest.mark.parametrize(
    ("to", "kept_s"),
    [(T.COMPLETED, 100), (T.CANCELLED, 100), (T.FAILED, 1000), (T.DEAD_LETTER, 1000)],
    ids=lambda value: str(value),
)
def test_an_ended_task_is_kept_for_the_time_of_its_kind(
    store: Store, clock: FakeClock, to: TaskStatus, kept_s: float
) -> None:
    lease = leased(store, clock)
    settle(store, clock, lease, to, error=AN_ERROR)
    clock.advance(kept_s)
    assert store.upkeep.prune(RETENTION, clock.now()) == 0
    clock.advance(0.001)
    assert store.upkeep.prune(RETENTION, clock.now()) == 1
    assert store.tasks.get(lease.task_id) is None


def test_tasks_that_have_not_ended_are_never_pruned(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue_many([a_task(), a_task(run_at=clock.now() + 1e9)], clock.now())
    lease = leased(store, clock)
    start(store, clock, lease)
    clock.advance(1e8)
    assert store.upkeep.prune(RETENTION, clock.now()) == 0
    assert store.tasks.count(TaskFilter()) == 3


@pytest.mark.parametrize("to", [T.COMPLETED, T.FAILED], ids=str)
@pytest.mark.parametrize("own_s", [1.0, 5000.0])
def test_a_task_with_a_retention_of_its_own_is_kept_for_that_long(
    store: Store, clock: FakeClock, to: TaskStatus, own_s: float
) -> None:
    lease = leased(store, clock, retention_s=own_s)
    settle(store, clock, lease, to)
    clock.advance(own_s - 0.5)
    assert store.upkeep.prune(RETENTION, clock.now()) == 0
    clock.advance(1)
    assert store.upkeep.prune(RETENTION, clock.now()) == 1


def test_a_retried_task_is_not_pruned_by_its_earlier_end(store: Store, clock: FakeClock) -> None:
    for options in ({}, {"retention_s": 1.0}):
        lease = leased(store, clock, **options)
        complete(store, clock, lease)
    store.tasks.retry(TaskFilter(), clock.now())
    clock.advance(1e6)
    assert store.upkeep.prune(RETENTION, clock.now()) == 0


def test_pruning_goes_in_small_batches(store: Store, clock: FakeClock) -> None:
    count = PRUNE_CHUNK + 7
    store.inbox.enqueue_many([a_task() for _ in range(count)], clock.now())
    store.tasks.cancel(TaskFilter(), clock.now())
    clock.advance(101)
    assert [store.upkeep.prune(RETENTION, clock.now()) for _ in range(3)] == [PRUNE_CHUNK, 7, 0]


def test_old_log_lines_go_and_the_task_stays(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock)
    store.work.exchange(Batch(logs=[a_line(lease, "old", clock)]), None, clock.now())
    clock.advance(51)
    store.work.exchange(Batch(logs=[a_line(lease, "new", clock)]), None, clock.now())
    store.upkeep.prune(RETENTION, clock.now())
    assert [line.message for line in store.tasks.logs(lease.task_id)] == ["new"]


def test_keys_that_hold_nothing_any_more_do_not_pile_up(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    store.inbox.enqueue(a_task(unique_key="window", unique_for_s=10), clock.now())
    store.inbox.enqueue(a_task(unique_key="pending", unique_pending=True), clock.now())
    held = store.inbox.enqueue(a_task(unique_key="held", unique_pending=True), clock.now()).task_id
    for lease in claim(store, clock, limit=2):
        complete(store, clock, lease)
    clock.advance(1e6)
    for _ in range(2):
        store.upkeep.prune(RETENTION, clock.now())
    assert engine.look("SELECT unique_key, task_id FROM unique_keys") == [("held", held)]


# -- the books


def test_book_goes_on_in_bounded_steps_until_all_is_booked(store: Store, clock: FakeClock) -> None:
    assert store.upkeep.book(clock.now()) == 0
    store.inbox.enqueue_many([a_task() for _ in range(BOOK_CHUNK + 5)], clock.now())
    steps = [store.upkeep.book(clock.now()) for _ in range(3)]
    assert 0 < steps[0] <= BOOK_CHUNK
    assert steps[1] <= BOOK_CHUNK
    assert steps[2] == 0
    assert store.insight.depth() == store.insight.recount()


def test_a_great_gap_in_the_ids_does_not_hold_up_the_books(engine: Engine, clock: FakeClock) -> None:
    engine.store.inbox.enqueue(a_task(), clock.now())
    engine.hand("INSERT INTO task_queue (id, type, payload) VALUES (1000000000000, 'far', '{}')")
    engine.store.inbox.enqueue(a_task(), clock.now())
    assert engine.store.insight.depth() == engine.store.insight.recount()
    for _ in range(5):
        engine.store.upkeep.book(clock.now())
    assert engine.store.upkeep.book(clock.now()) == 0
    assert len(claim(engine.store, clock)) == 3


def test_depth_equals_a_count_before_and_after_booking(store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue_many(
        [a_task("a", priority=1), a_task("a"), a_task("b", queue="q", priority=200), a_task(run_at=clock.now() + 9)],
        clock.now(),
    )
    expected = {
        ("default", "a", "queued", "high"): 1, ("default", "a", "queued", "normal"): 1,
        ("q", "b", "queued", "low"): 1, ("default", "job", "scheduled", "normal"): 1,
    }  # fmt: skip
    assert store.insight.depth() == expected
    assert store.insight.recount() == expected
    store.upkeep.book(clock.now())
    assert store.insight.depth() == expected


CHANGES_BY_HAND = [
    "UPDATE task_queue SET status = 'failed'",
    "UPDATE task_queue SET status = 'queued'",
    "UPDATE task_queue SET status = 'completed', queue = 'q', type = 't', priority = 1",
    "UPDATE task_queue SET priority = priority + 100",
    "UPDATE task_queue SET queue = queue || 'x' WHERE id % 2 = 0",
    "UPDATE task_queue SET run_after_utc = '2200-01-01 00:00:00'",
    "UPDATE task_queue SET run_after_utc = '2200-01-01T00:00:00Z', status = 'queued'",
    "UPDATE task_queue SET payload = '{\"x\": 1}'",
    "DELETE FROM task_queue",
    "DELETE FROM task_queue WHERE id % 2 = 1",
    "INSERT INTO task_queue (type, payload, status) VALUES ('t', '{}', 'completed')",
    "INSERT INTO task_queue (id, type, payload) VALUES (777, 't', '{}')",
    "UPDATE task_queue SET error_message = 'looked at by hand'",
]


@pytest.mark.parametrize("sql", CHANGES_BY_HAND)
@pytest.mark.parametrize("booked", [True, False], ids=["booked", "new"])
def test_what_is_changed_by_hand_is_booked(engine: Engine, clock: FakeClock, sql: str, booked: bool) -> None:
    store = engine.store
    store.inbox.enqueue_many([a_task(), a_task(run_at=clock.now() + 1e9), a_task(priority=1), a_task()], clock.now())
    claim(store, clock, limit=1)
    if booked:
        store.upkeep.book(clock.now())
    else:
        store.inbox.enqueue_many([a_task(), a_task(queue="new")], clock.now())
    engine.hand(sql)
    assert store.insight.depth() == store.insight.recount()
    claim(store, clock, limit=1)
    store.upkeep.book(clock.now())
    assert store.insight.depth() == store.insight.recount()


def test_a_deleted_row_that_is_put_back_by_hand_is_counted(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    store.inbox.enqueue_many([a_task(), a_task()], clock.now())
    store.upkeep.book(clock.now())
    engine.hand("DELETE FROM task_queue WHERE id = 1")
    engine.hand("INSERT INTO task_queue (id, type, payload) VALUES (1, 'back', '{}')")

    assert store.insight.depth() == store.insight.recount()
    assert len(claim(store, clock)) == 2


@pytest.mark.parametrize("column", ["priority", "attempts", "max_attempts"])
def test_a_number_that_is_none_is_refused_where_it_is_written(engine: Engine, clock: FakeClock, column: str) -> None:
    with pytest.raises(Exception, match=r"constraint|invalid"):
        engine.hand(f"INSERT INTO task_queue (type, payload, {column}) VALUES ('t', '{{}}', 'urgent')")
    engine.store.inbox.enqueue(a_task(), clock.now())
    assert len(claim(engine.store, clock)) == 1


# -- outcomes


def outcomes(store: Store, clock: FakeClock) -> dict[tuple[str, str, str], Outcomes]:
    found: dict[tuple[str, str, str], Outcomes] = {}
    for row in store.insight.outcomes(0, clock.now() + 1e9):
        key = (row.queue, row.type, row.outcome)
        if key in found:
            old = found[key]
            wait, run = Sketch.from_json(old.wait_bins), Sketch.from_json(old.run_bins)
            wait.merge(Sketch.from_json(row.wait_bins))
            run.merge(Sketch.from_json(row.run_bins))
            numbers = [a + b for a, b in zip(old[3:8], row[3:8], strict=True)]
            row = Outcomes(*key, *numbers, wait.to_json(), run.to_json())
        found[key] = row
    return found


def test_outcomes_sum_what_ended_and_how(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock)
    clock.advance(4)
    settle(store, clock, lease, T.SCHEDULED, run_after=clock.now(), error=AN_ERROR, started_at=clock.now() - 3)
    lease = claim_one(store, clock)
    clock.advance(2)
    complete(store, clock, lease, started_at=clock.now() - 1)
    dead_letter(store, clock, leased(store, clock, queue="q"))
    settle(store, clock, leased(store, clock, "w9"), T.SCHEDULED, run_after=clock.now() + 1e6, counts=False)
    found = outcomes(store, clock)

    done = found["default", "job", "completed"]
    assert (done.tasks, done.attempts, done.retried) == (1, 2, 1)
    assert (done.wait_s, done.run_s) == (1.0, 1.0)
    retried = found["default", "job", "retried"]
    assert (retried.tasks, retried.wait_s, retried.run_s) == (1, 1.0, 3.0)
    assert found["q", "job", "dead_letter"].tasks == 1
    assert found["default", "job", "snoozed"].tasks == 1
    assert found["default", "job", "enqueued"].tasks + found["q", "job", "enqueued"].tasks == 3
    assert Sketch.from_json(done.run_bins).quantile(0.5) == pytest.approx(1.0, rel=0.021)


def test_lost_leases_and_cancellations_are_outcomes_too(store: Store, clock: FakeClock) -> None:
    start(store, clock, leased(store, clock, max_attempts=1))
    clock.advance(LEASE_S)
    store.upkeep.expire_leases(clock.now())
    store.inbox.enqueue(a_task(), clock.now())
    store.tasks.cancel(TaskFilter(), clock.now())
    found = outcomes(store, clock)
    assert {outcome: row.tasks for (_, _, outcome), row in found.items()} == {
        "enqueued": 2, "lost": 1, "dead_letter": 1, "cancelled": 1,
    }  # fmt: skip


def test_outcomes_are_those_between_the_two_times(store: Store, clock: FakeClock) -> None:
    start_at = clock.now()
    complete(store, clock, leased(store, clock))
    clock.advance(HOUR)
    complete(store, clock, leased(store, clock))

    def completed(since: float, until: float) -> int:
        return sum(row.tasks for row in store.insight.outcomes(since, until) if row.outcome == "completed")

    assert completed(start_at, clock.now()) == 2
    assert completed(start_at, start_at + 60) == 1
    assert completed(clock.now() - 60, clock.now()) == 1
    assert completed(start_at + 600, clock.now() - 600) == 0


def test_folding_keeps_the_sums(store: Store, clock: FakeClock) -> None:
    for n in range(120):
        clock.advance(47)
        lease = leased(store, clock, queue=f"q{n % 2}")
        clock.advance(n % 5)
        (complete if n % 3 else retry_later)(store, clock, lease)
    before = outcomes(store, clock)
    went = []
    for days in (0, 2, 20):
        clock.advance(days * DAY)
        while gone := store.upkeep.fold(clock.now()):
            went.append(gone)
        after = outcomes(store, clock)
        assert {key: row[3:6] for key, row in after.items()} == {key: row[3:6] for key, row in before.items()}
        for key, row in after.items():
            assert row[6:8] == pytest.approx(before[key][6:8])
            assert Sketch.from_json(row.run_bins).bins == Sketch.from_json(before[key].run_bins).bins
    assert len(went) >= 2
    assert len(store.insight.outcomes(0, clock.now())) < 40


def test_a_window_that_begins_inside_a_folded_slot_has_that_slot(store: Store, clock: FakeClock) -> None:
    began = clock.advance(HOUR - clock.now() % HOUR + 1800)
    complete(store, clock, leased(store, clock))
    clock.advance(30 * DAY)
    while store.upkeep.fold(clock.now()):
        pass
    assert [row.tasks for row in store.insight.outcomes(began, clock.now()) if row.outcome == "completed"] == [1]


def test_statistics_do_not_grow_for_ever(store: Store, clock: FakeClock) -> None:
    complete(store, clock, leased(store, clock))
    clock.advance(500 * DAY)
    while store.upkeep.fold(clock.now()):
        pass
    assert store.insight.outcomes(0, clock.now()) == []


@pytest.mark.parametrize("created", ["", "yesterday", "2026-01-01T10:20:30Z", "12345"])
def test_a_strange_time_of_creation_does_not_stop_upkeep(engine: Engine, clock: FakeClock, created: str) -> None:
    store = engine.store
    try:
        engine.hand("INSERT INTO task_queue (type, payload, created_at_utc) VALUES ('t', '{}', ?)", (created,))
    except engine.refusal:  # an engine with a type for times does not take it
        assert store.tasks.count(TaskFilter()) == 0
        return
    store.upkeep.book(clock.now())
    complete(store, clock, claim_one(store, clock))
    clock.advance(2 * DAY)
    for _ in range(3):
        store.upkeep.fold(clock.now())
    store.upkeep.prune(KEEP_ALL, clock.now())
    assert sum(row.tasks for row in store.insight.outcomes(0, clock.now()) if row.outcome == "completed") == 1


# -- the longest wait


def test_the_longest_waiting_ready_task_counts(store: Store, clock: FakeClock) -> None:
    assert store.insight.oldest_ready_s(clock.now()) is None
    store.inbox.enqueue(a_task(run_at=clock.now() + 1e6), clock.now())
    assert store.insight.oldest_ready_s(clock.now()) is None
    store.inbox.enqueue(a_task(queue="q", priority=200), clock.now())
    clock.advance(30)
    store.inbox.enqueue(a_task(priority=1), clock.now())
    clock.advance(10)
    assert store.insight.oldest_ready_s(clock.now()) == 40.0


def test_a_task_that_became_ready_later_does_not_hide_one_that_has_waited_longer(
    store: Store, clock: FakeClock
) -> None:
    store.inbox.enqueue(a_task(run_at=clock.now() + 100), clock.now())
    store.inbox.enqueue(a_task(), clock.now())
    clock.advance(100)
    store.inbox.enqueue(a_task("other", queue="other"), clock.now())
    claim_one(store, clock, queues=("other",))  # promotes what is due
    clock.advance(1)
    assert store.insight.oldest_ready_s(clock.now()) == 101.0
