"""The tasks that workers run while Prometheus looks."""

from __future__ import annotations

import os
import time

from prismq import Backoff, PermanentError, PrismQ

q = PrismQ(os.environ.get("PRISMQ_TEST_DATABASE", ":memory:"))


@q.task(name="work")
def work(seconds: float = 0.0) -> None:
    time.sleep(seconds)


@q.task(name="break")
def breaks() -> None:
    raise PermanentError("planted")


@q.task(name="stumble", max_attempts=3, backoff=Backoff(initial_s=0.05, cap_s=0.1))
def stumble() -> None:
    from prismq import current_task

    if current_task().attempt < 2:
        raise ValueError("planted")


@q.task(name="late", timeout=0.2, max_attempts=1)
async def late() -> None:
    import asyncio

    await asyncio.sleep(30)


@q.periodic("* * * * * *", name="every-second")
@q.task(name="tick")
def tick() -> None:
    return None
