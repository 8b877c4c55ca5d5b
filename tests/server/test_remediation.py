"""Remediation over HTTP: who may, what it does, what is written down."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from prismq import PrismQ
from prismq.domain.account import Role
from tests.helpers.builders import a_task, claim
from tests.helpers.clock import FakeClock
from tests.server.conftest import Site

BREAKERS = "/api/v1/remediation/breakers"


def test_a_breaker_is_opened_and_closed_and_both_are_on_record(client: TestClient, q: PrismQ, clock: FakeClock) -> None:
    q.store.inbox.enqueue(a_task("mail"), clock.now())

    opened = client.post(f"{BREAKERS}/mail/open", json={"reason": "the provider is down", "for_seconds": 600})

    assert opened.status_code == 200
    assert (opened.json()["state"], opened.json()["reason"]) == ("open", "the provider is down")
    assert opened.json()["warning"] is None
    assert claim(q.store, clock) == []
    found = client.get("/api/v1/remediation").json()
    assert [one["type"] for one in found["breakers"]] == ["mail"]
    assert found["acts"][0]["act"] == "breaker_open"
    assert client.get("/api/v1/tasks/1/why").json()["reasons"][0]["code"] == "breaker_open"
    assert client.post(f"{BREAKERS}/mail/close").json() == {"done": True}
    assert client.post(f"{BREAKERS}/mail/close").json() == {"done": False}
    assert len(claim(q.store, clock)) == 1
    assert {one["act"]: one["times"] for one in client.get("/api/v1/remediation").json()["totals"]} == {
        "breaker_open": 1, "breaker_close": 1
    }  # fmt: skip


def test_a_type_that_nobody_knows_is_opened_with_a_warning(client: TestClient, q: PrismQ, clock: FakeClock) -> None:
    q.store.inbox.enqueue(a_task("mail"), clock.now())

    answer = client.post(f"{BREAKERS}/mial/open", json={})

    assert answer.status_code == 200
    warning = answer.json()["warning"]
    assert warning == "no task of the type 'mial' was ever seen, and no worker knows it. Did you mean 'mail'?"


def test_acts_come_in_pages(client: TestClient) -> None:
    for number in range(5):
        client.post(f"{BREAKERS}/type{number}/open", json={})

    first = client.get("/api/v1/remediation?limit=3").json()
    second = client.get(f"/api/v1/remediation?limit=3&before_id={first['next_before_id']}").json()

    assert [one["target"] for one in first["acts"] + second["acts"]] == [f"type{number}" for number in range(4, -1, -1)]
    assert second["next_before_id"] is None


@pytest.mark.parametrize(
    ("path", "body", "names"),
    [
        (f"{BREAKERS}/mail/open", {"for_seconds": 0}, "for_seconds"),
        (f"{BREAKERS}/mail/open", {"for_seconds": "long"}, "for_seconds"),
        (f"{BREAKERS}/mail/open", {"minutes": 5}, "minutes"),
        (f"{BREAKERS}/{'a' * 300}/open", {}, "type_name"),
    ],
)
def test_what_cannot_be_is_refused_by_name(client: TestClient, path: str, body: dict[str, object], names: str) -> None:
    answer = client.post(path, json=body)

    assert answer.status_code == 422
    assert names in answer.text


def test_a_viewer_looks_and_an_operator_acts(site: Site) -> None:
    viewer = site.as_(Role.VIEWER)

    assert viewer.get("/api/v1/remediation").status_code == 200
    assert viewer.post(f"{BREAKERS}/mail/open", json={}).status_code == 403
    assert viewer.post(f"{BREAKERS}/mail/close").status_code == 403
    assert site.as_(Role.OPERATOR).post(f"{BREAKERS}/mail/open", json={}).status_code == 200
    [entry] = site.q.store.audit.find(action="remediation")
    assert (entry.actor, entry.via, entry.origin) == ("the-operator", "token", "127.0.0.1")
