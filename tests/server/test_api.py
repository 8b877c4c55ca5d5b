"""The routes, over both engines: what each gives, and what it does."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from prismq import PrismQ
from prismq.domain.lease import LogLine
from prismq.domain.worker import Worker
from prismq.storage.contract import Schedule
from tests.helpers.builders import a_task, claim_one
from tests.helpers.clock import START, FakeClock


def enqueue(client: TestClient, **task: Any) -> int:
    answer = client.post("/api/v1/tasks", json={"type": "mail", **task})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


# -- tasks


def test_an_enqueued_task_is_there_as_it_was_sent(client: TestClient, q: PrismQ) -> None:
    sent = {
        "type": "mail.send", "payload": {"to": "žluť 馬", "n": [1, 2.5, None]}, "queue": "media", "priority": 7,
        "delay_seconds": 60, "max_attempts": 3, "timeout_seconds": 30, "compatibility": {"region": "eu"},
        "tags": ["a", "b"], "retention_seconds": 3600, "idempotency_key": "k1",
    }  # fmt: skip
    answer = client.post("/api/v1/tasks", json=sent)
    assert answer.status_code == 201
    task_id = answer.json()["id"]
    assert answer.headers["location"] == f"/api/v1/tasks/{task_id}"

    found = client.get(f"/api/v1/tasks/{task_id}").json()
    for field in ("type", "payload", "queue", "priority", "max_attempts", "timeout_seconds", "compatibility", "tags",
                  "retention_seconds", "idempotency_key"):  # fmt: skip
        assert found[field] == sent[field], field
    assert found["status"] == "scheduled"
    assert found["run_after"] == "2033-05-18T03:34:20Z"
    assert found["headers"]["prismq.enqueued_by"] == "anonymous"
    assert q.store.tasks.get(task_id) is not None


def test_an_idempotency_key_returns_the_first_task(client: TestClient) -> None:
    first = client.post("/api/v1/tasks", json={"type": "mail"}, headers={"Idempotency-Key": "order 7"})
    again = client.post("/api/v1/tasks", json={"type": "mail"}, headers={"Idempotency-Key": "order 7"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == {"id": first.json()["id"], "created": False}
    differ = client.post(
        "/api/v1/tasks", json={"type": "mail", "idempotency_key": "x"}, headers={"Idempotency-Key": "y"}
    )
    assert differ.status_code == 422


def test_many_are_enqueued_together_or_not_at_all(client: TestClient) -> None:
    answer = client.post("/api/v1/tasks/bulk", json={"tasks": [{"type": "a"}, {"type": "b", "queue": "x"}]})
    assert answer.status_code == 201
    assert [one["created"] for one in answer.json()["tasks"]] == [True, True]
    bad = client.post("/api/v1/tasks/bulk", json={"tasks": [{"type": "c"}, {"type": "d", "priority": 10**9}]})
    assert bad.status_code == 422
    assert "body.tasks.1.priority" in bad.json()["detail"]
    assert client.get("/api/v1/tasks?type=c").json()["items"] == []


def test_pages_hold_every_task_once(client: TestClient) -> None:
    ids = [enqueue(client, type=f"t{number % 2}") for number in range(7)]
    seen: list[int] = []
    cursor, pages = None, 0
    while True:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = client.get("/api/v1/tasks", params=query).json()
        seen += [one["id"] for one in page["items"]]
        pages, cursor = pages + 1, page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted(ids, reverse=True)
    assert pages == 3


@pytest.mark.parametrize("status", ["PENDING", "pending", "Queued", "queued,failed", "QUEUED"])
def test_statuses_in_the_spellings_of_people(client: TestClient, status: str) -> None:
    task_id = enqueue(client)
    assert [one["id"] for one in client.get(f"/api/v1/tasks?status={status}").json()["items"]] == [task_id]
    assert client.get("/api/v1/tasks?status=RUNNING").json()["items"] == []
    assert client.get("/api/v1/tasks?in_dlq=true").json()["items"] == []
    assert client.get("/api/v1/tasks?in_dlq=true&status=queued").json()["items"] == []


@pytest.mark.parametrize("status", ["", ",", "queued,", " "])
def test_no_status_does_not_mean_all(client: TestClient, status: str) -> None:
    assert client.get("/api/v1/tasks", params={"status": status}).status_code == 422


def test_an_unknown_status_is_named(client: TestClient) -> None:
    answer = client.get("/api/v1/tasks?status=runing")
    assert answer.status_code == 422
    assert "there is no status 'runing'; the statuses are" in answer.json()["detail"]


def test_a_tasks_story(client: TestClient, q: PrismQ) -> None:
    task_id = enqueue(client)
    q.store.logs.add(LogLine(task_id, START, "INFO", "it said so", '{"password": "x", "a": 1}', None))
    [line] = client.get(f"/api/v1/tasks/{task_id}/logs").json()["items"]
    assert (line["message"], line["details"]) == ("it said so", {"password": "[redacted]", "a": 1})
    assert client.get(f"/api/v1/tasks/{task_id}/timeline").json()["moments"][0]["kind"] == "enqueued"
    why = client.get(f"/api/v1/tasks/{task_id}/why").json()
    assert why["blocked"]
    assert why["reasons"][0]["code"] == "no_worker"
    for path in ("", "/logs", "/timeline", "/why"):
        missing = client.get(f"/api/v1/tasks/99999{path}")
        assert missing.status_code == 404
        assert missing.headers["content-type"] == "application/problem+json"


def test_a_log_is_followed_by_its_cursor(client: TestClient, q: PrismQ) -> None:
    task_id = enqueue(client)
    for number in range(3):
        q.store.logs.add(LogLine(task_id, START + number, "INFO", f"line {number}", None, None))
    first = client.get(f"/api/v1/tasks/{task_id}/logs?limit=2").json()
    second = client.get(f"/api/v1/tasks/{task_id}/logs", params={"cursor": first["next_cursor"]}).json()
    end = client.get(f"/api/v1/tasks/{task_id}/logs", params={"cursor": second["next_cursor"]}).json()
    assert [one["message"] for one in first["items"] + second["items"]] == ["line 0", "line 1", "line 2"]
    assert end == {"items": [], "next_cursor": second["next_cursor"]}
    q.store.logs.add(LogLine(task_id, START + 9, "INFO", "later", None, None))
    later = client.get(f"/api/v1/tasks/{task_id}/logs", params={"cursor": end["next_cursor"]}).json()
    assert [one["message"] for one in later["items"]] == ["later"]


def test_secrets_stay_out_of_answers(client: TestClient) -> None:
    task_id = enqueue(client, payload={"api_key": "s3cr3t", "nested": [{"token": "s3cr3t"}], "max_tokens": 5})
    answer = client.get(f"/api/v1/tasks/{task_id}")
    assert "s3cr3t" not in answer.text
    assert answer.json()["payload"]["max_tokens"] == 5


def test_acting_on_one_task(client: TestClient) -> None:
    task_id = enqueue(client, delay_seconds=60)
    act = f"/api/v1/tasks/{task_id}"
    assert client.post(f"{act}/priority", json={"priority": 3}).json() == {"changed": 1, "cancelling": 0}
    assert client.post(f"{act}/run-now").json()["changed"] == 1
    assert client.get(act).json()["status"] == "queued"
    assert client.post(f"{act}/run-now").status_code == 409
    assert client.post(f"{act}/cancel").json()["changed"] == 1
    again = client.post(f"{act}/cancel")
    assert again.status_code == 409
    assert "is cancelled" in again.json()["detail"]
    assert client.post(f"{act}/retry").json()["changed"] == 1
    assert client.get(act).json()["priority"] == 3
    other = client.post(f"{act}/retry-with", json={"payload": {"x": 2}})
    assert other.status_code == 201
    assert client.get(f"/api/v1/tasks/{other.json()['id']}").json()["payload"] == {"x": 2}
    assert client.delete(act).json()["changed"] == 1
    assert client.get(act).status_code == 404
    for path in ("cancel", "retry", "run-now"):
        assert client.post(f"/api/v1/tasks/99999/{path}").status_code == 404
    assert client.delete("/api/v1/tasks/99999").status_code == 404


def test_a_running_task_is_asked_to_stop(client: TestClient, q: PrismQ, clock: FakeClock) -> None:
    task_id = enqueue(client)
    claim_one(q.store, clock)
    assert client.post(f"/api/v1/tasks/{task_id}/cancel").json() == {"changed": 0, "cancelling": 1}
    assert client.get(f"/api/v1/tasks/{task_id}").json()["cancelling"]
    assert client.delete(f"/api/v1/tasks/{task_id}").status_code == 409


# -- search and bulk


def test_search_finds_by_everything(client: TestClient, clock: FakeClock) -> None:
    first = enqueue(client, payload={"to": "Ada"}, tags=["vip"])
    clock.advance(100)
    second = enqueue(client, type="other", queue="q2", payload={"to": "bob"})

    def found(**query: Any) -> list[int]:
        return [one["id"] for one in client.get("/api/v1/search/tasks", params=query).json()["items"]]

    assert found() == [second, first]
    assert found(text="ada") == [first]
    assert found(tag="vip") == [first]
    assert found(type="other") == found(queue="q2") == [second]
    assert found(created_after="2033-05-18T03:34:00Z") == [second]
    assert found(created_before="2033-05-18T03:34:00Z") == [first]
    assert found(text="'; DROP TABLE task_queue; --") == []
    assert found(text="%") == []


def test_a_bulk_action_is_counted_first_and_never_does_more(client: TestClient) -> None:
    for _ in range(3):
        enqueue(client)
    asked = {"action": "cancel", "filter": {"type": "mail"}}
    bulk = "/api/v1/search/tasks/bulk-action"
    assert client.post(bulk, json=asked).status_code == 422
    preview = client.post(bulk, json={**asked, "dry_run": True}).json()
    assert (preview["matching"], preview["exact"], preview["changed"]) == (3, True, 0)

    enqueue(client)
    refused = client.post(bulk, json={**asked, "expected": 3})
    assert refused.status_code == 409
    assert refused.json()["matching"] == 4
    assert client.get("/api/v1/tasks?status=cancelled").json()["items"] == []

    done = client.post(bulk, json={**asked, "expected": 4}).json()
    assert done["changed"] == 4
    assert client.post(bulk, json={**asked, "action": "retry", "dry_run": True}).json()["matching"] == 0
    asked = {"action": "retry", "filter": {"status": ["cancelled"], "text": "{"}}
    assert client.post(bulk, json={**asked, "dry_run": True}).json()["matching"] == 4
    assert client.post(bulk, json={**asked, "expected": 9}).json()["changed"] == 4


@pytest.mark.parametrize(
    "body",
    [
        {"action": "cancel", "filter": {}, "dry_run": True},
        {"action": "explode", "filter": {"type": "x"}, "dry_run": True},
        {"action": "run-now", "filter": {"status": ["completed"]}, "dry_run": True},
        {"action": "reprioritise", "filter": {"type": "x"}, "dry_run": True},
        {"action": "cancel", "filter": {"type": "x"}, "dry_run": True, "priority": 3},
        {"action": "cancel", "filter": {"typo": "x"}, "dry_run": True},
        {"action": "cancel", "filter": {"type": "x"}, "expected": -1},
    ],
)
def test_a_bulk_action_that_makes_no_sense(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post("/api/v1/search/tasks/bulk-action", json=body).status_code == 422


# -- queues, workers, schedules


def test_queues(client: TestClient) -> None:
    enqueue(client)
    assert client.post("/api/v1/queues/default/pause").json() == {"done": True}
    [found] = client.get("/api/v1/queues").json()["items"]
    assert (found["paused"], found["paused_by"], found["depth"]["queued"]) == (True, "anonymous", 1)
    assert client.post("/api/v1/queues/default/resume").json() == {"done": True}
    assert client.post("/api/v1/queues/default/resume").json() == {"done": False}
    assert client.post("/api/v1/queues/default/limit", json={"max_running": 2}).status_code == 200
    assert client.get("/api/v1/queues").json()["items"][0]["max_running"] == 2
    assert client.post("/api/v1/queues/default/limit", json={"max_running": 0}).status_code == 422
    assert client.post("/api/v1/queues/nowhere/pause").status_code == 404
    assert client.post("/api/v1/queues/default/purge", json={"dry_run": True}).json()["matching"] == 1
    assert client.post("/api/v1/queues/default/purge", json={"expected": 0}).status_code == 409
    assert client.post("/api/v1/queues/default/purge", json={"expected": 1}).json()["changed"] == 1
    assert client.get("/api/v1/tasks").json()["items"] == []


def test_workers(client: TestClient, q: PrismQ, clock: FakeClock) -> None:
    q.store.workers.register(Worker("host-1-ab12", slots=4, busy=1, started_at_utc=None), clock.now())
    [found] = client.get("/api/v1/workers").json()["items"]
    assert (found["worker_id"], found["condition"], found["utilization_percent"]) == ("host-1-ab12", "active", 25.0)
    assert client.get("/api/v1/workers/host-1/status").json()["worker_id"] == "host-1-ab12"
    figures = client.get("/api/v1/metrics/workers/host-1-ab12").json()
    assert (figures["slots"], figures["tasks_completed"], figures["success_rate"]) == (4, 0, None)
    for word in ("pause", "resume", "drain"):
        assert client.post(f"/api/v1/workers/host-1-ab12/{word}").json() == {"done": True}
    assert client.post("/api/v1/workers/host-1-ab12/resize", json={"slots": 9}).status_code == 200
    asked = q.store.workers.take_commands("host-1-ab12", clock.now())
    assert [(str(command), argument, by) for command, argument, by in asked] == [
        ("pause", None, "anonymous"), ("resume", None, "anonymous"), ("drain", None, "anonymous"),
        ("resize", 9, "anonymous"),
    ]  # fmt: skip
    assert client.get("/api/v1/workers/nobody/status").status_code == 404
    assert client.post("/api/v1/workers/nobody/pause").status_code == 404
    q.store.workers.stop("host-1-ab12", "stopped", None, clock.now())
    assert client.post("/api/v1/workers/host-1-ab12/pause").status_code == 409
    assert client.get("/api/v1/workers").json()["items"] == []
    assert len(client.get("/api/v1/workers?ended=true").json()["items"]) == 1


def test_schedules(client: TestClient, q: PrismQ, clock: FakeClock) -> None:
    q.store.schedules.declare(Schedule("nightly", "0 3 * * *", "UTC", "latest", a_task("report")), clock.now())
    [found] = client.get("/api/v1/schedules").json()["items"]
    assert (found["schedule"], found["type"], found["paused"], found["error"]) == ("nightly", "report", False, None)
    assert found["next_run_at"] == "2033-05-19T03:00:00Z"
    assert client.post("/api/v1/schedules/nightly/pause").json() == {"done": True}
    assert client.get("/api/v1/schedules").json()["items"][0]["next_run_at"] is None
    assert client.post("/api/v1/schedules/nightly/resume").json() == {"done": True}
    ran = client.post("/api/v1/schedules/nightly/run")
    assert ran.status_code == 201
    assert client.get(f"/api/v1/tasks/{ran.json()['id']}").json()["schedule"] == "nightly"
    assert client.delete("/api/v1/schedules/nightly").json() == {"done": True}
    for path in ("pause", "resume", "run"):
        assert client.post(f"/api/v1/schedules/nightly/{path}").status_code == 404


# -- figures and health


def test_figures(client: TestClient) -> None:
    enqueue(client, priority=1)
    enqueue(client, queue="q2")
    depth = client.get("/api/v1/dashboard/queue-depth").json()
    assert depth["total"] == 2
    assert depth["by_priority"] == {"high": {"queued": 1}, "normal": {"queued": 1}, "low": {}}
    assert depth["by_queue"] == {"default": {"queued": 1}, "q2": {"queued": 1}}
    stats = client.get("/api/v1/dashboard/stats").json()
    assert stats["depth"]["queued"] == 2
    assert stats["workers"] == {"live": 0, "taking_tasks": 0, "slots": 0, "busy": 0, "utilization_percent": None}
    trends = client.get("/api/v1/analytics/trends?range=1h").json()
    assert len(trends["points"]) == 60
    assert client.get("/api/v1/analytics/trends?range=2h").status_code == 422


def test_the_health_documents_of_the_reference(client: TestClient, q: PrismQ, clock: FakeClock) -> None:
    q.store.workers.register(Worker("w1", slots=4), clock.now())
    whole = client.get("/health")
    assert whole.status_code == 200, whole.text
    found = whole.json()
    assert found["status"] in ("healthy", "degraded")
    assert found["timestamp"].endswith("Z")
    assert set(found["checks"]["database"]) == {"status", "response_time_ms"}
    assert found["checks"]["redis"] == {"status": "not_configured", "response_time_ms": None}
    assert found["checks"]["workers"] == {"status": "healthy", "active_count": 1, "total_count": 1}
    assert found["checks"]["api"]["uptime_seconds"] == 0

    database = client.get("/api/v1/health/database").json()
    assert set(database) == {"status", "connection_pool", "query_latency_ms"}
    assert set(database["connection_pool"]) == {"active", "idle", "total"}
    redis = client.get("/api/v1/health/redis").json()
    assert redis == {"status": "not_configured", "memory_mb": None, "connected_clients": None, "ops_per_second": None}
    workers = client.get("/api/v1/health/workers").json()
    assert workers == {
        "status": "healthy", "active_workers": 1, "total_workers": 1, "healthy_workers": 1, "unhealthy_workers": 0,
    }  # fmt: skip
    assert client.get("/health/live").json() == {"ok": True, "reason": "the server answers"}
    assert client.get("/health/ready").json()["ok"]


def test_waiting_work_and_no_worker_is_unhealthy(client: TestClient) -> None:
    enqueue(client)
    found = client.get("/health")
    assert found.status_code == 503
    assert found.json()["status"] == "unhealthy"


def test_metrics_by_content_negotiation(client: TestClient) -> None:
    enqueue(client)
    plain = client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "prismq_tasks_enqueued_total" in plain.text
    other = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert other.headers["content-type"].startswith("application/openmetrics-text")
    assert other.text.endswith("# EOF\n")
    assert client.get("/metrics", headers={"accept": "application/json"}).json()


# -- polling


def test_polling_what_has_not_changed_costs_no_body(client: TestClient) -> None:
    task_id = enqueue(client)
    first = client.get(f"/api/v1/tasks/{task_id}")
    etag = first.headers["etag"]
    again = client.get(f"/api/v1/tasks/{task_id}", headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag
    client.post(f"/api/v1/tasks/{task_id}/cancel")
    changed = client.get(f"/api/v1/tasks/{task_id}", headers={"if-none-match": etag})
    assert changed.status_code == 200
    assert changed.json()["status"] == "cancelled"
    assert "no-store" not in first.headers["cache-control"]


def test_the_documentation_needs_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "/api/v1/tasks/{task_id}/why" in page.text
    for outside in ("http://", "https://", "<script", "<style", " style="):
        assert outside not in page.text
    assert client.get("/docs/style.css").headers["content-type"].startswith("text/css")
    assert client.get("/openapi.json").json()["openapi"].startswith("3.")
