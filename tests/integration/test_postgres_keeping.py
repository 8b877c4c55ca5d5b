"""Backup and doctor on a real PostgreSQL server: copies are whole, and planted faults are found."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from prismq.domain.errors import QueueBackupError, QueueMaintenanceError
from prismq.domain.finding import Finding
from prismq.domain.task import TaskFilter
from prismq.storage.contract import CheckpointMode
from prismq.storage.postgres import diagnosis
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.schema import migrations
from prismq.storage.postgres.store import PostgresStore
from prismq.worker.sweeper import SWEEP_S, Sweeper
from tests.helpers.builders import a_task, claim_one, complete
from tests.helpers.clock import FakeClock
from tests.helpers.engines import PostgresEngine, postgres_engine
from tests.helpers.processes import wait_until


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[PostgresEngine]:
    with postgres_engine(tmp_path) as engine:
        yield engine


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def found(engine: PostgresEngine, name: str) -> list[Finding]:
    """What one check says."""
    [check] = [one for one in engine.store.keeping.checks() if one.name == name]
    return list(check.run(0.0))


# -- dead rows


def dead(engine: PostgresEngine) -> int:
    with engine.store.database.reading() as connection:
        found = connection.execute("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'task_queue'")
        return int(found.fetchall()[0][0])


def test_what_many_changes_leave_behind_is_swept_up(engine: PostgresEngine, clock: FakeClock) -> None:
    store, failed = engine.store, list[object]()
    sweeper = Sweeper(store.upkeep, clock, failed.append)
    assert sweeper.step() == SWEEP_S
    with engine.store.database.alone() as connection:
        connection.execute(
            "INSERT INTO task_queue (type, payload, revision) SELECT 'noop', '{}', 1 FROM generate_series(1, 6000)"
        )
        connection.execute("UPDATE task_queue SET priority = 50, revision = revision + 1")

    wait_until(lambda: store.upkeep.littered() == ["task_queue"], what="the server's statistics")
    assert sweeper.step() == 1.0
    wait_until(lambda: sweeper.step() == SWEEP_S, what="the sweep")
    wait_until(lambda: dead(engine) < 100, what="no dead rows")
    assert store.upkeep.littered() == []
    assert sweeper.step() == SWEEP_S
    assert failed == []


def test_a_table_that_its_owner_takes_from_autovacuum_is_left_alone(engine: PostgresEngine) -> None:
    with engine.store.database.alone() as connection:
        connection.execute("ALTER TABLE task_queue SET (autovacuum_enabled = false)")
        connection.execute(
            "INSERT INTO task_queue (type, payload, revision) SELECT 'noop', '{}', 1 FROM generate_series(1, 6000)"
        )
        connection.execute("DELETE FROM task_queue")
        connection.execute("DELETE FROM queue_depth_deltas")

    wait_until(lambda: dead(engine) >= 6000, what="the server's statistics")
    assert engine.store.upkeep.littered() == []


# -- backups


def test_a_backup_holds_every_task_and_right_books(engine: PostgresEngine, clock: FakeClock, tmp_path: Path) -> None:
    store = engine.store
    store.inbox.enqueue_many(
        [a_task(payload=f'{{"text": "tab\\\\t, line\\\\n, ü {i}"}}') for i in range(250)], clock.now()
    )
    store.inbox.enqueue(a_task(queue="tab\tin its name\\", priority=5), clock.now())
    complete(store, clock, claim_one(store, clock))
    copy = tmp_path / "copy.dump"
    store.keeping.back_up(copy)
    verified = store.keeping.verify(copy)
    assert (verified.tasks, verified.books_right, verified.schema_version) == (251, True, migrations()[-1].version)
    assert copy.stat().st_mode & 0o077 == 0


def test_a_backup_goes_into_another_database_and_works_there(
    engine: PostgresEngine, clock: FakeClock, tmp_path: Path
) -> None:
    store = engine.store
    store.inbox.enqueue_many([a_task() for _ in range(20)], clock.now())
    copy = tmp_path / "copy.dump"
    store.keeping.back_up(copy)
    with pytest.raises(QueueBackupError, match="pg_restore"):
        store.keeping.restore(copy, None, clock.now())

    name = engine.server.new_database()
    subprocess.run(
        ["pg_restore", "--clean", "--if-exists", "--no-owner", f"--dbname={engine.server.url(name)}", str(copy)],
        check=True,
    )
    restored = PostgresStore(PostgresDatabase(engine.server.url(name), server_clock=False))
    try:
        restored.check()
        assert restored.tasks.count(TaskFilter()) == 20
        assert restored.insight.depth() == restored.insight.recount() == store.insight.depth()
        new = restored.inbox.enqueue(a_task(), clock.now())
        assert new.task_id > 20
    finally:
        restored.close()
        engine.server.drop(name)


def test_books_that_do_not_fit_show_in_the_backup(engine: PostgresEngine, clock: FakeClock, tmp_path: Path) -> None:
    engine.store.inbox.enqueue(a_task(), clock.now())
    engine.hand(
        "INSERT INTO queue_depth_deltas (queue, type, status, band, tasks) VALUES ('x', 'y', 'queued', 'low', 3)"
    )
    copy = tmp_path / "copy.dump"
    engine.store.keeping.back_up(copy)
    assert not engine.store.keeping.verify(copy).books_right
    engine.store.keeping.mend_books()


def test_a_damaged_backup_is_found(engine: PostgresEngine, clock: FakeClock, tmp_path: Path) -> None:
    engine.store.inbox.enqueue_many([a_task(payload=f'{{"n": {i}}}') for i in range(5_000)], clock.now())
    copy = tmp_path / "copy.dump"
    engine.store.keeping.back_up(copy)
    whole = copy.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"nothing of the kind", b""):
        copy.write_bytes(damaged)
        with pytest.raises(QueueBackupError, match="corrupt"):
            engine.store.keeping.verify(copy)
    with pytest.raises(QueueBackupError, match="not found"):
        engine.store.keeping.verify(tmp_path / "missing.dump")


def test_a_dump_of_something_else_is_no_backup(engine: PostgresEngine, tmp_path: Path) -> None:
    name, copy = engine.server.new_database(), tmp_path / "other.dump"
    subprocess.run(["pg_dump", "-Fc", f"--dbname={engine.server.url(name)}", f"--file={copy}"], check=True)
    with pytest.raises(QueueBackupError, match="no backup of a queue"):
        engine.store.keeping.verify(copy)
    engine.server.drop(name)


def test_a_backup_that_fails_or_is_given_up_leaves_no_file(engine: PostgresEngine, tmp_path: Path) -> None:
    copy = tmp_path / "copy.dump"
    lost = PostgresStore(PostgresDatabase(engine.server.url("no_such_database"), server_clock=False))
    with pytest.raises(QueueBackupError, match="no_such_database"):
        lost.keeping.back_up(copy)
    assert not copy.exists()

    # A lock makes pg_dump wait, so that there is time to give up.
    holder = engine.callers_connection()
    holder.execute("LOCK TABLE task_queue IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(QueueBackupError, match="given up"):
        engine.store.keeping.back_up(copy, lambda: True)
    holder.rollback()
    assert not copy.exists()


def test_a_password_is_in_no_argument_and_no_error(
    engine: PostgresEngine, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    secret = "s3:cr\\et"
    # The server's other tests make a user of this name, too: it is the one that is asked for a password.
    engine.server.execute(f"CREATE ROLE locked LOGIN SUPERUSER PASSWORD '{secret}'")
    request.addfinalizer(lambda: engine.server.execute("DROP ROLE locked"))
    url = engine.server.url(engine.name, user="locked", password="s3%3Acr%5Cet")
    store = PostgresStore(PostgresDatabase(url, server_clock=False))
    store.keeping.back_up(tmp_path / "copy.dump")
    assert store.keeping.verify(tmp_path / "copy.dump").tasks == 0
    wrong = PostgresStore(PostgresDatabase(url.replace("et@", "eT-wrong@"), server_clock=False))
    with pytest.raises(QueueBackupError) as caught:
        wrong.keeping.back_up(tmp_path / "other.dump")
    assert "cr" not in str(caught.value).replace("scram", "")
    store.close()


# -- what the doctor finds


def test_a_session_that_holds_a_snapshot_is_named(engine: PostgresEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "SNAPSHOT_AGE_S", 0.0)
    assert found(engine, "snapshots") == []
    holder = engine.callers_connection()
    holder.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    holder.execute("SELECT 1 FROM task_queue")
    [finding] = found(engine, "snapshots")
    assert f"session {holder.info.backend_pid}" in finding.what
    holder.rollback()


def test_an_abandoned_replication_slot_is_named(engine: PostgresEngine) -> None:
    engine.hand("SELECT pg_create_physical_replication_slot('forgotten', true)")
    try:
        assert "replication slot forgotten" in found(engine, "snapshots")[0].what
    finally:
        engine.hand("SELECT pg_drop_replication_slot('forgotten')")


def test_dead_rows_are_found_and_vacuumed_away(
    engine: PostgresEngine, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "DEAD_ROWS_MIN", 500)
    engine.store.inbox.enqueue_many([a_task() for _ in range(1_000)], clock.now())
    for _ in range(3):
        engine.hand("UPDATE task_queue SET tags = '[]'")
    engine.hand("SELECT pg_stat_force_next_flush()")
    engine.hand("ANALYZE task_queue")
    findings = [one for one in found(engine, "dead-rows") if one.what.startswith("task_queue ")]
    assert len(findings) == 1
    mend = findings[0].mend
    assert mend is not None
    assert mend() == "vacuumed"
    assert [one for one in found(engine, "dead-rows") if one.what.startswith("task_queue ")] == []


def test_a_payload_that_is_no_object_is_found(engine: PostgresEngine) -> None:
    assert found(engine, "payloads") == []
    engine.hand("INSERT INTO task_queue (type, payload) VALUES ('t', '[1]'), ('t', '{}')")
    assert found(engine, "payloads")[0].what.startswith("1 waiting task (1) has")


def test_an_index_that_was_not_built_to_the_end_is_found(engine: PostgresEngine) -> None:
    assert found(engine, "integrity") == []
    engine.hand("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_task_ready'::regclass")
    assert "ix_task_ready is not valid" in found(engine, "integrity")[0].what


def test_the_server_s_settings_are_looked_at(engine: PostgresEngine) -> None:
    assert found(engine, "server") == []
    engine.server.execute("ALTER SYSTEM SET autovacuum = off")
    engine.server.execute("SELECT pg_reload_conf()")
    try:
        wait_until(lambda: found(engine, "server"), "the setting", 20)
        assert [one.what for one in found(engine, "server")] == ["autovacuum is off"]
    finally:
        engine.server.execute("ALTER SYSTEM RESET autovacuum")
        engine.server.execute("SELECT pg_reload_conf()")


def test_somebody_s_lock_is_found_and_does_not_hang_the_doctor(engine: PostgresEngine) -> None:
    holder = engine.callers_connection()
    holder.execute("LOCK TABLE task_queue IN ACCESS EXCLUSIVE MODE")
    store = PostgresStore(PostgresDatabase(engine.url, server_clock=False, busy_timeout_s=0.1))
    [check] = [one for one in store.keeping.checks() if one.name == "writable"]
    assert len(list(check.run(0.0))) == 1
    holder.rollback()
    store.close()


@pytest.fixture
def plain(engine: PostgresEngine) -> Iterator[PostgresStore]:
    """The store of a user without rights."""
    engine.server.execute("DROP ROLE IF EXISTS plain")
    engine.server.execute("CREATE ROLE plain LOGIN")
    store = PostgresStore(PostgresDatabase(engine.server.url(engine.name, user="plain"), server_clock=False))
    yield store
    store.close()


def test_a_user_without_rights_is_told_of_checkpoints(engine: PostgresEngine, plain: PostgresStore) -> None:
    with pytest.raises(QueueMaintenanceError, match="pg_checkpoint"):
        plain.keeping.checkpoint(CheckpointMode.PASSIVE)
    assert engine.store.keeping.checkpoint(CheckpointMode.PASSIVE).busy is False


def test_a_user_without_rights_sees_sizes_and_not_the_servers_log(engine: PostgresEngine, plain: PostgresStore) -> None:
    assert engine.store.keeping.stats().wal_bytes > 0
    with plain.database.transaction():
        assert [plain.keeping.stats().wal_bytes for _ in range(2)] == [0, 0]
        assert plain.keeping.stats().page_count > 0


def test_vacuum_is_refused_inside_a_transaction(engine: PostgresEngine) -> None:
    with engine.store.inbox.transaction(), pytest.raises(QueueMaintenanceError, match="commit first"):
        engine.store.keeping.vacuum()


def test_alone_ends_with_its_process(engine: PostgresEngine) -> None:
    """The lock goes with the session: here it is ended from outside, as a dead process's is."""
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with engine.another().keeping.alone("backup") as mine:
            assert mine
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert entered.wait(30)
    with engine.store.keeping.alone("backup") as mine:
        assert not mine
    engine.hand(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
    )
    with engine.store.keeping.alone("backup") as mine:
        assert mine
    leave.set()
    thread.join(30)
