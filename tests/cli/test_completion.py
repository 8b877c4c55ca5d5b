"""Shell completion."""

from __future__ import annotations

from pathlib import Path

import pytest

from prismq import NewTask, PrismQ
from prismq.storage.contract import Schedule
from tests.cli.conftest import Cli, add_worker


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_a_script_is_generated_for_each_shell(cli: Cli, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setattr("typer.completion._get_shell_name", lambda: shell)
    answer = cli("--show-completion")
    assert answer.code == 0
    assert "_PRISMQ_COMPLETE" in answer.out


def test_the_script_can_be_installed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(cli.folder))
    monkeypatch.setattr(Path, "home", lambda: cli.folder)
    monkeypatch.setattr("typer._completion_shared._get_shell_name", lambda: "bash")
    answer = cli("--install-completion")
    assert answer.code == 0
    assert "completion installed" in answer.out
    assert "prismq" in (cli.folder / ".bashrc").read_text()


def offered(cli: Cli, monkeypatch: pytest.MonkeyPatch, line: str) -> list[str]:
    words = line.split(" ")
    monkeypatch.setenv("_PRISMQ_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    answer = cli()
    assert answer.err == ""
    return answer.out.split()


def test_commands_and_options_are_offered(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(cli, monkeypatch, "prismq sched") == ["schedules"]
    assert offered(cli, monkeypatch, "prismq tasks run") == ["run-now"]
    assert "--status" in offered(cli, monkeypatch, "prismq tasks list --st")


def test_statuses_are_offered(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(cli, monkeypatch, "prismq tasks list --status c") == ["claimed", "completed", "cancelled"]
    assert offered(cli, monkeypatch, "prismq tasks list --status failed,c") == [
        "failed,claimed", "failed,completed", "failed,cancelled"
    ]  # fmt: skip


def test_queues_workers_and_schedules_are_offered(cli: Cli, q: PrismQ, monkeypatch: pytest.MonkeyPatch) -> None:
    q.enqueue("add", {}, queue="fast")
    q.enqueue("add", {})
    add_worker(q)
    q.store.schedules.declare(Schedule("morning", "@daily", "UTC", "latest", NewTask("x")), 0.0)
    assert offered(cli, monkeypatch, "prismq queues pause f") == ["fast"]
    assert offered(cli, monkeypatch, "prismq tasks list --queue ") == ["default", "fast"]
    assert offered(cli, monkeypatch, "prismq workers drain ") == ["all", "host-0-abc123"]
    assert offered(cli, monkeypatch, "prismq schedules run ") == ["morning"]


def test_completion_makes_no_database_and_fails_in_silence(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert offered(cli, monkeypatch, "prismq queues pause ") == []
    assert list(cli.folder.iterdir()) == []
