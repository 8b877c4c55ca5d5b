"""The command line in this process, on real databases in temporary folders."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prismq import PrismQ
from prismq.domain.worker import Worker

APP = """
from prismq import PrismQ, PermanentError

q = PrismQ("app.db")

@q.task(name="add", tags=["sums"])
def add(a: int, b: int) -> int:
    return a + b

@q.task(name="greet")
def greet(name: str) -> str:
    return f"Hello {name}"

@q.task(name="fail")
def fail() -> None:
    raise PermanentError("it cannot be")

@q.periodic("30 6 * * MON-FRI", timezone="Europe/Prague", name="morning", kwargs={"a": 1, "b": 2})
@q.task(name="daily")
def daily(a: int, b: int) -> int:
    return a + b
"""


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """Runs `prismq` in this process, in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._capsys, self._monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: object, stdin: str = "") -> Answer:
        from prismq.cli.main import main

        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            code = main([str(one) for one in arguments])
        except SystemExit as end:  # typer ends the process itself after --show-completion
            code = int(end.code or 0)
        out, err = self._capsys.readouterr()
        return Answer(int(code), out, err)


@pytest.fixture
def cli(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`cli("tasks", "list")`: nothing is configured, and the current folder is empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("PRISMQ_QUEUE_DB_PATH", "PRISMQ_DATABASE_URL", "PRISMQ_WORKER_CONCURRENCY", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("prismq.config.default_db_path", lambda system="": tmp_path / "default" / "queue.db")
    return Cli(tmp_path, capsys, monkeypatch)


@pytest.fixture
def q(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrismQ]:
    """A queue in the database that commands find by themselves."""
    path = cli.folder / "queue.db"
    monkeypatch.setenv("PRISMQ_QUEUE_DB_PATH", str(path))
    with PrismQ(path) as queue:
        queue.store.check()
        yield queue


@pytest.fixture
def app_file(cli: Cli, request: pytest.FixtureRequest) -> Iterator[str]:
    """A file with tasks, as `file.py:q`; its module has a name of its own in each test."""
    name = f"app_of_{abs(hash(request.node.nodeid))}"
    path = cli.folder / f"{name}.py"
    path.write_text(APP, encoding="utf-8")
    yield f"{path}:q"
    sys.modules.pop(name, None)
    folder = str(cli.folder.resolve())
    if folder in sys.path:
        sys.path.remove(folder)


def set_task(q: PrismQ, task_id: int, **columns: Any) -> None:
    """Write columns of a task by hand."""
    names = ", ".join(f"{name} = ?" for name in columns)
    q.store.database.execute(f"UPDATE task_queue SET {names} WHERE id = ?", (*columns.values(), task_id))


def add_worker(q: PrismQ, worker_id: str = "host-0-abc123", *, ago_s: float = 0.0, **columns: Any) -> str:
    """A worker's row, with a heartbeat of `ago_s` seconds ago. It looked for work when it was last heard of."""
    from prismq.domain.times import from_epoch

    at = q.clock.now() - ago_s
    values = {"slots": 8, "hostname": "host", "pid": 1, "last_look_utc": from_epoch(at), **columns}
    q.store.workers.register(Worker(worker_id=worker_id, **values), at)
    return worker_id
