"""What goes wrong with a PostgreSQL server, as the commands and the Python API say it: once, with what to do."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from prismq import ConfigurationError, PrismQ, QueueDatabaseError
from tests.cli.conftest import Cli
from tests.cli.test_main import READING
from tests.helpers.postgres import PostgresServer, free_port, server
from tests.helpers.processes import look, wait_until
from tests.helpers.proxy import Proxy

pytestmark = pytest.mark.timeout(120)
PASSWORD = "s3cret-Pa55"
ROLE = "locked"  # whom tests/helpers/postgres.py lets in with a password alone
COMMANDS = [("status",), ("tasks", "list"), ("queues", "list"), ("workers", "list"), ("enqueue", "add"),
            ("tasks", "cancel", "1", "--yes"), ("migrate",), ("init",)]  # fmt: skip


@pytest.fixture
def name() -> Iterator[str]:
    name = server().new_queue()
    yield name
    server().drop(name)


@pytest.fixture
def role() -> Iterator[str]:
    """A user with a password and without any right."""
    server().execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")
    yield ROLE
    server().execute(f"DROP ROLE {ROLE}")


@dataclass(frozen=True)
class Fault:
    """A URL that does not work, and what is said of it: what is wrong, and what to do."""

    url: str
    what: str
    remedy: str
    code: int = 3


FAULTS = ["wrong password", "no password", "no such role", "missing database", "nothing listens", "no such host",
          "read-only", "no rights", "unreadable", "bad schema", "bad pool"]  # fmt: skip


@pytest.fixture
def fault(request: pytest.FixtureRequest, name: str, role: str) -> Fault:
    """Each has a password in its URL that nobody may see."""
    wrong = f"Wr0ng-{PASSWORD}"
    to = server().url
    place = f"postgresql://ann:{PASSWORD}@127.0.0.1:{server().port}/{name}"
    if request.param == "read-only":
        server().execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    return {
        "wrong password": Fault(to(name, user=role, password=wrong), "the password is wrong", "Check the URL"),
        "no password": Fault(to(name, user=role), "the server wants a password", "~/.pgpass"),
        "no such role": Fault(place, "the user does not exist", "Check the URL"),
        "missing database": Fault(to("nowhere", password=PASSWORD), "no such database", "CREATE DATABASE"),
        "nothing listens": Fault(
            f"postgresql://ann:{PASSWORD}@127.0.0.1:{free_port()}/q", "nothing listens", "running"
        ),
        "no such host": Fault(
            f"postgresql://ann:{PASSWORD}@no.such.invalid/q", "no host of this name", "Check the URL"
        ),
        "read-only": Fault(to(name, password=PASSWORD), "takes no writes", "primary's address"),
        "no rights": Fault(to(name, user=role, password=PASSWORD), "has not the rights", "GRANT"),
        "unreadable": Fault(f"postgresql://ann:{PASSWORD}/x@h/q", "cannot be read", "write @ as %40", 4),
        "bad schema": Fault(to(name, password=PASSWORD, schema="My-Jobs"), "is no schema", "lower-case letters", 4),
        "bad pool": Fault(to(name, password=PASSWORD, pool_size="0"), "pool_size=0", "from 2 to", 4),
    }[request.param]


def _is_one_clear_error(answer_err: str, fault: Fault) -> None:
    line, *rest = answer_err.splitlines()
    assert rest == [], answer_err
    assert line.startswith("prismq: error: ")
    assert fault.what in line
    assert fault.remedy in line
    assert "Traceback" not in line
    for secret in (PASSWORD, f"Wr0ng-{PASSWORD}"):
        assert secret not in line


@pytest.mark.parametrize("fault", FAULTS, indirect=True)
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_command_says_in_one_line_what_is_wrong_and_what_to_do(
    cli: Cli, fault: Fault, arguments: tuple[str, ...]
) -> None:
    answer = cli(*arguments, *(() if arguments == ("init",) else ("--db",)), fault.url)
    assert answer.code == fault.code, (answer.out, answer.err)
    _is_one_clear_error(answer.err, fault)
    assert PASSWORD not in answer.out
    assert list(cli.folder.iterdir()) == []


@pytest.mark.parametrize("fault", FAULTS, indirect=True)
def test_the_python_api_raises_the_same_in_time(fault: Fault) -> None:
    kind = QueueDatabaseError if fault.code == 3 else ConfigurationError
    with pytest.raises(kind) as caught, PrismQ(fault.url) as q:
        q.enqueue("add", {"a": 1, "b": 1})
    said: list[str] = []
    error: BaseException | None = caught.value
    while error is not None:  # as a traceback would show it
        said += [str(error), repr(error)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert fault.what in said[0]
    assert PASSWORD not in " ".join(said)


@pytest.mark.parametrize("fault", FAULTS, indirect=True)
def test_a_worker_does_not_start_and_says_why(fault: Fault, cli: Cli, app_file: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prismq", "worker", app_file, "--db", fault.url],
        cwd=cli.folder, capture_output=True, text=True, timeout=60, env={**os.environ, "COLUMNS": "80"}, check=False,
    )  # fmt: skip
    assert done.returncode == fault.code, done.stderr
    assert fault.what in done.stderr
    assert "Traceback" not in done.stderr
    assert PASSWORD not in done.stderr + done.stdout


@pytest.mark.parametrize("arguments", [one for one in READING if one[0] != "migrate"], ids=" ".join)
def test_no_command_shows_a_traceback_where_there_is_no_queue_yet(cli: Cli, arguments: tuple[str, ...]) -> None:
    name = server().new_database()
    try:
        answer = cli(*arguments, "--db", server().url(name, password=PASSWORD))
    finally:
        server().drop(name)
    assert "Traceback" not in answer.err
    assert PASSWORD not in answer.err + answer.out
    assert answer.code in (0, 1, 3), answer.err


def test_the_doctor_says_that_it_cannot_connect(cli: Cli) -> None:
    answer = cli("doctor", "--db", f"postgresql://ann:{PASSWORD}@127.0.0.1:{free_port()}/q")
    assert answer.code in (1, 3)
    assert "nothing listens" in answer.out + answer.err
    assert "Traceback" not in answer.err
    assert PASSWORD not in answer.out + answer.err


def test_the_database_of_the_environment_shows_no_password_either(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMQ_DATABASE_URL", f"postgresql://ann:{PASSWORD}@127.0.0.1:{free_port()}/q")
    for arguments in (("status",), ("config", "show"), ("status", "--json"), ("config", "show", "--json")):
        answer = cli(*arguments)
        assert PASSWORD not in answer.out + answer.err, arguments


# -- the schema


def test_a_newer_schema_is_refused_and_left_alone(cli: Cli, name: str) -> None:
    with server().connect(name, autocommit=True) as tool:
        tool.execute("INSERT INTO prismq_migrations (version, name, checksum) VALUES (999, 'x', 'x')")
    for arguments in (("status",), ("enqueue", "add"), ("migrate",)):
        answer = cli(*arguments, "--db", server().url(name))
        assert answer.code == 3, answer.err
        assert "schema version 999" in answer.err
        assert "Upgrade prismq" in answer.err
    assert look(server().url(name), "SELECT max(version) FROM prismq_migrations") == [(999,)]


def test_a_server_that_is_too_old_is_refused(cli: Cli, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prismq.storage.postgres.database.SERVER_VERSION_MIN", 990000)
    answer = cli("status", "--db", server().url(name))
    assert answer.code == 3
    assert "prismq needs 99 or later" in answer.err


# -- what is missing on this side


_WITHOUT = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocker())
from prismq.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("missing", "variable", "remedy"),
    [
        ("psycopg", "", "pip install 'prismq[postgres]'"),
        ("redis", "redis://127.0.0.1:1", "pip install 'prismq[redis]'"),
    ],
)
def test_a_driver_that_is_not_installed_is_named_with_the_command_that_installs_it(
    tmp_path: Path, name: str, missing: str, variable: str, remedy: str
) -> None:
    env = {**os.environ, **({"PRISMQ_REDIS_URL": variable} if variable else {})}
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT.format(missing={missing}), "enqueue", "add", "--db", server().url(name)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, env=env, check=False,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert remedy in done.stderr
    assert len(done.stderr.splitlines()) == 1


# -- while it works


def test_another_programs_lock_ends_in_an_error_and_not_in_a_wait_for_ever(cli: Cli, name: str) -> None:
    (cli.folder / "prismq.toml").write_text("busy_timeout_seconds = 0.2\n", encoding="utf-8")
    with server().connect(name) as other:
        other.execute("LOCK TABLE task_queue IN ACCESS EXCLUSIVE MODE")
        answer = cli("enqueue", "add", "--db", server().url(name), "--config", "prismq.toml")
    assert answer.code == 3
    assert "held a lock for too long" in answer.err
    assert "pg_stat_activity" in answer.err


def test_a_statement_that_takes_too_long_ends_in_an_error(cli: Cli, name: str) -> None:
    url = server().url(name, options="-c%20statement_timeout%3D300%20-c%20lock_timeout%3D0")
    with server().connect(name) as other:
        other.execute("LOCK TABLE task_queue IN ACCESS EXCLUSIVE MODE")
        answer = cli("enqueue", "add", "--db", url)
    assert answer.code == 3
    assert "statement_timeout" in answer.err


def test_a_server_that_says_nothing_at_all_is_given_up(cli: Cli, name: str) -> None:
    with contextlib.closing(Proxy(server())) as proxy:
        proxy.hole(True)
        answer = cli("status", "--db", proxy.url(name, connect_timeout="2"))
    assert answer.code == 3
    assert "did not answer in time" in answer.err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MiB for the tables; skipped where none can be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=12m,mode=0777", "tmpfs", str(folder)]
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("a tmpfs of 12 MiB cannot be mounted: that takes root; a server has no other quota")
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    for parent in folder.parents:  # the server is another user
        with contextlib.suppress(PermissionError):
            parent.chmod(parent.stat().st_mode | 0o011)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_on_the_server_is_said_loses_nothing_and_passes(cli: Cli, small_disk: Path) -> None:
    with contextlib.closing(PostgresServer()) as own:
        own.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
        own.execute("CREATE DATABASE q TABLESPACE small")
        url = own.url("q")
        acknowledged: list[int] = []
        with PrismQ(url) as q:
            q.store.check()
            ballast = small_disk / "ballast"
            with contextlib.suppress(OSError), ballast.open("wb") as file:
                while True:
                    file.write(b"x" * 65536)
                    file.flush()
            with pytest.raises(QueueDatabaseError, match="disk is full"):  # noqa: PT012 - which one fails is open
                for _ in range(10_000):
                    acknowledged.append(q.enqueue("job", {"text": "x" * 1500}).id)
            answer = cli("enqueue", "job", "text=" + "y" * 100_000, "--db", url)
            assert answer.code == 3, answer.out
            assert "the server's disk is full, so nothing was written. Free some space" in answer.err
            assert q.tasks.count() == len(acknowledged)
            ballast.unlink()
            assert q.enqueue("job", {"text": "z"}).id > 0
            assert q.store.insight.depth() == q.store.insight.recount()
            assert q.tasks.count() == len(acknowledged) + 1


def test_a_server_with_no_connection_left_says_so() -> None:
    with contextlib.closing(PostgresServer("max_connections = 6\nsuperuser_reserved_connections = 0\n")) as own:
        url = own.url("postgres")
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(psycopg.OperationalError):
                for _ in range(20):
                    stack.enter_context(psycopg.connect(url))
            with PrismQ(url) as q, pytest.raises(QueueDatabaseError, match="no connection left"):
                q.enqueue("add", {"a": 1, "b": 1})


def test_a_program_whose_server_stops_and_starts_goes_on_without_being_told() -> None:
    with contextlib.closing(PostgresServer()) as own, PrismQ(own.url(own.new_queue())) as q:
        q.enqueue("add", {"a": 1, "b": 1})
        done = threading.Event()

        def come_again() -> None:
            while not done.is_set():
                with contextlib.suppress(QueueDatabaseError):
                    q.enqueue("add", {"a": 2, "b": 2}, idempotency_key="again")
                    done.set()

        own.stop("immediate")
        waiting = threading.Thread(target=come_again)
        waiting.start()
        own.start()
        wait_until(done.is_set, "it is in", 30)
        waiting.join()
        assert q.tasks.count() == 2
