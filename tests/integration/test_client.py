"""Putting work in: transactions, keys, middleware, events."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from prismq import NewTask, PrismQ, TaskFailed, current_task
from prismq.domain import events as ev
from tests.helpers.processes import wait_until
from tests.integration.support import WAIT_S, Seen, a_worker


def _echo(q: PrismQ) -> object:
    @q.task(name="echo")
    def echo(n: int = 0) -> int:
        return n

    return echo


def test_tasks_of_a_transaction_exist_only_once_it_commits(q: PrismQ, seen: Seen) -> None:
    _echo(q)
    with a_worker(q):
        with q.transaction() as connection:
            connection.execute("CREATE TABLE mine (n)")
            connection.execute("INSERT INTO mine VALUES (1)")
            handle = q.enqueue("echo", {"n": 5})
            assert not seen.of(ev.TaskEnqueued)
        assert handle.result(WAIT_S) == 5
        with pytest.raises(ZeroDivisionError), q.transaction() as connection:  # noqa: PT012
            connection.execute("INSERT INTO mine VALUES (2)")
            q.enqueue("echo", {"n": 6})
            raise ZeroDivisionError
    assert q.tasks.count(type="echo") == 1
    assert [tuple(row) for row in q.store.database.get_connection().execute("SELECT n FROM mine")] == [(1,)]  # type: ignore[attr-defined]
    assert len(seen.of(ev.TaskEnqueued)) == 1


def test_a_callers_own_connection_decides_about_its_tasks(q: PrismQ) -> None:
    _echo(q)
    q.store.check()
    mine = sqlite3.connect(q.store.database.db_path)  # type: ignore[attr-defined]
    with a_worker(q):
        with q.transaction(mine):
            lost = q.enqueue("echo", {"n": 1})
        mine.rollback()
        with q.transaction(mine):
            kept = q.enqueue("echo", {"n": 2})
            many = q.enqueue_many([NewTask("echo", '{"n": 3}')] * 3)
        mine.commit()
        assert kept.result(WAIT_S) == 2
        assert [handle.result(WAIT_S) for handle in many] == [3, 3, 3]
    assert q.tasks.count(type="echo") == 4
    assert lost.id == kept.id
    mine.close()


def test_the_same_idempotency_key_is_one_task_for_ever(q: PrismQ) -> None:
    _echo(q)
    with a_worker(q):
        first = q.enqueue("echo", {"n": 1}, idempotency_key="k")
        assert first.created
        assert first.result(WAIT_S) == 1
        again = q.enqueue("echo", {"n": 2}, idempotency_key="k")
        assert (again.created, again.id, again.result(WAIT_S)) == (False, first.id, 1)


def test_one_key_enqueued_from_many_threads_is_one_task(q: PrismQ) -> None:
    _echo(q)
    q.store.check()
    made: list[tuple[int, bool]] = []

    def enqueue() -> None:
        for n in range(20):
            handle = q.enqueue("echo", {"n": n}, idempotency_key=f"k{n}")
            made.append((handle.id, handle.created))

    threads = [threading.Thread(target=enqueue) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 80
    assert len({i for i, _ in made}) == 20
    assert sum(created for _, created in made) == 20


def test_a_call_that_is_pending_is_not_enqueued_again_until_it_has_ended(q: PrismQ) -> None:
    @q.task(name="once", unique_for="pending")
    def once(n: int) -> int:
        return n

    first, same, other = once.enqueue(1), once.enqueue(1), once.enqueue(2)
    assert (same.id, same.created, other.created) == (first.id, False, True)
    with a_worker(q):
        first.result(WAIT_S)
        again = once.enqueue(1)
        assert again.created
        assert again.id != first.id
        again.result(WAIT_S)


def test_enqueueing_from_a_coroutine_does_not_block_its_loop(q: PrismQ) -> None:
    @q.task(name="echo")
    def echo(n: int) -> int:
        return n

    async def main() -> list[int]:
        handles = await asyncio.gather(*(echo.aenqueue(n) for n in range(20)))
        handles += await q.aenqueue_many([echo.prepare(99)])
        return [await handle.aresult(WAIT_S) for handle in handles]

    with a_worker(q):
        assert asyncio.run(main()) == [*range(20), 99]


def test_middleware_stands_round_every_handler_first_one_outermost(q: PrismQ) -> None:
    story: list[str] = []

    @q.around_execute
    @contextmanager
    def outer(task: object) -> Iterator[None]:
        story.append("outer in")
        try:
            yield
        except ValueError as error:
            story.append(f"outer saw {error}")
            raise
        story.append("outer out")

    @q.around_execute
    @contextmanager
    def inner(task: object) -> Iterator[None]:
        story.append(f"inner in {current_task().type}")
        yield
        story.append("inner out")

    @q.task(name="plain", max_attempts=1)
    def plain(fail: bool = False) -> None:
        story.append("plain")
        if fail:
            raise ValueError("oh")

    @q.task(name="async")
    async def asynchronous() -> None:
        story.append("async")

    with a_worker(q):
        plain.enqueue().result(WAIT_S)
        asynchronous.enqueue().result(WAIT_S)
        with pytest.raises(TaskFailed, match="oh"):
            plain.enqueue(True).result(WAIT_S)
    assert story == [
        "outer in", "inner in plain", "plain", "inner out", "outer out",
        "outer in", "inner in async", "async", "inner out", "outer out",
        "outer in", "inner in plain", "plain", "outer saw oh",
    ]  # fmt: skip


@pytest.mark.parametrize("where", ["before", "after", "instead"])
def test_middleware_that_raises_fails_the_attempt_and_nobody_else(q: PrismQ, where: str) -> None:
    @q.around_execute
    @contextmanager
    def broken(task: object) -> Iterator[None]:
        if current_task().type != "victim":
            yield
            return
        if where == "before":
            raise RuntimeError("middleware broke")
        try:
            yield
        except ValueError:
            raise RuntimeError("middleware broke") from None
        raise RuntimeError("middleware broke")

    @q.task(name="victim", max_attempts=1)
    def victim() -> None:
        if where == "instead":
            raise ValueError

    @q.task(name="other")
    def other() -> int:
        return 1

    with a_worker(q):
        with pytest.raises(TaskFailed, match="middleware broke"):
            victim.enqueue().result(WAIT_S)
        assert other.enqueue().result(WAIT_S) == 1


def test_middleware_round_an_enqueue_may_change_the_task_and_may_refuse_it(q: PrismQ) -> None:
    @q.around_enqueue
    @contextmanager
    def stamp(new: NewTask) -> Iterator[None]:
        if new.priority == 13:
            raise PermissionError("not this one")
        new.headers = {**new.headers, "trace": "t1"}
        yield

    @q.task(name="head")
    def head() -> object:
        return dict(current_task().headers)

    with a_worker(q):
        assert head.enqueue().result(WAIT_S) == {"trace": "t1"}
        assert [handle.result(WAIT_S) for handle in head.enqueue_many([()] * 2)] == [{"trace": "t1"}] * 2
        with pytest.raises(PermissionError):
            head.options(priority=13).enqueue()
    assert q.tasks.count(type="head") == 3


def test_events_of_a_task_come_in_the_order_of_its_life(q: PrismQ, seen: Seen) -> None:
    attempts: list[int] = []

    @q.task(name="life", max_attempts=3)
    def life() -> None:
        from prismq import Retry, Snooze

        attempts.append(1)
        if len(attempts) == 1:
            raise Retry(delay=0.01)
        if len(attempts) == 2:
            raise Snooze(0.01)

    with a_worker(q) as worker:
        handle = life.enqueue()
        handle.result(WAIT_S)
        seen.wait(ev.TaskCompleted)
    of_task = [
        type(event).__name__
        for event in seen.all
        if getattr(event, "task_id", None) == handle.id
        or getattr(getattr(event, "lease", None), "task_id", None) == handle.id
    ]
    assert of_task[0] == "TaskEnqueued" or "TaskEnqueued" in of_task[:2]
    assert [name for name in of_task if name != "TaskEnqueued"] == [
        "TaskClaimed", "TaskStarted", "TaskRetried", "TaskClaimed", "TaskStarted", "TaskSnoozed",
        "TaskClaimed", "TaskStarted", "TaskCompleted",
    ]  # fmt: skip
    names = [type(event).__name__ for event in seen.all]
    assert names.index("WorkerRegistered") < names.index("TaskClaimed") < names.index("WorkerStopped")
    assert seen.of(ev.WorkerStopped)[0].worker_id == worker.worker_id


def test_a_listener_that_raises_fails_no_task_and_silences_nobody(q: PrismQ) -> None:
    @q.listen
    def broken(event: object) -> None:
        raise RuntimeError("listener")

    seen = Seen(q)
    _echo(q)
    with a_worker(q):
        assert [q.enqueue("echo", {"n": n}).result(WAIT_S) for n in range(5)] == list(range(5))
    assert len(seen.of(ev.TaskCompleted)) == 5


def test_a_periodic_task_fires_each_slot_once_with_two_workers(q: PrismQ) -> None:
    ran: list[str] = []

    @q.periodic("* * * * * *")
    @q.task(name="tick")
    def tick() -> None:
        ran.append(str(current_task().headers["prismq.slot"]))

    with a_worker(q), a_worker(q):
        wait_until(lambda: len(ran) >= 3, "three seconds have ticked", WAIT_S)
    assert len(ran) == len(set(ran))
    assert len(q.store.schedules.all()) == 1


def test_slots_missed_while_nothing_ran_follow_the_policy(q: PrismQ) -> None:
    for name, missed in (("one", "latest"), ("every", "all"), ("none", "skip")):
        policy: Any = missed
        q.periodic("* * * * *", name=name, missed=policy)(q.task(name=name)(lambda: None))
    with a_worker(q):
        pass
    q.tasks.delete(status=["queued", "scheduled", "completed"])
    connection = q.store.database.get_connection()  # type: ignore[attr-defined]
    connection.execute("UPDATE schedules SET last_slot_utc = datetime(last_slot_utc, '-10 minutes')")
    with a_worker(q):
        wait_until(lambda: q.tasks.count(type="every", status="completed") >= 9, "missed slots are made up for", WAIT_S)
    assert q.tasks.count(type="one") in (1, 2)
    assert q.tasks.count(type="every") in (9, 10, 11)
    assert q.tasks.count(type="none") <= 1
