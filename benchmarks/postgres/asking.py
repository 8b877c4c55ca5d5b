"""What figures cost on PostgreSQL in front of ten million tasks, while a worker runs."""

from __future__ import annotations

from benchmarks.figures import PER_MINUTE, QUEUES, TYPES, ask, tell
from benchmarks.harness import Companion, Figure, Sample, Section, Settings, progress, rate, run_child
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
    tell(section, found, "PostgreSQL: ")
    return section
