"""PgQueuer: its own queue manager works off what is queued. Runs in the peers' environment.

As its own benchmark runs it: asyncpg, uvloop, an async entrypoint, mode "drain". The batch size is the caller's; every
table is logged ("durable", as ours are), unless `durability` says otherwise.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment
from pgqueuer.db import AsyncpgDriver
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

arguments = json.loads(sys.argv[1])
logging.disable(logging.CRITICAL)


async def main() -> None:
    """Fill, work off, and say how long it took, from the start of the worker to its last write."""
    n, batch = arguments["n"], arguments["batch"]
    connection = await asyncpg.connect(arguments["url"])
    driver = AsyncpgDriver(connection)
    settings = DBSettings(durability=Durability(arguments.get("durability", "durable")))
    await driver.execute(QueryBuilderEnvironment(settings).build_install_query())
    queries = Queries(driver)
    for first in range(0, n, 10_000):
        numbers = range(first, min(n, first + 10_000))
        await queries.enqueue(["noop"] * len(numbers), [f'{{"n":{i}}}'.encode() for i in numbers], [0] * len(numbers))
    await driver.execute("VACUUM ANALYZE")
    await driver.execute("CHECKPOINT")
    worker = PgQueuer(driver)

    @worker.entrypoint("noop")
    async def noop(job: Job) -> None:
        """Do nothing."""

    cpu, wall = time.process_time(), time.perf_counter()
    await worker.run(batch_size=batch, mode=QueueExecutionMode.drain)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    left = await asyncpg_count(arguments["url"])
    if left:
        raise RuntimeError(f"{left} of {n} jobs were left")
    print(json.dumps({"n": n, "wall_s": wall, "cpu_s": cpu}))


async def asyncpg_count(url: str) -> int:
    """How many jobs are still in the queue; on a connection of its own, for the driver may be closed."""
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM pgqueuer"))
    finally:
        await connection.close()


if __name__ == "__main__":  # processes that a worker starts import this file
    uvloop.install()
    asyncio.run(main())
