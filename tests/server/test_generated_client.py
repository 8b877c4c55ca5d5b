"""A client that a public generator makes of the OpenAPI document enqueues a task and follows it."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prismq import PrismQ
from prismq.client.tokens import create_token
from prismq.domain.account import Role
from prismq.server import ServerSettings
from prismq.server.runner import Beside, address_of, prepare
from tests.helpers.postgres import free_port
from tests.helpers.processes import wait_until

WAIT_S = 30.0


@pytest.fixture
def q(tmp_path: Path) -> Iterator[PrismQ]:
    with PrismQ(tmp_path / "queue.db") as queue:
        yield queue


@pytest.fixture
def client(q: PrismQ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The generated package, as a program finds it: a folder in its path."""
    app, listening = prepare(q, settings := ServerSettings(port=free_port()))
    (tmp_path / "openapi.json").write_text(json.dumps(app.openapi()), encoding="utf-8")
    program = [sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning", "--meta", "none"]
    files = ["--path", str(tmp_path / "openapi.json"), "--output-path", str(tmp_path / "generated_client")]
    (tmp_path / "config.yml").write_text("post_hooks: []\n", encoding="utf-8")
    done = subprocess.run(
        [*program, *files, "--config", str(tmp_path / "config.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(str(tmp_path))
    _, token = create_token(q.store, q.clock.now(), "program", Role.OPERATOR, by="test", via="cli")
    with Beside(app, listening, settings):
        made = importlib.import_module("generated_client")
        with made.AuthenticatedClient(base_url=address_of(settings), token=token) as one:
            yield one
    for name in [name for name in sys.modules if name.partition(".")[0] == made.__name__]:
        del sys.modules[name]


def _call(name: str) -> Any:
    return importlib.import_module(f"generated_client.api.tasks.{name}")


def test_a_generated_client_enqueues_a_task_and_follows_it(q: PrismQ, client: Any) -> None:
    @q.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    models = importlib.import_module("generated_client.models")
    new = models.NewTask.from_dict({"type": "add", "payload": {"a": 2, "b": 3}, "priority": 50})
    first = _call("tasks_enqueue").sync_detailed(client=client, body=new, idempotency_key="once")
    again = _call("tasks_enqueue").sync_detailed(client=client, body=new, idempotency_key="once")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.parsed.id == again.parsed.id
    task_id = first.parsed.id

    def status() -> str:
        return str(_call("tasks_get_task").sync(client=client, task_id=task_id).status)

    assert status() == "queued"
    with q.worker():
        wait_until(lambda: status() == "completed", "the task is completed", WAIT_S)
    found = _call("tasks_get_task").sync(client=client, task_id=task_id)
    assert (found.priority, found.result) == (50, 5)
    moments = _call("tasks_get_timeline").sync(client=client, task_id=task_id)
    assert moments is not None
    listed = _call("tasks_list_tasks").sync(client=client, status=["completed"])
    assert [one.id for one in listed.items] == [task_id]


def test_what_it_does_wrong_comes_as_a_problem_document(client: Any) -> None:
    found = _call("tasks_get_task").sync_detailed(client=client, task_id=4711)
    assert found.status_code == 404
    assert "4711" in found.parsed.detail
