"""What it costs the queue that two hundred browsers watch it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from benchmarks.harness import (
    Check,
    Companion,
    Figure,
    Sample,
    Section,
    Settings,
    interleaved,
    middle,
    rate,
    ratio,
    workplace,
)
from benchmarks.lines import work_off
from prismq import PrismQ
from prismq.cli.demo.server import free_port
from prismq.server import ServerSettings
from prismq.server.runner import Beside, keep_what_is_loaded, prepare

WATCHERS = 200


def watching(settings: Settings) -> Section:
    """Live clients beside a drain, on SQLite."""
    n = settings.size(100_000, 1_000)
    section = Section(
        "watching",
        "Live clients",
        f"A worker process works off tasks that do nothing, at its defaults, while a server runs beside it in its own "
        f"process: with {WATCHERS} WebSockets open on the live feed, which a third process reads, and with none. "
        "All share the cores.",
    )  # fmt: skip
    heard: list[int] = []
    with workplace(settings) as folder:
        numbers = count()
        variants: dict[str, Callable[[], Sample]] = {
            name: partial(_drain, folder, n, numbers, watchers, heard)
            for name, watchers in (("watched", WATCHERS), ("not watched", 0))
        }
        taken = interleaved(settings, variants)
    wall, cpu = ratio(taken["watched"], taken["not watched"])
    section.figures = [Figure(name, rate(middle(samples)), f"{n:,} tasks") for name, samples in taken.items()]
    section.figures.append(
        Figure("messages that the clients read in a run", f"{min(heard):,}", "the fewest of all runs")
    )
    section.checks.append(Check(f"drain while {WATCHERS} clients watch against none", wall, at_least=0.9, cpu=cpu))
    return section


def _drain(folder: Path, n: int, numbers: Iterator[int], watchers: int, heard: list[int]) -> Sample:
    return work_off(folder, n, 1, "INFO", next(numbers), 1, lambda path: _beside(path, watchers, heard))


@contextmanager
def _beside(path: Path, watchers: int, heard: list[int]) -> Iterator[None]:
    port = free_port()
    server = Companion("watching_server", path=str(path), port=port)
    clients = Companion("watching_clients", port=port, watchers=watchers)
    try:
        server.go()
        clients.go()
        yield
        read = clients.stop()["read"]
        if watchers:
            heard.append(read)
        server.stop()
    finally:
        clients.kill()
        server.kill()


def watching_server(path: str, port: int) -> None:
    """The server, until told to stop."""
    with PrismQ(path) as q:
        settings = ServerSettings(port=port)
        app, listening = prepare(q, settings)
        keep_what_is_loaded()  # as `prismq server` does
        with Beside(app, listening, settings):
            print("ready", flush=True)
            sys.stdin.readline()
            sys.stdin.readline()
    print("{}", flush=True)


def watching_clients(port: int, watchers: int) -> None:
    """Open the WebSockets, then read all that comes until told to stop; how many messages it was."""
    print(json.dumps({"read": asyncio.run(_watch(port, watchers))}), flush=True)


async def _watch(port: int, watchers: int) -> int:
    loop = asyncio.get_running_loop()
    read = 0

    async def follow(feed: Any) -> None:
        nonlocal read
        async for _ in feed:
            read += 1

    feeds = [await connect(f"ws://127.0.0.1:{port}/api/v1/live") for _ in range(watchers)]
    tasks = [asyncio.create_task(follow(feed)) for feed in feeds]
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    await loop.run_in_executor(None, sys.stdin.readline)
    for task in tasks:
        task.cancel()
    return read


ROLES: dict[str, Callable[..., Any]] = {role.__name__: role for role in (watching_server, watching_clients)}
LINES: dict[str, Callable[[Settings], Section]] = {watching.__name__: watching}
