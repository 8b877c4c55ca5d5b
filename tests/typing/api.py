"""Typical calls that must type-check (mypy strict runs over this file; nothing here is executed)."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta, timezone
from pathlib import Path

from typing_extensions import assert_type

from prismq import Backoff, PrismQ, Retry, TaskFilter, TaskHandle, TaskStatus, current_task
from prismq.client.task import TaskFunction

q = PrismQ("queue.db", durability="full")


@q.task
def plain(path: str, width: int = 256) -> str:
    return f"{path}@{width}"


@q.task(queue="media", max_attempts=3, timeout=timedelta(minutes=1), backoff=Backoff(initial_s=2))
async def coroutine(number: int) -> float:
    current_task().progress(1, 2, "half")
    return float(number)


@q.periodic("*/5 * * * *", timezone="Europe/Vienna", kwargs={"path": "x"})
@q.task(backoff=lambda attempt: attempt * 10.0, executor="process", memory_limit_mb=512)
def nightly(path: str) -> None:
    raise Retry("later", delay=timedelta(hours=1))


assert_type(plain.enqueue("cat.png"), TaskHandle[str])
assert_type(plain.enqueue("cat.png", width=10).result(timeout=1), str)
assert_type(coroutine.enqueue(3).result(), float)
assert_type(plain.options(priority=10, delay=60, tags=["a"]).enqueue("x").status, TaskStatus)
assert_type(plain.enqueue_many([("a",), {"path": "b"}]), list[TaskHandle[str]])
plain.options(run_at=datetime.now(timezone.utc), idempotency_key="k", unique_for="pending")

plain.enqueue(3)  # type: ignore[arg-type]
plain.enqueue("x", height=3)  # type: ignore[call-arg]
plain.options(prio=3)  # type: ignore[call-arg]


async def bridge() -> None:
    assert_type(await coroutine.aenqueue(1), TaskHandle[float])
    assert_type(await (await plain.aenqueue("x")).aresult(timeout=5), str)


with q.transaction() as connection:
    plain.enqueue("in the transaction")
with q.transaction(sqlite3.connect(Path("queue.db"))):
    plain.enqueue("in the caller's")
with q.worker(concurrency=2) as worker:
    assert_type(worker.worker_id, str)
with q.testing() as testing:
    testing.run(advance=60)
    testing.assert_enqueued(plain, path="x")

q.tasks.cancel(7)
q.tasks.retry(status="failed", type="mail")
q.tasks.find(status=["failed", "dead_letter"], limit=10)
assert_type(q.enqueue_many([plain.prepare("a"), coroutine.prepare(1)]), list[TaskHandle[object]])  # type: ignore[assert-type]
TaskFilter(ids=(1,))
assert_type(plain, TaskFunction[..., str])  # type: ignore[assert-type]
