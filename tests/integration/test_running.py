"""Handlers run, answer, fail, and are tried again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sqlite3
import threading
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import pytest

from prismq import Backoff, PermanentError, PrismQ, ResultTimeout, Retry, Snooze, TaskFailed, current_task
from prismq.domain import events as ev
from tests.helpers.processes import wait_until
from tests.integration.support import WAIT_S, Gate, Seen, a_worker, wait_status

SOON = Backoff(initial_s=0.02, cap_s=0.05, jitter=0)


@dataclass
class Point:
    x: int
    y: int


def test_plain_and_async_handlers_return_what_their_hints_say(q: PrismQ) -> None:
    @q.task
    def shift(point: Point, by: int = 1) -> Point:
        return Point(point.x + by, point.y + by)

    @q.task
    async def later(moment: datetime) -> datetime:
        await asyncio.sleep(0.001)
        return moment.replace(year=2030)

    @q.task
    def nothing() -> None:
        return None

    with a_worker(q):
        assert shift.enqueue(Point(1, 2), by=3).result(WAIT_S) == Point(4, 5)
        moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
        assert later.enqueue(moment).result(WAIT_S) == moment.replace(year=2030)
        assert nothing.enqueue().result(WAIT_S) is None
        assert q.enqueue(shift.name, {"point": {"x": 0, "y": 0}}).result(WAIT_S) == Point(1, 1)


def test_a_task_is_picked_up_at_once_and_its_result_comes_at_once(q: PrismQ) -> None:
    @q.task
    def quick() -> int:
        return 1

    with a_worker(q, poll_interval_seconds=60):
        quick.enqueue().result(WAIT_S)
        began = time.monotonic()
        for _ in range(20):
            quick.enqueue().result(WAIT_S)
        assert (time.monotonic() - began) / 20 < 0.2


def test_a_failing_task_is_retried_with_backoff_and_then_kept_with_its_tracebacks(q: PrismQ, seen: Seen) -> None:
    @q.task(max_attempts=3, backoff=SOON)
    def broken() -> None:
        raise ValueError(f"attempt {current_task().attempt}")

    with a_worker(q):
        handle = broken.enqueue()
        with pytest.raises(TaskFailed, match="dead_letter: ValueError: attempt 3"):
            handle.result(WAIT_S)
    task = handle.task()
    assert (task.status, task.attempts, task.locked_by is None) == ("dead_letter", 3, False)
    attempts = q.tasks.attempts(handle.id)
    assert [(one.attempt, one.outcome, one.error_message) for one in attempts] == [
        (1, "retried", "attempt 1"), (2, "retried", "attempt 2"), (3, "dead_letter", "attempt 3"),
    ]  # fmt: skip
    assert all("in broken" in (one.traceback or "") for one in attempts)
    delays = [event.delay_s for event in seen.of(ev.TaskRetried)]
    assert delays == [pytest.approx(0.02), pytest.approx(0.04)]
    waits = [
        (later.started_at_utc - earlier.finished_at_utc).total_seconds()
        for earlier, later in itertools.pairwise(attempts)
        if later.started_at_utc and earlier.finished_at_utc
    ]
    assert waits[0] >= 0.018
    assert waits[1] >= 0.038


def test_a_backoff_function_decides_and_one_that_raises_loses_nothing(q: PrismQ, seen: Seen) -> None:
    def own(attempt: int) -> float:
        return 0.01 * attempt

    def broken(attempt: int) -> float:
        raise ZeroDivisionError("no delay")

    @q.task(name="own", max_attempts=3, backoff=own)
    def with_own() -> None:
        raise ValueError

    @q.task(name="odd", max_attempts=2, backoff=broken)
    def with_broken() -> None:
        raise ValueError

    with a_worker(q):
        first, second = with_own.enqueue(), with_broken.enqueue()
        wait_status(first, "dead_letter")
        wait_status(second, "dead_letter")
    delays = {event.lease.type: event.delay_s for event in seen.of(ev.TaskRetried)}
    assert delays["own"] == pytest.approx(0.02)
    assert delays["odd"] > 0


def test_retry_with_a_delay_waits_that_long(q: PrismQ, seen: Seen) -> None:
    @q.task(max_attempts=2)
    def again() -> int:
        if current_task().attempt == 1:
            raise Retry("not yet", delay=0.15)
        return current_task().attempt

    with a_worker(q):
        handle = again.enqueue()
        assert handle.result(WAIT_S) == 2
    [retried] = seen.of(ev.TaskRetried)
    assert retried.delay_s == 0.15
    [attempt] = q.tasks.attempts(handle.id)
    task = handle.task()
    assert task.processing_started_utc
    assert attempt.finished_at_utc
    assert (task.processing_started_utc - attempt.finished_at_utc).total_seconds() >= 0.149


def test_a_permanent_error_is_not_retried(q: PrismQ) -> None:
    @q.task(max_attempts=5)
    def hopeless() -> None:
        raise PermanentError("no such customer")

    with a_worker(q):
        handle = hopeless.enqueue()
        with pytest.raises(TaskFailed, match="failed: PermanentError: no such customer"):
            handle.result(WAIT_S)
    assert (handle.task().status, handle.task().attempts) == ("failed", 1)


def test_a_snoozed_task_uses_no_attempt_and_outlives_its_worker(q: PrismQ) -> None:
    ready = threading.Event()

    @q.task(max_attempts=1)
    def patient() -> int:
        if not ready.is_set():
            raise Snooze(0.05, "the lake is frozen")
        return current_task().attempt

    with a_worker(q):
        handle = patient.enqueue()
        wait_until(lambda: handle.task().fencing_token >= 3, "it was snoozed several times")
    wait_status(handle, "scheduled", "queued")
    assert handle.task().attempts == 0
    ready.set()
    with a_worker(q):
        assert handle.result(WAIT_S) == 1
    assert handle.task().error_message is None


def test_a_delayed_task_runs_when_it_is_due_and_not_before(q: PrismQ) -> None:
    @q.task
    def when() -> float:
        return time.time()

    with a_worker(q, poll_interval_seconds=30):
        due = time.time() + 0.3
        handle = when.options(delay=0.3).enqueue()
        assert handle.task().status == "scheduled"
        assert due - 0.002 <= handle.result(WAIT_S) < due + 0.5


def test_a_result_that_does_not_come_in_time_is_a_result_timeout(q: PrismQ) -> None:
    @q.task
    def never() -> None: ...

    handle = never.enqueue()
    with pytest.raises(ResultTimeout, match=r"still queued after 0\.05 s"):
        handle.result(0.05)
    with pytest.raises(TimeoutError):
        handle.result(0.01)


def test_a_result_that_is_not_json_fails_the_task_and_says_so(q: PrismQ) -> None:
    @q.task(max_attempts=5)
    def odd() -> object:
        return object()

    @q.task(max_attempts=5)
    async def aodd() -> object:
        return object()

    with a_worker(q):
        for handle in (odd.enqueue(), aodd.enqueue()):
            with pytest.raises(TaskFailed, match="failed"):
                handle.result(WAIT_S)


def test_whatever_a_handler_raises_ends_its_own_attempt_only(q: PrismQ) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    raised: dict[str, BaseException] = {
        "exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "surrogate": ValueError("half \ud800 a pair"),
        "silent": Silent(), "nul": ValueError("a\x00b"), "generator": GeneratorExit(), "stop": StopIteration(1),
        "cancelled": asyncio.CancelledError(), "long": ValueError("x" * 1_000_000),
    }  # fmt: skip

    @q.task(name="plain", max_attempts=1)
    def plain(which: str) -> None:
        raise raised[which]

    @q.task(name="async", max_attempts=1)
    async def asynchronous(which: str) -> None:
        raise raised[which]

    @q.task(name="fine")
    def fine() -> int:
        return 1

    with a_worker(q):
        handles = [task.enqueue(which) for task in (plain, asynchronous) for which in raised]
        for handle in handles:
            with pytest.raises(TaskFailed, match="dead_letter"):
                handle.result(WAIT_S)
        assert fine.enqueue().result(WAIT_S) == 1


def test_rows_inserted_by_hand_run(q: PrismQ) -> None:
    ran: list[str] = []

    @q.task(name="by_hand")
    def by_hand(who: str = "nobody") -> str:
        ran.append(who)
        return who

    with a_worker(q):
        connection = q.store.database.get_connection()  # type: ignore[attr-defined]
        insert = "INSERT INTO task_queue (type, payload) VALUES ('by_hand', ?)"
        for who in ("ann", "bob"):
            connection.execute(insert, (json.dumps({"who": who}),))
        connection.execute("INSERT INTO task_queue (type, payload) VALUES ('by_hand', '{}')")
        later = (
            "INSERT INTO task_queue (type, payload, run_after_utc) VALUES ('by_hand', ?, datetime('now', '+1 second'))"
        )
        connection.execute(later, ('{"who": "later"}',))
        wait_until(lambda: sorted(ran) == ["ann", "bob", "later", "nobody"], "all have run", WAIT_S)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("timeout_seconds", "soon"), ("priority", "high"), ("backoff", "often"), ("headers", "[1"), ("headers", "[1]"),
        ("max_attempts", "many"), ("retention_seconds", "long"), ("tags", "{"), ("run_after_utc", "yesterday"),
        ("created_at_utc", "then"), ("attempts", "none"), ("compatibility", "[1"), ("compatibility", ""),
        ("payload", "not json"), ("payload", "[1, 2]"), ("payload", b"\xff\x00"), ("type", b"\xff\xfe"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_row_with_nonsense_in_it_stops_nobody_else(q: PrismQ, kind: str, column: str, value: object) -> None:
    @q.task(name="plain")
    def plain() -> int:
        return 1

    @q.task(name="async")
    async def asynchronous() -> int:
        return 1

    values: dict[str, object] = {"type": kind, "payload": "{}", column: value}
    with a_worker(q) as worker:
        names = ", ".join(values)
        marks = ", ".join("?" * len(values))
        connection = q.store.database.get_connection()  # type: ignore[attr-defined]
        # Where the table refuses it, nobody needs to live with it.
        with contextlib.suppress(sqlite3.IntegrityError):
            connection.execute(f"INSERT INTO task_queue ({names}) VALUES ({marks})", tuple(values.values()))
        assert plain.enqueue().result(WAIT_S) == 1
        assert asynchronous.enqueue().result(WAIT_S) == 1
        wait_until(lambda: worker.runtime.idle, "nothing is held for ever", WAIT_S)
    connection.execute("DELETE FROM task_queue WHERE id = 1")


def test_priorities_order_what_waits(q: PrismQ) -> None:
    order: list[int] = []

    @q.task
    def job(n: int) -> None:
        order.append(n)

    handles = [job.options(priority=priority).enqueue(priority) for priority in (100, 7, 300, 50)]
    with a_worker(q, concurrency=1, prefetch=0):
        for handle in handles:
            handle.result(WAIT_S)
    assert order == [7, 50, 100, 300]


def test_two_workers_each_take_what_they_can_serve(q: PrismQ, tmp_path: Path) -> None:
    @q.task(name="where", compatibility={"gpu": True})
    def where() -> str:
        return current_task().worker_id

    @q.task(name="anywhere")
    def anywhere() -> str:
        return current_task().worker_id

    with (
        a_worker(q, worker_id="plain", queues=["default"]),
        a_worker(q, worker_id="big", capabilities={"gpu": True}, queues=["default", "far"]),
    ):
        special = [where.enqueue() for _ in range(10)]
        far = anywhere.options(queue="far").enqueue()
        assert {handle.result(WAIT_S).split("-")[0] for handle in special} == {"big"}
        assert far.result(WAIT_S).startswith("big")
        lonely = where.options(compatibility={"gpu": True, "region": "mars"}).enqueue()
        assert anywhere.enqueue().result(WAIT_S)
        assert lonely.status == "queued"


def test_a_type_nobody_here_knows_is_left_alone(q: PrismQ) -> None:
    @q.task
    def known() -> int:
        return 1

    with a_worker(q):
        stranger = q.enqueue("of.another.program", {})
        assert known.enqueue().result(WAIT_S) == 1
        assert (stranger.status, stranger.task().attempts) == ("queued", 0)


def test_a_worker_told_to_take_all_fails_unknown_types_and_lists_the_known_ones(q: PrismQ) -> None:
    @q.task(name="known.task")
    def known() -> None: ...

    with a_worker(q, only_known=False):
        handle = q.enqueue("known.tusk", {})
        with pytest.raises(
            TaskFailed, match=r"failed: UnknownTask: .*Did you mean 'known.task'.*Known types: known.task"
        ):
            handle.result(WAIT_S)


def test_a_payload_that_does_not_fit_the_function_fails_and_names_the_parameter(q: PrismQ) -> None:
    @q.task(name="typed", max_attempts=5)
    def typed(number: int) -> int:
        return number

    connection = q.store.database.get_connection()  # type: ignore[attr-defined]
    for payload in ('{"number": "seven"}', "{}", '{"number": 1, "other": 2}', "[", '"text"'):
        connection.execute("INSERT INTO task_queue (type, payload) VALUES ('typed', ?)", (payload,))
    with a_worker(q):
        wait_until(lambda: q.tasks.count(status="failed") == 5, "all five failed", WAIT_S)
    tasks = q.tasks.find()
    assert all(task.attempts == 1 for task in tasks)
    assert "number" in (tasks[-1].error_message or "")
    assert "other" in (tasks[-3].error_message or "")


def test_many_tasks_at_once_all_complete_exactly_once(q: PrismQ) -> None:
    ran: list[int] = []

    @q.task
    def plain(n: int) -> int:
        ran.append(n)
        return n

    @q.task
    async def asynchronous(n: int) -> int:
        await asyncio.sleep(0)
        ran.append(n)
        return n

    with a_worker(q, concurrency=8), a_worker(q, concurrency=8):
        handles = plain.enqueue_many([(n,) for n in range(1000)])
        handles += asynchronous.enqueue_many([(n,) for n in range(1000, 2000)])
        wait_until(lambda: q.tasks.count(status="completed") == 2000, "all are done", 60)
    assert sorted(ran) == list(range(2000))
    assert handles[1999].result(1) == 1999


def test_threads_that_enqueue_and_end_leave_no_connection_behind(q: PrismQ) -> None:
    @q.task
    def job() -> None: ...

    job.enqueue()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(50):
        thread = threading.Thread(target=job.enqueue)
        thread.start()
        thread.join()
    assert len(list(Path("/proc/self/fd").iterdir())) < before + 20


def test_one_worker_keeps_to_its_slots(q: PrismQ) -> None:
    running: list[int] = []
    most: list[int] = []
    gate = Gate()

    @q.task
    def job() -> None:
        running.append(1)
        most.append(len(running))
        gate.pass_through()
        running.pop()

    @q.task
    async def ajob() -> None:
        running.append(1)
        most.append(len(running))
        await asyncio.sleep(0.01)
        running.pop()

    with a_worker(q, concurrency=3):
        handles = [job.enqueue() for _ in range(6)] + [ajob.enqueue() for _ in range(20)]
        gate.wait_entered(3)
        gate.open()
        for handle in handles:
            handle.result(WAIT_S)
    assert max(most) == 3
