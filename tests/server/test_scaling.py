"""Advice, numbers for autoscalers, and replays, over HTTP."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from prismq import PrismQ
from prismq.domain.account import Role
from prismq.domain.task import TaskFilter
from prismq.storage.contract import Schedule
from tests.helpers.builders import a_task, a_worker
from tests.helpers.clock import FakeClock
from tests.server.conftest import Site


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
    busy.store.queues.limit("other", 3)
    named = client.get("/api/v1/scaling/slots", params={"queue": ["within_30_seconds", "other"]}).json()
    other = client.get("/api/v1/scaling/slots", params={"queue": "other"}).json()

    assert all_["slots_wanted"] == named["slots_wanted"] > 8
    assert (all_["waiting"], all_["oldest_ready_seconds"]) == (1, 20)
    assert (other["slots_wanted"], other["waiting"], other["oldest_ready_seconds"]) == (1, 0, 0.0)


def configured(q: PrismQ, stack: ExitStack, folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> TestClient:
    """A client of a server with these settings."""
    (folder / "prismq.toml").write_text(text)
    monkeypatch.chdir(folder)
    return Site(q, stack, dashboard=False).anonymous


def test_the_settings_promise_goes_before_the_name(
    busy: PrismQ, stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: TestClient
) -> None:
    told = configured(
        busy, stack, tmp_path, monkeypatch,
        "[slo]\npromises = { within_30_seconds = { target_seconds = 0.5, objective = 0.9999 } }\n",
    )  # fmt: skip
    [queue] = told.get("/api/v1/scaling").json()["queues"]
    before, after = (one.get("/api/v1/scaling/slots").json()["slots_wanted"] for one in (client, told))
    page = told.get("/metrics").text

    assert (queue["target_wait_seconds"], queue["target_part"], queue["target_from"]) == (0.5, 0.9999, "setting")
    assert after > before
    assert f"prismq_slots_wanted {after}" in page
    assert 'prismq_queue_promise_seconds{queue="within_30_seconds"} 0.5' in page


@pytest.mark.parametrize("path", ["slots", "simulation?slots=1"])
def test_a_queue_that_is_none_is_not_at_rest(busy: PrismQ, client: TestClient, path: str) -> None:
    asked = "&".join(f"queue={name}" for name in ("within_30_seconds", "within_30_second"))
    answer = client.get(f"/api/v1/scaling/{path}{'&' if '?' in path else '?'}{asked}")

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "there is no queue 'within_30_second'" in answer.json()["detail"]
    assert "Did you mean 'within_30_seconds'?" in answer.json()["detail"]


def test_a_queue_that_has_had_no_task_yet_is_one_where_somebody_names_it(
    q: PrismQ, stack: ExitStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    client = configured(
        q, stack, tmp_path, monkeypatch,
        "[slo]\npromises = { promised = 60 }\n[worker]\nqueues = ['served']\nshed = { shed = { max_waiting = 9 } }\n"
        "[alerts]\ncanary_queues = ['mine']\n",
    )  # fmt: skip
    q.store.workers.register(a_worker("w1", queues='["media"]'), clock.now())
    q.store.workers.register(a_worker("w2"), clock.now())  # serves every queue, and so names none
    q.store.schedules.declare(Schedule("hourly", "0 * * * *", "UTC", "latest", a_task(queue="ticks")), clock.now())
    q.store.queues.pause("paused", "ada", clock.now())

    found = {
        queue: client.get("/api/v1/scaling/slots", params={"queue": queue}).status_code
        for queue in ("promised", "served", "shed", "mine", "media", "ticks", "paused", "nope")
    }

    assert found.pop("nope") == 404
    assert set(found.values()) == {200}, found


def test_a_queue_whose_tasks_are_all_gone_is_still_one(q: PrismQ, client: TestClient, clock: FakeClock) -> None:
    q.store.inbox.enqueue(a_task(queue="once"), clock.now())
    q.store.upkeep.book(clock.now())
    q.store.tasks.delete(TaskFilter(queue="once"))
    clock.advance(10 * 86_400)

    answer = client.get("/api/v1/scaling/slots", params={"queue": "once"})

    assert (answer.status_code, answer.json()["slots_wanted"]) == (200, 1)


def test_a_replay_without_a_service_time_has_no_figures(q: PrismQ, client: TestClient, clock: FakeClock) -> None:
    q.store.inbox.enqueue(a_task(), clock.now())
    q.store.upkeep.book(clock.now())

    [found] = client.get("/api/v1/scaling/simulation", params={"slots": 4}).json()["items"]

    unknown = ("service_seconds", "wait_p50_seconds", "part_within_target", "utilization", "drain_seconds")
    assert found["tasks"] == 1
    assert {found[name] for name in unknown} == {None}


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
