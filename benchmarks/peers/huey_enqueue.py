"""Huey: enqueue one by one into SqliteHuey. Runs in the peers' environment."""

from __future__ import annotations

import json
import sys
import time

from huey import SqliteHuey

arguments = json.loads(sys.argv[1])
n = arguments["n"]
options = {} if arguments["fsync"] is None else {"fsync": arguments["fsync"]}
huey = SqliteHuey(filename=arguments["path"], **options)


@huey.task()
def noop(n: int) -> None:
    """Do nothing."""


noop(0)
cpu, wall = time.process_time(), time.perf_counter()
for i in range(n):
    noop(i)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({"n": n, "wall_s": wall, "cpu_s": cpu}))
