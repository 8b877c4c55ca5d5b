"""The lines of the benchmark on PostgreSQL: what each measures, and its target."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from random import Random
from typing import Any

import psutil
import psycopg

from benchmarks.application import make
from benchmarks.claims import STATES
from benchmarks.harness import (
    NEWER_PEERS_PYTHON,
    PEERS_PYTHON,
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
    quantile,
    rate,
    ratio,
    run_child,
    workplace,
)
from benchmarks.observability import pg_observability
from benchmarks.postgres.asking import pg_figures
from benchmarks.postgres.server import Server, database, redis_server
from prismq import PrismQ

_MB = 1_048_576
_BATCH = 100


def pg_enqueue(settings: Settings) -> Section:
    """Enqueueing, one by one and in bulk."""
    section = Section(
        "pg-enqueue",
        "PostgreSQL: enqueueing",
        "Ours is the whole way of a typed task function: arguments checked and encoded, the task and the books in one "
        "statement, NOTIFY from a thread beside it, a handle returned. Raw is psycopg's `INSERT` of a type and a "
        "payload into the same table, prepared, each its own commit, which waits for the disk as ours does. In bulk, "
        "raw is psycopg's `COPY` of the same rows.",
    )
    taken: dict[str, list[Sample]] = {}
    with Server(settings.folder) as server:
        for turn in range(settings.rounds):
            progress(f"round {turn + 1}/{settings.rounds}: ours and raw in turn")
            with database(server) as ours, database(server) as plain:
                found = run_child(
                    "pg_enqueue", ours=ours, plain=plain, chunks=settings.size(10, 2), chunk=settings.size(200, 30),
                    bulk=settings.size(5_000, 500),
                )  # fmt: skip
            for name, samples in found.items():
                taken.setdefault(name, []).extend(Sample(**one) for one in samples)
    section.figures = [
        Figure("PrismQ, one by one", rate(middle(taken["ours"]))),
        Figure("raw insert + commit", rate(middle(taken["raw"])), "each waits for the disk"),
        Figure("PrismQ, enqueue_many", rate(middle(taken["ours many"])), "5,000 a transaction"),
        Figure("raw COPY", rate(middle(taken["raw many"])), "5,000 a transaction"),
    ]
    for what, ours_, raw_, target in (
        ("enqueue one by one against raw", "ours", "raw", 0.7),
        ("enqueue_many against raw COPY", "ours many", "raw many", 0.5),
    ):
        wall, cpu = ratio(taken[ours_], taken[raw_])
        section.checks.append(Check(f"PostgreSQL: {what}", wall, at_least=target, cpu=cpu))
    return section


def _work_off(server: Server, n: int, processes: int, log_level: str, concurrency: int) -> Sample:
    workers: list[Companion] = []
    with database(server) as url:
        q, noop = make(url)
        noop.enqueue_many([(i,) for i in range(n)])
        q.close()
        try:
            with psycopg.connect(url, autocommit=True) as reader:
                reader.execute("VACUUM ANALYZE")
                reader.execute("CHECKPOINT")
                while len(workers) < processes:
                    workers.append(Companion("worker", path=url, concurrency=concurrency, log_level=log_level))
                begin = time.monotonic()
                for worker in workers:
                    worker.go()
                while (done := _completed(reader)) < n:
                    if time.monotonic() - begin > 300:
                        raise RuntimeError(f"the workers did not finish: {done:,} of {n:,}")
                    time.sleep(0.05)
            answers = [worker.stop() for worker in workers]
        finally:
            for worker in workers:
                worker.kill()
    if sum(answer["n"] for answer in answers) != n:
        raise RuntimeError(f"{n:,} tasks were enqueued, the workers settled {answers}")
    return Sample(n, max(answer["last"] for answer in answers) - begin, sum(answer["cpu_s"] for answer in answers))


def _completed(reader: psycopg.Connection[Any]) -> int:
    # The books: to count the tasks themselves would cost the workers.
    books = "SELECT status, tasks FROM queue_depth UNION ALL SELECT status, tasks FROM queue_depth_deltas"
    found = reader.execute(f"SELECT coalesce(sum(tasks), 0) FROM ({books}) AS books WHERE status = 'completed'")
    return int(found.fetchall()[0][0])


def _raw_drain(server: Server, n: int) -> Sample:
    with database(server) as url:
        return Sample(**run_child("pg_raw_drain", url=url, n=n, batch=_BATCH))


def pg_drain(settings: Settings) -> Section:
    """Working off no-op tasks."""
    section = Section(
        "pg-drain",
        "PostgreSQL: working off tasks that do nothing",
        "One worker process with its real runtime, `concurrency=1`, from the start of the worker to the commit of the "
        "last end; logs on means a row in `task_logs` for every task. Raw claims and completes in batches of 100 with "
        "`FOR UPDATE SKIP LOCKED`, two commits each, on the same table without its triggers, and runs nothing. The "
        "peers run in one process each, with an async job that does nothing, uvloop and no log output, all their "
        "tables logged: PgQueuer's own queue manager on asyncpg with batches of 100 (and, beside the target, of 500); "
        "Oban with the limit that was fastest here; Chancy with its async executor, polling at once, and ends written "
        "every 50 ms; Procrastinate with ten at a time. Chancy and PgQueuer hold ends in memory for up to 50 and "
        "100 ms and lose them with the process; PgQueuer deletes what has ended. The server shares the two cores with "
        "the worker, so two workers are four busy processes.",
    )
    n, few = settings.size(20_000, 1_000), settings.size(1_000, 200)
    with Server(settings.folder) as server:

        def ours(processes: int, log_level: str, concurrency: int = 1) -> Callable[[], Sample]:
            return lambda: _work_off(server, n, processes, log_level, concurrency)

        def peer(script: str, tasks: int, **arguments: Any) -> Callable[[], Sample]:
            def measure() -> Sample:
                with database(server) as url:
                    return peer_sample(script, n=tasks, url=url, **arguments)

            return measure

        logs_on, logs_off, two = "PrismQ, logs on", "PrismQ, logs off", "PrismQ, logs on, two processes"
        variants: dict[str, Callable[[], Sample]] = {
            logs_on: ours(1, "DEBUG"),
            "raw": lambda: _raw_drain(server, n),
            two: ours(2, "DEBUG"),
        }
        rivals: dict[str, Callable[[], Sample]] = {}
        beside: dict[str, Callable[[], Sample]] = {}
        if peers_installed():
            rivals = {
                "PgQueuer, batches of 100": peer("pg_pgqueuer.py", n, batch=100),
                "Chancy, concurrency 1,000": peer("pg_chancy.py", n, concurrency=1_000, send_s=0.05),
                "Procrastinate, concurrency 10": peer(
                    "pg_procrastinate.py", few, concurrency=10, delete_jobs="successful"
                ),
            }
            beside = {"PgQueuer, batches of 500": peer("pg_pgqueuer.py", n, batch=500)}
        oban = _oban_python()
        if oban is not None:
            rivals["Oban, limit 500"] = peer("pg_oban.py", n, python=oban, limit=500)
        taken = interleaved(
            settings,
            {
                **variants,
                logs_off: ours(1, "INFO"),
                **rivals,
                **beside,
                "PrismQ, logs off, concurrency=8": ours(1, "INFO", 8),
            },
        )
    section.figures = [
        Figure(name, rate(middle(samples)), f"{samples[0].n:,} tasks") for name, samples in taken.items()
    ]
    if oban is None:
        section.figures.append(Figure("Oban", "not measured", "it needs Python 3.12 or later, and none was found"))
    pairs = [("one process, logs on, against raw in batches of 100", logs_on, "raw", 0.4)]
    if rivals:
        fastest = max(rivals, key=lambda name: middle(taken[name]).rate)
        pairs.append((f"one process, logs off, against the fastest peer ({fastest})", logs_off, fastest, 1.0))
    pairs.append(("two processes against one", two, logs_on, 1.3))
    for what, mine, theirs, target in pairs:
        wall, cpu = ratio(taken[mine], taken[theirs])
        section.checks.append(
            Check(f"PostgreSQL: {what}", wall, at_least=target, cpu=None if mine == two else cpu)
        )  # fmt: skip
    return section


def _oban_python() -> Any:
    for python in (NEWER_PEERS_PYTHON, PEERS_PYTHON):
        if python.exists() and any(python.parent.parent.glob("lib/python3*/site-packages/oban")):
            return python
    return None


def pg_claim(settings: Settings) -> Section:
    """The cost of a claim in front of a million rows, and after a million tasks."""
    many = settings.size(1_000_000, 10_000)
    section = Section(
        "pg-claim",
        f"PostgreSQL: claiming in front of {many:,} rows, and after as many tasks",
        "One exchange with the store: 50 tasks settled with a log row each and 50 more claimed, in one transaction; "
        f"the median over many, taken in turn in front of 1,000 and of {many:,} rows in the same state. With "
        "`synchronous_commit=off` on these connections, for the wait for the disk would hide the rest. Then "
        f"{many:,} tasks go through a queue of a thousand, enqueued, worked off and deleted a thousand at a time, with "
        "the vacuum that the tables ask for and a supervisor's housekeeping gives them; claims in it are compared with "
        "those in a fresh one, and the sizes of the table and its indexes say what was left behind.",
    )
    rounds, exchanges = settings.rounds, settings.size(40, 5)
    with Server(settings.folder) as server:
        with ExitStack() as stack:
            urls = [stack.enter_context(database(server)) for _ in range(2 * len(STATES))]
            found = run_child("pg_claims", urls=urls, many=many, few=1_000, rounds=rounds, exchanges=exchanges)
        with database(server) as fresh, database(server) as used:
            churned = run_child("pg_churn", fresh=fresh, used=used, tasks=many, rounds=rounds, exchanges=exchanges)
    for strategy, states in found.items():
        for state in STATES:
            small, large, factor = states[state]
            note = f"{small * 1e3:.2f} ms at 1,000: × {factor:.2f}"
            section.figures.append(Figure(f"{strategy}: {state}", f"{large * 1e3:.2f} ms", note))
        worst = max(one[2] for one in states.values())
        what = f"PostgreSQL: claim by {strategy}, worst of the four, against 1,000"
        section.checks.append(Check(what, worst, at_most=1.5))
    small, large, factor = churned["claims"]
    note = f"{small * 1e3:.2f} ms in a fresh queue: × {factor:.2f}; {many / churned['took_s']:,.0f} tasks a second"
    section.figures.append(Figure(f"priority: after {many:,} tasks", f"{large * 1e3:.2f} ms", note))
    for name, size in churned["after"].items():
        before = churned["before"][name]
        section.figures.append(Figure(f"size of {name}", f"{size / _MB:.2f} MiB", f"{before / _MB:.2f} MiB before"))
    section.checks.append(Check(f"PostgreSQL: claim after {many:,} tasks, against a fresh queue", factor, at_most=1.5))
    return section


def pg_pickup(settings: Settings) -> Section:
    """How soon an idle worker begins, and what idling costs."""
    n, idle_s = settings.size(500, 40), settings.size(30, 5)
    section = Section(
        "pg-pickup",
        "PostgreSQL: an idle worker: how soon it begins, what it costs",
        "A worker in another process waits; every 40 to 80 ms one task is enqueued. The time runs from before "
        "`enqueue` is called to the first line of the handler, so two waits for the disk are part of it: the commit "
        "of the enqueue, and that of the claim. A raw insert in turn, on the same server, says what one such commit "
        f"takes. Idle cost is of the same process over {idle_s} s in which nothing happens: processor time, and every "
        "statement that `pg_stat_statements` counts in its database (BEGIN, COMMIT and SET among them), heartbeats "
        "included. The chores of a queue (reaper, schedules, pruning, folding) run in a supervisor, once for all its "
        "workers; what a worker costs that does them as well, as `q.worker()` does, is told below.",
    )
    with Server(settings.folder) as server, workplace(settings) as folder:
        _idle_and_pick_up(section, server, "NOTIFY", n, idle_s, None)
        with redis_server(folder) as redis_url:
            _idle_and_pick_up(section, server, "Redis", n, idle_s, redis_url)
        chores = _with_chores(server, idle_s)
    section.figures += [
        Figure("a worker that does the chores too, processor", f"{chores.cpu_percent:.2f} % of a core"),
        Figure("a worker that does the chores too, statements", f"{chores.statements_s:.2f}/s"),
    ]
    return section


@dataclass(frozen=True)
class _Idle:
    """What a process costs that waits."""

    cpu_percent: float
    statements_s: float
    rss_mib: float


def _idle(server: Server, url: str, worker: Companion, idle_s: int) -> _Idle:
    process = psutil.Process(worker.process.pid)
    time.sleep(2.0)
    with server.connect("postgres") as watching:
        watching.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        calls, used, begin = _calls(watching, url), sum(process.cpu_times()[:2]), time.monotonic()
        time.sleep(idle_s)
        took = time.monotonic() - begin
        cpu = (sum(process.cpu_times()[:2]) - used) / took * 100
        return _Idle(cpu, (_calls(watching, url) - calls) / took, process.memory_info().rss / _MB)


def _with_chores(server: Server, idle_s: int) -> _Idle:
    with database(server) as url:
        worker = Companion("listener", path=url)
        try:
            worker.go()
            progress(f"with the chores of a queue: idle for {idle_s} s")
            return _idle(server, url, worker, idle_s)
        finally:
            worker.kill()


def _idle_and_pick_up(section: Section, server: Server, how: str, n: int, idle_s: int, redis_url: str | None) -> None:
    rng = Random(1)
    with database(server) as url:
        q = PrismQ(url, redis_url=redis_url)
        q.store.initialise()
        worker = Companion("listener", path=url, redis_url=redis_url, chores=False)
        try:
            worker.go()
            progress(f"{how}: idle for {idle_s} s")
            idle = _idle(server, url, worker, idle_s)
            progress(f"{how}: {n} tasks, one at a time")
            # The worker starts its threads, and both their connections; the server plans each statement for good.
            for _ in range(20):
                q.enqueue("mark", {"n": -1})
                time.sleep(0.05)
            asked: dict[int, float] = {}
            committed: dict[int, float] = {}
            raw: list[float] = []
            with psycopg.connect(url, autocommit=True) as plain:
                plain.execute("CREATE TABLE beside (type TEXT, payload JSONB)")
                for i in range(n):
                    time.sleep(rng.uniform(0.02, 0.04))
                    asked[i] = time.monotonic()
                    q.enqueue("mark", {"n": i})
                    committed[i] = time.monotonic()
                    time.sleep(rng.uniform(0.02, 0.04))
                    before = time.monotonic()
                    plain.execute("INSERT INTO beside VALUES ('mark', '{}')")
                    raw.append((time.monotonic() - before) * 1e3)
            time.sleep(1.0)
            began = {int(key): value for key, value in worker.stop().items()}
        finally:
            worker.kill()
            q.close()
    took = sorted((began[i] - asked[i]) * 1e3 for i in range(n))
    later = sorted((began[i] - committed[i]) * 1e3 for i in range(n))
    p50, p99 = statistics.median(took), quantile(took, 0.99)
    note = f"{n} tasks; from the end of enqueue() {statistics.median(later):.2f} ms"
    note_p99 = f"slowest {took[-1]:.1f} ms; so {quantile(later, 0.99):.2f} ms"
    section.figures += [
        Figure(f"{how}: pick-up, p50", f"{p50:.2f} ms", note),
        Figure(f"{how}: pick-up, p99", f"{p99:.2f} ms", note_p99),
        Figure("a raw insert in turn, p50", f"{statistics.median(raw):.2f} ms", f"p99 {quantile(raw, 0.99):.2f} ms"),
        Figure(f"{how}: idle worker, processor", f"{idle.cpu_percent:.2f} % of a core", f"over {idle_s} s"),
        Figure(f"{how}: idle worker, statements", f"{idle.statements_s:.2f}/s", f"over {idle_s} s"),
        Figure(f"{how}: idle worker, memory", f"{idle.rss_mib:.0f} MiB resident"),
    ]  # fmt: skip
    section.checks += [
        Check(f"PostgreSQL: pick-up through {how}, p50", p50, at_most=5, unit="ms"),
        Check(f"PostgreSQL: pick-up through {how}, p99", p99, at_most=20, unit="ms"),
        Check(f"PostgreSQL: processor used by an idle worker ({how})", idle.cpu_percent, at_most=0.5, unit="%"),
        Check(f"PostgreSQL: statements of an idle worker a second ({how})", idle.statements_s, at_most=1, unit="/s"),
    ]


def _calls(watching: psycopg.Connection[Any], url: str) -> int:
    name = url.rpartition("/")[2]
    found = watching.execute(
        "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements"
        " WHERE dbid = (SELECT oid FROM pg_database WHERE datname = %s)",
        (name,),
    )
    return int(found.fetchall()[0][0])


LINES: dict[str, Callable[[Settings], Section]] = {
    line.__name__.replace("_", "-"): line
    for line in (pg_enqueue, pg_drain, pg_claim, pg_figures, pg_observability, pg_pickup)
}
