"""Who gets in, with what, and what they may do; over both engines."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from fastapi.routing import APIRoute
from starlette.routing import Mount, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from prismq import PrismQ
from prismq.domain.account import Role
from prismq.domain.errors import ConfigurationError
from prismq.server import ServerSettings, asgi_app, create_app
from prismq.server.accounts import FAILURES_MAX, FAILURES_WINDOW_S, REMEMBERED_S
from prismq.server.auth import COOKIE
from prismq.server.settings import check_exposure, is_loopback
from tests.helpers.clock import FakeClock
from tests.server.conftest import BASE, Site
from tests.server.routes import role_of, routes_of

LIVE = "ws://127.0.0.1:8000/api/v1/live"


def test_every_route_says_whom_it_is_for(site: Site) -> None:
    routes = routes_of(create_app(site.q, ServerSettings(dashboard=True)))
    assert len(routes) > 45
    public = sorted({route.path for route in routes if role_of(route) is None})  # type: ignore[attr-defined]
    known = {
        "/api/v1/session", "/docs", "/docs/style.css", "/health", "/health/live", "/health/ready", "/login", "/sign-in",
        "/offline",
    }  # fmt: skip
    assert [path for path in public if path not in known and not path.startswith("/static")] == []


def test_a_route_without_a_role_would_be_noticed(site: Site) -> None:
    @site.app.get("/api/v1/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(AssertionError, match="/api/v1/forgotten names no role"):
        list(map(role_of, routes_of(site.app)))


def test_the_matrix_of_roles(site: Site) -> None:
    """Each API route, asked by everybody: those below its role are refused before anything is looked at."""
    clients = {role: site.as_(role) for role in Role}
    asked = 0
    for route in routes_of(site.app):
        if isinstance(route, WebSocketRoute) or not isinstance(route, APIRoute):
            continue
        wanted = role_of(route)
        if wanted is None:
            continue
        path = route.path
        for name in route.param_convertors:
            path = path.replace(f"{{{name}}}", "999999")
        for method in route.methods - {"HEAD"}:
            assert site.anonymous.request(method, path, json={}).status_code == 401, (method, path)
            for role, client in clients.items():
                if (method, path) == ("DELETE", "/api/v1/session"):
                    continue
                status = client.request(method, path, json={}).status_code
                asked += 1
                if role.covers(wanted):
                    assert status not in (401, 403), (method, path, role, status)
                else:
                    assert status == 403, (method, path, role, status)
                assert status < 500 or path == "/health", (method, path, status)
    assert asked > 90


def test_loopback_is_open_until_there_is_a_token(site: Site, clock: FakeClock) -> None:
    assert site.anonymous.get("/api/v1/tasks").status_code == 200
    token = site.token(Role.VIEWER)
    clock.advance(REMEMBERED_S)
    refused = site.anonymous.get("/api/v1/tasks")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    assert site.client(authorization=f"Bearer {token}").get("/api/v1/tasks").status_code == 200
    assert site.anonymous.get("/health").json()["sentence"] is None, "strangers get no names of queues and workers"


def test_open_is_for_loopback_addresses_alone(site: Site, stack: ExitStack) -> None:
    far = stack.enter_context(TestClient(site.app, base_url=BASE, client=("10.1.2.3", 1)))
    assert far.get("/api/v1/tasks").status_code == 401


@pytest.mark.parametrize(
    "header", [b"Bearer", b"Bearer ", b"Bearer x", b"Basic eDp5", b"bearer  x y", b"x", b"Bearer \xc5\xbe\xff"]
)
def test_wrong_authorization_is_401(site: Site, header: bytes) -> None:
    answer = site.anonymous.get("/api/v1/tasks", headers=[(b"authorization", header)])
    assert answer.status_code == 401
    assert answer.json()["status"] == 401


def test_a_token_ends_with_its_time_and_by_hand(site: Site, clock: FakeClock) -> None:
    admin = site.as_(Role.ADMIN)
    made = admin.post(
        "/api/v1/tokens", json={"name": "ci", "role": "operator", "expires_at": "2033-05-18T04:00:00Z"}
    ).json()
    assert made["token"].startswith(made["hint"])
    listed = admin.get("/api/v1/tokens")
    assert made["token"] not in listed.text
    ci = site.client(authorization=f"Bearer {made['token']}")
    assert ci.get("/api/v1/session").json() == {"name": "ci", "role": "operator", "via": "token", "csrf_token": None}
    clock.advance(1600)
    assert ci.get("/api/v1/session").status_code == 401

    other = admin.post("/api/v1/tokens", json={"name": "x", "role": "viewer"}).json()
    x = site.client(authorization=f"Bearer {other['token']}")
    assert x.get("/api/v1/tasks").status_code == 200
    assert admin.delete("/api/v1/tokens/x").json() == {"done": True}
    assert x.get("/api/v1/tasks").status_code == 401, "at once where it was revoked"
    assert admin.delete("/api/v1/tokens/x").status_code == 404
    assert admin.post("/api/v1/tokens", json={"name": "ci", "role": "viewer"}).status_code == 422
    past = {"name": "past", "role": "viewer", "expires_at": "2020-01-01T00:00:00Z"}
    assert admin.post("/api/v1/tokens", json=past).status_code == 422


def test_a_token_revoked_elsewhere_ends_within_seconds(site: Site, clock: FakeClock) -> None:
    client = site.as_(Role.VIEWER)
    assert client.get("/api/v1/tasks").status_code == 200
    site.q.store.accounts.revoke_token("the-viewer")
    clock.advance(REMEMBERED_S)
    site.token(Role.ADMIN)
    assert client.get("/api/v1/tasks").status_code == 401


def test_tokens_are_kept_as_hashes(site: Site, engine: object) -> None:
    token = site.token(Role.VIEWER)
    rows = engine.look("SELECT * FROM api_tokens")  # type: ignore[attr-defined]
    assert token not in repr(rows)
    assert len(token) > 40


# -- sessions


def test_a_browser_signs_in_and_out(site: Site) -> None:
    browser, csrf = site.browser(Role.OPERATOR)
    [header] = [value for name, value in browser.post(
        "/api/v1/session", json={"token": site.token(Role.VIEWER)}, headers={"x-csrf-token": csrf}
    ).headers.multi_items() if name == "set-cookie"]  # fmt: skip
    assert "HttpOnly" in header
    assert "SameSite=lax" in header
    assert "Secure" not in header, "over plain HTTP the browser would not send it back"
    who = browser.get("/api/v1/session").json()
    assert (who["name"], who["via"]) == ("the-viewer", "session")
    assert browser.delete("/api/v1/session", headers={"x-csrf-token": who["csrf_token"]}).status_code == 200
    assert browser.get("/api/v1/session").status_code == 401


def test_the_cookie_is_secure_behind_tls(site: Site, stack: ExitStack) -> None:
    client = stack.enter_context(TestClient(site.app, base_url="https://127.0.0.1:8000", client=("127.0.0.1", 1)))
    answer = client.post("/api/v1/session", json={"token": site.token(Role.VIEWER)})
    assert "Secure" in answer.headers["set-cookie"]
    assert "max-age" in answer.headers["strict-transport-security"]


def test_signing_in_makes_a_new_session(site: Site) -> None:
    """Fixation: an id that somebody planted does not become a session, and the old one ends."""
    token = site.token(Role.VIEWER)
    victim = site.client(origin=BASE)
    victim.cookies.set(COOKIE, "planted")
    victim.post("/api/v1/session", json={"token": token})
    first = [one.value for one in victim.cookies.jar if one.value != "planted"]
    attacker = site.client()
    attacker.cookies.set(COOKIE, "planted")
    assert attacker.get("/api/v1/session").status_code == 401
    again = site.client(origin=BASE)
    again.cookies.set(COOKIE, first[-1])
    again.post("/api/v1/session", json={"token": token})
    old = site.client()
    old.cookies.set(COOKIE, first[-1])
    assert old.get("/api/v1/session").status_code == 401


def test_a_session_ends_with_its_time(site: Site, clock: FakeClock) -> None:
    browser, _ = site.browser(Role.VIEWER)
    assert browser.get("/api/v1/tasks").status_code == 200
    clock.advance(ServerSettings().session_seconds)
    assert browser.get("/api/v1/tasks").status_code == 401


@pytest.mark.parametrize("cookie", ["", "x", "a" * 5000, "'; DROP TABLE sessions; --", "%00", "../../etc"])
def test_forged_cookies_open_nothing(site: Site, cookie: str) -> None:
    site.token(Role.VIEWER)
    assert site.client(cookie=f"{COOKIE}={cookie}").get("/api/v1/tasks").status_code == 401


def test_what_a_cookie_sends_wants_the_csrf_token_and_our_origin(site: Site) -> None:
    browser, csrf = site.browser(Role.OPERATOR)

    def enqueue(**headers: str) -> int:
        return browser.post("/api/v1/tasks", json={"type": "mail"}, headers=headers).status_code

    assert enqueue() == 403
    assert enqueue(**{"x-csrf-token": "0" * 64}) == 403
    assert enqueue(**{"x-csrf-token": csrf, "origin": "https://evil.example"}) == 403
    assert enqueue(**{"x-csrf-token": csrf, "origin": "null"}) == 403
    assert enqueue(**{"x-csrf-token": csrf}) == 201
    other, other_csrf = site.browser(Role.VIEWER, "bob")
    assert enqueue(**{"x-csrf-token": other_csrf}) == 403, "another session's token is no token"
    assert other.get("/api/v1/tasks").status_code == 200


def test_other_sites_cannot_use_an_open_server(site: Site, stack: ExitStack) -> None:
    """Nobody signs in on loopback, so a page that the user happens to have open must not act for them."""
    evil = {"origin": "https://evil.example"}
    client = site.anonymous
    assert client.post("/api/v1/tasks", json={"type": "mail"}, headers=evil).status_code == 403
    assert client.delete("/api/v1/tasks/1", headers=evil).status_code == 403
    assert client.post("/api/v1/queues/default/pause", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.post("/api/v1/session", json={"token": "x"}, headers=evil).status_code == 403
    rebound = stack.enter_context(TestClient(site.app, base_url="http://evil.example", client=("127.0.0.1", 1)))
    assert rebound.get("/api/v1/tasks").status_code == 421, "DNS rebinding"
    assert client.post("/api/v1/tasks", json={"type": "mail"}, headers={"origin": BASE}).status_code == 201


def test_guessing_is_slowed_down(site: Site, clock: FakeClock) -> None:
    token = site.token(Role.VIEWER)
    browser = site.client(origin=BASE)
    for _ in range(FAILURES_MAX):
        assert browser.post("/api/v1/session", json={"token": "wrong"}).status_code == 401
    late = browser.post("/api/v1/session", json={"token": token})
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) == FAILURES_WINDOW_S
    assert site.client(authorization="Bearer wrong").get("/api/v1/tasks").status_code == 429
    clock.advance(FAILURES_WINDOW_S)
    assert browser.post("/api/v1/session", json={"token": token}).status_code == 200


# -- the feed


def test_the_feed_asks_who_and_from_where(site: Site, clock: FakeClock) -> None:
    with site.anonymous.websocket_connect(LIVE) as feed:
        assert feed.receive_json()["type"] == "hello"
    with (
        pytest.raises(WebSocketDisconnect) as refused,
        site.anonymous.websocket_connect(LIVE, headers={"origin": "https://evil.example"}),
    ):
        pass
    assert _status(refused.value) == 403
    token = site.token(Role.VIEWER)
    clock.advance(REMEMBERED_S)
    with pytest.raises(WebSocketDisconnect) as refused, site.anonymous.websocket_connect(LIVE):
        pass
    assert _status(refused.value) == 401
    with site.anonymous.websocket_connect(LIVE, headers={"authorization": f"Bearer {token}"}) as feed:
        assert feed.receive_json()["type"] == "hello"


def _status(error: BaseException) -> int:
    """Of a WebSocket that was refused."""
    return int(getattr(error, "status_code", 0))


# -- the audit log


def test_every_action_is_written_down(site: Site, clock: FakeClock) -> None:
    operator, viewer = site.as_(Role.OPERATOR), site.as_(Role.VIEWER)
    task_id = operator.post("/api/v1/tasks", json={"type": "mail"}).json()["id"]
    operator.post(f"/api/v1/tasks/{task_id}/cancel")
    operator.post("/api/v1/queues/default/pause")
    bulk = {"action": "retry", "filter": {"status": ["CANCELLED"], "text": "{"}, "expected": 1}
    operator.post("/api/v1/search/tasks/bulk-action", json=bulk)
    viewer.post("/api/v1/queues/default/resume")
    assert viewer.get("/api/v1/audit").status_code == 403

    found = operator.get("/api/v1/audit?actor=the-operator").json()["items"]
    assert [(one["action"], one["target"], one["tasks"]) for one in found] == [
        ("tasks.retry", None, 1), ("queues.pause", "default", None), ("tasks.cancel", str(task_id), 1),
    ]  # fmt: skip
    assert found[0]["conditions"] == {"status": ["cancelled"], "text": "{"}
    assert {one["via"] for one in found} == {"token"}
    assert {one["origin"] for one in found} == {"127.0.0.1"}
    assert operator.get("/api/v1/audit?actor=the-viewer").json()["items"] == []
    made = operator.get("/api/v1/audit?action=tokens").json()["items"]
    assert [one["target"] for one in made] == ["the-viewer", "the-operator"]
    page = operator.get("/api/v1/audit?limit=1").json()
    rest = operator.get("/api/v1/audit", params={"limit": 500, "cursor": page["next_cursor"]}).json()
    assert len(rest["items"]) == 4


def test_the_audit_log_is_pruned(site: Site, clock: FakeClock) -> None:
    client = site.anonymous
    task_id = client.post("/api/v1/tasks", json={"type": "mail"}).json()["id"]
    client.post(f"/api/v1/tasks/{task_id}/cancel")
    clock.advance(ServerSettings().audit_retention_seconds + 1)
    client.post(f"/api/v1/tasks/{task_id}/retry")
    assert [one["action"] for one in client.get("/api/v1/audit").json()["items"]] == ["tasks.retry"]


# -- where it listens


def test_a_server_that_others_can_reach_wants_tokens() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "::1", "localhost", "127.9.9.9")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "queue.example.com", "")))
    check_exposure(ServerSettings(), has_tokens=False)
    check_exposure(ServerSettings(host="0.0.0.0"), has_tokens=True)
    with pytest.raises(ConfigurationError, match="prismq tokens create"):
        check_exposure(ServerSettings(host="0.0.0.0"), has_tokens=False)
    with pytest.raises(ConfigurationError, match="auth = 'off' is for loopback alone"):
        check_exposure(ServerSettings(host="::", auth="off"), has_tokens=True)


def test_mounted_it_asks_for_tokens(q: PrismQ, stack: ExitStack) -> None:
    from starlette.applications import Starlette

    site = Site(q, stack, dashboard=False)
    outer = Starlette(routes=[Mount("/queue", app=asgi_app(q)), Mount("/open", app=asgi_app(q, auth="off"))])
    client = stack.enter_context(TestClient(outer, client=("10.0.0.1", 1)))
    assert client.get("/queue/api/v1/tasks").status_code == 401
    token = {"authorization": f"Bearer {site.token(Role.OPERATOR)}"}
    made = client.post("/queue/api/v1/tasks", json={"type": "mail"}, headers=token)
    assert made.status_code == 201
    assert made.headers["location"] == f"/queue/api/v1/tasks/{made.json()['id']}"
    assert client.get(made.headers["location"], headers=token).status_code == 200
    assert client.get("/open/api/v1/tasks").status_code == 200
    assert (
        client.post("/open/api/v1/queues/default/pause", headers={"origin": "http://evil.example"}).status_code == 403
    )
    assert 'href="/queue/docs/style.css"' in client.get("/queue/docs").text


def test_headers_tell_browsers_what_pages_may_do(site: Site) -> None:
    for path in ("/api/v1/tasks", "/docs", "/nowhere", "/health"):
        headers = site.anonymous.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers


def test_hosts_can_be_named(q: PrismQ, stack: ExitStack) -> None:
    site = Site(q, stack, dashboard=False, allowed_hosts=["queue.example.com", "*.internal"])
    for host, status in (
        ("queue.example.com", 200), ("QUEUE.example.com:443", 200), ("a.internal", 200), ("internal", 421),
        ("evil.example.com", 421), ("", 421), ("queue.example.com.evil.com", 421), ("a.internal:x", 421),
    ):  # fmt: skip
        assert site.anonymous.get("/health/live", headers={"host": host}).status_code == status, host
