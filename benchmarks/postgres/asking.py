"""What figures cost on PostgreSQL in front of ten million tasks, while a worker runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.figures import PER_MINUTE, QUEUES, TYPES, ask
from benchmarks.harness import Check, Companion, Figure, Sample, Section, Settings, progress, rate, run_child
from benchmarks.postgres.figures import build
from benchmarks.postgres.server import Server, database
from prismq.storage.open import open_store


def measure(url: str, times: int) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """See benchmarks.figures.measure."""
    store = open_store("postgresql", url)
    store.prepare()
    return ask(store, times)


def pg_figures(settings: Settings) -> Section:
    """What figures cost in front of ten million tasks."""
    tasks, queued = settings.size(10_000_000, 20_000), settings.size(100_000, 1_000)
    days = settings.size(60, 1)
    section = Section(
        "pg-figures",
        f"PostgreSQL: figures in front of {tasks:,} tasks",
        f"{tasks:,} tasks, {queued:,} of them queued, of {TYPES} types in {QUEUES} queues, with statistics of "
        f"{days} days at {PER_MINUTE} tasks of each type a minute. Meanwhile a worker is fed and works off tasks in "
        "another process. Each call in turn, in a process of its own; p95 is what one in twenty exceeds. The views "
        "come with all their columns; what each column costs is in [storage](storage.md#views).",
    )
    with Server(settings.folder) as server, database(server) as url:
        build(url, tasks, queued, days)
        worker = Companion("busy", path=url, chunk=100, every_s=0.05)
        try:
            worker.go()
            progress("asking for figures")
            found = run_child("pg_ask_figures", url=url, times=settings.size(100 * settings.rounds, 5))
            load = Sample(**worker.stop())
        finally:
            worker.kill()
    section.figures.append(Figure("the worker meanwhile", rate(load)))
    for name, took in found["calls"].items():
        wall, cpu = ([times[which] * 1e3 for times in took] for which in (0, 1))
        p50, p95 = _quantile(wall, 0.5), _quantile(wall, 0.95)
        note = f"p95 {p95:.2f} ms, of {len(took)}"
        note += f"; processor time {_quantile(cpu, 0.5):.2f} and {_quantile(cpu, 0.95):.2f} ms"
        section.figures.append(Figure(name, f"{p50:.2f} ms", note))
        section.checks.append(Check(f"PostgreSQL: {name}, p95", p95, at_most=25, unit="ms"))
    for name, took in found["views"].items():
        took_ms = _quantile([wall for wall, _ in took], 0.5) * 1e3
        section.figures.append(Figure(f"SELECT * FROM {name}", f"{took_ms:,.1f} ms"))
    return section


def _quantile(values: Sequence[float], q: float) -> float:
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]
