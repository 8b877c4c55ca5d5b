"""`prismq top` as a command: what it asks for, and that it runs in a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from prismq import PrismQ
from prismq.cli.exits import Exit
from tests.cli.conftest import Cli


def test_without_a_terminal_it_says_what_does_the_same(cli: Cli, q: PrismQ) -> None:
    answer = cli("top")
    assert answer.code == Exit.CONFIGURATION
    assert "wants a terminal" in answer.err
    assert "prismq status" in answer.err


@pytest.mark.parametrize("interval", ["0", "100ms", "soon", "-1"])
def test_an_interval_that_cannot_be_is_refused(cli: Cli, q: PrismQ, interval: str) -> None:
    answer = cli("top", "--interval", interval)
    assert answer.code == Exit.USAGE
    assert "--interval" in answer.err


def test_it_prints_no_document(cli: Cli, q: PrismQ) -> None:
    answer = cli("top", "--json")
    assert answer.code == Exit.USAGE
    assert "prismq status --json" in answer.err


def test_a_missing_textual_is_named_with_its_extra(cli: Cli, q: PrismQ, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "textual"]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("application", "tables", "screens"):
        monkeypatch.delitem(sys.modules, f"prismq.cli.top.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "textual", None)
    answer = cli("top")
    assert answer.code == Exit.CONFIGURATION
    assert "pip install 'prismq[top]'" in answer.err


def test_it_runs_in_a_terminal_until_q(tmp_path: Path) -> None:
    import pty

    with PrismQ(tmp_path / "queue.db") as q:
        q.enqueue("job", {}, queue="a-queue-to-see")
    master, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    command = [sys.executable, "-m", "prismq", "--db", str(tmp_path / "queue.db"), "top", "-i", "200ms"]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment)
    os.close(terminal)
    said = b""
    try:
        while b"a-queue-to-see" not in said:
            said += os.read(master, 65_536)
        os.write(master, b"q")
        while chunk := _read(master):
            said += chunk
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert b"\x1b[?1049l" in said  # the terminal is as it was


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65_536)
    except OSError:  # the other end is closed
        return b""
