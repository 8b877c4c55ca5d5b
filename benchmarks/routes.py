"""Every page and route that reads, in front of ten million tasks while a worker runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.asgi import request
from benchmarks.figures import build
from benchmarks.harness import (
    Check,
    Companion,
    Figure,
    Section,
    Settings,
    median,
    progress,
    quantile,
    run_child,
    workplace,
)
from prismq import PrismQ
from prismq.server import ServerSettings, create_app

FAILED_OF_1000 = 100
# (path, query); {task}, {dead} and {worker} are those of the database.
PAGES = (
    ("/", ""), ("/", "range=24h"), ("/", "range=13mo"), ("/", "range=30d&queue=queue-1"), ("/queues", ""),
    ("/queues/queue-1", ""), ("/queues/queue-1", "range=13mo"), ("/queues/purge", "queue=queue-1"), ("/tasks", ""),
    ("/tasks", "status=failed"), ("/tasks", "status=dead_letter"), ("/tasks", "status=queued"),
    ("/tasks", "status=completed&type=type-7"), ("/tasks", "type=type-3"), ("/tasks", "queue=queue-2&status=failed"),
    ("/tasks", "queue=queue-2&type=type-7&status=failed"), ("/tasks", "status=failed&before_id=5000000"),
    ("/tasks", "text=7777777.bin"), ("/tasks", "text=nothing-has-this&status=failed"), ("/tasks/new", ""),
    ("/tasks/{task}", ""), ("/tasks/{dead}", ""), ("/tasks/{task}/again", ""), ("/failures", ""),
    ("/failures", "range=13mo"), ("/workers", ""), ("/workers/{worker}", ""), ("/schedules", ""), ("/system", ""),
    ("/audit", ""), ("/settings", ""),
)  # fmt: skip
API = (
    ("/dashboard/stats", ""), ("/dashboard/queue-depth", ""), ("/analytics/trends", ""), ("/queues", ""),
    ("/tasks", ""), ("/tasks", "status=failed"), ("/tasks", "status=dead_letter&limit=200"),
    ("/search/tasks", "status=failed&type=type-3"), ("/search/tasks", "text=7777777.bin"), ("/tasks/{task}", ""),
    ("/tasks/{task}/logs", ""), ("/tasks/{dead}/timeline", ""), ("/tasks/{task}/why", ""), ("/tasks/{dead}/why", ""),
    ("/workers", ""), ("/workers/{worker}/status", ""), ("/metrics/workers/{worker}", ""), ("/schedules", ""),
    ("/audit", ""), ("/health/database", ""), ("/health/workers", ""),
)  # fmt: skip
_DAYS = 396.0
_PAGE_MS, _METRICS_MS, _HEALTH_MS = 100.0, 50.0, 10.0


def routes(settings: Settings) -> Section:
    """On SQLite."""
    with workplace(settings) as folder:
        path = folder / "routes.db"
        tasks, queued = sizes(settings)
        build(path, tasks, queued, _DAYS, FAILED_OF_1000)
        return look(settings, "routes", "SQLite", str(path))


def sizes(settings: Settings) -> tuple[int, int]:
    """Tasks in all, and queued ones."""
    return settings.size(10_000_000, 50_000), settings.size(100_000, 2_000)


def look(settings: Settings, name: str, engine: str, target: str) -> Section:
    """The section of one engine, whose database `target` is built already."""
    tasks, queued = sizes(settings)
    section = Section(
        name,
        f"Pages and routes in front of {tasks:,} tasks ({engine})",
        f"{tasks * FAILED_OF_1000 // 1000:,} of them failed, {queued:,} are queued, the statistics go back 13 months, "
        "and a worker enqueues and works off tasks all the while. Each request goes through the whole application "
        "without a socket, one after the other; p95 of the time it took, after one that warms up.",
    )  # fmt: skip
    worker = Companion("busy", path=target, chunk=20, every_s=0.1)
    try:
        worker.go()
        progress("asking")
        found = run_child("routes", target=target, times=settings.size(30 * settings.rounds, 3))
    finally:
        worker.kill()
    slowest = sorted(found, key=lambda name: -quantile(found[name]["wall"], 0.95))
    for name in slowest:
        wall, cpu = found[name]["wall"], found[name]["cpu"]
        note = f"median {median(wall) * 1e3:.1f} ms; processor p95 {quantile(cpu, 0.95) * 1e3:.1f} ms"
        section.figures.append(Figure(name, f"{quantile(wall, 0.95) * 1e3:.1f} ms", note))
    for what, names, most in (
        ("the slowest page or route", [n for n in slowest if n not in ("/metrics", "/health")], _PAGE_MS),
        ("/metrics", ["/metrics"], _METRICS_MS),
        ("/health", ["/health"], _HEALTH_MS),
    ):
        p95 = max(quantile(found[name]["wall"], 0.95) for name in names)
        section.checks.append(Check(f"{engine}: {what}, p95", p95 * 1e3, at_most=most, unit="ms"))
    return section


def measure(target: str, times: int) -> dict[str, dict[str, Any]]:
    """Seconds that each request took: of time, and of this process's processor time."""
    with PrismQ(target) as q:
        app = create_app(q, ServerSettings())
        known = {
            "task": str(q.tasks.find(status="queued", limit=1)[0].id),
            "dead": str(q.tasks.find(status="dead_letter", limit=1)[0].id),
            "worker": q.store.workers.all()[0].worker_id,
        }
        asked = list(_asked(known))
        found: dict[str, dict[str, Any]] = {name: {"wall": [], "cpu": []} for name, _, _ in asked}

        async def ask() -> None:
            for turn in range(times + 1):
                for name, path, query in asked:
                    begin, cpu = time.perf_counter(), time.process_time()
                    # Nobody serves what is queued, and /health says so with 503.
                    await request(app, "GET", path, [], query=query, expect=(200, 503) if path == "/health" else (200,))
                    if turn:
                        found[name]["wall"].append(time.perf_counter() - begin)
                        found[name]["cpu"].append(time.process_time() - cpu)

        asyncio.run(ask())
        app.state.services.close()
    return found


def _asked(known: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    for prefix, some in (("", PAGES), ("/api/v1", API), ("", (("/metrics", ""), ("/health", "")))):
        for path, query in some:
            yield f"{prefix}{path}{'?' if query else ''}{query}", prefix + path.format(**known), query


def pg_routes(settings: Settings) -> Section:
    """On PostgreSQL."""
    from benchmarks.postgres.figures import build as build_there
    from benchmarks.postgres.server import Server, database

    with Server(settings.folder) as server, database(server) as url:
        tasks, queued = sizes(settings)
        build_there(url, tasks, queued, _DAYS, FAILED_OF_1000)
        return look(settings, "routes-pg", "PostgreSQL", url)


LINES: dict[str, Callable[[Settings], Section]] = {"routes": routes, "routes-pg": pg_routes}
