"""The demo, run as people run it, on a small folder of its own."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing, suppress
from pathlib import Path

import pytest

from prismq.cli.demo.files import FILE_BYTES_MAX, FILES_MAX, facts_of, find_files
from tests.helpers.processes import wait_until

pytestmark = pytest.mark.timeout(240)

_RUN = "import typer; from prismq.cli.demo import demo; typer.run(demo)"


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", _RUN, *words]


def run_demo(here: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), cwd=here, capture_output=True, text=True, encoding="utf-8", timeout=220)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One run for the tests that only look at what it left behind."""
    here = tmp_path_factory.mktemp("demo")
    files = here / "files"
    (files / "deep").mkdir(parents=True)
    (files / "a.py").write_text("print('one')\nprint('two')\n", encoding="utf-8")
    (files / "deep" / "b.txt").write_text("žluťoučký kůň\n" * 3, encoding="utf-8")
    (files / "deep" / "copy.txt").write_text("žluťoučký kůň\n" * 3, encoding="utf-8")
    (files / "c.bin").write_bytes(bytes(range(256)) * 8)
    return here, run_demo(here, "files")


@pytest.fixture
def rows(shown: tuple[Path, subprocess.CompletedProcess[str]]) -> dict[str, list[sqlite3.Row]]:
    """The tasks of the run, by type."""
    found: dict[str, list[sqlite3.Row]] = {}
    with closing(sqlite3.connect(shown[0] / ".demo" / "queue.db")) as connection:
        connection.row_factory = sqlite3.Row
        for row in connection.execute("SELECT * FROM task_queue ORDER BY id"):
            found.setdefault(row["type"], []).append(row)
    return found


def test_the_demo_ends_by_itself_and_says_that_all_went_well(
    shown: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = shown

    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything went as it should." in done.stdout
    assert done.stderr == ""


def test_the_summary_tells_what_happened_what_was_found_and_where_to_look(
    shown: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = shown

    for words in (
        "PrismQ demo: 4 files",
        "What happened to every task",
        "attempts used up: kept for a person to look at",
        "kills its worker every time",
        "was killed by SIGKILL" if os.name == "posix" else "exit code",
        "its process was killed",
        "4 files, ",
        "1 set of files with equal content, such as deep/b.txt = deep/copy.txt",
        f"prismq --db {Path('.demo') / 'queue.db'} status",
    ):
        assert words in done.stdout


@pytest.fixture(scope="module")
def on_postgres(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The same on a private server; its temporary folders lie in one that the test can look into."""
    here = tmp_path_factory.mktemp("postgres")
    (here / "tmp").mkdir()
    for folder in (here, here / "tmp", *here.parents):  # the server is another user than root
        with suppress(PermissionError):
            folder.chmod(folder.stat().st_mode | 0o011)
    (here / "tmp").chmod(0o777)
    (here / "files").mkdir()
    (here / "files" / "a.py").write_text("print('one')\n", encoding="utf-8")
    (here / "files" / "b.txt").write_text("two\n", encoding="utf-8")
    done = subprocess.run(
        command("files", "--postgres"), cwd=here, capture_output=True, text=True, encoding="utf-8", timeout=220,
        stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(here / "tmp")},
    )  # fmt: skip
    return here, done


def test_the_demo_runs_on_a_private_server_as_well(
    on_postgres: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = on_postgres

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    for words in (
        "Database: postgresql://prismq@127.0.0.1:",
        "Everything went as it should.",
        "2 files, ",
        "kills its worker every time",
        "The server and its database are removed now.",
    ):
        assert words in done.stdout


def test_nothing_is_left_of_the_private_server(on_postgres: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    here, done = on_postgres
    port = int(done.stdout.partition("prismq@127.0.0.1:")[2].partition("/")[0])

    assert list((here / "tmp").iterdir()) == []
    assert sorted(path.name for path in here.iterdir()) == [".demo", "files", "tmp"]
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def test_a_machine_without_the_servers_programs_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from prismq.cli.demo import run, server

    (tmp_path / "one.txt").write_text("one\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(server, "_find_programs", lambda: None)
    monkeypatch.setattr(server, "is_root", lambda: False)

    assert run.run_demo_on_postgres(Path(), 1) == 1
    assert "apt-get install postgresql" in capsys.readouterr().err


def test_a_url_is_no_place_for_the_demo(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one\n", encoding="utf-8")

    done = run_demo(tmp_path, "--db", "postgresql://db.example/shop")

    assert done.returncode == 1
    assert "--postgres" in done.stderr


def test_each_command_that_the_summary_names_works(shown: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    here, done = shown
    named = [line.split("  ")[1].strip() for line in done.stdout.splitlines() if line.startswith("  prismq ")]

    assert len(named) >= 5
    for line in named:
        words = [sys.executable, "-m", "prismq", *shlex.split(line)[1:]]
        asked = subprocess.run(words, cwd=here, capture_output=True, text=True, encoding="utf-8", timeout=60)
        # `status` ends with 1 where the queue is not healthy, as here, where nobody works any more.
        assert asked.returncode in ((0, 1) if words[-1] == "status" else (0,)), f"{line}\n{asked.stdout}{asked.stderr}"
        assert asked.stdout.strip(), line


def test_every_file_is_indexed_once(rows: dict[str, list[sqlite3.Row]]) -> None:
    index = rows["demo.index_file"]

    assert [row["status"] for row in index].count("completed") == 4
    assert [row["status"] for row in index].count("failed") == 1  # the one that is not there
    assert len(index) == 5


def test_each_task_with_a_story_ends_as_promised(rows: dict[str, list[sqlite3.Row]]) -> None:
    ends = {
        type_: {(row["status"], (row["error_message"] or "").partition(":")[0]) for row in of_type}
        for type_, of_type in rows.items()
    }

    assert ends["demo.look_up"] == {("completed", "")}
    assert ends["demo.wait_async"] == {("completed", "")}
    assert ends["demo.kill_worker_once"] == {("completed", "")}
    assert ends["demo.poison"] == {("dead_letter", "WorkerLost")}
    assert ends["demo.never_ends"] == {("dead_letter", "TaskTimeout")}
    assert {status for status, _ in ends["demo.long_walk"]} == {"cancelled"}
    assert ends["demo.report"] == {("completed", "")}


def test_the_task_that_killed_its_worker_ran_again_on_another(
    shown: tuple[Path, subprocess.CompletedProcess[str]], rows: dict[str, list[sqlite3.Row]]
) -> None:
    [task] = rows["demo.kill_worker_once"]
    with closing(sqlite3.connect(shown[0] / ".demo" / "queue.db")) as connection:
        [(first_worker,)] = connection.execute(
            "SELECT worker_id FROM task_attempts WHERE task_id = ? AND outcome = 'lost' AND attempt = 1", (task["id"],)
        )
        [(status,)] = connection.execute("SELECT status FROM workers WHERE worker_id = ?", (first_worker,))

    assert task["locked_by"] not in (None, first_worker)
    assert status == "lost"


def test_a_second_demo_keeps_the_database_of_the_first(
    shown: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "one.txt").write_text("one\n", encoding="utf-8")
    with (
        closing(sqlite3.connect(shown[0] / ".demo" / "queue.db")) as first,
        closing(sqlite3.connect(tmp_path / "queue.db")) as copy,
    ):
        first.backup(copy)
        [(before,)] = first.execute("SELECT count(*) FROM task_queue")

    done = run_demo(tmp_path, ".", "--db", "queue.db", "--workers", "1")

    assert done.returncode == 0, done.stdout + done.stderr
    with closing(sqlite3.connect(tmp_path / "queue.previous.db")) as kept:
        assert kept.execute("SELECT count(*) FROM task_queue").fetchone() == (before,)


def test_a_database_that_is_not_the_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one\n", encoding="utf-8")
    with closing(sqlite3.connect(tmp_path / "mine.db")) as connection:
        connection.execute("CREATE TABLE mine (x)")
    before = (tmp_path / "mine.db").read_bytes()

    done = run_demo(tmp_path, "--db", "mine.db")

    assert done.returncode == 1
    assert "is not an older demo's database" in done.stderr
    assert (tmp_path / "mine.db").read_bytes() == before


@pytest.mark.parametrize("words", [["nowhere"], ["empty"]])
def test_a_folder_without_files_is_named_and_nothing_is_made(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "empty").mkdir()

    done = run_demo(tmp_path, *words)

    assert done.returncode == 1
    assert words[0] in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".demo").exists()


@pytest.mark.skipif(os.name != "posix", reason="a console's Ctrl-C cannot be sent to one process alone")
def test_ctrl_c_ends_the_workers_too(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one\n", encoding="utf-8")
    with subprocess.Popen(command("."), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as demo:
        pids = wait_until(lambda: _pids(tmp_path / ".demo" / "queue.db"), "workers have registered", 60)
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)

    assert demo.returncode == 130
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def _pids(database: Path) -> list[int]:
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return [pid for (pid,) in connection.execute("SELECT pid FROM workers WHERE status = 'active'")]
    except sqlite3.Error:  # not there yet
        return []


# What the demo looks at.


def test_caches_and_version_control_are_left_out(tmp_path: Path) -> None:
    for folder in (".git", ".venv", ".venv-peers", "__pycache__", "node_modules", "kept"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file.txt").write_text("x", encoding="utf-8")

    assert find_files(tmp_path).paths == ["kept/file.txt"]


def test_bounds_are_counted_not_hidden(tmp_path: Path) -> None:
    for number in range(FILES_MAX + 3):
        (tmp_path / f"{number:05}").touch()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)

    found = find_files(tmp_path)

    assert (len(found.paths), found.too_many, found.too_large) == (FILES_MAX, 3, 1)


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links and pipes")
def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    os.mkfifo(tmp_path / "pipe")

    assert find_files(tmp_path).paths == ["real"]


@pytest.mark.parametrize(
    ("name", "content", "kind", "encoding", "statistics"),
    [
        ("a.py", b"one two\nthree\n", "text/x-python", "ascii", (2, 3, 7)),
        ("a.txt", "žluť\n".encode(), "text/plain", "utf-8", (1, 1, 4)),
        ("a.txt", "a\n".encode("utf-16"), "text/plain", "utf-16", (1, 1, 1)),
        ("a.txt", b"caf\xe9 cr\xe8me", "text/plain", "latin-1, perhaps", (1, 2, 10)),
        ("a.txt", b"\x00\x01\x02", "application/octet-stream", "binary", (0, 0, 0)),
        ("a.txt", b"\x89PNG\r\n\x1a\n\x00", "image/png", "binary", (0, 0, 0)),
        ("run", b"#!/bin/sh\n", "text/x-script", "ascii", (1, 1, 9)),
        ("empty", b"", "text/plain", "ascii", (0, 0, 0)),
    ],
)
def test_type_and_encoding_follow_the_content(
    tmp_path: Path, name: str, content: bytes, kind: str, encoding: str, statistics: tuple[int, int, int]
) -> None:
    (tmp_path / name).write_bytes(content)

    facts = facts_of(tmp_path, name)

    assert (facts.kind, facts.encoding) == (kind, encoding)
    assert (facts.lines, facts.words, facts.longest_line) == statistics


def test_the_demo_tells_where_its_dashboard_is(shown: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    _, done = shown

    assert re.search(r"Dashboard: http://127\.0\.0\.1:\d+\n", done.stdout)


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="a terminal is made of a pseudo-terminal, which is POSIX")
@pytest.mark.parametrize("once", [False, True], ids=["until Ctrl-C", "--once"])
def test_in_a_terminal_the_dashboard_stays_until_ctrl_c(once: bool, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("one\n", encoding="utf-8")
    ours, theirs = os.openpty()
    words = command("files", *(["--once"] if once else []))
    with subprocess.Popen(
        words, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as demo:
        os.close(theirs)
        told, status = "", 0
        while part := _read(ours):
            told += part
            if "Ctrl-C ends the demo" in told and not status:
                address = re.search(r"http://127\.0\.0\.1:\d+", told)
                assert address is not None
                with urllib.request.urlopen(f"{address[0]}/", timeout=30) as answer:
                    status = answer.status
                demo.send_signal(signal.SIGINT)
        os.close(ours)

    assert demo.returncode == 0, told
    assert status == (0 if once else 200)
    assert ("The workers and the dashboard end." in told) is not once


def _read(terminal: int) -> str:
    """What it says next; nothing when it has ended."""
    try:
        return os.read(terminal, 65_536).decode(errors="replace")
    except OSError:
        return ""
