"""Two real processes: one watches; when it is killed the other goes on where it was, and nobody is told twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from prismq import PrismQ
from prismq.domain.task import TaskFilter
from prismq.storage.contract.alerts import DUTY
from tests.helpers.engines import ENGINES, Engine, PostgresEngine, SqliteEngine
from tests.helpers.processes import wait_until
from tests.helpers.receiver import Receiver, receiver

APP = """
from prismq import PrismQ

q = PrismQ({database!r})

@q.task(name="job", queue="served")
def job() -> None: ...
"""
SETTINGS = """
[worker]
queues = ["served"]
heartbeat_interval_seconds = 1.0

[alerts]
interval_seconds = 1.0
group_wait_seconds = 0.0
canary_queues = ["served"]

[alerts.channels.pager]
webhook = {url!r}

[alerts.rules.QueueUnserved]
for_seconds = 0.0
resolve_after_seconds = 0.0

[alerts.rules.NoActiveWorkers]
enabled = false
"""


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with ENGINES[request.param](tmp_path) as engine:
        yield engine


@contextmanager
def a_worker_command(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    with (folder / f"worker-{os.urandom(4).hex()}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prismq", "worker", "app.py:q", "-n", "1"], cwd=folder, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        for one in (*psutil.Process(process.pid).children(recursive=True),) if process.poll() is None else ():
            one.kill()
        process.kill()
        process.wait()


def holder(q: PrismQ) -> str | None:
    return next((one.holder for one in q.store.duties.all(q.clock.now()) if one.name == DUTY), None)


def kinds(pager: Receiver) -> list[str]:
    return [
        one.message["kind"]
        for one in pager.received
        for alert in one.message["alerts"]
        if (alert["rule"], alert["labels"]) == ("QueueUnserved", {"queue": "lonely"})
    ]


@pytest.mark.slow
def test_who_watches_is_killed_and_the_other_goes_on(engine: Engine, tmp_path: Path) -> None:
    assert isinstance(engine, (SqliteEngine, PostgresEngine))
    database = str(engine.path) if isinstance(engine, SqliteEngine) else engine.url
    (tmp_path / "app.py").write_text(APP.format(database=database))
    with receiver() as pager, PrismQ(database) as q:
        (tmp_path / "prismq.toml").write_text(SETTINGS.format(url=pager.url))
        with a_worker_command(tmp_path) as one:
            watching = wait_until(lambda: holder(q), "the first watches", 60)
            with a_worker_command(tmp_path):
                wait_until(lambda: len(q.store.workers.all()) >= 2, "the second has begun", 60)
                q.enqueue("job", queue="lonely")
                wait_until(lambda: kinds(pager) == ["firing"], "the alert is told", 60)
                assert holder(q) == watching, "one has the duty, and keeps it"
                # At least once: who is killed between telling and writing it down leaves it to be told once more.
                wait_until(lambda: not q.store.alerts.due_notices(q.clock.now() + 3600), "it is written down", 60)

                one.send_signal(signal.SIGKILL)
                wait_until(lambda: holder(q) not in (None, watching), "the other takes over", 60)
                q.store.tasks.delete(TaskFilter(queue="lonely"))
                wait_until(lambda: len(kinds(pager)) > 1, "its end is told", 60)
                assert kinds(pager) == ["firing", "resolved"]
                wait_until(lambda: [c for c in q.store.alerts.canaries() if c.took_s is not None], "the canary", 60)
