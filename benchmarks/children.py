"""Processes that measure themselves: `python -m benchmarks.children ROLE ARGUMENTS-AS-JSON`, answer as JSON."""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import raw
from benchmarks.application import make
from benchmarks.harness import sample as timed
from prismq import PrismQ
from prismq.domain.worker import Worker


class _Ear:
    """A worker's row and a socket that nobody reads: hints are sent, and no work is taken."""

    def __init__(self, q: PrismQ) -> None:
        self._store = q.store
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._worker = Worker(worker_id="ear", hint_port=self._socket.getsockname()[1])

    def register(self) -> None:
        self._store.workers.register(self._worker, time.time())

    def close(self) -> None:
        self._store.workers.stop("ear", "stopped", None, time.time())
        self._socket.close()


def enqueue(folder: str, chunks: int, chunk: int, bulk: int) -> dict[str, list[Any]]:
    """Enqueue in turn: ours with hints, ours without, raw; then the same in bulk."""
    q, noop = make(Path(folder) / "ours.db")
    quiet, silent_noop = make(Path(folder) / "quiet.db")
    plain = raw.connect(Path(folder) / "raw.db")
    ear = _Ear(q)
    taken: dict[str, list[Any]] = {name: [] for name in ("ours", "no hint", "raw", "ours many", "raw many")}

    def raw_one_by_one() -> None:
        for i in range(chunk):
            plain.execute(raw.INSERT, ("noop", f'{{"n":{i}}}'))
            plain.commit()

    def ours_one_by_one() -> None:
        for i in range(chunk):
            noop.enqueue(i)

    def quiet_one_by_one() -> None:
        for i in range(chunk):
            silent_noop.enqueue(i)

    def raw_many() -> None:
        raw.fill(plain, bulk)

    def ours_many() -> None:
        silent_noop.enqueue_many([(i,) for i in range(bulk)])

    for number in range(chunks + 1):
        ear.register()
        now = {
            "ours": timed(chunk, ours_one_by_one),
            "raw": timed(chunk, raw_one_by_one),
            "no hint": timed(chunk, quiet_one_by_one),
            "raw many": timed(bulk, raw_many),
            "ours many": timed(bulk, ours_many),
        }
        for name, sample in now.items() if number else ():  # the first of each only warms up
            taken[name].append(vars(sample))
    ear.close()
    plain.close()
    q.close()
    quiet.close()
    return taken


def raw_drain(path: str, n: int) -> dict[str, Any]:
    """Claim and complete `n` rows in batches of 50."""
    connection = raw.connect(Path(path))
    raw.fill(connection, n)
    sample = timed(n, lambda: raw.drain(connection))
    connection.close()
    return vars(sample)


def worker(path: str, concurrency: int, log_level: str) -> None:
    """Work until told to stop; says when the last task was settled, how many there were, and the processor time."""
    q, _ = make(path)
    embedded = q.worker(concurrency=concurrency, task_log_level=log_level)
    _listen("ready")
    cpu = time.process_time()
    embedded.start()
    pump, total, last, last_cpu = embedded.runtime.pump, 0, time.monotonic(), cpu
    told = False
    while not (told and pump.idle and pump.total == total):
        if pump.total != total:
            total, last, last_cpu = pump.total, time.monotonic(), time.process_time()
        told = bool(select.select([sys.stdin], [], [], 0.005)[0])
    sys.stdin.readline()
    embedded.stop()
    q.close()
    _answer({"n": total, "last": last, "cpu_s": last_cpu - cpu})


def listener(path: str, redis_url: str | None = None, chores: bool = True) -> None:
    """An idle worker; says when (monotonic, one clock for the machine) each task began.

    Without the chores it is what `prismq worker` has several of beside one supervisor, which does those.
    """
    q = PrismQ(path, redis_url=redis_url)
    began: dict[int, float] = {}

    @q.task(name="mark")
    def mark(n: int) -> None:
        began[n] = time.monotonic()

    worker = q.worker(concurrency=4)
    idler = worker if chores else worker.runtime
    idler.start()
    _listen("ready")
    sys.stdin.readline()
    idler.stop()
    q.close()
    _answer(began)


def footprint(path: str, step: int, steps: int) -> list[dict[str, float]]:
    """Memory after each `step` tasks, enqueued and worked off in this process."""
    q, noop = make(path)
    me, seen = psutil.Process(), []
    with q.worker(concurrency=2) as embedded:
        for number in range(1, steps + 1):
            noop.enqueue_many([(i,) for i in range(step)])
            while embedded.runtime.pump.total < number * step:
                time.sleep(0.01)
            memory = me.memory_full_info()
            seen.append({"tasks": number * step, "rss": memory.rss, "uss": memory.uss})
    q.close()
    return seen


def importing(statement: str) -> float:
    """Seconds that a fresh interpreter needs for an import."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    import subprocess

    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def claims(**arguments: Any) -> Any:
    """See claims.py."""
    from benchmarks.claims import measure

    return measure(**arguments)


def figures(**arguments: Any) -> Any:
    """See figures.py."""
    from benchmarks.figures import measure

    return measure(**arguments)


def routes(**arguments: Any) -> Any:
    """See routes.py."""
    from benchmarks.routes import measure

    return measure(**arguments)


def busy(path: str, chunk: int, every_s: float) -> None:
    """Enqueue a chunk every so often and work it off, until told to stop; how many, and how long it took."""
    q, noop = make(path)
    _listen("ready")
    begin, n = time.monotonic(), 0
    with q.worker(concurrency=2) as embedded:
        while not select.select([sys.stdin], [], [], every_s)[0]:
            noop.enqueue_many([(i,) for i in range(chunk)])
            n = embedded.runtime.pump.total
    sys.stdin.readline()
    took = time.monotonic() - begin
    q.close()
    _answer({"n": n, "wall_s": took, "cpu_s": time.process_time()})


def _listen(word: str) -> None:
    print(word, flush=True)
    sys.stdin.readline()


def _answer(value: object) -> None:
    print(json.dumps(value), flush=True)


_ROLES: dict[str, Callable[..., Any]] = {
    role.__name__: role
    for role in (enqueue, raw_drain, worker, busy, listener, footprint, importing, claims, figures, routes)
}


def _role(name: str) -> Callable[..., Any]:
    if name.startswith("pg_"):  # imported by nobody else: what it needs would count as the others' memory
        from benchmarks.postgres.roles import ROLES

        return ROLES[name]
    if name.startswith("watching_"):
        from benchmarks.watching import ROLES

        return ROLES[name]
    if name.startswith("observed_"):
        from benchmarks.observability import ROLES

        return ROLES[name]
    return _ROLES[name]


def main() -> None:
    """Play the role that the command line names."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer = _role(sys.argv[1])(**json.loads(sys.argv[2]))
    if answer is not None:
        _answer(answer)


if __name__ == "__main__":
    main()
