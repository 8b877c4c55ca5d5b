"""Chancy: its own worker works off what is queued. Runs in the peers' environment.

The async executor in the worker's own loop, and polling at once when a job has ended (`eager_polling`), which are its
fastest settings for jobs that do nothing; concurrency is the caller's. Without the plugins that only clean up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time

import psycopg
import uvloop
from chancy import Chancy, Queue, Worker, job

arguments = json.loads(sys.argv[1])
logging.disable(logging.CRITICAL)


@job(queue="bench")
async def noop(*, n: int) -> None:
    """Do nothing."""


async def main() -> None:
    """Fill, work off, and say how long it took, up to the write of the last end."""
    n, concurrency = arguments["n"], arguments["concurrency"]
    ended = "SELECT count(*) FROM chancy_jobs WHERE state = 'succeeded'"
    async with Chancy(arguments["url"], no_default_plugins=True, log=logging.getLogger("chancy")) as chancy:
        await chancy.migrate()
        async for _ in chancy.push_many([noop.job.with_kwargs(n=i) for i in range(n)], batch_size=5_000):
            pass
        async with await psycopg.AsyncConnection.connect(arguments["url"], autocommit=True) as watching:
            await watching.execute("ANALYZE chancy_jobs")
            await watching.execute("CHECKPOINT")
            cpu, wall = time.process_time(), time.perf_counter()
            await chancy.declare(
                Queue(
                    name="bench",
                    concurrency=concurrency,
                    executor=Chancy.Executor.Async,
                    polling_interval=1,
                    eager_polling=True,
                ),
                upsert=True,
            )
            worker = Worker(chancy, register_signal_handlers=False)
            worker.send_outgoing_interval = arguments["send_s"]
            async with worker:
                while (await (await watching.execute(ended)).fetchone())[0] < n:
                    await asyncio.sleep(0.05)
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"n": n, "wall_s": wall, "cpu_s": cpu}))


if __name__ == "__main__":  # processes that a worker starts import this file
    uvloop.install()
    asyncio.run(main())
