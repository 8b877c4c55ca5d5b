"""What bad input gets: a problem document with the right status, never a 500, never a leak. Over both engines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from prismq import PrismQ
from prismq.server import ServerSettings
from prismq.server.routes.shapes import before_of, cursor_of
from tests.server.conftest import Site

HTML = "<script>alert(1)</script>"
HOSTILE = [
    HTML,
    "'; DROP TABLE task_queue; --",
    "\x00",
    "a\x00b",
    "\ud800",
    "%s%n{0}${jndi:ldap://x}",
    "../../../etc/hosts",
    "a" * 100_000,
    "\u202e\u2066",
    "\n\r\tx",
]
JSON = {"content-type": "application/json"}


def assert_problem(answer: Any, *statuses: int) -> dict[str, Any]:
    assert answer.status_code in statuses, (answer.status_code, answer.text[:300])
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == answer.status_code
    assert {"type", "title", "status", "detail"} <= document.keys()
    for leak in ("Traceback", "site-packages", "/src/prismq", "sqlite3.", "psycopg."):
        assert leak not in answer.text
    assert len(answer.text) < 20_000
    return document


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text)[:20])
def test_hostile_text_anywhere_is_kept_or_refused(client: TestClient, text: str) -> None:
    for field in ("type", "queue", "idempotency_key", "unique_key"):
        body = json.dumps({"type": "mail", field: text}).encode()
        answer = client.post("/api/v1/tasks", content=body, headers=JSON)
        if answer.status_code not in (200, 201):
            assert_problem(answer, 422)
    for payload in ({"x": text}, {text: 1}, {"x": [{"y": text}]}):
        body = json.dumps({"type": "mail", "payload": payload}).encode()
        answer = client.post("/api/v1/tasks", content=body, headers=JSON)
        if answer.status_code == 201:
            kept = client.get(f"/api/v1/tasks/{answer.json()['id']}").json()["payload"]
            assert kept == payload
        else:
            assert_problem(answer, 400, 422)
    if not text.isprintable():
        return
    for path in ("queues/{}/pause", "workers/{}/status", "schedules/{}/run", "metrics/workers/{}"):
        method = "GET" if "workers" in path else "POST"
        url = "/api/v1/" + path.format(text[:2000].replace("/", "%2F").replace("%", "%25").replace("?", "%3F"))
        answer = client.request(method, url)
        if answer.status_code != 200:  # the queue of this name is there
            assert_problem(answer, 404, 405, 422)
    for field in ("type", "queue", "text", "tag", "status", "cursor"):
        answer = client.get("/api/v1/search/tasks", params={field: text[:8000]})
        assert answer.status_code in (200, 400, 414, 422)
        assert text[:400] not in answer.text or answer.status_code == 200 or len(text) < 400


@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b"", (422,)),
        (b"{", (400,)),
        (b"null", (422,)),
        (b"[]", (422,)),
        (b'"x"', (422,)),
        (b'{"type": "\xff\xfe"}', (400,)),
        (b"\xff\xfe{}", (400,)),
        (b"[" * 200_000, (400,)),
        (b'{"type": "mail", "payload": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001, (400, 413, 422)),
        (b'{"type": "mail", "payload": ' + b'{"a":' * 150 + b"1" + b"}" * 151, (201, 422)),
        (b'{"type": "mail", "payload": {"n": NaN}}', (400, 422)),
        (b'{"type": "mail", "payload": {"n": 1e999}}', (400, 422)),
        (b'{"type": "mail", "payload": {"n": ' + b"9" * 5000 + b"}}", (400, 422)),
        (b'{"type": "mail", "priority": 99999999999999999999999}', (422,)),
        (b'{"type": "mail", "run_at": "yesterday"}', (422,)),
        (b'{"type": "mail", "run_at": "9999-12-31T23:59:59+14:00"}', (201, 422)),
        (b'{"type": "mail", "run_at": "0001-01-01T00:00:00+14:00"}', (201, 422)),
        (b'{"type": "mail", "delay_seconds": -1}', (422,)),
        (b'{"type": "mail", "delay_seconds": 1, "run_at": "2030-01-01T00:00:00Z"}', (422,)),
        (b'{"type": "mail", "typo": 1}', (422,)),
        (b'{"type": "mail", "tags": "abc"}', (422,)),
        (b'{"type": ["mail"]}', (422,)),
        (b'{"type": "mail", "payload": {"x": "' + b"y" * 1_100_000 + b'"}}', (413,)),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, bytes) else "",
)
def test_bodies(client: TestClient, body: bytes, statuses: tuple[int, ...]) -> None:
    answer = client.post("/api/v1/tasks", content=body, headers=JSON)
    if answer.status_code != 201:
        assert_problem(answer, *statuses)
    else:
        assert 201 in statuses


def test_too_large(client: TestClient) -> None:
    large = b" " * (ServerSettings().max_body_bytes + 1)
    assert_problem(client.post("/api/v1/tasks", content=large, headers=JSON), 413)

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * 100_000

    assert_problem(client.post("/api/v1/tasks", content=chunks(), headers=JSON), 413)
    assert_problem(client.get("/api/v1/tasks?type=" + "x" * 10_000), 414)
    assert_problem(client.get("/api/v1/" + "x" * 5_000), 414)
    assert_problem(client.post("/api/v1/tasks/bulk", json={"tasks": [{"type": "x"}] * 1_001}), 422)


def test_wrong_methods_and_content_types(client: TestClient) -> None:
    for method, path in (("PUT", "/api/v1/tasks"), ("DELETE", "/api/v1/queues"), ("POST", "/metrics")):
        answer = client.request(method, path)
        assert_problem(answer, 405)
        assert answer.headers["allow"]
    for kind in (
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ):
        answer = client.post("/api/v1/tasks", content=b'{"type": "mail"}', headers={"content-type": kind})
        assert_problem(answer, 415)
    assert_problem(client.post("/api/v1/tasks", content=b'{"type": "mail"}'), 415)
    assert_problem(client.get("/nowhere"), 404)
    assert_problem(client.get("/api/v1/tasks/x"), 422)
    assert_problem(client.get("/api/v1/tasks/0"), 422)
    assert_problem(client.get("/api/v1/tasks/99999999999999999999"), 422)
    assert_problem(client.get("/api/v1/tasks?limit=0"), 422)
    assert_problem(client.get("/api/v1/tasks?limit=501"), 422)
    misspelt = assert_problem(client.get("/api/v1/tasks?stauts=failed"), 422)
    assert "Did you mean 'status'?" in misspelt["detail"]
    for path, body in (
        ("tasks", b'{"type": "mail", "priority": true}'),
        ("tasks", b'{"type": "mail", "delay_seconds": "5"}'),
        ("tasks", b'{"type": "mail", "unique_for_seconds": true}'),
        ("queues/default/limit", b'{"max_running": true}'),
        ("queues/default/purge", b'{"dry_run": "no"}'),
    ):
        answer = client.post(f"/api/v1/{path}", content=body, headers={"content-type": "application/json"})
        assert_problem(answer, 422)
    assert client.get("/api/v1/tasks", headers={"transfer-encoding": "odd"}).status_code == 200
    twice = assert_problem(client.get("/api/v1/tasks?queue=mail&queue=reports"), 422)
    assert "queue came 2 times" in twice["detail"]
    for several in ("tasks?status=failed&status=queued", "scaling/simulation?slots=1&slots=2&queue=a"):
        assert "times" not in client.get(f"/api/v1/{several}").text


@pytest.mark.parametrize(
    "forged",
    ["x", "AAAA", "MQ", "MQ==", "'; --", "\u017e", "a" * 99, cursor_of(5)[:-1], cursor_of(5) + "A", cursor_of(5) + "=",
     cursor_of(5).swapcase(), "5"],
)  # fmt: skip
def test_forged_cursors(client: TestClient, forged: str) -> None:
    for path in ("/api/v1/tasks", "/api/v1/search/tasks", "/api/v1/audit"):
        assert_problem(client.get(path, params={"cursor": forged}), 400)


@pytest.mark.parametrize("number", [1, 5, 1_000_000, 2**63 - 1])
def test_cursors_come_back(number: int) -> None:
    assert before_of(cursor_of(number)) == number


def test_what_is_stored_is_never_html(client: TestClient) -> None:
    client.post("/api/v1/tasks", json={"type": HTML, "payload": {"x": HTML}, "queue": HTML})
    for path in ("/api/v1/tasks", "/api/v1/queues", "/api/v1/dashboard/queue-depth"):
        answer = client.get(path, headers={"accept": "text/html"})
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert HTML not in client.get(f"/{HTML}").text
    assert HTML not in client.get("/api/v1/tasks", params={"status": HTML}, headers={"accept": "text/html"}).headers


def test_an_error_of_ours_tells_nothing_of_the_inside(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    client = TestClient(
        site.app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 1), raise_server_exceptions=False
    )

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret inside /src/prismq/x.py")

    monkeypatch.setattr(site.q.store.insight, "depth", broken)
    with client:
        document = assert_problem(client.get("/api/v1/tasks"), 500)
    assert document["detail"] == "the server failed; its log says more"


# -- the database


def test_a_dead_database_is_503_with_the_reason(tmp_path: Path, stack: ExitStack) -> None:
    q = stack.enter_context(PrismQ("postgresql://nobody:s3cr3t@127.0.0.1:1/nothing"))
    client = Site(q, stack, dashboard=False).anonymous
    for path in ("/api/v1/tasks", "/api/v1/queues", "/metrics", "/api/v1/dashboard/stats"):
        document = assert_problem(client.get(path), 503)
        assert "nothing listens there" in document["detail"]
        assert "s3cr3t" not in document["detail"]
    health = client.get("/health")
    assert health.status_code == 503
    assert health.json()["status"] == "unhealthy"
    assert health.json()["checks"]["database"]["status"] == "unhealthy"
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 503


def test_a_slow_question_is_broken_off(q: PrismQ, stack: ExitStack) -> None:
    """The thread is free again, and the connection as good as before."""
    site = Site(q, stack, dashboard=False, query_timeout_seconds=0.2, threads=1)
    client = site.anonymous
    assert client.get("/api/v1/tasks").status_code == 200
    q.store.inbox.enqueue_many([_large()] * 4_000, 0.0)
    answers = [client.get("/api/v1/search/tasks", params={"text": "nothing has this"}) for _ in range(3)]
    for answer in answers:
        if answer.status_code != 200:  # a machine may be quick enough
            assert_problem(answer, 503)
            assert answer.headers["retry-after"]
    assert client.get("/api/v1/tasks?limit=1").status_code == 200


def _large() -> Any:
    from tests.helpers.builders import a_task

    return a_task(payload='{"x": "' + "y" * 5_000 + '"}')


def test_an_unstorable_value_is_the_callers_error(client: TestClient) -> None:
    answer = client.post("/api/v1/tasks", json={"type": "mail", "payload": {"x": "a\x00b"}})
    if answer.status_code != 201:  # SQLite keeps it
        assert_problem(answer, 422)
