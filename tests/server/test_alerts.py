"""Alerts and service levels over HTTP: what is shown, what can be done, by whom, and what is written down of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from prismq import PrismQ
from prismq.domain.account import Role
from prismq.observability.alerts.definitions import ALERTS
from prismq.storage.contract.alerts import DUTY, FIRING, RESOLVED, AlertChange, AlertRecord, NewNotice
from tests.helpers.builders import a_task, claim, complete, dead_letter
from tests.helpers.clock import START, FakeClock
from tests.helpers.receiver import receiver
from tests.server.conftest import Site


def plant(q: PrismQ, clock: FakeClock, rule: str = "QueueUnserved", **fields: Any) -> int:
    """An alert that fires, as the watch would write it; its number."""
    values = {
        "labels": {"queue": "mail"}, "severity": "page", "state": FIRING, "value": 3.0, "threshold": 0.0,
        "summary": "3 tasks of the queue mail wait", "description": "No worker serves it.", "since": clock.now() - 90,
        "seen": clock.now(), "fired_at": clock.now() - 30, "notified_at": clock.now(), "told": ("ops",),
    }  # fmt: skip
    record = AlertRecord(rule, **{**values, **fields})
    q.store.duties.take(DUTY, "the watch", 600, clock.now())
    assert q.store.alerts.record([AlertChange(record, [NewNotice("ops", "firing", {}, 0.0)])], "the watch", clock.now())
    return max(one.alert_id for one in q.store.alerts.history())


def test_what_is_open_is_listed_with_who_watches(client: TestClient, q: PrismQ, clock: FakeClock) -> None:
    assert client.get("/api/v1/alerts").json() == {"items": [], "watcher": None, "channels": []}
    number = plant(q, clock)
    plant(q, clock, "DeadLettersGrew", severity="ticket")
    plant(q, clock, "LeasesLost", state=RESOLVED, resolved_at=clock.now())
    found = client.get("/api/v1/alerts").json()
    assert [one["rule"] for one in found["items"]] == ["QueueUnserved", "DeadLettersGrew"]
    assert found["watcher"]["holder"] == "the watch"
    one = found["items"][0]
    assert (one["id"], one["state"], one["labels"]) == (number, "firing", {"queue": "mail"})
    assert one["runbook"] == "docs/runbooks.md#queueunserved"
    detail = client.get(f"/api/v1/alerts/{number}").json()
    assert [(notice["channel"], notice["kind"], notice["state"]) for notice in detail["notices"]] == [
        ("ops", "firing", "waiting")
    ]
    assert client.get("/api/v1/alerts/999").status_code == 404


def test_the_history_comes_in_pages(client: TestClient, q: PrismQ, clock: FakeClock) -> None:
    numbers = [plant(q, clock) for _ in range(3)]
    first = client.get("/api/v1/alerts/history", params={"limit": 2}).json()
    assert [one["id"] for one in first["items"]] == numbers[:0:-1]
    rest = client.get("/api/v1/alerts/history", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert ([one["id"] for one in rest["items"]], rest["next_cursor"]) == (numbers[:1], None)
    assert client.get("/api/v1/alerts/history", params={"rule": "Other"}).json()["items"] == []


def test_an_operator_acknowledges_and_it_is_written_down(site: Site, q: PrismQ, clock: FakeClock) -> None:
    number = plant(q, clock)
    path = f"/api/v1/alerts/{number}/acknowledge"
    assert site.as_(Role.VIEWER).post(path, json={}).status_code == 403
    operator = site.as_(Role.OPERATOR)
    answer = operator.post(path, json={"note": "on it"})
    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["note"]) == ("acknowledged", "on it")
    by = answer.json()["acknowledged_by"]
    [entry] = q.store.audit.find(action="alerts")
    assert (entry.action, entry.target, entry.actor) == ("alerts.acknowledge", str(number), by)
    assert operator.post("/api/v1/alerts/999/acknowledge", json={}).status_code == 404


def test_a_silence_is_made_shown_and_ended(client: TestClient, q: PrismQ, clock: FakeClock) -> None:
    plant(q, clock)
    made = client.post("/api/v1/alerts/silences", json={"matchers": {"queue": "ma*"}, "seconds": 3600, "reason": "x"})
    assert made.status_code == 201
    assert client.get("/api/v1/alerts", params={"state": "silenced"}).json()["items"][0]["silence_id"] == 1
    assert client.get("/api/v1/alerts", params={"state": "firing"}).json()["items"] == []
    [silence] = client.get("/api/v1/alerts/silences").json()["items"]
    assert (silence["matchers"], silence["active"], silence["reason"]) == ({"queue": "ma*"}, True, "x")
    assert client.delete("/api/v1/alerts/silences/1").json() == {"done": True}
    assert client.delete("/api/v1/alerts/silences/1").status_code == 404
    assert client.get("/api/v1/alerts/silences").json()["items"] == []
    assert len(client.get("/api/v1/alerts/silences", params={"past": "true"}).json()["items"]) == 1
    assert [one.action for one in q.store.audit.find(action="alerts")] == ["alerts.unsilence", "alerts.silence"]


@pytest.mark.parametrize(
    "wrong", [{"matchers": {}, "seconds": 60}, {"matchers": {"a": "b"}, "seconds": 0}, {"seconds": 60}]
)
def test_a_silence_of_everything_or_nothing_is_refused(client: TestClient, wrong: dict[str, Any]) -> None:
    assert client.post("/api/v1/alerts/silences", json=wrong).status_code == 422


@pytest.mark.parametrize(
    ("matchers", "words"),
    [
        ({}, "a silence names what it is about: one or more of rule, severity and labels, as in rule=*"),
        ({"rul": "Nope"}, "no alert has a label 'rul'. Did you mean 'rule'?"),
        ({"rule": "Nope"}, "there is no alert 'Nope'."),
    ],
)
def test_a_silence_that_can_match_nothing_is_refused_in_words(
    client: TestClient, matchers: dict[str, str], words: str
) -> None:
    answer = client.post("/api/v1/alerts/silences", json={"matchers": matchers, "seconds": 60})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert client.get("/api/v1/alerts/silences").json()["items"] == []


def test_an_alert_that_follows_from_another_is_muted_by_it(client: TestClient, q: PrismQ, clock: FakeClock) -> None:
    number = plant(q, clock)
    plant(q, clock, "NoActiveWorkers", labels={})
    found = client.get("/api/v1/alerts", params={"state": "muted"}).json()["items"]
    assert [(one["rule"], one["muted_by"]) for one in found] == [("QueueUnserved", "NoActiveWorkers")]
    assert client.get(f"/api/v1/alerts/{number}").json()["state"] == "muted"


def test_the_dashboard_has_the_runbooks_and_alerts_lead_there(site: Site, q: PrismQ, clock: FakeClock) -> None:
    site = Site(q, site._stack)
    plant(q, clock)
    browser, _ = site.browser(Role.VIEWER)
    browser.headers["accept"] = "text/html"
    assert '<a href="/runbooks#queueunserved">What to do</a>' in browser.get("/alerts").text
    page = browser.get("/runbooks")
    assert page.status_code == 200
    for alert in ALERTS:
        assert f'id="{alert.name.lower()}"' in page.text, alert.name
    assert "<pre>prismq queues list\nprismq why 7\nprismq scale advice</pre>" in page.text
    assert '<a href="#workernotconsuming">WorkerNotConsuming</a>' in page.text
    assert site.client(accept="text/html").get("/runbooks", follow_redirects=False).status_code == 303


def test_alerts_lead_to_the_runbooks_that_the_settings_name(
    q: PrismQ, stack: Any, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "prismq.toml").write_text("[alerts]\nrunbooks_url = 'https://wiki.example.com/runbooks'\n")
    monkeypatch.chdir(tmp_path)
    plant(q, clock)
    client, link = Site(q, stack).anonymous, "https://wiki.example.com/runbooks#queueunserved"
    assert client.get("/api/v1/alerts").json()["items"][0]["runbook"] == link
    assert f'<a href="{link}">What to do</a>' in client.get("/alerts", headers={"accept": "text/html"}).text


def test_rules_are_listed_as_the_settings_have_them(
    q: PrismQ, stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "[alerts.rules.HighQueueDepth]\nenabled = false\n"
    text += "[alerts.own_rules.Mine]\nmetric = 'prismq_workers'\nthreshold = 9\n"
    (tmp_path / "prismq.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    rules = {one["rule"]: one for one in Site(q, stack).anonymous.get("/api/v1/alerts/rules").json()["items"]}
    assert (rules["HighQueueDepth"]["enabled"], rules["HighQueueDepth"]["changed"]) == (False, True)
    assert (rules["Mine"]["metric"], rules["Mine"]["threshold"]) == ("prismq_workers", 9)
    assert rules["NoActiveWorkers"]["severity"] == "page"


def test_an_admin_tests_a_channel_and_no_answer_holds_a_secret(
    q: PrismQ, stack: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as pager:
        text = (
            f"[alerts.channels.ops]\nwebhook = '{pager.url}/concealed'\nsecret = 'concealed concealed concealed'\n"
            "[alerts.channels.away]\nwebhook = 'http://127.0.0.1:9/concealed-token'\n"
        )
        (tmp_path / "prismq.toml").write_text(text)
        monkeypatch.chdir(tmp_path)
        site = Site(q, stack)
        assert site.as_(Role.OPERATOR).post("/api/v1/alerts/test", json={}).status_code == 403
        admin = site.as_(Role.ADMIN)
        tried = admin.post("/api/v1/alerts/test", json={}).json()["items"]
        assert tried == [
            {"channel": "ops", "ok": True, "error": None},
            {"channel": "away", "ok": False, "error": "127.0.0.1 cannot be reached: Connection refused"},
        ]
        assert pager.wait_for(1)[0].message["kind"] == "test"
        assert admin.post("/api/v1/alerts/test", json={"channel": "nobody"}).status_code == 422
        shown = "".join(admin.get(path).text for path in ("/api/v1/alerts", "/alerts", "/settings"))
        assert "concealed" not in shown
        assert [one["state"] for one in admin.get("/api/v1/alerts").json()["channels"]] == ["unused", "fine"]


def test_service_levels_are_counted(client: TestClient, q: PrismQ, clock: FakeClock) -> None:
    q.store.inbox.enqueue_many([a_task(queue="within_1_minute") for _ in range(10)], clock.now())
    leases = claim(q.store, clock, limit=10)
    for number, lease in enumerate(leases):
        (complete if number else dead_letter)(q.store, clock, lease)
    found = {(one["slo"], one["queue"]): one for one in client.get("/api/v1/slo").json()["items"]}
    success = found["success", None]
    assert (success["good"], success["total"], success["achieved"], success["state"]) == (9, 10, 0.9, "broken")
    assert success["error_budget_spent"] == pytest.approx(10)
    assert {one["window_seconds"]: one["rate"] for one in success["burn_rates"]}[3600] == pytest.approx(10)
    start = found["start", "within_1_minute"]
    assert (start["good"], start["total"], start["target_seconds"]) == (10, 10, 60)
    assert found["api", None]["state"] == "no data"
    assert success["days"] is None
    [one] = client.get("/api/v1/slo", params={"slo": "success", "history": "true"}).json()["items"]
    assert len(one["days"]) == 30
    assert one["days"][-1] == {"day": "2033-05-18T00:00:00Z", "good": 9.0, "total": 10.0}


def test_the_pages_show_and_do_it(site: Site, q: PrismQ, clock: FakeClock) -> None:
    site = Site(q, site._stack)
    number = plant(q, clock, summary="<b>3 tasks</b> wait")
    browser, csrf = site.browser(Role.OPERATOR)
    browser.headers["accept"] = "text/html"
    page = browser.get("/alerts").text
    assert "&lt;b&gt;3 tasks&lt;/b&gt; wait" in page
    assert "1 alert fires" in browser.get("/").text
    sent = {"csrf_token": csrf, "alert_id": str(number)}
    assert browser.post("/alerts/acknowledge", data=sent).status_code == 200
    assert "acknowledged by" in browser.get("/alerts").text
    assert "alert fires" not in browser.get("/").text
    sent = {"csrf_token": csrf, "hours": "4", "rule": "QueueUnserved", "label_queue": "mail"}
    browser.post("/alerts/silence", data=sent)
    [silence] = q.store.alerts.silences(clock.now())
    assert silence.matchers == {"rule": "QueueUnserved", "queue": "mail"}
    assert silence.until == START + 4 * 3600
    browser.post("/alerts/unsilence", data={"csrf_token": csrf, "silence_id": str(silence.silence_id)})
    assert q.store.alerts.silences(clock.now()) == []
    assert browser.post("/alerts/silence", data={"csrf_token": csrf, "hours": "4"}).status_code == 422
    assert "Service levels" in browser.get("/levels").text
