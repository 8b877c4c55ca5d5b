"""A real Prometheus and a real Alertmanager for tests, each on a free port, and a receiver for notifications."""

from __future__ import annotations

import json
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from tests.helpers.packages import require
from tests.helpers.postgres import free_port
from tests.helpers.processes import wait_until

__all__ = ["Monitoring", "Receiver", "Sample", "alertmanager", "free_port", "prometheus", "receiver"]


class Sample(NamedTuple):
    """One series of an answer, at one time."""

    labels: dict[str, str]
    value: float


class Monitoring:
    """A program with an HTTP API, at `address`."""

    def __init__(self, address: str) -> None:
        self.address = address

    def get(self, path: str, **parameters: str) -> Any:
        """What it answers, as JSON. AssertionError with what it says where it answers with an error."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}?{query}", timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path} {parameters}: {error.read().decode(errors='replace')}") from None

    def query(self, expression: str, at: float | None = None) -> list[Sample]:
        """The value of an expression of PromQL now, or at a time in seconds since 1970, series by series."""
        when = {} if at is None else {"time": repr(at)}
        data = self.get("/api/v1/query", query=expression, **when)["data"]
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(one["metric"], float(one["value"][1])) for one in data["result"]]

    def value(self, expression: str) -> float | None:
        """The value of its only series; None where there is none."""
        found = self.query(expression)
        assert len(found) <= 1, (expression, found)
        return found[0].value if found else None

    def when(self, expression: str, holds: Callable[[float], bool], timeout_s: float = 60.0) -> float:
        """Its value, once it is as it should be."""
        seen: list[float | None] = []

        def asked() -> bool:
            seen[:] = [self.value(expression)]
            return seen[0] is not None and holds(seen[0])

        try:
            wait_until(asked, expression, timeout_s, every_s=0.1)
        except AssertionError as error:
            raise AssertionError(f"{error} (it is {seen})") from None
        assert seen[0] is not None
        return seen[0]


@contextmanager
def _running(command: list[str], address: str, folder: Path, name: str) -> Iterator[Monitoring]:
    log_path = folder / f"{name}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def is_ready() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"{name} ended: {log_path.read_text(errors='replace')[-3000:]}")
        try:
            with urllib.request.urlopen(f"http://{address}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_until(is_ready, f"{name} is ready", 60, every_s=0.05)
        yield Monitoring(address)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def prometheus(configuration: Path, address: str) -> Iterator[Monitoring]:
    """Prometheus with this configuration, which may name files beside it."""
    program = require("prometheus", package="prometheus")
    command = [
        program, f"--config.file={configuration}", f"--storage.tsdb.path={configuration.parent / 'tsdb'}",
        f"--web.listen-address={address}", "--log.level=warn", "--storage.tsdb.retention.time=1d",
        # What fires before it has found its Alertmanager is told again after this, instead of a minute.
        "--rules.alert.resend-delay=2s",
    ]  # fmt: skip
    with _running(command, address, configuration.parent, "prometheus") as running:
        yield running


@contextmanager
def alertmanager(configuration: Path, address: str) -> Iterator[Monitoring]:
    """Alertmanager, alone."""
    program = require("prometheus-alertmanager", package="prometheus-alertmanager")
    command = [
        program, f"--config.file={configuration}", f"--storage.path={configuration.parent / 'alertmanager'}",
        f"--web.listen-address={address}", "--cluster.listen-address=", "--log.level=warn",
    ]  # fmt: skip
    with _running(command, address, configuration.parent, "alertmanager") as running:
        yield running


class Receiver:
    """Takes notifications over HTTP, and keeps them."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        taken = self.taken

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def alerts(self, name: str, status: str = "firing") -> list[dict[str, Any]]:
        """What came about an alert; each with the name of its receiver."""
        return [
            {**alert, "receiver": one["receiver"]}
            for one in list(self.taken)
            for alert in one["alerts"]
            if alert["labels"]["alertname"] == name and alert["status"] == status
        ]

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver for the time of the block."""
    found = Receiver()
    try:
        yield found
    finally:
        found.close()
