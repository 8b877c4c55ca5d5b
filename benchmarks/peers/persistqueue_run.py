"""persist-queue: put into a SQLiteAckQueue, or get and ack. Runs in the peers' environment."""

from __future__ import annotations

import json
import sys
import time

import persistqueue

arguments = json.loads(sys.argv[1])
n = arguments["n"]
queue = persistqueue.SQLiteAckQueue(arguments["path"], auto_commit=True)


def put() -> None:
    for i in range(n):
        queue.put({"n": i})


def drain() -> None:
    for _ in range(n):
        queue.ack(queue.get())


if arguments["what"] == "drain":
    queue._putter.execute("PRAGMA synchronous = OFF")
    put()
    queue._putter.execute("PRAGMA synchronous = FULL")
work = {"enqueue": put, "drain": drain}[arguments["what"]]
cpu, wall = time.process_time(), time.perf_counter()
work()
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({"n": n, "wall_s": wall, "cpu_s": cpu}))
