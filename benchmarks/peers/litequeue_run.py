"""litequeue: put, or pop and done. Runs in the peers' environment."""

from __future__ import annotations

import json
import sys
import time

from litequeue import LiteQueue

arguments = json.loads(sys.argv[1])
n = arguments["n"]
queue = LiteQueue(arguments["path"])


def put() -> None:
    for i in range(n):
        queue.put(f'{{"n":{i}}}')


def drain() -> None:
    for _ in range(n):
        message = queue.pop()
        queue.done(message.message_id)


if arguments["what"] == "drain":
    queue.conn.execute("BEGIN")
    put()
    queue.conn.execute("COMMIT")
work = {"enqueue": put, "drain": drain}[arguments["what"]]
cpu, wall = time.process_time(), time.perf_counter()
work()
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps({"n": n, "wall_s": wall, "cpu_s": cpu}))
