"""The line of the HTTP server: enqueueing through the API, against the least that a FastAPI route can do."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks import raw
from benchmarks.asgi import request
from benchmarks.harness import (
    Check,
    Figure,
    Sample,
    Section,
    Settings,
    middle,
    progress,
    rate,
    ratio,
    sample,
    workplace,
)
from prismq import PrismQ
from prismq.client.tokens import create_token
from prismq.domain.account import Role
from prismq.server import ServerSettings, create_app

_AT_ONCE = 4


def server(settings: Settings) -> Section:
    """Enqueueing over HTTP."""
    section = Section(
        "server",
        "The HTTP API",
        "One request after the other, and four at a time, given to the ASGI application as a server gives them, "
        "without a socket: what a socket costs is the same for both. Ours is `POST /api/v1/tasks` with a token: the "
        "whole stack, the limits, the role, the model, the enqueue with its hint, the answer. Bare is a FastAPI route "
        "with a model of two of the fields that runs the standard library's `INSERT` and `commit()` in FastAPI's own "
        "threads.",
    )  # fmt: skip
    n, chunks = settings.size(200, 20), settings.size(10, 2)
    with workplace(settings) as folder, PrismQ(folder / "ours.db") as q:
        _, token = create_token(q.store, q.clock.now(), "bench", Role.OPERATOR, by="bench", via="cli")
        ours = create_app(q, ServerSettings(dashboard=False))
        bare = _bare(folder / "raw.db")
        headers = [(b"authorization", f"Bearer {token}".encode())]
        for app, some in ((ours, headers), (bare, [])):  # the first of each only warms up
            _requests(app, some, 50, 1)
        variants: dict[str, Callable[[], Sample]] = {
            f"{name}, {at_once} at a time": lambda app=app, some=some, at_once=at_once: sample(  # type: ignore[misc]
                n, lambda: _requests(app, some, n, at_once)
            )
            for at_once in (1, _AT_ONCE)
            for name, app, some in (("ours", ours, headers), ("bare", bare, []))
        }
        taken: dict[str, list[Sample]] = {name: [] for name in variants}
        # In short turns, so that a noisy moment hits all of them.
        for turn in range(settings.rounds * chunks):
            if turn % chunks == 0:
                progress(f"round {turn // chunks + 1}/{settings.rounds}: ours and bare in turn")
            for name, measure in variants.items():
                taken[name].append(measure())
        assert q.tasks.count() == 50 + 2 * n * chunks * settings.rounds
        ours.state.services.close()
    for name, samples in taken.items():
        section.figures.append(Figure(name, rate(middle(samples))))
    for at_once in (1, _AT_ONCE):
        wall, cpu = ratio(taken[f"ours, {at_once} at a time"], taken[f"bare, {at_once} at a time"])
        section.checks.append(
            Check(f"API enqueue against a bare route, {at_once} at a time", wall, at_least=0.5, cpu=cpu)
        )
    return section


class _Task(BaseModel):
    type: str
    payload: dict[str, Any]


def _bare(path: Path) -> FastAPI:
    app = FastAPI()
    local = threading.local()
    raw.connect(path).close()

    def connection() -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(local, "connection", None)
        if found is None:
            found = local.connection = raw.connect(path)
        return found

    @app.post("/tasks", status_code=201)
    def enqueue(task: _Task) -> dict[str, Any]:
        cursor = connection().execute(raw.INSERT, (task.type, json.dumps(task.payload)))
        connection().commit()
        return {"id": cursor.lastrowid}

    return app


def _requests(app: Any, headers: list[tuple[bytes, bytes]], n: int, at_once: int) -> None:
    path = "/tasks" if any(getattr(route, "path", "") == "/tasks" for route in app.routes) else "/api/v1/tasks"

    async def some(number: int) -> None:
        for i in range(number):
            body = f'{{"type": "noop", "payload": {{"n": {i}}}}}'.encode()
            await request(app, "POST", path, headers, body, expect=(201,))

    async def all_of_them() -> None:
        await asyncio.gather(*(some(n // at_once) for _ in range(at_once)))

    asyncio.run(all_of_them())


LINES: dict[str, Callable[[Settings], Section]] = {server.__name__: server}
