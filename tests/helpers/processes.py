"""Real supervisors and workers, for tests that kill them; and waiting with a deadline instead of sleeping."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

T = TypeVar("T")

APPS = Path(__file__).parent.parent / "fault" / "apps.py"
_RUN = """
import json, sys
from prismq.config import WorkerConfig
from prismq.worker.supervisor import run
reference, database, config = sys.argv[1:4]
sys.exit(run(reference, WorkerConfig(**json.loads(config)), database=database, log_level="INFO", log_json=True))
"""


def wait_until(holds: Callable[[], T], what: str, timeout_s: float = 20.0, every_s: float = 0.01) -> T:
    """Ask until `holds` gives something true; AssertionError that names `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not (found := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"after {timeout_s:g} s still not: {what}")
        time.sleep(every_s)
    return found


class Supervised:
    """`prismq.worker.supervisor.run` in a process of its own, over the tasks of tests/fault/apps.py."""

    def __init__(
        self, database: Path, *, env: dict[str, str] | None = None, app: str | None = None, **config: Any
    ) -> None:
        self.database = database
        self.log_path = database.with_suffix(f".{time.monotonic_ns()}.log")
        settings = {"processes": 1, "concurrency": 4, "lease_duration_seconds": 3.0, "shutdown_grace_seconds": 5.0}
        settings |= config
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _RUN, app or f"{APPS}:q", str(database), json.dumps(settings)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **(env or {})},
                start_new_session=True,
            )  # fmt: skip
        self.group = self.process.pid

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        """What it and its workers wrote."""
        return self.log_path.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log lines of one kind, as JSON."""
        found = []
        for line in self.log().splitlines():
            if line.startswith("{") and f'"{name}"' in line:
                try:
                    entry = json.loads(line)
                except ValueError:  # half a line: its writer was killed
                    continue
                if entry.get("event") == name:
                    found.append(entry)
        return found

    def workers(self) -> list[int]:
        """The pids of its worker processes that live."""
        return [process.pid for process in worker_processes(self.group)]

    def one_worker(self, timeout_s: float = 20.0) -> int:
        """The pid of its worker, once that has registered."""
        return wait_until(lambda: self.registered(), "a worker is registered", timeout_s)[0]

    def registered(self) -> list[int]:
        """The pids of its live workers that have a row in the store."""
        alive = set(self.workers())
        return [pid for (pid,) in look(self.database, "SELECT pid FROM workers") if pid in alive]

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_s: float = 30.0) -> int:
        """Its exit code; AssertionError where it does not end."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the supervisor did not end in {timeout_s:g} s\n{self.log()[-4000:]}") from None

    def stop(self, timeout_s: float = 30.0) -> int:
        """End it as an operator does."""
        self.send(signal.SIGTERM)
        return self.wait(timeout_s)

    def destroy(self) -> None:
        """End what is left of it: only processes of the session that was started here."""
        for process in session_processes(self.group):
            try:
                process.kill()
            except psutil.Error:
                continue
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)


@contextmanager
def supervised(database: Path, **settings: Any) -> Iterator[Supervised]:
    """A supervisor that is surely gone afterwards, with all that it started."""
    running = Supervised(database, **settings)
    try:
        yield running
    finally:
        running.destroy()


def session_processes(session: int) -> list[psutil.Process]:
    """The processes of the session that a supervisor was started in, orphans included."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (OSError, psutil.Error):  # it has just ended
            continue
    return found


def worker_processes(session: int) -> list[psutil.Process]:
    """Those of them that are workers."""
    found = []
    for process in session_processes(session):
        try:
            if "prismq.worker.process" in process.cmdline():
                found.append(process)
        except psutil.Error:
            continue
    return found


def look(database: Path, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """What somebody sees with a SQL tool; nothing while there is no such table yet."""
    connection = sqlite3.connect(database, timeout=10)
    try:
        return connection.execute(sql, params).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise
    finally:
        connection.close()


def hand(database: Path, sql: str, params: tuple[Any, ...] = ()) -> None:
    """What somebody does with a SQL tool: committed at once, without any of our code."""
    connection = sqlite3.connect(database, timeout=10)
    try:
        with connection:
            connection.execute(sql, params)
    finally:
        connection.close()
