"""Timeouts, cancellation and shutdown, told truthfully."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from prismq import Backoff, PrismQ, TaskCancelled, TaskFailed, TaskTimeout, current_task
from prismq.domain import events as ev
from tests.helpers.processes import wait_until
from tests.integration import tasks
from tests.integration.support import WAIT_S, Gate, Seen, a_worker, wait_status


def busy_until(when: float) -> None:
    while time.monotonic() < when:
        time.sleep(0.01)


def test_an_async_task_that_outlasts_its_timeout_is_cancelled_and_the_error_says_so(q: PrismQ) -> None:
    @q.task(timeout=0.1, max_attempts=1)
    async def slow() -> None:
        await asyncio.sleep(600)

    with a_worker(q), pytest.raises(TaskFailed, match=r"dead_letter: TaskTimeout: ran longer than .* 0\.1 s"):
        slow.enqueue().result(WAIT_S)


def test_a_plain_task_that_outlasts_its_timeout_is_interrupted_and_can_clean_up(q: PrismQ) -> None:
    cleaned = threading.Event()

    @q.task(timeout=0.1, max_attempts=2, backoff=Backoff(initial_s=0.01))
    def slow() -> None:
        try:
            while True:
                time.sleep(0.01)
        except TaskTimeout:
            cleaned.set()
            raise

    with a_worker(q):
        handle = slow.enqueue()
        with pytest.raises(TaskFailed, match="TaskTimeout"):
            handle.result(WAIT_S)
    assert cleaned.is_set()
    assert [one.error_type for one in q.tasks.attempts(handle.id)] == ["TaskTimeout", "TaskTimeout"]


def test_the_timeout_of_an_enqueue_goes_before_that_of_the_function(q: PrismQ) -> None:
    @q.task(timeout=0.05, max_attempts=1)
    def slow() -> int:
        time.sleep(0.3)
        return 1

    with a_worker(q):
        assert slow.options(timeout=30).enqueue().result(WAIT_S) == 1
        assert slow.options(timeout=None).enqueue().status in ("queued", "claimed", "processing", "completed")


def test_a_waiting_task_is_cancelled_at_once_and_never_runs(q: PrismQ) -> None:
    ran: list[int] = []

    @q.task
    def job() -> None:
        ran.append(1)

    handle = job.enqueue()
    later = job.options(delay=60).enqueue()
    assert (handle.cancel(), later.cancel()) == ("cancelled", "cancelled")
    with a_worker(q):
        with pytest.raises(TaskFailed, match="ended as cancelled"):
            handle.result(WAIT_S)
        assert job.enqueue().result(WAIT_S) is None
    assert ran == [1]


def test_an_async_task_is_cancelled_while_it_runs(q: PrismQ, seen: Seen) -> None:
    gate = threading.Semaphore(0)
    cleaned: list[str] = []

    @q.task
    async def wait() -> None:
        gate.release()
        try:
            await asyncio.sleep(600)
        finally:
            cleaned.append("yes")

    with a_worker(q):
        handle = wait.enqueue()
        assert gate.acquire(timeout=WAIT_S)
        assert handle.cancel() in ("cancelling", "cancelled")
        assert wait_status(handle, "cancelled") == "cancelled"
    assert cleaned == ["yes"]
    [event] = seen.of(ev.TaskCancelledEvent)
    assert "coroutine was cancelled" in event.reason
    assert handle.task().attempts == 1


@pytest.mark.parametrize("asked_by", ["timeout", "cancel"])
def test_an_interrupt_that_strikes_where_python_drops_it_is_raised_again(
    q: PrismQ, seen: Seen, monkeypatch: pytest.MonkeyPatch, asked_by: str
) -> None:
    dropped: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: dropped.append(str(unraisable.exc_value)))
    inside = threading.Event()
    struck = threading.Event()

    class Thing:
        def __del__(self) -> None:
            inside.set()
            try:
                busy_until(time.monotonic() + WAIT_S)
            finally:
                struck.set()

    class Other:
        def __del__(self) -> None:
            raise ValueError("not ours")

    @q.task(timeout=0.2 if asked_by == "timeout" else None, max_attempts=1)
    def job() -> None:
        Other()
        Thing()
        busy_until(time.monotonic() + 2 * WAIT_S)

    with a_worker(q):
        handle = job.enqueue()
        if asked_by == "cancel":
            assert inside.wait(WAIT_S)
            handle.cancel()
        assert wait_status(handle, "dead_letter" if asked_by == "timeout" else "cancelled")
    assert struck.is_set()
    assert dropped == ["not ours"]


def test_a_plain_task_is_interrupted_while_it_runs(q: PrismQ, seen: Seen) -> None:
    gate = Gate()

    @q.task
    def wait() -> None:
        gate.pass_through()

    with a_worker(q):
        handle = wait.enqueue()
        gate.wait_entered()
        handle.cancel()
        assert wait_status(handle, "cancelled") == "cancelled"
    assert "thread was interrupted" in seen.of(ev.TaskCancelledEvent)[0].reason


def test_a_task_that_asks_sees_that_it_was_cancelled(q: PrismQ, seen: Seen) -> None:
    started = threading.Semaphore(0)

    @q.task
    async def polite() -> None:
        task = current_task()
        started.release()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(600)
        assert task.cancelled
        task.check_cancelled()

    with a_worker(q):
        handle = polite.enqueue()
        assert started.acquire(timeout=WAIT_S)
        handle.cancel()
        wait_status(handle, "cancelled")


def test_a_task_that_ignores_the_cancellation_and_completes_is_completed(q: PrismQ) -> None:
    started, told = threading.Semaphore(0), threading.Event()

    @q.task
    def stubborn() -> int:
        started.release()
        try:
            while True:
                time.sleep(0.005)
        except TaskCancelled:
            told.set()
            return 7

    with a_worker(q):
        handle = stubborn.enqueue()
        assert started.acquire(timeout=WAIT_S)
        handle.cancel()
        assert handle.result(WAIT_S) == 7
    assert told.is_set()
    assert handle.task().cancel_requested_utc is None


def test_a_blocked_thread_stays_cancelling_and_is_reported_as_stuck(q: PrismQ, seen: Seen) -> None:
    gate = Gate()

    @q.task
    def blocked() -> None:
        gate.block()

    with a_worker(q, shutdown_grace_seconds=0.1):
        handle = blocked.enqueue()
        gate.wait_entered()
        assert handle.cancel() == "cancelling"
        stuck = seen.wait(ev.TaskStuck)
        assert (stuck.lease.task_id, stuck.why) == (handle.id, "cancel")
        assert handle.task().state == "cancelling"
        gate.open()
        assert wait_status(handle, "cancelled", "completed") in ("cancelled", "completed")


def test_a_task_is_never_cancelled_while_it_runs(q: PrismQ) -> None:
    """Every moment at which the row says `cancelled`, the handler has ended."""
    running: set[int] = set()
    lies: list[int] = []

    @q.task
    def job() -> None:
        me = current_task().id
        running.add(me)
        try:
            while True:
                try:
                    time.sleep(0.005)
                except TaskCancelled:
                    time.sleep(0.05)  # cleaning up takes its time
                    raise
        finally:
            running.discard(me)

    with a_worker(q):
        handles = [job.enqueue() for _ in range(4)]
        wait_until(lambda: len(running) == 4, "all run", WAIT_S)
        q.tasks.cancel(type=job.name)

        def all_cancelled() -> bool:
            states = {handle.id: handle.task().state for handle in handles}
            lies.extend(i for i, state in states.items() if state == "cancelled" and i in running)
            return set(states.values()) == {"cancelled"}

        wait_until(all_cancelled, "all are cancelled", WAIT_S, every_s=0.001)
    assert lies == []


def test_interrupts_that_hit_the_queues_own_code_leave_the_queue_usable(q: PrismQ) -> None:
    """Timeouts strike anywhere: inside an enqueue, inside a transaction. Nobody may be left with the writer's lock."""

    @q.task(name="leaf")
    def leaf() -> None: ...

    @q.task(name="busy", timeout=0.02, max_attempts=1)
    def busy() -> None:
        while True:
            leaf.enqueue()
            with q.transaction():
                leaf.enqueue()
                leaf.enqueue()

    with a_worker(q, concurrency=3):
        handles = [busy.enqueue() for _ in range(30)]
        for handle in handles:
            wait_status(handle, "dead_letter")
        assert leaf.enqueue().result(WAIT_S) is None
        wait_until(lambda: q.tasks.count(type="leaf", status="queued") == 0, "the leaves are done", 60)


def test_shutdown_gives_unfinished_work_back_without_counting_an_attempt(q: PrismQ, seen: Seen) -> None:
    gate = Gate()

    @q.task
    def long() -> int:
        gate.pass_through()
        return current_task().attempt

    worker = a_worker(q, concurrency=2, shutdown_grace_seconds=0.2)
    worker.start()
    handles = [long.enqueue() for _ in range(6)]
    gate.wait_entered(2)
    began = time.monotonic()
    assert worker.stop() >= 2
    assert time.monotonic() - began < 3
    # `scheduled`: one enqueued a moment after the worker looked at the clock; it is due all the same.
    assert {(handle.status.value, handle.task().attempts) for handle in handles} <= {("queued", 0), ("scheduled", 0)}
    assert {event.lease.attempt for event in seen.of(ev.TaskReleased)} == {1}
    gate.open()
    with a_worker(q):
        assert {handle.result(WAIT_S) for handle in handles} == {1}
    assert all(handle.task().crashes == 0 for handle in handles)


def test_what_was_claimed_ahead_is_given_back_at_once_when_the_worker_stops(q: PrismQ) -> None:
    gate = Gate()

    @q.task(name="short")
    def short() -> None: ...

    @q.task(name="blocking", priority=1)
    def blocking() -> None:
        gate.block()

    with a_worker(q, concurrency=1, shutdown_grace_seconds=0.5) as worker:
        for handle in short.enqueue_many([()] * 300):
            handle.result(WAIT_S)
        rest = short.enqueue_many([()] * 300)
        blocking.enqueue()
        gate.wait_entered()
        worker.stop()
        waiting = [handle.task() for handle in rest if handle.status != "completed"]
        assert {(task.status, task.attempts) for task in waiting} <= {("queued", 0)}
        gate.open()


def test_shutdown_lets_running_tasks_end_within_the_grace(q: PrismQ, seen: Seen) -> None:
    gate = Gate()

    @q.task
    def soon() -> int:
        gate.entered.release()
        assert "drain" in str(seen.wait(ev.WorkerStateChanged))  # it goes on after the shutdown has begun
        return 1

    worker = a_worker(q, shutdown_grace_seconds=10)
    worker.start()
    handle = soon.enqueue()
    gate.wait_entered()
    assert worker.stop() == 0
    assert handle.status == "completed"


def test_a_process_task_that_spins_is_killed_when_its_time_is_over(module_q: PrismQ) -> None:
    with a_worker(module_q):
        for task in (tasks.spin, tasks.sleep_in_c, tasks.chatty):
            handle = task.enqueue()
            with pytest.raises(TaskFailed, match=r"dead_letter: TaskTimeout: ran longer than its timeout of 0.5 s"):
                handle.result(WAIT_S)


def test_a_process_task_that_will_not_stop_is_killed_when_it_is_cancelled(module_q: PrismQ, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with a_worker(module_q):
        handle = tasks.deaf.enqueue(str(path))
        wait_until(lambda: path.exists() and path.read_text(), "it runs", WAIT_S)
        pid = int(path.read_text())
        handle.cancel()
        wait_status(handle, "cancelled")
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    [line] = [one for one in module_q.tasks.logs(handle.id) if one.level == "WARNING"]
    assert "process was killed" in (line.message or "")


def test_a_process_task_may_clean_up_when_it_is_cancelled(module_q: PrismQ, tmp_path: Path) -> None:
    path = tmp_path / "state"
    with a_worker(module_q, stop_grace_s=5.0):
        handle = tasks.mind.enqueue(str(path))
        wait_until(lambda: path.exists() and path.read_text() == "started", "it runs", WAIT_S)
        handle.cancel()
        wait_status(handle, "cancelled")
    assert path.read_text() == "cleaned up"


def test_a_process_task_that_grows_past_its_limit_is_killed_and_the_reason_is_memory(module_q: PrismQ) -> None:
    with a_worker(module_q):
        for task in (tasks.eat_memory, tasks.eat_memory_and_talk):
            with pytest.raises(TaskFailed, match="killed: memory"):
                task.enqueue().result(30)


def test_process_tasks_answer_fail_retry_and_snooze_like_others(module_q: PrismQ, tmp_path: Path) -> None:
    with a_worker(module_q):
        assert tasks.square.enqueue(7).result(30) == 49
        assert tasks.stumble.enqueue().result(WAIT_S) == 3
        assert tasks.again.enqueue().result(WAIT_S) == 2
        assert tasks.nap_once.enqueue(str(tmp_path / "once")).result(WAIT_S) == 1
        assert tasks.pid.enqueue().result(WAIT_S) != os.getpid()
        died = tasks.die.enqueue()
        with pytest.raises(TaskFailed, match="ended without an answer, exit code 3"):
            died.result(30)
        assert died.task().attempts == 2


def test_a_process_task_logs_and_reports_progress(module_q: PrismQ) -> None:
    with a_worker(module_q):
        handle = tasks.say.enqueue(3)
        assert handle.result(30) == f"{handle.id}.1"
    assert [one.message for one in module_q.tasks.logs(handle.id)][:3] == ["line 0", "line 1", "line 2"]
    assert handle.progress == {"done": 3.0, "total": 3.0, "note": "said"} or handle.progress["done"] == 3


def test_a_process_task_completes_in_its_own_transaction(module_q: PrismQ) -> None:
    with a_worker(module_q):
        handle = tasks.write_once.enqueue("a")
        wait_until(lambda: handle.task().result, "its result is kept", 30)
        assert handle.result(WAIT_S) == "A"
        with pytest.raises(TaskFailed):
            tasks.write_once.enqueue("b", fail=True).result(30)
    connection = module_q.store.database.get_connection()  # type: ignore[attr-defined]
    assert [tuple(row) for row in connection.execute("SELECT value FROM effects")] == [("a",)]


def test_a_process_task_enqueues_into_the_queue_that_it_came_from(module_q: PrismQ) -> None:
    with a_worker(module_q):
        for n in range(5):
            tasks.square.enqueue(n)
        handle = tasks.parent.enqueue()
        child = handle.result(30)
        assert module_q.handle(child).result(WAIT_S) == handle.id


def test_a_process_task_of_an_application_that_cannot_be_found_fails_and_says_why(q: PrismQ) -> None:
    @q.task(executor="process", max_attempts=1)
    def local() -> int:
        return os.getpid()

    with a_worker(q), pytest.raises(TaskFailed, match="executor='process'"):
        local.enqueue().result(WAIT_S)
