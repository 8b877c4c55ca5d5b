"""What operators ask of workers and queues while they run."""

from __future__ import annotations

import pytest

from prismq import PrismQ
from prismq.domain import events as ev
from prismq.domain.worker import Worker, WorkerCommand
from prismq.worker.embedded import EmbeddedWorker
from tests.helpers.processes import wait_until
from tests.integration.support import WAIT_S, Gate, Seen, a_worker, wait_status


def _ask(q: PrismQ, worker: EmbeddedWorker, command: WorkerCommand, argument: int | None = None) -> None:
    q.store.workers.ask(worker.worker_id, command, argument, "ann", q.clock.now())


def _row(q: PrismQ, worker: EmbeddedWorker) -> Worker:
    row = q.store.workers.get(worker.worker_id)
    assert row is not None
    return row


def test_a_paused_worker_claims_nothing_until_it_is_resumed(q: PrismQ, seen: Seen) -> None:
    @q.task(name="job")
    def job() -> int:
        return 1

    with a_worker(q) as worker:
        job.enqueue().result(WAIT_S)
        _ask(q, worker, WorkerCommand.PAUSE)
        changed = seen.wait(ev.WorkerStateChanged, lambda event: event.status == "paused")
        assert "ann" in changed.why
        wait_until(lambda: _row(q, worker).status == "paused", "its row says so", WAIT_S)
        waiting = [job.enqueue() for _ in range(5)]
        assert {handle.task().attempts for handle in waiting} == {0}
        _ask(q, worker, WorkerCommand.RESUME)
        assert [handle.result(WAIT_S) for handle in waiting] == [1] * 5


def test_pausing_gives_back_what_was_claimed_ahead_and_lets_the_rest_end(q: PrismQ) -> None:
    gate = Gate()

    @q.task(name="job")
    def job() -> int:
        gate.pass_through()
        return 1

    with a_worker(q, concurrency=1, prefetch=50) as worker:
        handles = job.enqueue_many([()] * 3)
        gate.wait_entered()
        _ask(q, worker, WorkerCommand.PAUSE)
        wait_until(lambda: _row(q, worker).status == "paused", "it is paused", WAIT_S)
        wait_until(lambda: {h.task().attempts for h in handles[1:]} == {0}, "the others were given back", WAIT_S)
        gate.open()
        assert handles[0].result(WAIT_S) == 1
        assert {handle.status.value for handle in handles[1:]} <= {"queued", "scheduled"}


def test_a_resized_worker_runs_as_many_as_it_is_told(q: PrismQ) -> None:
    gate = Gate()
    running: list[int] = []

    @q.task(name="job")
    def job() -> None:
        running.append(1)
        gate.pass_through()
        running.pop()

    with a_worker(q, concurrency=1) as worker:
        handles = job.enqueue_many([()] * 8)
        gate.wait_entered(1)
        _ask(q, worker, WorkerCommand.RESIZE, 5)
        gate.wait_entered(4)
        assert len(running) == 5
        _ask(q, worker, WorkerCommand.RESIZE, 2)
        wait_until(lambda: _row(q, worker).slots == 2, "its row says so", WAIT_S)
        gate.open()
        for handle in handles:
            handle.result(WAIT_S)


def test_a_drained_worker_ends_what_it_has_and_wants_to_end(q: PrismQ) -> None:
    gate = Gate()

    @q.task(name="job")
    def job() -> int:
        gate.pass_through()
        return 1

    with a_worker(q, concurrency=1, prefetch=0) as worker:
        first = job.enqueue()
        gate.wait_entered()
        second = job.enqueue()
        _ask(q, worker, WorkerCommand.DRAIN)
        wait_until(lambda: _row(q, worker).status == "draining", "it drains", WAIT_S)
        gate.open()
        assert first.result(WAIT_S) == 1
        wait_until(lambda: worker.runtime.idle and worker.runtime.exit_wanted, "it is done", WAIT_S)
        assert second.task().attempts == 0
    assert _row(q, worker).status == "stopped"


def test_a_command_that_nobody_knows_stops_nobody(q: PrismQ) -> None:
    @q.task(name="job")
    def job() -> int:
        return 1

    with a_worker(q) as worker:
        job.enqueue().result(WAIT_S)
        connection = q.store.database.get_connection()  # type: ignore[attr-defined]
        connection.execute(
            "INSERT INTO worker_commands (worker_id, command, asked_at_utc) VALUES (?, 'dance', '2026-01-01')",
            (worker.worker_id,),
        )
        _ask(q, worker, WorkerCommand.PAUSE)
        wait_until(lambda: _row(q, worker).status == "paused", "the next command is obeyed", WAIT_S)


def test_a_paused_queue_is_left_alone_by_all_workers_until_it_is_resumed(q: PrismQ) -> None:
    @q.task(name="job")
    def job() -> int:
        return 1

    q.tasks.pause("slow")
    with a_worker(q), a_worker(q):
        waiting = [job.options(queue="slow").enqueue() for _ in range(3)]
        assert job.enqueue().result(WAIT_S) == 1
        assert {handle.task().attempts for handle in waiting} == {0}
        assert q.tasks.resume("slow")
        assert [handle.result(WAIT_S) for handle in waiting] == [1, 1, 1]


def test_a_limited_queue_runs_no_more_than_its_limit_over_all_workers(q: PrismQ) -> None:
    running: list[int] = []
    most: list[int] = []
    gate = Gate()

    @q.task(name="job")
    def job() -> None:
        running.append(1)
        most.append(len(running))
        gate.pass_through(0.005)
        running.pop()

    q.tasks.limit("narrow", 2)
    with a_worker(q), a_worker(q):
        handles = [job.options(queue="narrow").enqueue() for _ in range(6)]
        gate.wait_entered(2)
        gate.open()
        for handle in handles:
            handle.result(WAIT_S)
    assert max(most) == 2


def test_a_worker_says_what_it_has_done(q: PrismQ) -> None:
    @q.task(name="job", max_attempts=1)
    def job(fail: bool) -> None:
        if fail:
            raise ValueError

    with a_worker(q, lease_duration_seconds=1) as worker:
        handles = [job.enqueue(n % 4 == 0) for n in range(12)]
        for handle in handles:
            wait_status(handle, "completed", "dead_letter")
    row = _row(q, worker)
    assert (row.completed, row.failed, row.retried, row.status) == (9, 3, 0, "stopped")
    assert row.memory_bytes
    assert row.last_claim_utc
    assert row.stopped_at_utc


def test_an_operator_retries_a_dead_letter_and_it_runs_again(q: PrismQ) -> None:
    fixed: list[int] = []

    @q.task(name="job", max_attempts=1)
    def job() -> int:
        if not fixed:
            raise ValueError("not yet")
        return 1

    with a_worker(q):
        handle = job.enqueue()
        wait_status(handle, "dead_letter")
        fixed.append(1)
        assert q.tasks.retry(status="dead_letter") == 1
        assert handle.result(WAIT_S) == 1
    assert handle.task().attempts == 1
    assert len(q.tasks.attempts(handle.id)) == 1


@pytest.mark.parametrize("what", ["run_now", "reprioritise"])
def test_waiting_tasks_can_be_moved(q: PrismQ, what: str) -> None:
    @q.task(name="job")
    def job() -> int:
        return 1

    handle = job.options(delay=600).enqueue()
    if what == "run_now":
        with a_worker(q):
            assert q.tasks.run_now(handle.id) == 1
            assert handle.result(WAIT_S) == 1
    else:
        assert q.tasks.reprioritise(5, handle.id) == 1
        assert handle.task().priority == 5
