"""What seeing costs: a drain with everything on against everything off, a log line, a line through the journal."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.harness import (
    ROOT,
    Check,
    Companion,
    Figure,
    Sample,
    Section,
    Settings,
    interleaved,
    median,
    middle,
    progress,
    quantile,
    rate,
    ratio,
    run_child,
    workplace,
)

ALL_ON = "all on"
SWITCHED_OFF = "all off that can be"
ALL_OFF = "all off, the books too"
_LINES_OF_A_TASK = 20
_SAMPLE_RATE = 0.1
_TOGETHER = 500  # enqueues that share a transaction
_WORK_S = 0.001  # what a task computes that does something
# What each variant has on.
VARIANTS: dict[str, dict[str, bool]] = {
    ALL_ON: {"logs": True, "lines": True, "traces": True, "books": True},
    SWITCHED_OFF: {"logs": False, "lines": False, "traces": False, "books": True},
    ALL_OFF: {"logs": False, "lines": False, "traces": False, "books": False},
    "transition logs alone": {"logs": True, "lines": False, "traces": False, "books": True},
    "JSON lines alone": {"logs": False, "lines": True, "traces": False, "books": True},
    "traces alone": {"logs": False, "lines": False, "traces": True, "books": True},
}
Places = Callable[[], contextlib.AbstractContextManager[str]]  # a new, empty database each time; its path or URL


def observability(settings: Settings) -> Section:
    """What seeing costs on SQLite."""
    with workplace(settings) as folder:
        numbers = count()

        @contextlib.contextmanager
        def place() -> Iterator[str]:
            path = folder / f"queue-{next(numbers)}.db"
            yield str(path)
            for one in path.parent.glob(f"{path.name}*"):
                one.unlink()

        return _measure(settings, folder, "observability", "What seeing costs", "", place)


def pg_observability(settings: Settings) -> Section:
    """What seeing costs on PostgreSQL."""
    from benchmarks.postgres.server import Server, database

    with workplace(settings) as folder, Server(settings.folder) as server:
        title = "PostgreSQL: what seeing costs"
        return _measure(settings, folder, "pg-observability", title, "PostgreSQL: ", partial(database, server))


def _measure(settings: Settings, folder: Path, name: str, title: str, prefix: str, place: Places) -> Section:
    n, few = settings.size(20_000, 500), settings.size(2_000, 50)
    computing = settings.size(4_000, 500)
    section = Section(
        name,
        title,
        "A drain as above, one worker process with `concurrency=1`. All on: a line in `task_logs` for every transition "
        "(`task_log_level=\"DEBUG\"`), the books, structured JSON lines of every task to a file, and traces sampled at "
        f"{_SAMPLE_RATE:.0%}, exported to a receiver in another process and kept with the tasks. The books cannot be "
        "switched off: where they are off, the benchmark has patched them out. One process a sample, in turn; the "
        "rates tell what is left of those with all off. Beside it the same of tasks that compute for a millisecond of "
        "processor time: what seeing adds to a task does not grow with the task. A line through the journal is what "
        "`task.log.info` adds to the processor time of the worker, "
        f"{_LINES_OF_A_TASK} lines a task. `TaskLogger.log` writes and commits one line while a worker is fed and "
        "works in another process; beside it the bare `INSERT` with its commit, in turn.",
    )  # fmt: skip
    with _receiver(folder) as endpoint:

        def drained(variant: str, n: int, work_s: float) -> Callable[[], Sample]:
            def take() -> Sample:
                with place() as where:
                    options = {"where": where, "n": n, "work_s": work_s, "endpoint": endpoint, "folder": folder}
                    return Sample(**run_child("observed_drain", **options, **VARIANTS[variant]))

            return take

        taken = interleaved(settings, {variant: drained(variant, n, 0) for variant in VARIANTS})
        worked = interleaved(
            settings, {variant: drained(variant, computing, _WORK_S) for variant in (ALL_ON, SWITCHED_OFF, ALL_OFF)}
        )
    section.figures = [
        Figure(f"drain, {variant}", rate(middle(samples)), f"{n:,} tasks") for variant, samples in taken.items()
    ] + [
        Figure(f"drain, 1 ms each, {variant}", rate(middle(samples)), f"{computing:,} tasks")
        for variant, samples in worked.items()
    ]
    for what, found in (("drain", taken), ("drain of tasks that compute for 1 ms", worked)):
        for against in (SWITCHED_OFF, ALL_OFF):
            wall, cpu = ratio(found[ALL_ON], found[against])
            section.checks.append(
                Check(f"{prefix}{what} with {ALL_ON} against {against}", wall, at_least=0.85, cpu=cpu)
            )
    section.checks.append(_journal(section, settings, prefix, few, place))
    section.checks.append(_log_calls(section, settings, prefix, place))
    return section


def _journal(section: Section, settings: Settings, prefix: str, few: int, place: Places) -> Check:
    def talked(lines: int) -> Callable[[], Sample]:
        def take() -> Sample:
            with place() as where:
                return Sample(**run_child("observed_talk", where=where, n=few, lines=lines))

        return take

    taken = interleaved(settings, {"silent tasks": talked(0), "tasks that log": talked(_LINES_OF_A_TASK)})
    lines = few * _LINES_OF_A_TASK
    costs = [
        (loud.cpu_s - quiet.cpu_s) / lines * 1e6
        for loud, quiet in zip(taken["tasks that log"], taken["silent tasks"], strict=True)
    ]
    section.figures.append(Figure("a line through the journal", f"{median(costs):.1f} µs", f"of {lines:,}"))
    return Check(f"{prefix}a log line through the journal, processor time", median(costs), at_most=15, unit="µs")


def _log_calls(section: Section, settings: Settings, prefix: str, place: Places) -> Check:
    calls = settings.size(3_000, 100)
    p99s: dict[str, list[float]] = {"log": [], "raw": []}
    for turn in range(settings.rounds):
        progress(f"round {turn + 1}/{settings.rounds}: TaskLogger.log while a worker runs")
        with place() as where:
            run_child("observed_talk", where=where, n=1, lines=0)  # the tables, before others look
            busy = Companion("busy", path=where, chunk=20, every_s=0.05)
            try:
                busy.go()
                found = run_child("observed_log_calls", where=where, n=calls)
                busy.stop()
            finally:
                busy.kill()
        for name, seconds in found.items():
            p99s[name].append(quantile(seconds, 0.99) * 1e3)
            if turn == settings.rounds - 1:
                note = f"p99 {quantile(seconds, 0.99) * 1e3:.2f} ms, the slowest {max(seconds) * 1e3:.1f} ms"
                who = "TaskLogger.log" if name == "log" else "a bare INSERT and its commit"
                section.figures.append(Figure(who, f"{quantile(seconds, 0.5) * 1e3:.2f} ms", note))
    return Check(f"{prefix}TaskLogger.log while workers run, p99", median(p99s["log"]), at_most=1.0, unit="ms")


@contextlib.contextmanager
def _receiver(folder: Path) -> Iterator[str]:
    """A receiver of OTLP in a process of its own; its address."""
    command = [sys.executable, "-m", "benchmarks.observability", str(folder)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def receive() -> None:
    """Take what comes, and answer as a collector does, until killed."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Not on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


# -- what the children play


def observed_drain(
    where: str, n: int, work_s: float, endpoint: str, folder: str, *, logs: bool, lines: bool, traces: bool, books: bool
) -> dict[str, Any]:
    """Enqueue `n` tasks that compute for so long, then work them off, with this much to be seen."""
    os.environ["TRACING_ENABLED"] = "true" if traces else "false"
    os.environ["TRACING_ENDPOINT"], os.environ["TRACING_SAMPLE_RATE"] = endpoint, str(_SAMPLE_RATE)
    if not books:
        _without_books()
    from benchmarks.application import make

    said, file = sys.stderr, (Path(folder) / f"lines-{os.getpid()}.jsonl").open("w", encoding="utf-8")
    if lines:
        sys.stderr = file
    q, task = make(where)
    if work_s:

        @q.task(name="compute")
        def task(i: int) -> None:
            until = time.thread_time() + work_s  # its own, so that what others take of the processor comes on top
            while time.thread_time() < until:
                continue

    if lines:
        q.configure_logging("INFO", as_json=True)
    try:
        for first in range(0, n, _TOGETHER):  # one by one: of tasks that come at once, all are sampled, or none is
            with q.transaction():
                for i in range(first, min(n, first + _TOGETHER)):
                    task.enqueue(i)
        one = _drain(q, n, "DEBUG" if logs else "CRITICAL")
    finally:
        sys.stderr = said
        file.close()
    if lines and Path(file.name).read_bytes().count(b"\n") < n:
        raise RuntimeError(f"there should be a line for each of {n:,} tasks in {file.name}")
    Path(file.name).unlink()
    return vars(one)


def _drain(q: Any, n: int, log_level: str) -> Sample:
    embedded = q.worker(concurrency=1, task_log_level=log_level)
    cpu, begin = time.process_time(), time.perf_counter()
    embedded.start()
    pump = embedded.runtime.pump
    while pump.total < n:
        time.sleep(0.002)
        if time.perf_counter() - begin > 300:
            raise RuntimeError(f"the worker did not finish: {pump.total:,} of {n:,}")
    one = Sample(n, time.perf_counter() - begin, time.process_time() - cpu)
    embedded.stop()
    q.close()
    return one


def _without_books() -> None:
    """Nothing is counted, and nothing written of it: what a queue without books would do."""
    from prismq.storage import entries
    from prismq.storage.postgres import books as of_postgres
    from prismq.storage.sqlite import books as of_sqlite

    def nothing(*_: object, **__: object) -> None:
        """Do nothing."""

    for name in ("move", "move_all", "change", "ended", "settled", "settled_all"):
        setattr(entries.Entries, name, nothing)
    for ledger in (of_sqlite.Ledger, of_postgres.Ledger):
        ledger.close = nothing  # type: ignore[method-assign]
    of_sqlite.Ledger._book_tail = lambda self, now_text: 0  # type: ignore[method-assign]


def observed_talk(where: str, n: int, lines: int) -> dict[str, Any]:
    """Work off `n` tasks that log so many lines each."""
    from prismq import PrismQ, current_task

    q = PrismQ(where)

    @q.task(name="talk")
    def talk(count: int) -> None:
        log = current_task().log
        for i in range(count):
            log.info("a line of the task", i=i)

    talk.enqueue_many([(lines,) for _ in range(n)])
    return vars(_drain(q, n, "INFO"))


def observed_log_calls(where: str, n: int) -> dict[str, list[float]]:
    """Seconds of each `TaskLogger.log`, and of a bare INSERT with its commit, in turn."""
    from prismq import PrismQ, TaskLogger

    q = PrismQ(where)
    task_id = q.enqueue("nobody", {}, queue="aside").id
    logger = TaskLogger(q)
    bare = _bare_insert(where)
    took: dict[str, list[float]] = {"log": [], "raw": []}
    for i in range(n + 10):
        begin = time.perf_counter()
        logger.log(task_id, "INFO", "a line", {"i": i})
        between = time.perf_counter()
        bare(task_id, i)
        end = time.perf_counter()
        if i >= 10:  # the first warm up
            took["log"].append(between - begin)
            took["raw"].append(end - between)
        time.sleep(0.001)
    written = len(logger.get_task_logs(task_id, limit=3 * n + 100))
    if written != 2 * (n + 10):
        raise RuntimeError(f"{2 * (n + 10):,} lines should have been written, and {written:,} were")
    q.close()
    return took


def _bare_insert(where: str) -> Callable[[int, int], object]:
    values = "INSERT INTO task_logs (task_id, level, message, details) VALUES"
    if "://" in where:
        import psycopg

        server = psycopg.connect(where, autocommit=True)
        return lambda task_id, i: server.execute(
            f"{values} (%s, 'INFO', 'a line', %s)", (task_id, json.dumps({"i": i})), prepare=True
        )
    import sqlite3

    from prismq import PRAGMAS

    file = sqlite3.connect(where, isolation_level=None, timeout=30)
    for name, value in PRAGMAS.items():
        file.execute(f"PRAGMA {name} = {value}")
    return lambda task_id, i: file.execute(f"{values} (?, 'INFO', 'a line', ?)", (task_id, json.dumps({"i": i})))


ROLES: dict[str, Callable[..., Any]] = {
    role.__name__: role for role in (observed_drain, observed_talk, observed_log_calls)
}

if __name__ == "__main__":
    receive()
