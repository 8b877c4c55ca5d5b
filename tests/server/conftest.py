"""A server over each engine, and clients with each role."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from prismq import PrismQ
from prismq.client.tokens import create_token
from prismq.domain.account import Role
from prismq.server import ServerSettings, create_app
from tests.helpers.builders import a_report, a_task, a_worker, claim, complete
from tests.helpers.clock import FakeClock
from tests.helpers.engines import ENGINES, Engine

BASE = "http://127.0.0.1:8000"


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with ENGINES[request.param](tmp_path) as engine:
        yield engine


@pytest.fixture
def q(engine: Engine, tmp_path: Path, clock: FakeClock) -> Iterator[PrismQ]:
    """The queue over the engine's store, with the test's clock."""
    with PrismQ(tmp_path / "unused.db") as queue, queue.rewired(engine.store, clock):
        yield queue


class Site:
    """A server application, and clients of it."""

    def __init__(self, q: PrismQ, stack: ExitStack, **settings: Any) -> None:
        self.q = q
        self.app: FastAPI = create_app(q, ServerSettings(**settings))
        self._stack = stack
        # Its portal stays open, so that all clients share one event loop, as in a server.
        self.anonymous = self._client()

    def _client(self, **headers: str) -> TestClient:
        client = TestClient(
            self.app, base_url=BASE, client=("127.0.0.1", 4711), headers=headers, raise_server_exceptions=True
        )
        first = getattr(self, "anonymous", None)
        if first is None:
            self._stack.enter_context(client)
        else:
            client.portal = first.portal
        return client

    def client(self, **headers: str) -> TestClient:
        """One that says nothing of who it is but by these headers."""
        return self._client(**headers)

    def token(self, role: Role | str, name: str | None = None) -> str:
        """A new token."""
        made = create_token(
            self.q.store, self.q.clock.now(), name or f"the-{Role(role)}", Role(role), by="test", via="cli"
        )
        return made[1]

    def as_(self, role: Role | str) -> TestClient:
        """A client with a token of this role."""
        return self._client(authorization=f"Bearer {self.token(role)}")

    def browser(self, role: Role | str, name: str = "ada") -> tuple[TestClient, str]:
        """A browser that has signed in, and its CSRF token."""
        client = self._client(origin=BASE)
        answer = client.post("/api/v1/session", json={"token": self.token(role, name)})
        assert answer.status_code == 200, answer.text
        return client, answer.json()["csrf_token"]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def site(q: PrismQ, stack: ExitStack) -> Site:
    """A server on loopback, with default settings; the dashboard's pages have tests of their own."""
    return Site(q, stack, dashboard=False)


@pytest.fixture
def client(site: Site) -> TestClient:
    """Anybody on loopback, where no token was made: an admin."""
    return site.anonymous


@pytest.fixture
def busy(q: PrismQ, clock: FakeClock) -> PrismQ:
    """A minute of 300 tasks of 4 s on a queue, one of them still waiting, and a worker of 8 slots."""
    store = q.store
    clock.advance(60 - clock.now() % 60)
    store.workers.register(a_worker("w1", slots=8), clock.now())
    store.workers.heartbeat(a_report("w1", slots=8, busy=3), clock.now())
    for _ in range(300):
        store.inbox.enqueue(a_task(queue="within_30_seconds"), clock.now())
    for lease in claim(store, clock, limit=299):
        complete(store, clock, lease, started_at=clock.now() - 4)
    clock.advance(20)
    return q
