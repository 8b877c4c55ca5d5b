"""Advice, numbers for autoscalers, and replays, over HTTP."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from prismq import PrismQ
from prismq.domain.account import Role
from tests.helpers.builders import a_report, a_task, a_worker, claim, complete
from tests.helpers.clock import FakeClock
from tests.server.conftest import Site


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


def test_advice_is_given_for_each_queue_and_for_all_together(busy: PrismQ, client: TestClient) -> None:
    found = client.get("/api/v1/scaling").json()

    [queue] = found["queues"]
    assert queue["queue"] == "within_30_seconds"
    assert (queue["verdict"], queue["slots_now"], queue["target_wait_seconds"]) == ("more", 8, 30)
    assert queue["slots_wanted"] >= queue["slots_floor"] > 8
    assert queue["keeps_up"] is False
    assert found["together"]["slots_wanted"] == queue["slots_wanted"]


def test_an_autoscaler_reads_one_number(busy: PrismQ, client: TestClient) -> None:
    all_ = client.get("/api/v1/scaling/slots").json()
    named = client.get("/api/v1/scaling/slots", params={"queue": ["within_30_seconds", "other"]}).json()
    other = client.get("/api/v1/scaling/slots", params={"queue": "other"}).json()

    assert all_["slots_wanted"] == named["slots_wanted"] > 8
    assert (all_["waiting"], all_["oldest_ready_seconds"]) == (1, 20)
    assert other == {
        "queues": [], "slots_wanted": 1, "slots_now": 8, "waiting": 0, "running": 0, "oldest_ready_seconds": 0.0
    }  # fmt: skip


def test_a_day_is_replayed_with_each_size(busy: PrismQ, client: TestClient) -> None:
    found = client.get("/api/v1/scaling/simulation", params={"slots": [1, 64], "target_seconds": 30}).json()["items"]

    assert [one["slots"] for one in found] == [1, 64]
    assert [one["tasks"] for one in found] == [300, 300]
    assert found[0]["wait_p95_seconds"] > found[1]["wait_p95_seconds"]
    assert found[0]["part_within_target"] < found[1]["part_within_target"] == 1.0
    again = client.get("/api/v1/scaling/simulation", params={"slots": [1, 64], "target_seconds": 30}).json()["items"]
    assert again == found


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/api/v1/scaling?target_seconds=0", "target_seconds"),
        ("/api/v1/scaling?part=1.5", "part"),
        ("/api/v1/scaling?surprise=1", "surprise"),
        ("/api/v1/scaling/simulation", "slots"),
        ("/api/v1/scaling/simulation?slots=0", "slots"),
        ("/api/v1/scaling/simulation?slots=many", "slots"),
        ("/api/v1/scaling/simulation?slots=" + "&slots=".join(["1"] * 11), "slots"),
        ("/api/v1/scaling/simulation?slots=1&seconds=5", "seconds"),
        ("/api/v1/scaling/simulation?slots=1&growth=nan", "growth"),
    ],
)
def test_what_cannot_be_is_refused_by_name(client: TestClient, path: str, names: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 422
    assert names in answer.text


def test_looking_wants_a_viewer_where_tokens_are_asked_for(site: Site, q: PrismQ) -> None:
    assert site.as_(Role.VIEWER).get("/api/v1/scaling/slots").status_code == 200
