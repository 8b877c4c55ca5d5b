"""What holds for every command: help, errors, exit codes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prismq.cli.main import main
from prismq.version import __version__
from tests.cli.conftest import Cli
from tests.cli.reference import commands

ALL = [path for path, _ in commands()]
OURS = [path for path in ALL if path != ("demo",)]
# One that needs nothing but a database, and its arguments.
READING: list[tuple[str, ...]] = [
    ("status",),
    ("tasks", "list"),
    ("tasks", "show", "1"),
    ("tasks", "logs", "1"),
    ("tasks", "retry", "1"),
    ("tasks", "cancel", "1"),
    ("tasks", "delete", "1"),
    ("tasks", "run-now", "1"),
    ("tasks", "priority", "5", "1"),
    ("queues", "list"),
    ("queues", "pause", "default"),
    ("queues", "resume", "default"),
    ("queues", "limit", "default", "3"),
    ("queues", "purge", "default"),
    ("workers", "list"),
    ("workers", "pause", "all"),
    ("workers", "resume", "all"),
    ("workers", "drain", "all"),
    ("workers", "resize", "all", "--slots", "3"),
    ("schedules", "list"),
    ("schedules", "run", "x"),
    ("schedules", "pause", "x"),
    ("schedules", "resume", "x"),
    ("schedules", "remove", "x"),
    ("enqueue", "add"),
    ("migrate",),
    ("migrate", "--dry-run"),
]


def test_the_commands_are_those_that_were_promised() -> None:
    groups = {path[0] for path in ALL}
    assert groups >= {
        "init", "worker", "enqueue", "status", "tasks", "queues", "workers", "schedules", "migrate", "config"
    }  # fmt: skip
    assert {path[1] for path in ALL if path[0] == "tasks"} == {
        "list", "show", "timeline", "logs", "retry", "cancel", "delete", "run-now", "priority"
    }  # fmt: skip


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_a_help_page(cli: Cli, path: tuple[str, ...]) -> None:
    answer = cli(*path, "--help")
    assert answer.code == 0
    assert f"prismq {' '.join(path)}" in answer.out


@pytest.mark.parametrize("path", OURS, ids=" ".join)
def test_every_command_takes_the_common_options_after_its_name(path: tuple[str, ...]) -> None:
    command = dict(commands())[path]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {"--db", "-d", "--config", "-c", "--json", "--traceback"} <= options


def test_the_help_documents_the_exit_codes(cli: Cli) -> None:
    text = " ".join(cli("--help").out.split())
    for code in ("0 done", "1 not healthy", "2 wrong usage", "3 the database", "4 a wrong setting", "130 interrupted"):
        assert code in text


def test_the_version_is_printed(cli: Cli) -> None:
    answer = cli("--version")
    assert (answer.code, answer.out) == (0, f"prismq {__version__}\n")


def test_common_options_work_before_the_command_as_well(cli: Cli, q: Any) -> None:
    assert cli("--json", "tasks", "list").json == cli("tasks", "list", "--json").json == []


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_a_missing_database_is_an_error_that_helps_and_is_not_created(cli: Cli, arguments: tuple[str, ...]) -> None:
    answer = cli(*arguments, "--db", "missing/queue.db")
    assert answer.code == 3
    assert answer.out == ""
    assert answer.err == (
        "prismq: error: there is no queue database at missing/queue.db. Make one with "
        "`prismq init missing/queue.db`, or say with --db where it is\n"
    )
    assert list(cli.folder.iterdir()) == []


def test_an_empty_file_is_no_database_and_stays_empty(cli: Cli) -> None:
    (cli.folder / "empty.db").touch()
    answer = cli("status", "--db", "empty.db")
    assert answer.code == 3
    assert (cli.folder / "empty.db").stat().st_size == 0


def test_the_default_path_is_named_where_nobody_said_another(cli: Cli) -> None:
    answer = cli("status")
    assert answer.code == 3
    assert "the default path. Make one with `prismq init`" in answer.err


def test_a_file_of_another_program_is_refused(cli: Cli) -> None:
    connection = sqlite3.connect(cli.folder / "other.db")
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.commit()
    connection.close()
    answer = cli("status", "--db", "other.db")
    assert answer.code == 3
    assert "another program (tables: recipes)" in answer.err


def test_a_file_that_is_no_database_is_refused(cli: Cli) -> None:
    (cli.folder / "cat.png").write_bytes(b"\x89PNG not a database at all")
    answer = cli("tasks", "list", "--db", "cat.png")
    assert answer.code == 3
    assert "is not a SQLite database" in answer.err


def test_a_folder_is_no_database(cli: Cli) -> None:
    answer = cli("status", "--db", cli.folder)
    assert answer.code == 3
    assert "is a folder" in answer.err


def test_a_database_in_memory_is_refused(cli: Cli) -> None:
    answer = cli("status", "--db", ":memory:")
    assert answer.code == 4
    assert "in memory" in answer.err


def test_a_url_without_storage_is_a_configuration_error_that_names_the_closest(cli: Cli) -> None:
    answer = cli("status", "--db", "sqlit:///x.db")
    assert answer.code == 4
    assert "Did you mean 'sqlite'?" in answer.err


def test_the_configuration_file_given_names_the_database(cli: Cli, q: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    q.enqueue("here", {})
    monkeypatch.delenv("PRISMQ_QUEUE_DB_PATH")
    folder = cli.folder / "conf"
    folder.mkdir()
    (folder / "other.toml").write_text('database = "../queue.db"')
    [task] = cli("tasks", "list", "--json", "-c", "conf/other.toml").json
    assert task["type"] == "here"


def test_a_missing_configuration_file_is_a_configuration_error(cli: Cli) -> None:
    answer = cli("status", "--config", "nowhere.toml")
    assert answer.code == 4
    assert "there is no configuration file nowhere.toml" in answer.err


def test_errors_are_one_line_without_a_traceback(cli: Cli, q: Any) -> None:
    answer = cli("tasks", "show", 99)
    assert answer.err.startswith("prismq: error: there is no task 99")
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err


def test_a_traceback_is_shown_when_it_is_asked_for(cli: Cli, q: Any) -> None:
    answer = cli("tasks", "show", 99, "--traceback")
    assert answer.code == 1
    assert answer.err.startswith("Traceback (most recent call last):")
    assert answer.err.splitlines()[-1].startswith("prismq: error: there is no task 99")


def test_an_unknown_command_names_the_closest(cli: Cli) -> None:
    answer = cli("task", "list")
    assert answer.code == 2
    assert "prismq: error: No such command 'task'. Did you mean 'tasks'" in answer.err


def test_an_unknown_option_is_a_usage_error_that_points_to_the_help(cli: Cli) -> None:
    answer = cli("tasks", "list", "--lmit", 3)
    assert answer.code == 2
    assert answer.err.splitlines()[-1] == "Try `prismq tasks list --help`."


@pytest.mark.parametrize("words", [(), ("tasks",), ("queues",), ("workers",), ("schedules",), ("config",)])
def test_a_group_alone_prints_its_help(cli: Cli, words: tuple[str, ...]) -> None:
    answer = cli(*words)
    assert answer.code == 2
    assert "Commands" in answer.out
    assert answer.err == ""


def test_an_interrupt_ends_with_130(cli: Cli, q: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("prismq.cli.tasks.options.filter_of", interrupt)
    assert cli("tasks", "list").code == 130


def test_there_is_no_colour_where_stdout_is_no_terminal(cli: Cli, q: Any) -> None:
    q.enqueue("add", {})
    assert "\x1b" not in cli("tasks", "list").out + cli("status").out + cli("tasks", "show", 1).out


def test_control_characters_of_a_task_do_not_reach_the_terminal(cli: Cli, q: Any) -> None:
    q.enqueue("evil", {"x": "\x1b[2J"}, queue="default")
    q.store.database.execute(
        "INSERT INTO task_queue (type, payload, error_message) VALUES ('a' || char(27) || 'b', char(27), char(27))"
    )
    for words in (("tasks", "list"), ("tasks", "show", 1), ("tasks", "show", 2), ("status",)):
        assert "\x1b" not in cli(*words).out


@pytest.mark.parametrize("words", [("status",), ("tasks", "list"), ("queues", "list"), ("workers", "list", "--all")])
def test_tables_fit_80_columns(cli: Cli, q: Any, words: tuple[str, ...]) -> None:
    from tests.cli.conftest import add_worker

    for number in range(3):
        q.enqueue("a_rather_long.module.name.and_a_function" * 2, {}, queue=f"a-queue-with-a-long-name-{number}" * 2)
    add_worker(q, "a-host-with-a-name-0-0123abcd", queues='["one", "two", "three", "four", "five", "six"]')
    lines = cli(*words).out.splitlines()
    table = [line for line in lines if not line.startswith(("Unhealthy", "  - "))]
    assert max(map(len, table)) <= 80


def test_an_id_is_never_shortened(cli: Cli, q: Any) -> None:
    from tests.cli.conftest import add_worker

    worker_id = add_worker(q, f"{'a-host-with-a-very-long-name' * 2}-0-0123abcd")
    assert worker_id in cli("workers", "list").out


def test_the_module_runs_as_a_program() -> None:
    for module in ("prismq", "prismq.cli.main"):
        done = subprocess.run(
            [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout == f"prismq {__version__}\n"


def test_the_help_loads_neither_the_store_nor_the_worker() -> None:
    script = (
        "import sys\nfrom prismq.cli.main import main\nmain(['--help'])\n"
        "heavy = ('sqlite3', 'pydantic', 'psutil', 'structlog', 'prismq.app', 'prismq.worker.runtime', 'yaml')\n"
        "sys.exit(', '.join(name for name in heavy if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_reader_that_has_read_enough_sees_no_traceback(q: Any) -> None:
    for number in range(300):
        q.enqueue(f"type{number}", {})
    process = subprocess.Popen(
        [sys.executable, "-m", "prismq", "tasks", "list", "--limit", "300", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(60) in (0, 1)
    assert process.stderr.read() == b""
    process.stderr.close()


def test_main_returns_the_code_instead_of_ending_the_process() -> None:
    assert main(["tasks", "list", "--db", str(Path("nowhere") / "queue.db")]) == 3
