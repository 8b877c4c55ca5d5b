"""A queue with a server, workers, Redis, Prometheus and Alertmanager, all of them real."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from prismq import PrismQ, QueueMetrics
from tests.helpers.processes import Supervised, supervised, wait_until
from tests.helpers.prometheus import Monitoring, Receiver, alertmanager, free_port, prometheus, receiver
from tests.helpers.redis import redis_server

APP = Path(__file__).parent / "queue_app.py"
# One alert that comes and goes while a test waits for it.
SETTINGS = """
[alerts.rules.QueueUnserved]
for_seconds = 1
resolve_after_seconds = 0
"""
# This process does not know the app's functions, nor what they say of themselves.
OPTIONS: dict[str, Any] = {"late": {"timeout": 0.2, "max_attempts": 1}, "stumble": {"max_attempts": 3}}
TYPES = ("work", "break", "stumble", "late")


def prismq(*arguments: str, folder: Path) -> str:
    """The command's standard output; AssertionError where it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "prismq", *arguments],
        cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _hasten(configuration: Path) -> None:
    """Alertmanager gathers for a second instead of ten or sixty; everything else stays as the kit has it."""
    text = configuration.read_text()
    configuration.write_text(re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", text))


class Scene(NamedTuple):
    """What is running."""

    q: PrismQ
    figures: QueueMetrics
    prometheus: Monitoring
    alertmanager: Monitoring
    told: Receiver
    workers: Supervised
    server: str  # its address

    def ended(self) -> int:
        """How many tasks of the app have ended, those of its schedule aside."""
        found = self.q.store.insight.totals(self.q.clock.now())
        return sum(
            one.tasks for one in found if one.type in TYPES and one.outcome in ("completed", "failed", "dead_letter")
        )

    def run(self, **tasks: int) -> None:
        """Have so many tasks of each type done."""
        before = self.ended()
        for name, count in tasks.items():
            kind = {"breaks": "break"}.get(name, name)
            for _ in range(count):
                self.q.enqueue(kind, {"seconds": 0.02} if kind == "work" else {}, queue=kind, **OPTIONS.get(kind, {}))
        wanted = before + sum(tasks.values())
        wait_until(lambda: self.ended() >= wanted, f"{wanted} tasks have ended", 60, every_s=0.05)


@contextmanager
def _server(folder: Path, database: Path, address: str, redis_url: str) -> Iterator[None]:
    host, port = address.split(":")
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prismq", "server", "--db", str(database), "--host", host, "--port", port],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env={**os.environ, "PRISMQ_REDIS_URL": redis_url},
        )  # fmt: skip

    def answers() -> bool:
        assert process.poll() is None, (folder / "server.log").read_text(errors="replace")
        try:
            with urllib.request.urlopen(f"http://{address}/health/live", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_until(answers, "the server answers", 60, every_s=0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def scene(folder: Path) -> Iterator[Scene]:
    """Everything, until the end of the block; one task of each type has been done, and Prometheus has seen it."""
    database, kit = folder / "queue.db", folder / "kit"
    server, eyes, ears = (f"127.0.0.1:{free_port()}" for _ in range(3))
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server())
        told = stack.enter_context(receiver())
        (folder / "prismq.toml").write_text(SETTINGS)
        prismq("init", "--no-config", str(database), folder=folder)
        secret = prismq("tokens", "create", "prometheus", "--db", str(database), folder=folder)
        prismq("backup", "create", "--db", str(database), folder=folder)
        prismq(
            "kit", "prometheus", "--out", str(kit), "--target", server, "--interval", "1", "--listen", eyes,
            "--alertmanager", ears, "--webhook", told.url, folder=folder,
        )  # fmt: skip
        (kit / "prismq.token").write_text(secret)
        _hasten(kit / "alertmanager.yml")
        stack.enter_context(_server(folder, database, server, redis.url))
        settings = {"heartbeat_interval_seconds": 1.0, "processes": 2}
        workers = stack.enter_context(
            supervised(database, app=f"{APP}:q", env={"PRISMQ_TEST_DATABASE": str(database)}, **settings)
        )
        q = PrismQ(database)
        stack.callback(q.close)
        wait_until(lambda: len(workers.registered()) == 2, "both workers are registered", 60)
        ringing = stack.enter_context(alertmanager(kit / "alertmanager.yml", ears))
        watching = stack.enter_context(prometheus(kit / "prometheus.yml", eyes))
        found = Scene(q, QueueMetrics(q), watching, ringing, told, workers, server)
        # What comes from now on comes while somebody looks.
        watching.when("count(prismq_metrics_collect_seconds)", lambda value: value == 1)
        found.run(work=1, breaks=1, stumble=1, late=1)
        watching.when('sum(prismq_tasks_finished_total{queue=~"work|break|stumble|late"})', lambda value: value == 4)
        watching.when("count(task_queue:failure_rate)", lambda value: value == 1)
        yield found
