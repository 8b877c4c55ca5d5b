"""How an attempt ends, and who may say so."""

from __future__ import annotations

import pytest

from prismq.domain.errors import LeaseLost
from prismq.domain.lease import Lease, LogLine
from prismq.domain.status import LEASED, TERMINAL, TaskStatus
from prismq.domain.task import TaskFilter
from prismq.domain.times import from_epoch
from prismq.storage.contract import Batch, Progress, Store
from tests.helpers.builders import (
    AN_ERROR,
    LEASE_S,
    a_line,
    a_request,
    a_task,
    claim,
    claim_one,
    complete,
    dead_letter,
    retry_later,
    settle,
    settlement,
    start,
    status_of,
    the_task,
)
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine

T = TaskStatus
ENDS = [T.COMPLETED, T.FAILED, T.DEAD_LETTER, T.CANCELLED, T.SCHEDULED, T.QUEUED]
each_end = pytest.mark.parametrize("to", ENDS, ids=str)


def leased(store: Store, clock: FakeClock, worker: str = "w1", **options: object) -> Lease:
    store.inbox.enqueue(a_task(**options), clock.now())
    return claim_one(store, clock, worker)


def everything_about(engine: Engine, task_id: int) -> list[list[tuple[object, ...]]]:
    return [
        engine.look(f"SELECT * FROM {table} WHERE {key} = ?", (task_id,))
        for table, key in [("task_queue", "id"), ("task_logs", "task_id"), ("task_attempts", "task_id")]
    ]


# -- the ways to end


def test_a_start_makes_the_task_processing(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock)
    clock.advance(1)
    assert start(store, clock, lease).lost == frozenset()

    task = the_task(store, lease.task_id)
    assert (task.status, task.processing_started_utc, task.locked_by) == ("processing", from_epoch(clock.now()), "w1")


@pytest.mark.parametrize("started", [False, True], ids=["at once", "after its start was written"])
def test_a_completed_task_keeps_its_result_and_times(store: Store, clock: FakeClock, started: bool) -> None:
    lease = leased(store, clock)
    began = clock.now()
    if started:
        start(store, clock, lease)
    clock.advance(2)
    was = T.PROCESSING if started else T.CLAIMED
    answer = complete(store, clock, lease, was=was, started_at=began, result='{"n": 1}')

    task = the_task(store, lease.task_id)
    assert answer.lost == frozenset()
    assert (task.status, task.result, task.error_message, task.lease_until_utc) == ("completed", '{"n": 1}', None, None)
    assert (task.processing_started_utc, task.finished_at_utc) == (from_epoch(began), from_epoch(clock.now()))
    assert task.attempts == 1


def test_a_retry_waits_until_its_time_and_belongs_to_nobody(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock)
    retry_later(store, clock, lease, 60)

    task = the_task(store, lease.task_id)
    assert (task.status, task.attempts, task.locked_by, task.lease_until_utc) == ("scheduled", 1, None, None)
    assert task.run_after_utc == from_epoch(clock.now() + 60)
    assert task.finished_at_utc is None
    assert task.error_message == "ValueError: it broke"
    assert claim(store, clock) == []
    clock.advance(60)
    assert claim_one(store, clock).attempt == 2


def test_a_snooze_or_a_release_gives_the_attempt_back(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock, max_attempts=1)
    settle(store, clock, lease, T.SCHEDULED, run_after=clock.now() + 5, counts=False, reason="not yet")
    assert the_task(store, lease.task_id).attempts == 0
    clock.advance(5)
    lease = claim_one(store, clock)
    settle(store, clock, lease, T.QUEUED, counts=False, started_at=None)

    task = the_task(store, lease.task_id)
    assert (task.status, task.attempts, task.locked_by) == ("queued", 0, None)
    assert claim_one(store, clock).fencing_token == 3


@pytest.mark.parametrize("to", [T.FAILED, T.DEAD_LETTER], ids=str)
def test_a_task_that_ends_badly_keeps_its_error(store: Store, clock: FakeClock, to: TaskStatus) -> None:
    lease = leased(store, clock)
    clock.advance(1)
    settle(store, clock, lease, to, error=AN_ERROR)

    task = the_task(store, lease.task_id)
    assert (task.status, task.error_message, task.finished_at_utc) == (
        to.value, "ValueError: it broke", from_epoch(clock.now()),
    )  # fmt: skip


def test_every_attempt_that_did_not_complete_is_remembered(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock, "w1")
    retry_later(store, clock, lease, 0)
    lease = claim_one(store, clock, "w2")
    dead_letter(store, clock, lease)

    first, second = store.tasks.attempts(lease.task_id)
    assert (first.attempt, first.outcome, first.worker_id, first.retry_at_utc) == (
        1, "retried", "w1", from_epoch(clock.now()),
    )  # fmt: skip
    assert (second.attempt, second.outcome, second.worker_id) == (2, "dead_letter", "w2")
    assert (second.error_type, second.error_message, second.traceback) == AN_ERROR


def test_completing_clears_the_error_of_an_earlier_attempt(store: Store, clock: FakeClock) -> None:
    retry_later(store, clock, leased(store, clock), 0)
    lease = claim_one(store, clock)
    complete(store, clock, lease)

    assert the_task(store, lease.task_id).error_message is None
    assert len(store.tasks.attempts(lease.task_id)) == 1


# -- stale leases


@each_end
def test_a_stale_token_changes_nothing_and_is_reported_as_lost(
    engine: Engine, clock: FakeClock, to: TaskStatus
) -> None:
    store = engine.store
    stalled = leased(store, clock, "w1")
    clock.advance(LEASE_S)  # the boundary itself counts as expired
    store.upkeep.expire_leases(clock.now())
    current = claim_one(store, clock, "w2")
    before = everything_about(engine, current.task_id)
    batch = Batch(
        settlements=[settlement(stalled, to, clock.now(), error=AN_ERROR, run_after=clock.now())],
        logs=[a_line(stalled, "from the grave", clock)],
    )
    answer = store.work.exchange(batch, None, clock.now())

    assert answer.lost == {(stalled.task_id, stalled.fencing_token)}
    assert everything_about(engine, current.task_id) == before
    assert complete(store, clock, current).lost == frozenset()


@each_end
@pytest.mark.parametrize("was", [T.CLAIMED, T.PROCESSING], ids=str)
@pytest.mark.parametrize("started", [False, True], ids=["unstarted", "started"])
def test_a_lease_that_ended_settles_nothing_although_its_token_is_still_the_latest(
    engine: Engine, clock: FakeClock, to: TaskStatus, was: TaskStatus, started: bool
) -> None:
    store = engine.store
    stalled = leased(store, clock, max_attempts=9)
    if started:
        start(store, clock, stalled)
    clock.advance(LEASE_S)
    store.upkeep.expire_leases(clock.now())
    before = everything_about(engine, stalled.task_id)
    answer = settle(store, clock, stalled, to, was=was, run_after=clock.now() + 50, error=AN_ERROR)

    assert everything_about(engine, stalled.task_id) == before
    if to is not T.QUEUED:  # for that one it cannot be told from a repetition
        assert answer.lost == {(stalled.task_id, stalled.fencing_token)}


def test_a_start_under_a_lost_lease_is_reported(store: Store, clock: FakeClock) -> None:
    stalled = leased(store, clock)
    clock.advance(LEASE_S)
    store.upkeep.expire_leases(clock.now())
    claim_one(store, clock, "w2")

    assert start(store, clock, stalled).lost == {(stalled.task_id, stalled.fencing_token)}
    assert status_of(store, stalled.task_id) == "claimed"


def test_a_settlement_of_a_deleted_task_is_lost(engine: Engine, clock: FakeClock) -> None:
    lease = leased(engine.store, clock)
    engine.hand("DELETE FROM task_queue")
    batch = Batch([settlement(lease, T.COMPLETED, clock.now())], [a_line(lease, "done", clock)])

    answer = engine.store.work.exchange(batch, None, clock.now())
    assert answer.lost == {(lease.task_id, lease.fencing_token)}


@each_end
def test_a_lost_lease_beside_good_ones_is_the_only_one_lost(store: Store, clock: FakeClock, to: TaskStatus) -> None:
    stalled = leased(store, clock, "w1")
    clock.advance(LEASE_S)
    store.upkeep.expire_leases(clock.now())
    claim_one(store, clock, "w2")
    good = [leased(store, clock, "w1", queue=f"q{n}") for n in range(3)]
    batch = Batch(
        settlements=[settlement(lease, T.COMPLETED, clock.now()) for lease in [good[0], stalled, *good[1:]]],
        logs=[a_line(lease, "done", clock) for lease in [good[0], stalled, *good[1:]]],
    )
    answer = store.work.exchange(batch, a_request("w1"), clock.now())

    assert answer.lost == {(stalled.task_id, stalled.fencing_token)}
    assert [status_of(store, lease.task_id) for lease in good] == ["completed"] * 3
    assert [len(store.tasks.logs(lease.task_id)) for lease in good] == [1, 1, 1]
    assert "done" not in [line.message for line in store.tasks.logs(stalled.task_id)]


def test_log_lines_of_the_lost_attempt_are_dropped_and_those_of_the_present_one_kept(
    store: Store, clock: FakeClock
) -> None:
    stalled = leased(store, clock, "w1")
    clock.advance(LEASE_S)
    store.upkeep.expire_leases(clock.now())
    current = claim_one(store, clock, "w1")
    batch = Batch(
        settlements=[settlement(stalled, T.COMPLETED, clock.now()), settlement(current, T.COMPLETED, clock.now())],
        logs=[a_line(stalled, "stalled", clock), a_line(current, "current", clock)],
    )
    answer = store.work.exchange(batch, None, clock.now())

    assert answer.lost == {(stalled.task_id, stalled.fencing_token)}
    messages = [line.message for line in store.tasks.logs(current.task_id)]
    assert "current" in messages
    assert "stalled" not in messages
    assert status_of(store, current.task_id) == "completed"


def test_a_row_that_somebody_ended_by_hand_is_not_ended_again(engine: Engine, clock: FakeClock) -> None:
    lease = leased(engine.store, clock)
    engine.hand("UPDATE task_queue SET status = 'failed', error_message = 'by hand'")
    answer = complete(engine.store, clock, lease)

    assert answer.lost == {(lease.task_id, lease.fencing_token)}
    assert (status_of(engine.store, lease.task_id)) == "failed"


def test_a_row_changed_by_hand_while_it_ran_still_completes(engine: Engine, clock: FakeClock) -> None:
    lease = leased(engine.store, clock)
    engine.store.upkeep.book(clock.now())
    engine.hand("UPDATE task_queue SET priority = 1, queue = 'elsewhere', type = 'renamed'")
    answer = complete(engine.store, clock, lease)

    assert answer.lost == frozenset()
    assert status_of(engine.store, lease.task_id) == "completed"


# -- twice


@each_end
@pytest.mark.parametrize("started", [False, True], ids=["unstarted", "started"])
def test_giving_the_same_settlement_twice_is_harmless(
    engine: Engine, clock: FakeClock, to: TaskStatus, started: bool
) -> None:
    store = engine.store
    lease = leased(store, clock)
    if started:
        start(store, clock, lease)
    entry = settlement(
        lease, to, clock.now(), was=T.PROCESSING if started else T.CLAIMED, result="1", error=AN_ERROR,
        run_after=clock.now() + 9,
    )  # fmt: skip
    store.work.exchange(Batch([entry]), None, clock.now())
    before = everything_about(engine, lease.task_id), store.insight.depth(), store.insight.outcomes(0, 1e10)
    answer = store.work.exchange(Batch([entry]), None, clock.now())

    assert answer.lost == frozenset()
    assert (everything_about(engine, lease.task_id), store.insight.depth(), store.insight.outcomes(0, 1e10)) == before


def test_giving_the_same_start_twice_is_harmless(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    lease = leased(store, clock)
    entry = settlement(lease, T.PROCESSING, clock.now())
    store.work.exchange(Batch([entry]), None, clock.now())
    before = everything_about(engine, lease.task_id)
    answer = store.work.exchange(Batch([entry]), None, clock.now())

    assert answer.lost == frozenset()
    assert everything_about(engine, lease.task_id) == before
    assert complete(store, clock, lease, was=T.PROCESSING).lost == frozenset()
    assert status_of(store, lease.task_id) == "completed"


def test_a_start_and_its_end_may_come_in_one_batch(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock)
    batch = Batch(
        [
            settlement(lease, T.PROCESSING, clock.now()),
            settlement(lease, T.COMPLETED, clock.now(), was=T.PROCESSING, started_at=clock.now()),
        ]
    )
    assert store.work.exchange(batch, None, clock.now()).lost == frozenset()
    assert status_of(store, lease.task_id) == "completed"


def test_an_ended_task_stays_ended(store: Store, clock: FakeClock) -> None:
    ended = {}
    for to in sorted(TERMINAL, key=str):
        lease = leased(store, clock)
        settle(store, clock, lease, to)
        ended[lease.task_id] = to.value
    clock.advance(1e6)
    store.upkeep.expire_leases(clock.now(), dead_workers=["w1"])

    assert claim(store, clock) == []
    assert {task_id: status_of(store, task_id) for task_id in ended} == ended


# -- what goes with it


def test_log_lines_progress_and_late_results_are_written(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock)
    line = LogLine(lease.task_id, clock.now(), "WARNING", "half way", '{"n": 1}', 1)
    progress = {lease.task_id: Progress(lease.task_id, lease.fencing_token, '{"done": 5}')}
    store.work.exchange(Batch(logs=[line], progress=progress), None, clock.now())

    [log] = store.tasks.logs(lease.task_id)
    assert (log.level, log.message, log.details, log.attempt) == ("WARNING", "half way", '{"n": 1}', 1)
    assert log.at_utc == from_epoch(clock.now())
    assert the_task(store, lease.task_id).progress == '{"done": 5}'
    complete(store, clock, lease)
    store.work.exchange(Batch(results=[(lease.task_id, lease.fencing_token, "42")]), None, clock.now())
    assert the_task(store, lease.task_id).result == "42"


def test_progress_and_results_of_a_stale_token_are_not_written(store: Store, clock: FakeClock) -> None:
    stalled = leased(store, clock)
    clock.advance(LEASE_S)
    store.upkeep.expire_leases(clock.now())
    current = claim_one(store, clock, "w2")
    key = (stalled.task_id, stalled.fencing_token)
    store.work.exchange(Batch(progress={stalled.task_id: Progress(*key, "1")}), None, clock.now())
    assert the_task(store, stalled.task_id).progress is None
    complete(store, clock, current)
    store.work.exchange(Batch(results=[(*key, "1")]), None, clock.now())
    assert the_task(store, stalled.task_id).result is None


def test_the_last_progress_may_come_with_the_end_or_after_the_tasks_own_commit(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock)
    said = {lease.task_id: Progress(lease.task_id, lease.fencing_token, "1")}
    store.work.exchange(Batch([settlement(lease, T.DEAD_LETTER, clock.now())], progress=said), None, clock.now())
    assert the_task(store, lease.task_id).progress == "1"
    lease = leased(store, clock)
    with store.work.own_transaction() as connection:
        store.work.complete_within(connection, settlement(lease, T.COMPLETED, clock.now()))
    said = {lease.task_id: Progress(lease.task_id, lease.fencing_token, "2")}
    store.work.exchange(Batch(progress=said), None, clock.now())
    assert the_task(store, lease.task_id).progress == "2"


def test_a_lease_that_ran_out_reports_no_progress(store: Store, clock: FakeClock) -> None:
    stalled = leased(store, clock)
    clock.advance(LEASE_S)
    store.upkeep.expire_leases(clock.now())
    said = {stalled.task_id: Progress(stalled.task_id, stalled.fencing_token, "1")}
    store.work.exchange(Batch(progress=said), None, clock.now())
    assert the_task(store, stalled.task_id).progress is None


def test_log_lines_of_a_task_that_is_gone_do_not_hold_up_the_others(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    gone, here = leased(store, clock), leased(store, clock)
    engine.hand(f"DELETE FROM task_queue WHERE id = {gone.task_id}")
    batch = Batch([settlement(here, T.COMPLETED, clock.now())], [a_line(gone, "x", clock), a_line(here, "y", clock)])
    store.work.exchange(batch, None, clock.now())

    assert status_of(store, here.task_id) == "completed"
    assert [line.message for line in store.tasks.logs(here.task_id)] == ["y"]


def test_a_batch_knows_whether_it_holds_anything() -> None:
    assert not Batch()
    assert Batch(results=[(1, 1, "1")])


# -- cancellation of what runs


@pytest.mark.parametrize("to", [T.SCHEDULED, T.QUEUED], ids=str)
def test_a_task_asked_to_stop_is_not_queued_again(store: Store, clock: FakeClock, to: TaskStatus) -> None:
    lease = leased(store, clock)
    store.tasks.cancel(TaskFilter(ids=(lease.task_id,)), clock.now())
    settle(store, clock, lease, to, run_after=clock.now(), error=AN_ERROR)

    task = the_task(store, lease.task_id)
    assert (task.status, task.cancel_requested_utc) == ("cancelled", None)
    assert task.finished_at_utc is not None


def test_a_task_asked_to_stop_may_complete_all_the_same(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock)
    start(store, clock, lease)
    store.tasks.cancel(TaskFilter(ids=(lease.task_id,)), clock.now())
    complete(store, clock, lease, was=T.PROCESSING)

    task = the_task(store, lease.task_id)
    assert (task.status, task.cancel_requested_utc) == ("completed", None)


def test_cancel_requests_names_the_workers_leases_that_were_asked_to_stop(store: Store, clock: FakeClock) -> None:
    mine, other = leased(store, clock, "w1"), leased(store, clock, "w1")
    theirs = leased(store, clock, "w2")
    assert store.work.cancel_requests("w1") == []
    store.tasks.cancel(TaskFilter(ids=(mine.task_id, theirs.task_id)), clock.now())

    assert store.work.cancel_requests("w1") == [(mine.task_id, mine.fencing_token)]
    assert status_of(store, other.task_id) == "claimed"


# -- renewal


def test_a_renewal_extends_every_lease_of_these_workers(store: Store, clock: FakeClock) -> None:
    first, second, theirs = leased(store, clock, "w1"), leased(store, clock, "w2"), leased(store, clock, "w3")
    start(store, clock, second)
    until = clock.advance(10) + 60
    answer = store.work.renew(["w1", "w2"], 60.0, clock.now())

    assert sorted((held.task_id, held.fencing_token) for held in answer) == [
        (first.task_id, first.fencing_token), (second.task_id, second.fencing_token),
    ]  # fmt: skip
    assert the_task(store, first.task_id).lease_until_utc == from_epoch(until)
    assert the_task(store, theirs.task_id).lease_until_utc == from_epoch(theirs.lease_until)
    clock.advance(59)
    assert [lost.task_id for lost in store.upkeep.expire_leases(clock.now())] == [theirs.task_id]


def test_a_renewal_says_what_is_still_held_and_what_should_stop(store: Store, clock: FakeClock) -> None:
    lost, done, stop = leased(store, clock), leased(store, clock), leased(store, clock)
    complete(store, clock, done)
    store.tasks.cancel(TaskFilter(ids=(stop.task_id,)), clock.now())
    clock.advance(LEASE_S)
    assert len(store.work.renew(["w1"], 60, clock.now() - 1)) == 2
    clock.advance(60)
    store.upkeep.expire_leases(clock.now())
    claim(store, clock, "w2")

    assert store.work.renew(["w1"], 60, clock.now()) == []
    [theirs] = store.work.renew(["w2"], 60, clock.now())
    assert (theirs.task_id, theirs.cancel_requested) == (lost.task_id, False)


def test_a_renewal_of_nobody_is_nothing(store: Store, clock: FakeClock) -> None:
    leased(store, clock)
    assert store.work.renew([], 60, clock.now()) == []
    assert store.work.renew(["nobody"], 60, clock.now()) == []


def test_a_renewed_lease_settles_as_before(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock)
    store.work.renew(["w1"], 60, clock.now())
    assert complete(store, clock, lease).lost == frozenset()
    assert status_of(store, lease.task_id) == "completed"


# -- inside the task's own transaction


def test_a_task_completes_with_its_own_writes_or_not_at_all(engine: Engine, clock: FakeClock) -> None:
    store = engine.store
    engine.hand("CREATE TABLE effects (number INTEGER)")
    lease = leased(store, clock)
    entry = settlement(lease, T.COMPLETED, clock.now())
    with pytest.raises(ZeroDivisionError), store.work.own_transaction() as connection:  # noqa: PT012
        connection.execute("INSERT INTO effects VALUES (1)")
        store.work.complete_within(connection, entry)
        raise ZeroDivisionError
    assert (status_of(store, lease.task_id), engine.look("SELECT * FROM effects")) == ("claimed", [])
    with store.work.own_transaction() as connection:
        connection.execute("INSERT INTO effects VALUES (2)")
        store.work.complete_within(connection, entry)

    assert (status_of(store, lease.task_id), engine.look("SELECT * FROM effects")) == ("completed", [(2,)])


def test_completing_within_a_transaction_under_a_lost_lease_raises_and_changes_nothing(
    engine: Engine, clock: FakeClock
) -> None:
    store = engine.store
    stalled = leased(store, clock)
    clock.advance(LEASE_S)
    store.upkeep.expire_leases(clock.now())
    claim_one(store, clock, "w2")
    store.inbox.enqueue_many([a_task(), a_task()], clock.now())
    before = everything_about(engine, stalled.task_id)
    with store.work.own_transaction() as connection, pytest.raises(LeaseLost):
        store.work.complete_within(connection, settlement(stalled, T.COMPLETED, clock.now()))

    assert everything_about(engine, stalled.task_id) == before
    assert store.insight.depth() == store.insight.recount()


@pytest.mark.parametrize("commit", [True, False], ids=["commits", "rolls back"])
def test_a_task_completes_on_the_callers_own_connection(engine: Engine, clock: FakeClock, commit: bool) -> None:
    store, connection = engine.store, engine.callers_connection()
    lease = leased(store, clock)
    store.inbox.enqueue(a_task("tail"), clock.now())
    # A row of the same statistics is there already.
    complete(store, clock, leased(store, clock))
    connection.execute("BEGIN")
    store.work.complete_within(connection, settlement(lease, T.COMPLETED, clock.now()))
    if commit:
        connection.commit()
    else:
        connection.rollback()

    assert status_of(store, lease.task_id) == ("completed" if commit else "claimed")


def test_after_completing_within_a_transaction_the_journals_start_and_result_do_no_harm(
    store: Store, clock: FakeClock
) -> None:
    lease = leased(store, clock)
    with store.work.own_transaction() as connection:
        store.work.complete_within(connection, settlement(lease, T.COMPLETED, clock.now()))
    batch = Batch([settlement(lease, T.PROCESSING, clock.now())], results=[(lease.task_id, lease.fencing_token, "7")])

    assert store.work.exchange(batch, None, clock.now()).lost == frozenset()
    task = the_task(store, lease.task_id)
    assert (task.status, task.result) == ("completed", "7")


def test_the_leased_states_are_the_ones_with_a_lease(store: Store, clock: FakeClock) -> None:
    lease = leased(store, clock)
    assert TaskStatus(status_of(store, lease.task_id)) in LEASED
    start(store, clock, lease)
    assert TaskStatus(status_of(store, lease.task_id)) in LEASED


def test_a_renewal_of_some_leases_leaves_the_others_to_run_out(store: Store, clock: FakeClock) -> None:
    known, forgotten = leased(store, clock), leased(store, clock)
    clock.advance(LEASE_S / 2)
    renewed = store.work.renew(["w1"], LEASE_S, clock.now(), only=[known.task_id])
    clock.advance(LEASE_S / 2)

    assert [lease.task_id for lease in renewed] == [known.task_id]
    assert [lost.task_id for lost in store.upkeep.expire_leases(clock.now())] == [forgotten.task_id]
