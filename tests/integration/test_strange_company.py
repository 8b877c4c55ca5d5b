"""What one row, or one coroutine, must not do to the others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from prismq import PrismQ, QueueDatabaseError
from tests.helpers.processes import wait_until


def test_a_row_in_another_encoding_stops_nobody_else(tmp_path: Path) -> None:
    q = PrismQ(tmp_path / "queue.db")

    @q.task
    def double(x: int) -> int:
        return 2 * x

    handles = [double.enqueue(n) for n in range(3)]
    database = q.store.database
    database.execute("INSERT INTO task_queue (type, payload) VALUES (?, CAST(X'7bff7d' AS TEXT))", (double.name,))
    with q.worker():
        assert [handle.result(timeout=20) for handle in handles] == [0, 2, 4]
        wait_until(lambda: q.tasks.get(4).status == "failed", "the strange row fails by itself")
    assert "{\ufffd}" in q.tasks.get(4).payload


def test_coroutines_of_one_thread_do_not_share_a_transaction(tmp_path: Path) -> None:
    q = PrismQ(tmp_path / "queue.db")
    q.store.insight.depth()
    inside, tried = asyncio.Event(), asyncio.Event()

    async def roll_back() -> None:
        try:
            with q.transaction():
                await q.aenqueue("mine")
                inside.set()
                await tried.wait()
                raise ZeroDivisionError
        except ZeroDivisionError:
            pass

    async def enqueue() -> None:
        await inside.wait()
        with pytest.raises(QueueDatabaseError, match="another coroutine"):
            q.enqueue("blocking")
        waiting = asyncio.ensure_future(q.aenqueue("theirs"))
        tried.set()
        await waiting

    async def both() -> None:
        await asyncio.gather(roll_back(), enqueue())

    asyncio.run(both())
    assert [task.type for task in q.tasks.find()] == ["theirs"]
