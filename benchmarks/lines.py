"""The lines of the benchmark: what each measures, and its target."""

from __future__ import annotations

import sqlite3
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from itertools import count
from pathlib import Path
from random import Random

import psutil

from benchmarks.application import make
from benchmarks.claims import STATES
from benchmarks.figures import PER_MINUTE, QUEUES, TYPES, build, tell
from benchmarks.harness import (
    Check,
    Companion,
    Figure,
    Sample,
    Section,
    Settings,
    interleaved,
    middle,
    peer_sample,
    peers_installed,
    progress,
    rate,
    ratio,
    run_child,
    workplace,
)
from benchmarks.observability import observability

_MB = 1_048_576
_CONCURRENCY = 1  # for tasks that do nothing more threads only pass the interpreter's lock around


def enqueue(settings: Settings) -> Section:
    """Enqueueing, one by one and in bulk."""
    section = Section(
        "enqueue",
        "Enqueueing",
        "Ours is the whole way of a typed task function: arguments checked against the hints and encoded, options "
        "applied, one commit, the hint to the workers, the event, a handle returned. Raw is the standard library's "
        "`INSERT` with `commit()` of a type and a payload into the same table. Huey pickles the call and, at its "
        "defaults, waits for the disk at each commit (PrismQ does with `durability=\"full\"`); litequeue stores text "
        "and no options; persist-queue pickles and waits for the disk.",
    )  # fmt: skip
    n = settings.size(2_000, 300)
    peers: dict[str, Callable[[], Sample]] = {}
    with workplace(settings) as folder:
        number = count()

        def peer(script: str, **arguments: object) -> Callable[[], Sample]:
            return lambda: peer_sample(script, n=n, path=folder / f"peer-{next(number)}", **arguments)

        if peers_installed():
            peers = {
                "Huey, defaults": peer("huey_enqueue.py", fsync=None),
                "Huey, fsync=False": peer("huey_enqueue.py", fsync=False),
                "litequeue": peer("litequeue_run.py", what="enqueue"),
                "persist-queue": peer("persistqueue_run.py", what="enqueue"),
            }
        taken: dict[str, list[Sample]] = {}
        for turn in range(settings.rounds):
            progress(f"round {turn + 1}/{settings.rounds}: ours and raw in turn")
            (folder / f"turn-{turn}").mkdir()
            found = run_child(
                "enqueue", folder=folder / f"turn-{turn}", chunks=settings.size(10, 2), chunk=settings.size(500, 100),
                bulk=settings.size(5_000, 500),
            )  # fmt: skip
            for name, samples in found.items():
                taken.setdefault(name, []).extend(Sample(**sample) for sample in samples)
            for name, measure in peers.items():
                progress(f"round {turn + 1}/{settings.rounds}: {name}")
                taken.setdefault(name, []).append(measure())
    section.figures = [
        Figure("PrismQ, one by one, with hints", rate(middle(taken["ours"])), "a worker's port is told of each"),
        Figure("PrismQ, one by one, without hints", rate(middle(taken["no hint"]))),
        Figure("raw insert + commit", rate(middle(taken["raw"]))),
        *(Figure(name, rate(middle(taken[name])), f"{n:,} tasks") for name in peers),
        Figure("PrismQ, enqueue_many", rate(middle(taken["ours many"])), "5,000 a transaction"),
        Figure("raw executemany", rate(middle(taken["raw many"]))),
    ]
    for what, ours, raw, target in (
        ("enqueue one by one (with hints) against raw", "ours", "raw", 0.6),
        ("enqueue one by one (without hints) against raw", "no hint", "raw", 0.6),
        ("enqueue_many against raw executemany", "ours many", "raw many", 0.4),
    ):
        wall, cpu = ratio(taken[ours], taken[raw])
        section.checks.append(Check(what, wall, at_least=target, cpu=cpu))
    return section


def work_off(
    folder: Path,
    n: int,
    processes: int,
    log_level: str,
    number: int,
    concurrency: int,
    beside: Callable[[Path], AbstractContextManager[object]] = nullcontext,
) -> Sample:
    """A new queue with `n` tasks that do nothing, worked off; `beside` is entered before the workers begin."""
    path = folder / f"drain-{number}.db"
    q, noop = make(path)
    noop.enqueue_many([(i,) for i in range(n)])
    q.close()
    workers: list[Companion] = []
    reader = sqlite3.connect(path)
    besides = ExitStack()
    try:
        besides.enter_context(beside(path))
        while len(workers) < processes:
            workers.append(Companion("worker", path=path, concurrency=concurrency, log_level=log_level))
        begin = time.monotonic()
        for worker in workers:
            worker.go()
        while _completed(reader) < n:
            if time.monotonic() - begin > 300:
                raise RuntimeError(f"the workers did not finish: {_completed(reader):,} of {n:,}")
            time.sleep(0.02)
        answers = [worker.stop() for worker in workers]
    finally:
        reader.close()
        for worker in workers:
            worker.kill()
        besides.close()
    if sum(answer["n"] for answer in answers) != n:
        raise RuntimeError(f"{n:,} tasks were enqueued, the workers settled {answers}")
    return Sample(n, max(answer["last"] for answer in answers) - begin, sum(answer["cpu_s"] for answer in answers))


def _completed(reader: sqlite3.Connection) -> int:
    return int(reader.execute("SELECT total(tasks) FROM queue_depth WHERE status = 'completed'").fetchone()[0])


def drain(settings: Settings) -> Section:
    """Working off no-op tasks."""
    section = Section(
        "drain",
        "Working off tasks that do nothing",
        "One worker process with its real runtime (pump, slot thread, leases with fencing tokens, renewal, events), "
        "`concurrency=1` unless it says otherwise, from the start of the worker to the commit of the last end. Logs on "
        "means a row in `task_logs` for every task (`task_log_level=\"DEBUG\"`); off is the default, which keeps "
        "retries and errors. Raw claims and completes in batches of 50, two commits each, and runs nothing. Huey is "
        "its own consumer as `huey_consumer.py` makes it (one worker thread, health checks, scheduler), without its "
        "line of log per task. Huey does less: it deletes a task when it claims it, so a crash loses it, and it keeps "
        "no history, no counts and no result of a task that returns nothing. At its defaults it waits for the disk "
        "at each claim; `fsync=False` is its fastest setting (more worker threads are slower for such tasks: see the "
        "line). litequeue and persist-queue have no worker: a loop takes one and marks it done.",
    )  # fmt: skip
    n, few = settings.size(20_000, 1_000), settings.size(3_000, 300)
    with workplace(settings) as folder:
        number = count()

        def ours(processes: int, log_level: str, concurrency: int = _CONCURRENCY) -> Callable[[], Sample]:
            return lambda: work_off(folder, n, processes, log_level, next(number), concurrency)

        def peer(script: str, tasks: int, **arguments: object) -> Callable[[], Sample]:
            return lambda: peer_sample(script, n=tasks, path=folder / f"peer-{next(number)}", **arguments)

        logs_on, logs_off, two = "PrismQ, logs on", "PrismQ, logs off", "PrismQ, logs on, two processes"
        slots = "PrismQ, logs on, concurrency=8"
        defaults, fast = "Huey, defaults", "Huey, fsync=False"
        variants: dict[str, Callable[[], Sample]] = {
            logs_on: ours(1, "DEBUG"),
            "raw": lambda: Sample(**run_child("raw_drain", path=folder / f"raw-{next(number)}.db", n=n)),
            two: ours(2, "DEBUG"),
        }
        if peers_installed():
            variants |= {
                defaults: peer("huey_drain.py", few, fsync=None),
                logs_off: ours(1, "INFO"),
                fast: peer("huey_drain.py", n, fsync=False),
                "Huey, fsync=False, 4 worker threads": peer("huey_drain.py", n, fsync=False, workers=4),
                "litequeue": peer("litequeue_run.py", few, what="drain"),
                "persist-queue": peer("persistqueue_run.py", few, what="drain"),
            }
        else:
            variants[logs_off] = ours(1, "INFO")
        variants[slots] = ours(1, "DEBUG", concurrency=8)
        taken = interleaved(settings, variants)
    section.figures = [
        Figure(name, rate(middle(samples)), f"{samples[0].n:,} tasks") for name, samples in taken.items()
    ]
    pairs = [("one process, logs on, against raw", logs_on, "raw", 0.25)]
    if peers_installed():
        pairs += [
            ("one process, logs on, against Huey at its defaults", logs_on, defaults, 3.0),
            ("one process, logs off, against Huey with fsync=False", logs_off, fast, 1.0),
        ]
    pairs.append(("two processes against one", two, logs_on, 1.2))
    for what, mine, theirs, target in pairs:
        wall, cpu = ratio(taken[mine], taken[theirs])
        section.checks.append(Check(what, wall, at_least=target, cpu=None if mine == two else cpu))
    return section


def claim(settings: Settings) -> Section:
    """The cost of a claim in front of a million rows."""
    many = settings.size(1_000_000, 20_000)
    section = Section(
        "claim",
        f"Claiming in front of {many:,} rows",
        "One exchange with the store: 50 tasks settled with a log row each and 50 more claimed, in one transaction; "
        f"the median over many, taken in turn in front of 1,000 and of {many:,} rows in the same state (ready tasks "
        "of three priorities; beside finished, scheduled and foreign ones a thousand that are ready). The ratio says "
        "how much a claim suffers from what lies in the queue.",
    )
    with workplace(settings) as folder:
        found = run_child(
            "claims", folder=folder, many=many, few=1_000, rounds=settings.rounds, exchanges=settings.size(40, 5)
        )
    for strategy, states in found.items():
        for state in STATES:
            small, large, factor = states[state]
            section.figures.append(
                Figure(
                    f"{strategy}: {state}", f"{large * 1e3:.2f} ms", f"{small * 1e3:.2f} ms at 1,000: × {factor:.2f}"
                )
            )
        worst = max(states.values(), key=lambda one: one[2])[2]
        section.checks.append(Check(f"claim by {strategy}, worst of the four, against 1,000", worst, at_most=1.3))
    return section


def figures(settings: Settings) -> Section:
    """What figures cost in front of ten million tasks."""
    tasks, queued = settings.size(10_000_000, 20_000), settings.size(100_000, 1_000)
    days = settings.size(60, 1)
    section = Section(
        "figures",
        f"Figures in front of {tasks:,} tasks",
        f"{tasks:,} tasks, {queued:,} of them queued, of {TYPES} types in {QUEUES} queues, with statistics of {days} "
        f"days at {PER_MINUTE} tasks of each type a minute. Meanwhile a worker is fed and works off some 2,000 tasks a "
        "second in another process. Each call in turn, in a process of its own; p95 is what one in twenty exceeds. "
        "The views come with all their columns: those of the last three that the books do not have are read from every "
        "row, and are for people with time; [storage](storage.md#views) says which.",
    )
    with workplace(settings) as folder:
        path = folder / "figures.db"
        build(path, tasks, queued, days)
        worker = Companion("busy", path=path, chunk=100, every_s=0.05)
        try:
            worker.go()
            progress("asking for figures")
            found = run_child("figures", path=path, times=settings.size(100 * settings.rounds, 5))
            load = Sample(**worker.stop())
        finally:
            worker.kill()
        section.figures.append(Figure("the worker meanwhile", rate(load), f"database of {_gib(path):.1f} GiB"))
    tell(section, found)
    return section


def _gib(path: Path) -> float:
    return path.stat().st_size / 2**30


def pickup(settings: Settings) -> Section:
    """How soon an idle worker begins, and what idling costs."""
    n, idle_s = settings.size(500, 40), settings.size(20, 2)
    section = Section(
        "pickup",
        "An idle worker: how soon it begins, what it costs",
        "A worker in another process waits; every 20 to 40 ms one task is enqueued. The time runs from before "
        "`enqueue` is called (its commit is part of it) to the first line of the handler. Idle cost is processor "
        f"time of the same process over {idle_s} s in which nothing happens, heartbeats and housekeeping included.",
    )
    rng = Random(1)
    with workplace(settings) as folder:
        path = folder / "pickup.db"
        q, _ = make(path)
        q.store.initialise()
        worker = Companion("listener", path=path)
        try:
            worker.go()
            process = psutil.Process(worker.process.pid)
            time.sleep(1.0)
            progress(f"idle for {idle_s} s")
            used, begin = sum(process.cpu_times()[:2]), time.monotonic()
            time.sleep(idle_s)
            idle = (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - begin) * 100
            rss = process.memory_info().rss / _MB
            progress(f"{n} tasks, one at a time")
            q.enqueue("mark", {"n": -1})  # the sender learns of the worker, the worker starts its threads
            asked: dict[int, float] = {}
            for i in range(n):
                time.sleep(rng.uniform(0.02, 0.04))
                asked[i] = time.monotonic()
                q.enqueue("mark", {"n": i})
            time.sleep(0.5)
            began = {int(key): value for key, value in worker.stop().items()}
        finally:
            worker.kill()
            q.close()
    took = sorted((began[i] - asked[i]) * 1e3 for i in range(n))
    p50, p99 = statistics.median(took), took[max(0, -(-n * 99 // 100) - 1)]
    section.figures = [
        Figure("pick-up, p50", f"{p50:.2f} ms", f"{n} tasks"),
        Figure("pick-up, p99", f"{p99:.2f} ms", f"slowest {took[-1]:.1f} ms"),
        Figure("idle worker, processor", f"{idle:.2f} % of a core", f"over {idle_s} s"),
        Figure("idle worker, memory", f"{rss:.0f} MiB resident"),
    ]
    section.checks = [
        Check("pick-up by an idle worker in another process, p50", p50, at_most=2, unit="ms"),
        Check("pick-up by an idle worker in another process, p99", p99, at_most=10, unit="ms"),
        Check("processor used by an idle worker", idle, at_most=0.5, unit="%"),
        Check("memory of an idle worker", rss, at_most=70, unit="MiB"),
    ]
    return section


def footprint(settings: Settings) -> Section:
    """Import time, and memory over many tasks."""
    step, steps = settings.size(20_000, 1_000), settings.size(10, 3)
    section = Section(
        "footprint",
        "Import time and memory",
        f"Import: a fresh interpreter, without the interpreter's own start. Memory: one process enqueues and works "
        f"off {step * steps:,} tasks; private memory (USS) is what the process itself holds. Resident memory (RSS) "
        "also counts the pages of the database file that SQLite maps (`mmap_size`, at most 128 MiB), which the "
        "system takes back when it needs them. SQLite's page caches (`cache_size`, at most 20 MB for each connection) "
        "fill during the first tens of thousands of tasks; what is gained in the second half tells whether it ends.",
    )
    imports = {"import prismq": [0.0], "from prismq import PrismQ": [0.0]}
    for statement in imports:
        progress(statement)
        run_child("importing", statement=statement)
        imports[statement] = [run_child("importing", statement=statement) for _ in range(max(settings.rounds, 3))]
    with workplace(settings) as folder:
        progress(f"{step * steps:,} tasks in one process")
        seen = run_child("footprint", path=folder / "memory.db", step=step, steps=steps)
    points = (seen[0], seen[(len(seen) - 1) // 2], seen[-1])
    section.figures = [
        *(Figure(statement, f"{statistics.median(took):.3f} s") for statement, took in imports.items()),
        *(
            Figure(
                f"after {one['tasks']:,} tasks",
                f"{one['uss'] / _MB:.1f} MiB private",
                f"{one['rss'] / _MB:.1f} MiB resident",
            )
            for one in points
        ),
    ]
    section.checks = [
        Check("import prismq", statistics.median(imports["import prismq"]), at_most=0.2, unit="s"),
        *(
            Check(
                f"private memory gained from {before['tasks']:,} to {points[2]['tasks']:,} tasks",
                (points[2]["uss"] - before["uss"]) / _MB,
                at_most=5,
                unit="MiB",
            )
            for before in points[:2]
        ),
    ]
    return section


LINES: dict[str, Callable[[Settings], Section]] = {
    line.__name__: line for line in (enqueue, drain, claim, figures, observability, pickup, footprint)
}
