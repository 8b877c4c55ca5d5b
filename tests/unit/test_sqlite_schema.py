"""Migrations, places where a queue may live, and the names that SQL tools rely on."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from prismq import QueueDatabase, QueueDatabaseError, QueueSchemaError, Task, TaskLog, Worker
from prismq.storage.sqlite import location, schema
from prismq.storage.sqlite.location import network_file_system
from prismq.storage.sqlite.schema import Migration, applied, migrate, migrations, statements


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def db(path: Path) -> Iterator[QueueDatabase]:
    with QueueDatabase(path) as db:
        db.initialize_schema()
        yield db


# -- migrations


def test_migrations_are_numbered_without_gaps() -> None:
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_what_was_applied_is_remembered_with_its_checksum(db: QueueDatabase) -> None:
    assert applied(db) == {migration.version: migration.checksum for migration in migrations()}
    assert migrate(db) == []


def test_line_ends_do_not_change_a_checksum() -> None:
    assert Migration(1, "a", "x;\ny;\n").checksum == Migration(1, "a", "x;\r\ny;\r\n").checksum
    assert Migration(1, "a", "x;\ny;\n").checksum != Migration(1, "a", "x;\nz;\n").checksum


def test_a_migration_other_than_ours_is_refused(db: QueueDatabase) -> None:
    db.execute("UPDATE schema_migrations SET checksum = 'other' WHERE version = 1")
    for ask in (db.initialize_schema, db.require_schema):
        with pytest.raises(QueueSchemaError, match=r"migration 1 .* is not the one"):
            ask()


def test_a_newer_schema_is_refused_and_never_downgraded(db: QueueDatabase) -> None:
    db.execute("INSERT INTO schema_migrations (version, name, checksum) VALUES (99, 'future', 'x')")
    before = [tuple(row) for row in db.execute("SELECT * FROM sqlite_master")]
    for ask in (db.initialize_schema, db.require_schema):
        with pytest.raises(QueueSchemaError, match=r"version 99.*Upgrade prismq"):
            ask()
    assert [tuple(row) for row in db.execute("SELECT * FROM sqlite_master")] == before


def test_an_older_schema_is_brought_up_to_date_with_its_tasks(
    db: QueueDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.execute("INSERT INTO task_queue (type, payload) VALUES ('t', '{}')")
    newer = Migration(
        migrations()[-1].version + 1, "more", "CREATE TABLE more (x);\nCREATE INDEX ix_more ON more (x);\n"
    )
    ours = [*migrations(), newer]
    monkeypatch.setattr(schema, "migrations", lambda: ours)
    with pytest.raises(QueueSchemaError, match="prismq migrate"):
        db.require_schema()
    assert migrate(db) == [newer.version]
    db.require_schema()
    assert db.execute("SELECT count(*) FROM task_queue").fetchone()[0] == 1
    db.execute("SELECT x FROM more")


def test_a_migration_that_fails_leaves_the_schema_as_it_was(db: QueueDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Migration(migrations()[-1].version + 1, "broken", "CREATE TABLE half (x);\nCREATE NONSENSE;\n")
    ours = [*migrations(), broken]
    monkeypatch.setattr(schema, "migrations", lambda: ours)
    with pytest.raises(QueueDatabaseError):
        migrate(db)
    assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchone()
    assert broken.version not in applied(db)


def test_a_script_is_cut_at_its_statements_and_not_inside_triggers() -> None:
    script = (
        "-- a; comment\nCREATE TABLE a (x TEXT DEFAULT ';');\n"
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n-- the end\n"
    )
    assert [one.splitlines()[-1] for one in statements(script)] == ["CREATE TABLE a (x TEXT DEFAULT ';');", "END;"]


INITIALISE = """
import sys
from prismq import QueueDatabase
print("ready", flush=True)
sys.stdin.readline()
with QueueDatabase(sys.argv[1]) as db:
    db.initialize_schema()
    db.require_schema()
    db.execute("INSERT INTO task_queue (type, payload) VALUES ('t', '{}')")
"""


def test_several_processes_may_initialise_a_fresh_file_at_once(path: Path) -> None:
    for round_ in range(3):
        file = path.with_name(f"queue-{round_}.db")
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", INITIALISE, str(file)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(4)
        ]  # fmt: skip
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        errors = [process.communicate()[1] for process in processes]
        assert [process.returncode for process in processes] == [0] * 4, errors
        with QueueDatabase(file) as db:
            assert db.execute("SELECT count(*) FROM task_queue").fetchone()[0] == 4
            assert len(applied(db)) == len(migrations())


# -- files of others


def a_file_of_another_program(path: Path, table: str = "customers") -> bytes:
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE {table} (name TEXT)")
    connection.execute(f"INSERT INTO {table} VALUES ('ann')")
    connection.commit()
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize("table", ["customers", "schema_migrations"])
def test_a_database_of_another_program_is_refused(path: Path, table: str) -> None:
    before = a_file_of_another_program(path, table)
    with (
        QueueDatabase(path) as db,
        pytest.raises(QueueSchemaError, match=rf"another program \(tables: {table}\).*--adopt"),
    ):
        db.initialize_schema()
    assert path.read_bytes() == before, "not even its journal mode"


def test_a_database_of_another_program_can_be_adopted(path: Path) -> None:
    a_file_of_another_program(path)
    with QueueDatabase(path, adopt=True) as db:
        db.initialize_schema()
    with QueueDatabase(path) as db:
        db.require_schema()
        assert db.execute("SELECT name FROM customers").fetchone()[0] == "ann"
        assert db.execute("PRAGMA application_id").fetchone()[0] == 0, "it is still the other program's file"


def test_a_file_without_a_queue_says_how_to_make_one(path: Path) -> None:
    with QueueDatabase(path) as db, pytest.raises(QueueSchemaError, match="prismq init"):
        db.require_schema()


def test_a_new_file_is_marked_as_ours(db: QueueDatabase) -> None:
    assert db.execute("PRAGMA application_id").fetchone()[0].to_bytes(4, "big") == b"PrmQ"


# -- network file systems


MOUNTS = [
    ("/", "ext4", "rw"),
    ("/mnt/share", "nfs4", "rw"),
    ("/mnt/share/local", "ext4", "rw"),
    ("/win", "x", "rw,remote"),
]


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/ann", None), ("/mnt/share", "nfs4"), ("/mnt/share/deep/er", "nfs4"), ("/mnt/share/local/x", None),
        ("/mnt/shared", None), ("/win/q", "x"),
    ],
)  # fmt: skip
def test_the_innermost_mount_decides(folder: str, kind: str | None) -> None:
    assert network_file_system(Path(folder), MOUNTS) == kind


def test_a_network_file_system_is_refused_before_anything_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(location, "_mounts", lambda: [("/", "ext4", "rw"), (str(path.parent), "cifs", "rw")])
    with (
        QueueDatabase(path) as db,
        pytest.raises(QueueDatabaseError, match=r"network file system \(cifs\).*PostgreSQL"),
    ):
        db.initialize_schema()
    assert not path.exists()


# -- names that SQL tools rely on

COLUMNS = {
    "task_queue": "id type queue priority payload compatibility status attempts max_attempts run_after_utc"
    " lease_until_utc reserved_at_utc processing_started_utc finished_at_utc locked_by error_message idempotency_key"
    " created_at_utc updated_at_utc region format",
    "workers": "worker_id capabilities heartbeat_utc",
    "task_logs": "log_id task_id at_utc level message details",
    "v_queue_status_summary": "status task_count avg_attempts oldest_task newest_task",
    "v_queue_type_summary": "type status task_count avg_priority",
    "v_worker_status": "worker_id capabilities heartbeat_utc active_tasks seconds_since_heartbeat",
    "v_task_performance": "type status task_count avg_processing_seconds avg_attempts",
    "v_recent_failures": "id type status attempts error_message finished_at_utc",
}


@pytest.mark.parametrize("table", sorted(COLUMNS))
def test_tables_and_views_have_the_columns_of_the_reference(db: QueueDatabase, table: str) -> None:
    columns = {row[1] for row in db.execute(f"PRAGMA table_xinfo({table})")}
    wanted = set(COLUMNS[table].split())
    assert wanted <= columns
    if table.startswith("v_"):
        assert columns == wanted


def test_the_indexes_have_the_names_of_the_reference(db: QueueDatabase) -> None:
    names = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert {
        "ix_task_status_prio_time", "ix_task_type_status", "ix_task_region", "ix_task_format", "uq_task_idempotency",
        "ix_logs_task",
    } <= names  # fmt: skip


def test_the_views_count_what_there_is(db: QueueDatabase) -> None:
    db.execute_many(
        "INSERT INTO task_queue (type, payload, status, locked_by, processing_started_utc, finished_at_utc, priority)"
        " VALUES (?, '{}', ?, ?, ?, ?, ?)",
        [
            ("a", "queued", None, None, None, 100),
            ("a", "processing", "w1", "2026-01-01 00:00:00", None, 50),
            ("a", "completed", "w1", "2026-01-01 00:00:00", "2026-01-01 00:00:10", 10),
            ("b", "failed", "w1", "2026-01-01 00:00:00", "2026-01-01 00:00:30", 10),
            ("b", "dead_letter", "w1", "2026-01-01 00:00:00", "2026-01-01 00:00:50", 10),
        ],
    )
    db.execute("INSERT INTO workers (worker_id, heartbeat_utc) VALUES ('w1', datetime('now', '-10 seconds'))")
    db.execute("INSERT INTO workers (worker_id) VALUES ('w2')")

    def rows(sql: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in db.execute(sql)]

    assert rows("SELECT status, task_count FROM v_queue_status_summary ORDER BY 1") == [
        ("completed", 1), ("dead_letter", 1), ("failed", 1), ("processing", 1), ("queued", 1),
    ]  # fmt: skip
    assert ("a", "processing", 1, 50.0) in rows("SELECT * FROM v_queue_type_summary")
    assert rows("SELECT worker_id, active_tasks FROM v_worker_status ORDER BY 1") == [("w1", 1), ("w2", 0)]
    [[silent]] = db.execute("SELECT seconds_since_heartbeat FROM v_worker_status WHERE worker_id = 'w1'").fetchall()
    assert silent >= 9
    seconds = rows("SELECT round(avg_processing_seconds) FROM v_task_performance ORDER BY 1")
    assert seconds == [(10,), (30,), (50,)]
    assert [row[2] for row in rows("SELECT * FROM v_recent_failures")] == ["dead_letter", "failed"]


# -- the dataclasses over them


@pytest.mark.parametrize(("model", "table"), [(Task, "task_queue"), (Worker, "workers"), (TaskLog, "task_logs")])
def test_a_dataclass_has_one_field_for_each_column(db: QueueDatabase, model: type, table: str) -> None:
    columns = {row[1] for row in db.execute(f"PRAGMA table_xinfo({table})")}
    fields = set(model.__dataclass_fields__)  # type: ignore[attr-defined]
    assert fields == columns - {"route"}  # which only the claim reads


@pytest.mark.parametrize("text", ["2026-01-02 03:04:05", "2026-01-02 03:04:05.678", "2026-01-02T03:04:05Z"])
def test_a_row_survives_to_dict_and_from_dict(db: QueueDatabase, text: str) -> None:
    db.execute("INSERT INTO task_queue (type, payload, run_after_utc) VALUES ('t', '{\"a\": 1}', ?)", (text,))
    db.execute("INSERT INTO workers (worker_id, heartbeat_utc) VALUES ('w', ?)", (text,))
    db.execute("INSERT INTO task_logs (task_id, at_utc, details) VALUES (1, ?, '{\"b\": 2}')", (text,))
    task = Task.from_dict(dict(db.execute("SELECT * FROM task_queue").fetchone()))
    worker = Worker.from_dict(dict(db.execute("SELECT * FROM workers").fetchone()))
    log = TaskLog.from_dict(dict(db.execute("SELECT * FROM task_logs").fetchone()))

    assert Task.from_dict(task.to_dict()) == task
    assert Worker.from_dict(worker.to_dict()) == worker
    assert TaskLog.from_dict(log.to_dict()) == log
    for moment in (task.run_after_utc, worker.heartbeat_utc, log.at_utc):
        assert moment is not None
        assert moment.isoformat().startswith("2026-01-02T03:04:05")
    assert (task.get_payload_dict(), log.get_details_dict(), worker.get_capabilities_dict()) == ({"a": 1}, {"b": 2}, {})


@pytest.mark.parametrize("text", ["", "not json", "[1]", "null", "{", "1"])
def test_text_that_is_no_json_object_gives_an_empty_dict(text: str) -> None:
    assert Task(payload=text, compatibility=text).get_payload_dict() == {}
    assert Task(payload=text, compatibility=text).get_compatibility_dict() == {}
    assert Worker(capabilities=text).get_capabilities_dict() == {}
    assert TaskLog(details=text).get_details_dict() == {}
