"""`prismq server`, `tokens` and `audit`, as a person types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from socket import create_server
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.helpers.processes import wait_until


@pytest.fixture
def port() -> int:
    with create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def get(url: str, token: str | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_tokens_are_made_listed_and_revoked(cli: Cli) -> None:
    cli("init", "--db", "queue.db")
    made = cli("tokens", "create", "ci", "--role", "operator", "--expires", "90d", "--db", "queue.db", "--json").json
    assert made["role"] == "operator"
    again = cli("tokens", "create", "ci", "--db", "queue.db")
    assert again.code == 2
    assert "there is a token called 'ci' already" in again.err
    [found] = cli("tokens", "list", "--db", "queue.db", "--json").json
    assert (found["name"], found["valid"], found["last_used_at"]) == ("ci", True, None)
    assert made["token"].startswith(found["hint"])
    assert made["token"] not in cli("tokens", "list", "--db", "queue.db").out
    assert made["token"].encode() not in (cli.folder / "queue.db").read_bytes()
    missing = cli("tokens", "revoke", "c", "--db", "queue.db")
    assert missing.code == 1
    assert "there is no token 'c'" in missing.err
    assert cli("tokens", "revoke", "ci", "--db", "queue.db").out == "ci: revoked\n"
    entries = cli("audit", "--db", "queue.db", "--json").json
    assert [(one["action"], one["target"], one["via"]) for one in entries] == [
        ("tokens.revoke", "ci", "cli"), ("tokens.create", "ci", "cli"),
    ]  # fmt: skip
    assert "tokens.create" in cli("audit", "--action", "tokens", "--db", "queue.db").out
    assert cli("tokens", "create", "x", "--role", "emperor", "--db", "queue.db").code == 2


def test_a_server_that_strangers_could_reach_does_not_start(cli: Cli, port: int) -> None:
    cli("init", "--db", "queue.db")
    refused = cli("server", "--host", "0.0.0.0", "--port", str(port), "--db", "queue.db")
    assert refused.code == 4
    assert "prismq tokens create NAME --role admin" in refused.err


def test_a_port_that_is_taken_is_named(cli: Cli) -> None:
    cli("init", "--db", "queue.db")
    with create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = cli("server", "--port", str(port), "--db", "queue.db")
    assert refused.code == 4
    assert f"port = {port}" in refused.err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to end it with")
@pytest.mark.parametrize("command", ["server", "worker"])
def test_it_serves_until_it_is_told_to_stop(cli: Cli, port: int, command: str) -> None:
    cli("init", "--db", "queue.db")
    token = cli("tokens", "create", "ada", "--role", "admin", "--db", "queue.db", "--json").json["token"]
    (cli.folder / "tasks.py").write_text("from prismq import PrismQ\nq = PrismQ('queue.db')\n@q.task\ndef f(): ...\n")
    (cli.folder / "elsewhere.toml").write_text("[slo.promises]\nmedia = 7\n")
    arguments = (
        ["server", "tasks.py:q"] if command == "server" else ["worker", "tasks.py:q", "-n", "1", "--with-server"]
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "prismq", *arguments, "--config", "elsewhere.toml"], cwd=cli.folder,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PRISMQ_SERVER_PORT": str(port)},
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"

        def answered() -> tuple[int, Any] | None:
            try:
                return get(f"{address}/health/ready")
            except OSError:
                assert process.poll() is None, process.stderr and process.stderr.read()
                return None

        status, found = wait_until(answered, "the server answers", 60)
        assert (status, found["ok"]) == (200, True)
        assert get(f"{address}/api/v1/tasks")[0] == 401
        assert get(f"{address}/api/v1/tasks", token) == (200, {"items": [], "next_cursor": None})
        # A queue that only the settings of that file know; one that nothing knows is not found.
        assert get(f"{address}/api/v1/scaling/slots?queue=media", token)[0] == 200
        assert get(f"{address}/api/v1/scaling/slots?queue=medai", token)[0] == 404
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert f"prismq: http://127.0.0.1:{port} shows" in said


def test_without_the_extra_it_says_what_to_install(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cli("init", "--db", "queue.db")
    hidden = "import sys\nfor name in ('fastapi', 'starlette', 'uvicorn'):\n    sys.modules[name] = None\n"
    code = f"{hidden}from prismq.cli.main import main\nsys.exit(main(['server', '--db', 'queue.db']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=cli.folder, capture_output=True, text=True)
    assert done.returncode == 4
    assert "pip install 'prismq[server]'" in done.stderr
    again = subprocess.run(
        [sys.executable, "-c", f"{hidden}from prismq.server import create_app"], capture_output=True, text=True
    )
    assert "pip install 'prismq[server]'" in again.stderr
