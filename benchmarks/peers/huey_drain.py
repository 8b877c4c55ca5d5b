"""Huey: its own consumer works off what is queued. Runs in the peers' environment.

The consumer is made as huey_consumer.py makes it, with its default options unless `workers` says otherwise;
logging is left unconfigured, which is faster than the line for each task that huey_consumer.py writes.
"""

from __future__ import annotations

import json
import sys
import threading
import time

from huey import SqliteHuey

arguments = json.loads(sys.argv[1])
n = arguments["n"]
options = {} if arguments["fsync"] is None else {"fsync": arguments["fsync"]}
# Filled without waiting for the disk; the consumer then opens it with the settings under test.
filling = SqliteHuey(filename=arguments["path"], fsync=False)
huey = SqliteHuey(filename=arguments["path"], **options)
ended = threading.Event()
ends: list[float] = []


def noop(n: int) -> None:
    """Do nothing."""


def last() -> None:
    """The queue is in order: with one worker, everything before has ended."""
    ends.append(time.perf_counter())
    ends.append(time.process_time())
    ended.set()


put_noop, put_last = filling.task()(noop), filling.task()(last)
huey.task()(noop)
huey.task()(last)
with filling.storage.db(commit=True) as cursor:
    for i in range(n):
        data = filling.serialize_task(put_noop.s(i))
        cursor.execute("insert into task (queue, data, priority) values (?, ?, ?)", (filling.storage.name, data, 0))
put_last()
filling.storage.close()

consumer = huey.create_consumer(**({"workers": arguments["workers"]} if arguments.get("workers") else {}))
cpu, wall = time.process_time(), time.perf_counter()
consumer.start()
ended.wait()
wall, cpu = ends[0] - wall, ends[1] - cpu
consumer.stop()
print(json.dumps({"n": n, "wall_s": wall, "cpu_s": cpu}))
sys.stdout.flush()
