"""q.testing(): what users' own tests rest on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from prismq import PrismQ, Snooze, TaskFailed, current_task


@pytest.fixture
def q(tmp_path: Path) -> PrismQ:
    return PrismQ(tmp_path / "real.db")


def test_an_enqueue_runs_at_once_and_the_real_database_stays_untouched(q: PrismQ, tmp_path: Path) -> None:
    @q.task
    def double(x: int) -> int:
        return 2 * x

    with q.testing():
        assert double.enqueue(4).result(timeout=0) == 8
    assert not (tmp_path / "real.db").exists()


def test_a_coroutine_runs_too_even_when_the_test_is_one(q: PrismQ) -> None:
    @q.task
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        return 2 * x

    async def test() -> int:
        return (await double.aenqueue(5)).result(timeout=0)

    with q.testing():
        assert double.enqueue(4).result(timeout=0) == 8
        assert asyncio.run(test()) == 10


def test_retries_wait_for_the_clock_that_the_test_moves(q: PrismQ) -> None:
    @q.task(max_attempts=2)
    def broken() -> None:
        raise ValueError("no")

    with q.testing() as t:
        handle = broken.enqueue()
        assert handle.status == "scheduled"
        assert t.run() == 0
        assert t.run(advance=60) == 1
        assert handle.status == "dead_letter"
        with pytest.raises(TaskFailed, match="ValueError: no"):
            handle.result(timeout=0)


def test_a_snooze_uses_no_attempt(q: PrismQ) -> None:
    seen = []

    @q.task(max_attempts=1)
    def later() -> str:
        seen.append(current_task().attempt)
        if len(seen) < 3:
            raise Snooze(30)
        return "done"

    with q.testing() as t:
        handle = later.enqueue()
        t.run(advance=30)
        t.run(advance=30)
        assert handle.result(timeout=0) == "done"
    assert seen == [1, 1, 1]


def test_without_run_tasks_are_only_collected_and_can_be_asserted(q: PrismQ) -> None:
    @q.task(queue="mail")
    def send(to: str, subject: str = "hi") -> None:
        raise AssertionError("must not run")

    @q.task
    def other() -> None: ...

    with q.testing(run=False) as t:
        send.enqueue("ann@example.org", subject="hello")
        assert t.assert_enqueued(send, to="ann@example.org", subject="hello").queue == "mail"
        t.assert_not_enqueued(other)
        with pytest.raises(AssertionError, match=r"no task .*send.* with .*bob"):
            t.assert_enqueued(send, to="bob")
        with pytest.raises(AssertionError, match="1 tasks"):
            t.assert_not_enqueued(send)
        assert [task.status for task in t.enqueued] == ["queued"]


def test_tasks_that_enqueue_tasks_all_run_and_an_endless_chain_fails_the_test(q: PrismQ) -> None:
    @q.task
    def down(n: int) -> None:
        if n:
            down.enqueue(n - 1)

    with q.testing() as t:
        down.enqueue(5)
        assert len(t.enqueued) == 6


def test_two_uses_do_not_see_each_other_and_listeners_stay_as_they_were(q: PrismQ) -> None:
    @q.task
    def note() -> None: ...

    for _ in range(2):
        with q.testing() as t:
            note.enqueue()
            assert len(t.enqueued) == 1


def test_a_delayed_task_that_enqueues_another_runs_both(q: PrismQ) -> None:
    @q.task
    def inner() -> str:
        return "inner"

    @q.task
    def outer() -> None:
        inner.enqueue()

    with q.testing() as t:
        outer.options(delay=10).enqueue()
        assert t.run(advance=10) == 2
        assert {task.status for task in t.enqueued} == {"completed"}


def test_the_last_progress_of_a_short_task_is_kept(q: PrismQ) -> None:
    @q.task
    def count() -> None:
        current_task().progress(3, 3, "done")

    with q.testing():
        assert count.enqueue().progress == {"done": 3, "total": 3, "note": "done"}
