"""Procrastinate: its own worker works off what is queued. Runs in the peers' environment.

An async task on psycopg's pool; concurrency, and whether what has succeeded is deleted, are the caller's. It logs
nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time

import uvloop
from procrastinate import App, PsycopgConnector

arguments = json.loads(sys.argv[1])
logging.disable(logging.CRITICAL)


async def main() -> None:
    """Fill, work off, and say how long it took."""
    n, concurrency = arguments["n"], arguments["concurrency"]
    app = App(connector=PsycopgConnector(conninfo=arguments["url"], min_size=2, max_size=max(4, min(concurrency, 40))))

    @app.task(name="noop")
    async def noop(n: int) -> None:
        """Do nothing."""

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for first in range(0, n, 5_000):
            await noop.batch_defer_async(*[{"n": i} for i in range(first, min(n, first + 5_000))])
        await app.connector.execute_query_async("ANALYZE procrastinate_jobs")
        await app.connector.execute_query_async("CHECKPOINT")
        cpu, wall = time.process_time(), time.perf_counter()
        await app.run_worker_async(
            concurrency=concurrency, wait=False, install_signal_handlers=False, delete_jobs=arguments["delete_jobs"]
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        row = await app.connector.execute_query_one_async(
            "SELECT count(*) AS jobs FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        )
        if row["jobs"]:
            raise RuntimeError(f"{row['jobs']} of {n} jobs were left")
    print(json.dumps({"n": n, "wall_s": wall, "cpu_s": cpu}))


if __name__ == "__main__":  # processes that a worker starts import this file
    uvloop.install()
    asyncio.run(main())
