"""`prismq worker`: the options reach the worker, and a worker in this process works and stops."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prismq import PrismQ, WorkerConfig
from tests.cli.conftest import Cli


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, WorkerConfig, dict[str, Any]]]:
    """What the supervisor is asked to run; it runs nothing."""
    found: list[tuple[str, WorkerConfig, dict[str, Any]]] = []

    def run(reference: str, config: WorkerConfig, **rest: Any) -> int:
        found.append((reference, config, rest))
        return 0

    monkeypatch.setattr("prismq.worker.supervisor.run", run)
    return found


def test_a_worker_runs_with_the_settings_in_effect(cli: Cli, app_file: str, runs: list[Any]) -> None:
    assert cli("worker", app_file).code == 0
    [(reference, config, rest)] = runs
    assert (reference, config) == (app_file, WorkerConfig())
    assert rest == {"database": None, "log_level": "INFO", "log_json": False, "promises": {}}


def test_every_option_reaches_the_worker(cli: Cli, app_file: str, runs: list[Any]) -> None:
    answer = cli(
        "worker", "-A", app_file, "--processes", 3, "--concurrency", 5, "--queues", "a,b", "--queues", "c",
        "--strategy", "FIFO", "--lease", "2m", "--heartbeat", 5, "--poll", "500ms", "--grace", "1m", "--prefetch", 7,
        "--name", "me", "--capabilities", '{"region": "eu"}', "--all-types", "--max-tasks", 100, "--max-memory-mb",
        256, "--no-hints", "--log-level", "debug", "--log-json", "--db", "x.db",
    )  # fmt: skip
    assert (answer.code, answer.err) == (0, "")
    [(_, config, rest)] = runs
    assert config == WorkerConfig(
        processes=3, concurrency=5, queues=["a", "b", "c"], scheduling_strategy="fifo", lease_duration_seconds=120,
        heartbeat_interval_seconds=5, poll_interval_seconds=0.5, shutdown_grace_seconds=60, prefetch=7, worker_id="me",
        capabilities={"region": "eu"}, only_known=False, max_tasks_per_process=100, max_memory_mb=256, hints=False,
    )  # fmt: skip
    assert rest == {"database": "x.db", "log_level": "DEBUG", "log_json": True, "promises": {}}


def test_what_the_settings_promise_reaches_the_supervisor(cli: Cli, app_file: str, runs: list[Any]) -> None:
    (cli.folder / "prismq.toml").write_text("[slo]\npromises = { media = 7 }\n")
    cli("worker", app_file)
    [(_, _, rest)] = runs
    assert {queue: one.target_seconds for queue, one in rest["promises"].items()} == {"media": 7}


def test_options_win_over_the_environment_and_that_over_the_file(
    cli: Cli, app_file: str, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (cli.folder / "prismq.toml").write_text("[worker]\nconcurrency = 2\nprocesses = 2\nprefetch = 2")
    monkeypatch.setenv("PRISMQ_WORKER_CONCURRENCY", "3")
    monkeypatch.setenv("PRISMQ_WORKER_PROCESSES", "3")
    cli("worker", app_file, "--concurrency", 4)
    config = runs[0][1]
    assert (config.concurrency, config.processes, config.prefetch) == (4, 3, 2)


def test_the_application_keeps_its_database_unless_this_command_line_names_another(
    cli: Cli, app_file: str, runs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRISMQ_QUEUE_DB_PATH", "environment.db")
    (cli.folder / "prismq.toml").write_text('database = "found.db"')
    (cli.folder / "given.toml").write_text('database = "given.db"')
    monkeypatch.delenv("PRISMQ_QUEUE_DB_PATH")
    cli("worker", app_file)
    cli("worker", app_file, "--config", "given.toml")
    assert [rest["database"] for _, _, rest in runs] == [None, str(cli.folder / "given.db")]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--capabilities", "eu"], 2, "--capabilities is not JSON"),
        (["--capabilities", "[]"], 2, "takes a JSON object"),
        (["--strategy", "best"], 2, "--strategy"),
        (["--concurrency", "0"], 2, "--concurrency"),
        (["--processes", "-1"], 2, "--processes"),
        (["--lease", "long"], 2, "--lease takes"),
        (["--log-level", "loud"], 2, "there is no log level 'loud'"),
        (["--lease", "0"], 4, "lease_duration_seconds = 0.0 from the option --lease"),
        (["--lease", "10", "--heartbeat", "8"], 4, "from the option --heartbeat"),
        (["--queues", ","], 4, "queues"),
    ],
)
def test_an_option_that_cannot_be_is_named(
    cli: Cli, app_file: str, runs: list[Any], options: list[str], code: int, words: str
) -> None:
    answer = cli("worker", app_file, *options)
    assert answer.code == code
    assert words in answer.err
    assert runs == []


def test_a_worker_wants_an_application(cli: Cli, app_file: str, runs: list[Any]) -> None:
    answer = cli("worker")
    assert answer.code == 2
    assert "which application?" in answer.err
    assert Path(app_file.rpartition(":")[0]).name in answer.err
    assert cli("worker", app_file, "-A", "other:q").code == 2


def test_an_application_without_a_queue_is_refused(cli: Cli, app_file: str, runs: list[Any]) -> None:
    answer = cli("worker", f"{app_file}x")
    assert answer.code == 4
    assert "Did you mean 'q'?" in answer.err


def test_processes_that_could_not_start_end_with_4(cli: Cli, app_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prismq.worker.supervisor.run", lambda *_, **__: 78)
    assert cli("worker", app_file).code == 4


def _start(app_file: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "prismq", "worker", app_file, "--processes", "0", *options],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_worker_in_this_process_works_and_ends_when_its_tasks_are_used_up(cli: Cli, app_file: str) -> None:
    with PrismQ(cli.folder / "app.db") as q:
        handle = q.enqueue("greet", {"name": "Ann"})
        process = _start(app_file, "--max-tasks", "1")
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "")
        assert "works on SQLite" in err
        assert handle.result(0) == "Hello Ann"
        assert [one.name for one in q.store.schedules.all()] == ["morning"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to catch")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_worker_in_this_process_gracefully(cli: Cli, app_file: str, number: signal.Signals) -> None:
    with PrismQ(cli.folder / "app.db") as q:
        handle = q.enqueue("add", {"a": 1, "b": 2})
        process = _start(app_file, "--log-json")
        assert handle.result(60) == 3
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert [one.status for one in q.store.workers.all()] == ["stopped"]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to catch")
def test_a_supervised_worker_works_and_stops(cli: Cli, app_file: str) -> None:
    with PrismQ(cli.folder / "app.db") as q:
        handle = q.enqueue("add", {"a": 1, "b": 2})
        process = subprocess.Popen(
            [sys.executable, "-m", "prismq.cli.main", "worker", app_file, "-n", "1", "-j", "2"],
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert handle.result(60) == 3
        process.terminate()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
