"""What a proxy says of where a request came from counts where that proxy is trusted, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from prismq import PrismQ
from prismq.client.tokens import create_token
from prismq.domain.account import Role
from prismq.server import ServerSettings
from prismq.server.runner import Beside, address_of, prepare
from tests.helpers.postgres import free_port
from tests.helpers.processes import wait_until

FROM_AFAR = {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https"}
TRUSTED = pytest.mark.parametrize("trusted", [["127.0.0.1"], ["127.0.0.0/8"], ["10.1.2.3", "127.0.0.1"]], ids=str)
UNTRUSTED = pytest.mark.parametrize("trusted", [[], ["10.1.2.3"]], ids=str)


@pytest.fixture
def q(tmp_path: Path) -> Iterator[PrismQ]:
    with PrismQ(tmp_path / "queue.db") as queue:
        queue.enqueue("send", {}, queue="mail")
        yield queue


@contextmanager
def served(q: PrismQ, trusted: list[str]) -> Iterator[httpx.Client]:
    """A real server, for the socket's address is what it is about; the client stands where the proxy would."""
    settings = ServerSettings(port=free_port(), trusted_proxies=trusted)
    app, listening = prepare(q, settings)
    with Beside(app, listening, settings), httpx.Client(base_url=address_of(settings), timeout=30) as client:
        wait_until(lambda: client.get("/health/live").status_code == 200, "the server answers", 30)
        yield client


@TRUSTED
def test_strangers_behind_a_trusted_proxy_are_asked_who_they_are(q: PrismQ, trusted: list[str]) -> None:
    with served(q, trusted) as client:
        assert client.get("/api/v1/tasks").status_code == 200  # from this machine, where no token was made yet
        assert client.get("/api/v1/tasks", headers=FROM_AFAR).status_code == 401


@UNTRUSTED
def test_what_anybody_else_claims_of_himself_is_not_believed(q: PrismQ, trusted: list[str]) -> None:
    _, token = create_token(q.store, q.clock.now(), "ann", Role.OPERATOR, by="test", via="cli")
    bearer = {"authorization": f"Bearer {token}"}
    with served(q, trusted) as client:
        assert client.post("/api/v1/queues/mail/pause", headers={**FROM_AFAR, **bearer}).status_code == 200
        signed_in = client.post("/api/v1/session", json={"token": token}, headers=FROM_AFAR)
        assert "Secure" not in signed_in.headers["set-cookie"]
    [act] = q.store.audit.find(action="queues.pause")
    assert act.origin == "127.0.0.1"


@TRUSTED
def test_the_audit_log_and_cookies_heed_a_trusted_proxy(q: PrismQ, trusted: list[str]) -> None:
    _, token = create_token(q.store, q.clock.now(), "ann", Role.OPERATOR, by="test", via="cli")
    bearer = {"authorization": f"Bearer {token}"}
    with served(q, trusted) as client:
        assert client.post("/api/v1/queues/mail/pause", headers={**FROM_AFAR, **bearer}).status_code == 200
        signed_in = client.post("/api/v1/session", json={"token": token}, headers=FROM_AFAR)
        assert "Secure" in signed_in.headers["set-cookie"]
    [act] = q.store.audit.find(action="queues.pause")
    assert act.origin == "203.0.113.7"


def test_guessers_are_told_apart_by_the_address_that_a_trusted_proxy_names(q: PrismQ) -> None:
    create_token(q.store, q.clock.now(), "ann", Role.OPERATOR, by="test", via="cli")
    wrong = {"authorization": "Bearer of-no-token"}
    with served(q, ["127.0.0.1"]) as client:
        seen = [client.get("/api/v1/tasks", headers={**FROM_AFAR, **wrong}).status_code for _ in range(30)]
        assert seen[0] == 401
        assert seen[-1] == 429
        other = {"x-forwarded-for": "203.0.113.8", **wrong}
        assert client.get("/api/v1/tasks", headers=other).status_code == 401
