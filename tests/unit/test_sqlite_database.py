"""QueueDatabase: connections, transactions, threads, forks, and faults in plain words."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from prismq import (
    PRAGMAS,
    QueueBusyError,
    QueueDatabase,
    QueueDatabaseError,
    QueueSchemaError,
    Task,
)
from prismq.storage.sqlite.errors import translate

INSERT = "INSERT INTO task_queue (type, payload) VALUES (?, ?)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def db(path: Path) -> Iterator[QueueDatabase]:
    with QueueDatabase(path) as db:
        db.initialize_schema()
        yield db


def count(db: QueueDatabase) -> int:
    return int(db.execute("SELECT count(*) FROM task_queue").fetchone()[0])


# -- as the reference shows it


def test_the_first_steps_of_the_reference_work_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PRISMQ_QUEUE_DB_PATH", str(tmp_path / "own" / "queue.db"))
    db = QueueDatabase()
    db.initialize_schema()
    with db.transaction() as conn:
        conn.execute(
            "INSERT INTO task_queue (type, payload, priority) VALUES (?, ?, ?)",
            ("video_processing", '{"format": "mp4"}', 50),
        )
    cursor = db.execute("SELECT * FROM task_queue WHERE status = ?", ("queued",))
    for row in cursor:
        task = Task.from_dict(dict(row))
        print(f"Task {task.id}: {task.type}")
    db.close()

    assert capsys.readouterr().out == "Task 1: video_processing\n"
    assert db.db_path == tmp_path / "own" / "queue.db"


def test_ten_threads_may_share_the_object(db: QueueDatabase) -> None:
    errors: list[BaseException] = []

    def worker_task() -> None:
        try:
            for _ in range(20):
                with db.transaction() as conn:
                    conn.execute(INSERT, ("test", "{}"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=worker_task) for _ in range(10)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()

    assert errors == []
    assert count(db) == 200


def test_many_rows_go_in_one_transaction(db: QueueDatabase) -> None:
    tasks = [("type1", "{}"), ("type2", "{}"), ("type3", "{}")]
    db.execute_many(INSERT, tasks)
    assert count(db) == 3
    with pytest.raises(QueueDatabaseError):
        db.execute_many(INSERT, [("type4", "{}"), ("type5", None)])
    assert count(db) == 3


def test_generated_columns_come_from_the_json(db: QueueDatabase) -> None:
    db.execute(
        "INSERT INTO task_queue (type, payload, compatibility) VALUES ('t', ?, ?)",
        ('{"format": "mp4"}', '{"region": "eu"}'),
    )
    db.execute(INSERT, ("t", "not json"))
    rows = [tuple(row) for row in db.execute("SELECT format, region FROM task_queue ORDER BY id")]
    assert rows == [("mp4", "eu"), (None, None)]


# -- connections


@pytest.mark.parametrize("name", sorted(PRAGMAS))
def test_every_pragma_is_applied_to_every_connection(db: QueueDatabase, name: str) -> None:
    expected = {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "temp_store": 2}.get(name, PRAGMAS[name])
    seen = [db.get_connection().execute(f"PRAGMA {name}").fetchone()[0]]
    thread = threading.Thread(target=lambda: seen.append(db.get_connection().execute(f"PRAGMA {name}").fetchone()[0]))
    thread.start()
    thread.join()
    assert seen == [expected, expected]


def test_durability_full_is_synchronous_full(path: Path) -> None:
    with QueueDatabase(path, durability="full") as db:
        assert db.get_connection().execute("PRAGMA synchronous").fetchone()[0] == 2


def test_a_connection_belongs_to_its_thread_and_gives_rows_by_name(db: QueueDatabase) -> None:
    connections = [db.get_connection(), db.get_connection()]
    thread = threading.Thread(target=lambda: connections.append(db.get_connection()))
    thread.start()
    thread.join()
    assert connections[0] is connections[1]
    assert connections[2] is not connections[0]
    assert connections[0].row_factory is sqlite3.Row


def test_nothing_is_opened_before_the_first_use(path: Path) -> None:
    QueueDatabase(path)
    assert not path.exists()


def test_a_closed_database_opens_anew_when_it_is_used(db: QueueDatabase) -> None:
    db.execute(INSERT, ("t", "{}"))
    db.close()
    db.close()
    assert count(db) == 1


def test_the_database_in_memory_is_one_for_all_threads() -> None:
    with QueueDatabase(":memory:") as db:
        db.initialize_schema()
        thread = threading.Thread(target=lambda: db.execute(INSERT, ("t", "{}")))
        thread.start()
        thread.join()
        assert count(db) == 1


# -- transactions


def test_an_exception_rolls_the_transaction_back(db: QueueDatabase) -> None:
    with pytest.raises(ZeroDivisionError), db.transaction() as conn:  # noqa: PT012
        conn.execute(INSERT, ("t", "{}"))
        raise ZeroDivisionError
    assert count(db) == 0
    assert not db.in_transaction


def test_a_transaction_takes_the_writers_lock_at_once(db: QueueDatabase, path: Path) -> None:
    with db.transaction(), QueueDatabase(path, busy_timeout_s=0) as other:
        with pytest.raises(QueueBusyError, match="locked"):
            other.execute(INSERT, ("t", "{}"))
        assert count(other) == 0, "readers are not held up"


def test_a_nested_transaction_that_fails_takes_only_its_own_writes_back(db: QueueDatabase) -> None:
    with db.transaction() as conn:
        conn.execute(INSERT, ("outer", "{}"))
        with pytest.raises(ZeroDivisionError), db.transaction():  # noqa: PT012
            conn.execute(INSERT, ("inner", "{}"))
            raise ZeroDivisionError
        with db.transaction():
            conn.execute(INSERT, ("kept", "{}"))
    assert [row[0] for row in db.execute("SELECT type FROM task_queue")] == ["outer", "kept"]


def test_a_transaction_that_somebody_began_by_hand_is_not_rolled_back_by_ours(db: QueueDatabase) -> None:
    connection = db.get_connection()
    connection.execute("BEGIN")
    connection.execute(INSERT, ("theirs", "{}"))
    with pytest.raises(QueueDatabaseError), db.transaction():
        pass
    connection.execute("COMMIT")
    assert count(db) == 1


# -- forks

fork_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")


def _in_a_child(act: object) -> int:
    """The exit code of a forked child that runs `act`: 0 where it returned."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()  # type: ignore[operator]
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@fork_only
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_its_own_connection_and_leaves_the_parents_alone(db: QueueDatabase) -> None:
    parents = db.get_connection()

    def child() -> None:
        assert db.get_connection() is not parents
        db.execute(INSERT, ("child", "{}"))
        db.close()

    assert _in_a_child(child) == 0
    assert db.get_connection() is parents
    db.execute(INSERT, ("parent", "{}"))
    assert count(db) == 2
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@fork_only
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_another_thread_writes_does_not_wait_for_it(db: QueueDatabase) -> None:
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with db.writer:
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)

    def child() -> None:
        import signal

        signal.alarm(10)  # a child that waits for ever is a failed test, not a hanging one
        db.execute(INSERT, ("child", "{}"))

    try:
        assert _in_a_child(child) == 0
    finally:
        release.set()
        thread.join()
    assert count(db) == 1


@fork_only
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_inside_a_transaction_is_not_inside_it(db: QueueDatabase) -> None:
    with db.transaction() as conn:
        conn.execute(INSERT, ("parent", "{}"))

        def child() -> None:
            assert not db.in_transaction
            assert db.execute("SELECT count(*) FROM task_queue").fetchone()[0] == 0

        assert _in_a_child(child) == 0
    assert count(db) == 1


# -- faults

LOCKER = """
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("BEGIN IMMEDIATE"); print("locked", flush=True); sys.stdin.readline()
"""


def test_a_lock_held_by_another_process_is_named_and_nothing_is_changed(db: QueueDatabase, path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        with QueueDatabase(path, busy_timeout_s=0.05) as other:
            with pytest.raises(QueueBusyError, match=r"locked by another program.*Nothing was changed"):
                other.execute(INSERT, ("t", "{}"))
            with pytest.raises(QueueBusyError), other.transaction():
                pytest.fail("the transaction must not begin")
            locker.communicate("\n")
            other.execute(INSERT, ("t", "{}"))
    assert count(db) == 1


def test_a_full_disk_is_named_and_the_store_goes_on_when_there_is_room(db: QueueDatabase) -> None:
    connection = db.get_connection()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    big = "x" * 100_000
    with pytest.raises(QueueDatabaseError, match=r"disk is full.*Free some space"):
        db.execute(INSERT, ("big", big))
    with pytest.raises(QueueDatabaseError, match="disk is full"), db.transaction() as conn:  # noqa: PT012
        conn.execute(INSERT, ("small", "{}"))
        conn.execute(INSERT, ("big", big))
    with pytest.raises(QueueDatabaseError, match="disk is full"), db.transaction() as conn, db.transaction():
        conn.execute(INSERT, ("big", big))
    assert count(db) == 0
    assert not db.in_transaction
    connection.execute("PRAGMA max_page_count = 1000000")
    db.execute(INSERT, ("big", big))
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_file_that_may_not_be_written_is_named(db: QueueDatabase) -> None:
    # Not by its rights: the tests may run as root, who may write everything.
    db.get_connection().execute("PRAGMA query_only = ON")
    with pytest.raises(QueueDatabaseError, match=r"cannot be written. Check the owner and the rights"):
        db.execute(INSERT, ("t", "{}"))


def test_a_damaged_file_is_named(path: Path) -> None:
    with QueueDatabase(path) as db:
        db.initialize_schema()
        db.execute_many(INSERT, [("t", "x" * 1000)] * 200)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with QueueDatabase(path) as db, pytest.raises(QueueDatabaseError, match=r"damaged.*restore the latest backup"):
        db.execute("SELECT count(*) FROM task_queue").fetchone()


def test_a_file_that_is_no_database_is_refused_and_not_touched(path: Path) -> None:
    text = b"dear diary, today I enqueued a task\n" * 100
    path.write_bytes(text)
    with QueueDatabase(path) as db, pytest.raises(QueueSchemaError, match="not a SQLite database"):
        db.initialize_schema()
    assert path.read_bytes() == text
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_empty_file_is_taken_for_a_new_queue(path: Path) -> None:
    path.touch()
    with QueueDatabase(path) as db:
        db.initialize_schema()
        assert count(db) == 0


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with QueueDatabase(tmp_path) as db, pytest.raises(QueueDatabaseError, match="is a folder"):
        db.initialize_schema()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with QueueDatabase(tmp_path / "file" / "queue.db") as db, pytest.raises(QueueDatabaseError, match="cannot be made"):
        db.initialize_schema()


def test_a_missing_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    with QueueDatabase(tmp_path / "new" / "folder" / "queue.db") as db:
        db.initialize_schema()
    assert (tmp_path / "new" / "folder").is_dir()
    if os.name != "nt":
        assert (tmp_path / "new" / "folder").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("database is locked", QueueBusyError, "locked by another program"),
        ("database table is locked", QueueBusyError, "locked by another program"),
        ("database or disk is full", QueueDatabaseError, "disk is full"),
        ("attempt to write a readonly database", QueueDatabaseError, "cannot be written"),
        ("unable to open database file", QueueDatabaseError, "cannot be opened"),
        ("file is not a database", QueueDatabaseError, "not a SQLite database"),
        ("database disk image is malformed", QueueDatabaseError, "damaged"),
        ("disk I/O error", QueueDatabaseError, "Check the disk"),
        ("no such table: task_queue", QueueDatabaseError, "prismq init"),
        ("NOT NULL constraint failed: task_queue.payload", QueueDatabaseError, "rule of the schema"),
        ("Cannot operate on a closed database.", QueueDatabaseError, "Open the queue again"),
        ("something new", QueueDatabaseError, "something new"),
    ],
)
def test_every_error_says_what_happened_and_what_to_do(text: str, kind: type[Exception], says: str) -> None:
    error = translate(sqlite3.OperationalError(text), "/data/queue.db")
    assert type(error) is kind
    assert says in str(error)
    assert "/data/queue.db" in str(error)
    assert text in str(error)


def test_closing_leaves_a_statement_of_another_thread_to_its_end(db: QueueDatabase) -> None:
    begun, go_on, seen = threading.Event(), threading.Event(), []

    def pause() -> int:
        begun.set()
        assert go_on.wait(30)
        return 7

    def ask() -> None:
        db.get_connection().create_function("pause", 0, pause)
        seen.append(db.execute_read("SELECT pause()")[0])

    thread = threading.Thread(target=ask)
    thread.start()
    assert begun.wait(30)
    db.close()
    go_on.set()
    thread.join(30)
    assert seen == [7]
    assert db.execute_read("SELECT 1")[0] == 1
    assert db.connection_counts() == (0, 1)
    db.close()
    assert db._connections._outliving == []
