"""The pages over HTTP: who may, what a forged form gets, and what an outage looks like; on both engines."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from prismq.domain.account import Role
from prismq.domain.errors import QueueDatabaseError
from prismq.domain.task import NewTask
from prismq.server import pages
from tests.helpers.builders import a_worker, claim_one, dead_letter
from tests.helpers.clock import FakeClock
from tests.server.conftest import BASE, Site

HTML = {"accept": "text/html"}
PAGES = (
    "/",
    "/queues",
    "/tasks",
    "/workers",
    "/schedules",
    "/failures",
    "/alerts",
    "/levels",
    "/system",
    "/audit",
    "/settings",
    "/tasks/new",
)
STATIC = Path(pages.__file__).parent.parent / "static"
EVIL = "</script><img src=x onerror=alert(1)>\"'<svg/onload=alert(2)>"


def csrf_in(text: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', text)
    assert found is not None
    return found[1]


@pytest.fixture
def client(site: Site) -> TestClient:
    site.anonymous.headers.update(HTML)
    return site.anonymous


@pytest.mark.parametrize("path", PAGES)
def test_a_page_of_an_empty_queue_is_whole(path: str, client: TestClient) -> None:
    answer = client.get(path)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "unsafe-inline" not in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<[^>]+ (style|on\w+)=", answer.text)
    assert not re.search(r"<script(?![^>]* src=)", answer.text)


def test_what_others_wrote_is_escaped_everywhere(site: Site, client: TestClient, clock: FakeClock) -> None:
    store = site.q.store
    evil = store.inbox.enqueue(
        NewTask(EVIL, payload='{"x": "<b>&"}', queue=EVIL, max_attempts=1, headers={"h": EVIL}, tags='["<i>"]'),
        clock.now(),
    )
    store.workers.register(a_worker(EVIL, note=EVIL, version=EVIL, slots=1), clock.now())
    dead_letter(store, clock, claim_one(store, clock, EVIL))

    for path in (
        *PAGES,
        f"/tasks/{evil.task_id}",
        f"/tasks/{evil.task_id}/again",
        f"/tasks/act?action=delete&id={evil.task_id}",
    ):
        text = client.get(path).text
        assert "<img src=x" not in text, path
        assert "<svg/onload" not in text, path
        assert "<b>&" not in text, path
    assert "&lt;img src=x" in client.get(f"/tasks/{evil.task_id}").text


def test_pages_want_a_session_where_there_is_a_token(site: Site, client: TestClient) -> None:
    site.token(Role.ADMIN)

    answer = client.get("/tasks?status=failed", follow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Ftasks%3Fstatus%3Dfailed"
    part = client.get(
        "/tasks", headers={"HX-Request": "true", "HX-Current-URL": f"{BASE}/tasks?x=1"}, follow_redirects=False
    )
    assert part.status_code == 401
    assert part.headers["hx-redirect"] == "/login?next=%2Ftasks%3Fx%3D1"


@pytest.mark.parametrize(
    "place", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", ""]
)
def test_signing_in_leads_nowhere_else(place: str, site: Site) -> None:
    secret = site.token(Role.VIEWER)
    answer = site.client(origin=BASE, **HTML).post(
        "/login", data={"token": secret, "next": place}, follow_redirects=False
    )

    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie


def test_a_form_without_its_token_changes_nothing(site: Site) -> None:
    task = site.q.enqueue("job")
    browser, csrf = site.browser(Role.OPERATOR)
    path = f"/tasks/{task.id}/cancel"

    assert browser.post(path, data={}, headers=HTML).status_code == 403
    assert browser.post(path, data={"csrf_token": "0" * 64}, headers=HTML).status_code == 403
    forged = {**HTML, "origin": "https://evil.example"}
    assert browser.post(path, data={"csrf_token": csrf}, headers=forged).status_code == 403
    assert site.q.tasks.get(task.id).status == "queued"
    assert browser.post(path, data={"csrf_token": csrf}, headers=HTML, follow_redirects=False).status_code == 303
    assert site.q.tasks.get(task.id).status == "cancelled"


def test_a_viewer_gets_no_form_and_is_refused_what_he_forges(site: Site) -> None:
    task = site.q.enqueue("job")
    browser, csrf = site.browser(Role.VIEWER)

    assert "csrf_token" not in browser.get(f"/tasks/{task.id}", headers=HTML).text.split("<main", 1)[1]
    for path in (
        f"/tasks/{task.id}/cancel",
        "/queues/pause",
        "/tasks/new",
        "/tasks/act",
        "/workers/pause",
        "/settings/tokens",
    ):
        assert browser.post(path, data={"csrf_token": csrf, "queue": "default"}, headers=HTML).status_code == 403, path
    for path in ("/audit", "/settings", "/tasks/new", f"/tasks/{task.id}/again"):
        assert browser.get(path, headers=HTML).status_code == 403, path
    assert site.q.tasks.get(task.id).status == "queued"


def test_an_action_leads_back_and_never_away(site: Site, client: TestClient) -> None:
    site.q.enqueue("job", queue="a")
    csrf = csrf_in(client.get("/queues").text)
    for back, location in (
        ("/queues/a?range=1h", "/queues/a?range=1h&done=pause"),
        ("//evil.example", "/queues?done=pause"),
    ):
        answer = client.post(
            "/queues/pause", data={"csrf_token": csrf, "queue": "a", "back": back}, headers={"origin": BASE},
            follow_redirects=False,
        )  # fmt: skip
        assert answer.headers["location"] == location


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/tasks/0", 422), ("/tasks/99999999999999999999", 422), ("/tasks/abc", 422), ("/tasks/7", 404),
        ("/nowhere", 404), ("/tasks?status=odd", 422), ("/tasks?before_id=-1", 422), ("/tasks?after=now", 422),
        ("/queues/none", 404), ("/workers/none", 404), ("/tasks/act?action=explode&id=1", 422),
        ("/tasks/act?action=cancel", 422), ("/?queue=%00", 422), ("/tasks?text=%00", 422), ("/?range=%22", 200),
        ("/tasks?type=%27%3B--", 200), ("/tasks/new?type=%3Cb%3E", 200), ("/queues/%00", 404), ("/workers/%00", 404),
    ],
)  # fmt: skip
def test_strange_addresses_get_a_page_that_says_what_is_wrong(path: str, status: int, client: TestClient) -> None:
    answer = client.get(path)

    assert answer.status_code == status
    assert "text/html" in answer.headers["content-type"]
    assert "Traceback" not in answer.text


def test_a_database_that_is_away_is_a_page_that_says_so(
    site: Site, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get("/queues")

    def away(*_: object, **__: object) -> None:
        raise QueueDatabaseError("the database is locked away")

    monkeypatch.setattr(type(site.q.store), "standing", away)
    answer = client.get("/queues")

    assert answer.status_code == 503
    assert "the database is locked away" in answer.text
    assert "Try again" in answer.text
    # This page is about just that, and stands.
    assert client.get("/system").status_code == 200


def test_notices_are_made_of_known_words_alone(client: TestClient) -> None:
    assert "3 tasks queued again." in client.get("/tasks?done=retry&n=3").text
    for query in ("done=<b>", "done=retry&n=<b>", "done=retry&n=-1", "undo=<b>&done=cancel&n=1"):
        assert "<b>" not in client.get(f"/tasks?{query}").text


def test_files_of_others_are_those_that_vendor_md_lists() -> None:
    table = (STATIC / "vendor" / "VENDOR.md").read_text(encoding="utf-8")
    scripts = sorted((STATIC / "vendor").glob("*/*.js"))

    assert len(scripts) == 2
    for script in scripts:
        assert hashlib.sha256(script.read_bytes()).hexdigest() in table
        assert (script.parent / "LICENSE").read_text(encoding="utf-8")


def test_a_file_with_its_version_is_kept_and_without_it_is_asked_for(client: TestClient) -> None:
    href = re.search(r'href="(/static/dashboard\.css\?v=\w+)"', client.get("/").text)
    assert href is not None

    assert "immutable" in client.get(href[1]).headers["cache-control"]
    assert client.get("/static/dashboard.css").headers["cache-control"] == "no-cache"
    assert client.get("/static/../pages/acting.py").status_code == 404


def test_links_stay_below_the_path_that_a_proxy_shows(site: Site, client: TestClient) -> None:
    client.app.root_path = "/prismq"  # type: ignore[attr-defined]
    text = client.get("/prismq/queues").text

    links = re.findall(r'(?:href|src|action|hx-get)="(/[^"]*)"', text)
    assert len(links) > 10
    assert all(link.startswith("/prismq/") for link in links), links
