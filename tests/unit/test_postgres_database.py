"""The PostgreSQL database: what it says when it cannot, and what it survives. A real server each time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Iterator

import psycopg
import pytest

from prismq.domain.errors import ConfigurationError, QueueBusyError, QueueDatabaseError, QueueSchemaError
from prismq.storage.postgres import database as database_module
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.location import read_url
from prismq.storage.postgres.schema import migrate, migrations, pending
from tests.helpers.postgres import PostgresServer, free_port, server

PASSWORD = "s3cret-Pa55"


@pytest.fixture
def name() -> Iterator[str]:
    name = server().new_queue()
    yield name
    server().drop(name)


@pytest.fixture
def db(name: str) -> Iterator[PostgresDatabase]:
    with contextlib.closing(PostgresDatabase(server().url(name), busy_timeout_s=0.3, pool_size=3)) as db:
        yield db


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that a test may stop."""
    with contextlib.closing(PostgresServer()) as own:
        yield own


def look(name: str, sql: str) -> list[tuple[object, ...]]:
    with server().connect(name, autocommit=True) as connection:
        return connection.execute(sql).fetchall()


def said(error: BaseException) -> str:
    """All that a traceback would show of it."""
    words = []
    found: BaseException | None = error
    while found is not None:
        words += [str(found), repr(found)]
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return "\n".join(words)


def ask(url: str) -> QueueDatabaseError:
    """What comes of a first use."""
    with (
        contextlib.closing(PostgresDatabase(url)) as db,
        pytest.raises(QueueDatabaseError) as caught,
        db.reading() as connection,
    ):
        connection.execute("SELECT 1")
    return caught.value


# -- what a person has to mend


@pytest.fixture
def locked() -> Iterator[str]:
    """A user whom the server asks for a password."""
    server().execute(f"CREATE ROLE locked LOGIN PASSWORD '{PASSWORD}'")
    yield "locked"
    server().execute("DROP ROLE locked")


def test_a_wrong_password_is_said_so_and_never_shown(locked: str) -> None:
    error = ask(server().url("postgres", user=locked, password="Wr0ng-" + PASSWORD))
    assert "the password is wrong" in str(error)
    assert PASSWORD not in said(error)
    assert "Wr0ng" not in said(error)


def test_a_missing_password_is_said_so(locked: str) -> None:
    assert "password" in str(ask(server().url("postgres", user=locked)))


def test_the_right_password_opens_and_shows_nowhere(locked: str) -> None:
    with contextlib.closing(PostgresDatabase(server().url("postgres", user=locked, password=PASSWORD))) as db:
        with db.reading() as connection:
            assert connection.execute("SELECT current_user").fetchall() == [("locked",)]
        assert PASSWORD not in repr(db) + db.name


def test_rights_that_are_missing_are_said_so(locked: str, name: str) -> None:
    url = server().url(name, user=locked, password=PASSWORD)
    with (
        contextlib.closing(PostgresDatabase(url)) as db,
        pytest.raises(QueueDatabaseError, match="GRANT"),
        db.reading() as connection,
    ):
        connection.execute("SELECT * FROM task_queue")
    with (
        contextlib.closing(PostgresDatabase(url, schema="theirs")) as db,
        pytest.raises(QueueDatabaseError, match="GRANT"),
    ):
        migrate(db)


def test_a_database_that_is_missing_is_said_so() -> None:
    error = ask(server().url("nowhere"))
    assert "no such database" in str(error)
    assert "nowhere" in str(error)


def test_a_server_that_is_not_there_is_said_so() -> None:
    assert "nothing listens there" in str(ask(f"postgresql://ann:{PASSWORD}@127.0.0.1:{free_port()}/q"))


def test_a_server_that_takes_no_writes_is_said_so(name: str) -> None:
    server().execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    assert "takes no writes" in str(ask(server().url(name)))


def test_a_server_that_is_too_old_is_said_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "SERVER_VERSION_MIN", 990000)
    assert "needs 99 or later" in str(ask(server().url(name)))


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{PASSWORD}/x@host/db",
        f"postgresql://ann:{PASSWORD}@host:port/db",
        f"postgresql://ann:p@{PASSWORD}@host/db",
        f"postgresql://ann:{PASSWORD}@host/db?nonsense=1",
        f"postgresql://ann:{PASSWORD}@host/db?schema=Robert'); DROP",
        f"postgresql://ann:{PASSWORD}@host/db?schema=pg_catalog",
        f"postgresql://ann:{PASSWORD}@host/db?pool_size=many",
        f"postgresql://ann:{PASSWORD}@host/db?pool_size=0",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_url(url)
    assert PASSWORD not in said(caught.value)


def test_a_url_gives_the_driver_its_options_and_us_ours() -> None:
    location = read_url(
        "postgresql://ann@one,two:6000/q?sslmode=require&schema=jobs&pool_size=7&application_name=a%20b"
    )
    assert location.conninfo == {
        "user": "ann", "host": "one,two", "port": ",6000", "dbname": "q", "sslmode": "require",
        "application_name": "a b",
    }  # fmt: skip
    assert (location.schema, location.pool_size) == ("jobs", 7)
    assert "jobs" in location.name
    assert read_url("postgresql://h/q?schema=jobs", schema="other").schema == "other"


def test_a_statement_that_takes_too_long_is_ended(name: str) -> None:
    with contextlib.closing(PostgresDatabase(server().url(name), statement_timeout_s=0.05)) as db:
        with pytest.raises(QueueBusyError, match="statement_timeout"), db.reading() as connection:
            connection.execute("SELECT pg_sleep(60)")
        with db.reading() as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_another_programs_lock_is_waited_for_no_longer_than_busy_timeout(db: PostgresDatabase, name: str) -> None:
    with server().connect(name) as other:
        other.execute("LOCK TABLE task_queue")
        with pytest.raises(QueueBusyError, match="lock"), db.reading() as connection:
            connection.execute("SELECT * FROM task_queue")


# -- the schema


def test_many_who_create_the_schema_at_once_do_it_once() -> None:
    name = server().new_database()
    done: list[list[int]] = []

    def create() -> None:
        with contextlib.closing(PostgresDatabase(server().url(name))) as db:
            done.append(migrate(db))

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server().drop(name)
    assert sorted(done) == [[]] * 5 + [[migration.version for migration in migrations()]]


def test_two_queues_share_a_database_in_schemas_of_their_own(db: PostgresDatabase, name: str) -> None:
    with contextlib.closing(PostgresDatabase(server().url(name, schema="jobs"))) as other:
        assert pending(other) == [migration.version for migration in migrations()]
        other.initialize_schema()
        with other.reading() as connection:
            connection.execute("INSERT INTO task_queue (type, payload) VALUES ('t', '{}')")
            assert connection.execute("SELECT count(*) FROM jobs.task_queue").fetchall() == [(1,)]
            assert connection.execute("SELECT sum(tasks) FROM jobs.queue_depth_deltas").fetchall() == [(1,)]
        with db.reading() as connection:
            assert connection.execute("SELECT count(*) FROM task_queue").fetchall() == [(0,)]
        assert db.lock_key("fold") != other.lock_key("fold")


def test_tables_of_another_program_are_left_alone() -> None:
    name = server().new_database()
    with server().connect(name, autocommit=True) as connection:
        connection.execute("CREATE TABLE workers (name text)")
    with contextlib.closing(PostgresDatabase(server().url(name))) as db:
        with pytest.raises(QueueSchemaError, match=r"another program.*workers.*\?schema="):
            migrate(db)
        with db.reading() as connection:
            tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            assert connection.execute(tables).fetchall() == [("workers",)]
    server().drop(name)


def test_a_newer_schema_is_refused(db: PostgresDatabase) -> None:
    with db.reading() as connection:
        connection.execute("INSERT INTO prismq_migrations (version, name, checksum) VALUES (999, 'x', 'x')")
    with pytest.raises(QueueSchemaError, match="Upgrade prismq"):
        db.require_schema()


def test_a_migration_that_was_changed_is_refused(db: PostgresDatabase) -> None:
    with db.reading() as connection:
        connection.execute("UPDATE prismq_migrations SET checksum = 'other'")
    with pytest.raises(QueueSchemaError, match="changed copy"):
        db.initialize_schema()


# -- connections


def test_no_more_connections_than_the_pool_holds_and_who_waits_is_told(db: PostgresDatabase) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(db.reading())
        with pytest.raises(QueueBusyError, match="pool_size"):
            stack.enter_context(db.reading())
    with db.reading() as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_connection_is_used_again_and_none_is_left_in_a_transaction(db: PostgresDatabase, name: str) -> None:
    pids = set()
    for _ in range(5):
        with db.transaction() as connection:
            pids.add(connection.info.backend_pid)
    with pytest.raises(ZeroDivisionError), db.transaction() as connection:  # noqa: PT012
        connection.execute("INSERT INTO queues (queue) VALUES ('q')")
        raise ZeroDivisionError
    assert len(pids) == 1
    assert look(name, "SELECT * FROM queues") == []
    assert look(name, f"SELECT state FROM pg_stat_activity WHERE pid = {min(pids)}") == [("idle",)]


def test_a_server_that_was_restarted_is_used_again_without_an_error(own_server: PostgresServer) -> None:
    with contextlib.closing(PostgresDatabase(own_server.url(own_server.new_queue()))) as db:
        for mode in ("fast", "immediate"):
            with db.reading() as connection:
                connection.execute("INSERT INTO queues (queue) VALUES (%s)", (mode,))
            own_server.restart(mode)
        with db.transaction() as connection:
            assert connection.execute("SELECT count(*) FROM queues").fetchall() == [(2,)]


def test_a_server_that_stopped_is_an_error_at_once_and_not_for_ever(own_server: PostgresServer) -> None:
    with contextlib.closing(PostgresDatabase(own_server.url(own_server.new_queue()))) as db:
        with db.reading() as connection:
            connection.execute("SELECT 1")
        own_server.stop("immediate")
        for _ in range(2):
            with pytest.raises(QueueDatabaseError, match="nothing listens"), db.reading():
                pass
        own_server.start()
        with db.reading() as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_connection_cut_in_the_middle_is_an_error_of_ours_and_leaves_nothing(db: PostgresDatabase, name: str) -> None:
    with pytest.raises(QueueDatabaseError), db.transaction() as connection:  # noqa: PT012
        connection.execute("INSERT INTO queues (queue) VALUES ('q')")
        look(name, f"SELECT pg_terminate_backend({connection.info.backend_pid}, 5000)")
        connection.execute("INSERT INTO queues (queue) VALUES ('r')")
    assert look(name, "SELECT * FROM queues") == []
    with db.transaction() as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_commit_whose_answer_is_lost_says_that_nobody_knows(db: PostgresDatabase, name: str) -> None:
    with pytest.raises(QueueDatabaseError, match="nobody knows"), db.transaction() as connection:
        look(name, f"SELECT pg_terminate_backend({connection.info.backend_pid}, 5000)")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_has_connections_of_its_own_and_leaves_the_parents_alone(db: PostgresDatabase) -> None:
    with db.reading() as connection:
        mine = connection.info.backend_pid
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with db.reading() as connection:
                theirs = connection.execute("SELECT pg_backend_pid()").fetchall()[0][0]
            db.close()
            os.write(write, str(theirs).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        theirs = int(pipe.read())
    with db.reading() as connection:
        assert connection.execute("SELECT pg_backend_pid()").fetchall() == [(mine,)]
    assert theirs != mine


def test_rows_come_as_utc_and_json_as_text_whatever_the_servers_time_zone(db: PostgresDatabase) -> None:
    with db.reading() as connection:
        [(zone, moment, value)] = connection.execute(
            "SELECT current_setting('timezone'), '2026-01-02 03:04:05Z'::timestamptz, '{\"a\": 1}'::jsonb"
        ).fetchall()
    assert zone == "Asia/Kolkata"
    assert (moment.isoformat(), value) == ("2026-01-02T03:04:05+00:00", '{"a": 1}')


# -- transactions


def test_a_nested_transaction_is_a_savepoint(db: PostgresDatabase, name: str) -> None:
    with db.transaction() as connection:
        connection.execute("INSERT INTO queues (queue) VALUES ('outer')")
        with pytest.raises(ZeroDivisionError), db.transaction() as inner:  # noqa: PT012
            assert inner is connection
            inner.execute("INSERT INTO queues (queue) VALUES ('inner')")
            raise ZeroDivisionError
        with db.reading() as same:
            assert same is connection
    assert look(name, "SELECT queue FROM queues") == [("outer",)]


def test_a_transaction_belongs_to_the_code_inside_it(db: PostgresDatabase) -> None:
    seen: dict[str, bool] = {}

    async def inside(began: asyncio.Event, over: asyncio.Event) -> None:
        with db.transaction():
            began.set()
            await over.wait()
            seen["inside"] = db.in_transaction

    async def beside(began: asyncio.Event, over: asyncio.Event) -> None:
        await began.wait()
        seen["beside"] = db.in_transaction
        seen["thread"] = await asyncio.to_thread(lambda: db.in_transaction)
        over.set()

    async def both() -> None:
        began, over = asyncio.Event(), asyncio.Event()
        await asyncio.gather(inside(began, over), beside(began, over))

    asyncio.run(both())
    assert seen == {"inside": True, "beside": False, "thread": False}


def test_a_coroutine_that_outlives_the_transaction_it_was_started_in_is_not_inside(db: PostgresDatabase) -> None:
    async def later() -> bool:
        return db.in_transaction

    async def start() -> bool:
        with db.transaction():
            task = asyncio.create_task(later())
        return await task

    assert asyncio.run(start()) is False


def test_an_integrity_error_is_ours_unless_it_was_asked_for(db: PostgresDatabase) -> None:
    twice = "INSERT INTO queues (queue) VALUES ('q'), ('q')"
    with pytest.raises(QueueDatabaseError, match="rule of the schema"), db.transaction() as connection:
        connection.execute(twice)
    with pytest.raises(psycopg.IntegrityError), db.transaction(keep_integrity_errors=True, pipeline=True) as connection:
        connection.execute(twice)


# -- the server's clock


class SkewedClock:
    """This host's clock, some seconds off; it can be set while the host runs."""

    def __init__(self, off_by_s: float) -> None:
        self.off_by_s = off_by_s
        self._real = database_module.SYSTEM_CLOCK

    def now(self) -> float:
        return self._real.now() + self.off_by_s

    def monotonic(self) -> float:
        return self._real.monotonic()


def test_how_far_the_clocks_differ_is_measured_and_again_when_ours_is_set(
    db: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SkewedClock(-300.0)
    monkeypatch.setattr(database_module, "SYSTEM_CLOCK", clock)
    assert db.skew_s() == pytest.approx(300.0, abs=1)
    assert db.skew_s() == db.skew_s()
    clock.off_by_s = 90.0
    assert db.skew_s() == pytest.approx(-90.0, abs=1)
    assert db.back(db.at(clock.now())) == pytest.approx(clock.now(), abs=1)


def test_where_the_callers_clock_rules_nothing_is_shifted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "SYSTEM_CLOCK", SkewedClock(500.0))
    with contextlib.closing(PostgresDatabase(server().url(name), server_clock=False)) as db:
        assert db.skew_s() == 0.0
