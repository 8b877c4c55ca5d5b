"""Oban for Python: its own producer works off what is queued. Runs in the peers' environment of a Python of 3.12 on.

An async job; the queue's limit is the caller's. The open package settles job by job inside one transaction a batch.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time

import psycopg
import uvloop
from oban import Oban, job
from oban.schema import install

arguments = json.loads(sys.argv[1])
logging.disable(logging.CRITICAL)


@job(queue="default")
async def noop(n: int) -> None:
    """Do nothing."""


async def main() -> None:
    """Fill, work off, and say how long it took, up to the write of the last end."""
    n, limit = arguments["n"], arguments["limit"]
    ended = "SELECT count(*) FROM oban_jobs WHERE state = 'completed'"
    pool = await Oban.create_pool(dsn=arguments["url"], min_size=2, max_size=10)
    await install(pool)
    filling = Oban(pool=pool, name="filling")
    async with filling:
        for first in range(0, n, 1_000):
            await filling.enqueue_many([noop.new(i) for i in range(first, min(n, first + 1_000))])
    async with await psycopg.AsyncConnection.connect(arguments["url"], autocommit=True) as watching:
        await watching.execute("ANALYZE oban_jobs")
        await watching.execute("CHECKPOINT")
        cpu, wall = time.process_time(), time.perf_counter()
        async with Oban(pool=pool, queues={"default": limit}, stager={"interval": 0.1}):
            while (await (await watching.execute(ended)).fetchone())[0] < n:
                await asyncio.sleep(0.05)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    await pool.close()
    print(json.dumps({"n": n, "wall_s": wall, "cpu_s": cpu}))


if __name__ == "__main__":  # processes that a worker starts import this file
    uvloop.install()
    asyncio.run(main())
