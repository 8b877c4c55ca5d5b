"""How soon a browser on the same machine shows a page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
    workplace,
)
from prismq.cli.demo.server import free_port

PAGES = (
    "/", "/?range=13mo", "/queues", "/queues/queue-1", "/tasks", "/tasks?status=failed", "/tasks/{task}", "/workers",
    "/schedules", "/failures", "/alerts", "/levels", "/scaling", "/system", "/audit", "/settings",
)  # fmt: skip
_PAINT_MS = 200.0
_ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
# From the beginning of the navigation, as the browser has it: https://www.w3.org/TR/paint-timing/
_FIRST_PAINT = """() => new Promise(told => new PerformanceObserver((list, self) => {
    const paint = list.getEntriesByName('first-contentful-paint')[0];
    if (paint) { self.disconnect(); told(paint.startTime); }
}).observe({type: 'paint', buffered: true}))"""


def painting(settings: Settings) -> Section:
    """First paint of every page, in Chromium."""
    tasks, queued = settings.size(1_000_000, 20_000), settings.size(10_000, 1_000)
    section = Section(
        "painting",
        "First paint",
        f"Chromium opens each page of a server on the same machine, one after the other in one tab, in front of "
        f"{tasks:,} tasks on SQLite with statistics of 60 days; from the beginning of the navigation to the first "
        "contentful paint, after one that fills its cache. p95 of all turns.",
    )  # fmt: skip
    found: dict[str, list[float]] = {page: [] for page in PAGES}
    with workplace(settings) as folder:
        path = folder / "painting.db"
        build(path, tasks, queued, 60.0, 10)
        with _served(str(path)) as address, _open_page() as paint_ms:
            for turn in range(settings.size(10 * settings.rounds, 2) + 1):
                progress(f"turn {turn}")
                for page in PAGES:
                    took = paint_ms(address + page.format(task=tasks // 2))
                    if turn:
                        found[page].append(took)
    p95s = {page: quantile(times, 0.95) for page, times in found.items()}
    for page in sorted(p95s, key=lambda page: -p95s[page]):
        section.figures.append(Figure(page, f"{p95s[page]:.0f} ms", f"median {median(found[page]):.0f} ms"))
    check = Check("first paint of the slowest page, p95", max(p95s.values()), at_most=_PAINT_MS, unit="ms")
    section.checks.append(check)
    return section


@contextmanager
def _served(path: str) -> Iterator[str]:
    port = free_port()
    server = Companion("watching_server", path=path, port=port)
    try:
        server.go()
        yield f"http://127.0.0.1:{port}"
        server.stop()
    finally:
        server.kill()


@contextmanager
def _open_page() -> Iterator[Callable[[str], float]]:
    """Milliseconds to the first paint of a page that is opened."""
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("Chromium was not found. Install it, for example `apt-get install chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1280, "height": 900})

        def paint_ms(address: str) -> float:
            answer = page.goto(address, wait_until="domcontentloaded")
            if answer is None or answer.status != 200:
                raise RuntimeError(f"{address} answered {None if answer is None else answer.status}")
            return float(page.evaluate(_FIRST_PAINT))

        yield paint_ms
        browser.close()


LINES: dict[str, Callable[[Settings], Section]] = {painting.__name__: painting}
