"""Real supervisors and workers, for tests that kill them; and waiting with a deadline instead of sleeping."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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
        self,
        database: Path | str,
        *,
        env: dict[str, str] | None = None,
        app: str | None = None,
        logs: Path | None = None,
        looked_at: Path | str | None = None,
        around: Sequence[str] = (),
        **config: Any,
    ) -> None:
        """`database`: a file, or the URL of a server, for which `logs` is the folder of its log.

        `looked_at`: where tests look, if that is not the way that workers go. `around`: a command to run it under.
        """
        self.database = looked_at or database
        folder = logs or Path(database).parent
        self.log_path = folder / f"workers.{time.monotonic_ns()}.log"
        settings = {"processes": 1, "concurrency": 4, "lease_duration_seconds": 3.0, "shutdown_grace_seconds": 5.0}
        settings |= config
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*around, sys.executable, "-c", _RUN, app or f"{APPS}:q", str(database), json.dumps(settings)],
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
def supervised(database: Path | str, **settings: Any) -> Iterator[Supervised]:
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


@contextmanager
def _tool(database: Path | str) -> Iterator[tuple[Any, type[Exception], str]]:
    """A connection as a SQL tool has it, what it raises where there is no table, and its mark for a parameter."""
    if isinstance(database, Path):
        connection: Any = sqlite3.connect(database, timeout=10)
        missing: type[Exception] = sqlite3.OperationalError
    else:
        import psycopg

        connection = psycopg.connect(database, options="-c timezone=UTC", connect_timeout=10)
        missing = psycopg.errors.UndefinedTable
    try:
        with connection:
            yield connection, missing, "?" if isinstance(database, Path) else "%s"
    finally:
        connection.close()


def look(database: Path | str, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """What somebody sees with a SQL tool; nothing while there is no such table yet. Parameters are `?`."""
    with _tool(database) as (connection, missing, mark):
        try:
            rows: list[tuple[Any, ...]] = _execute(connection, sql, params, mark).fetchall()
        except missing as error:
            if isinstance(error, sqlite3.OperationalError) and "no such table" not in str(error):
                raise
            return []
        return rows


def hand(database: Path | str, sql: str, params: tuple[Any, ...] = ()) -> None:
    """What somebody does with a SQL tool: committed at once, without any of our code."""
    with _tool(database) as (connection, _, mark):
        _execute(connection, sql, params, mark)


def _execute(connection: Any, sql: str, params: tuple[Any, ...], mark: str) -> Any:
    if not params:
        return connection.execute(sql)
    return connection.execute(sql if mark == "?" else sql.replace("%", "%%").replace("?", mark), params)
