"""QueueBackup: backups that are made while the queue works, verified, and restored over whatever is there."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from prismq import BackupInfo, NewTask, PrismQ, QueueBackup, QueueBackupError, QueueDatabase
from prismq.clock import SYSTEM_CLOCK
from prismq.domain.worker import Worker
from prismq.storage.backups import BackupFolder
from prismq.storage.contract import Batch
from prismq.storage.sqlite.schema import migrations
from tests.helpers.builders import a_request, claim_one, complete
from tests.helpers.clock import FakeClock
from tests.helpers.processes import hand, look


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def db(path: Path) -> Iterator[QueueDatabase]:
    with QueueDatabase(path) as database:
        database.initialize_schema()
        yield database


@pytest.fixture
def q(db: QueueDatabase, path: Path) -> Iterator[PrismQ]:
    with PrismQ(path) as queue:
        yield queue


@pytest.fixture
def backup(db: QueueDatabase) -> QueueBackup:
    return QueueBackup(db)


def tasks_in(path: Path) -> int:
    return int(look(path, "SELECT count(*) FROM task_queue")[0][0])


def spoil(path: Path, at: int, data: bytes = b"\xff" * 4096) -> None:
    with path.open("rb+") as file:
        file.seek(at)
        file.write(data)


# -- making


def test_a_backup_holds_the_tasks_of_its_moment(q: PrismQ, backup: QueueBackup) -> None:
    q.enqueue("job", {"n": 1})
    made = backup.create_backup(name="daily")
    q.enqueue("job", {"n": 2})

    assert made.is_file()
    assert made.suffix == ".db"
    assert "queue_backup_" in made.name
    assert "daily" in made.name
    assert made.parent == backup.backup_dir
    assert tasks_in(made) == 1
    assert backup.verify_backup(made) is True


def test_backups_of_one_moment_do_not_collide(db: QueueDatabase, clock: FakeClock, tmp_path: Path) -> None:
    from prismq.storage.open import store_of

    folder = BackupFolder(store_of(db).keeping, clock, tmp_path / "here")
    made = [folder.create(name) for name in (None, None, "x", "x", None)]
    assert len({one.path for one in made}) == 5
    assert sorted(one.path for one in folder.list()) == sorted(one.path for one in made)
    assert all(one.created_at == made[0].created_at for one in made)


def test_a_backup_is_one_file_that_only_its_owner_reads(q: PrismQ, backup: QueueBackup) -> None:
    q.enqueue("job")
    made = backup.create_backup()
    backup.verify_backup(made)
    assert [one.name for one in made.parent.iterdir()] == [made.name]
    if os.name != "nt":
        assert stat.S_IMODE(made.stat().st_mode) == 0o600
        assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700


def test_a_relative_folder_is_taken_from_the_databases_own(db: QueueDatabase, path: Path) -> None:
    assert QueueBackup(db, "copies").backup_dir == path.parent / "copies"
    assert QueueBackup(db).backup_dir == path.parent / "backups"


@pytest.mark.parametrize("name", ["../x", "a/b", "", "a b", "x" * 101, "č"])
def test_a_name_that_is_none_for_a_file_is_refused(backup: QueueBackup, name: str) -> None:
    with pytest.raises(QueueBackupError, match="file's name"):
        backup.create_backup(name)


def test_a_folder_that_cannot_be_used_is_told_in_words(db: QueueDatabase, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(QueueBackupError, match="cannot be used"):
        QueueBackup(db, tmp_path / "file" / "x").create_backup()


def test_a_backup_that_is_given_up_leaves_nothing(db: QueueDatabase, clock: FakeClock, tmp_path: Path) -> None:
    from prismq.storage.open import store_of

    folder = BackupFolder(store_of(db).keeping, clock, tmp_path / "here")
    with pytest.raises(QueueBackupError, match="given up"):
        folder.create(stopped=lambda: True)
    assert list((tmp_path / "here").iterdir()) == []


def test_what_a_killed_process_left_half_made_is_no_backup_and_goes(backup: QueueBackup) -> None:
    made = backup.create_backup()
    half = made.parent / ".queue_backup_.half-0123"
    half.write_bytes(b"half")
    (made.parent / "queue_backup_20250101T000000.000000Z.db").touch()  # a name that was taken, and nothing more
    assert [one.path for one in backup.list_backups()] == [made]
    backup.create_backup()
    assert half.exists()  # it may be another's that is being made
    long_ago = SYSTEM_CLOCK.now() - 7200
    os.utime(half, (long_ago, long_ago))
    backup.create_backup()
    assert not half.exists()


def test_a_backup_does_not_make_a_writer_wait(q: PrismQ, db: QueueDatabase, path: Path, tmp_path: Path) -> None:
    """Between any two steps of the copy another connection commits at once, and the copy does not begin anew."""
    from prismq.storage.open import store_of

    q.enqueue_many([_prepared("x" * 2000) for _ in range(4000)])
    with sqlite3.connect(path, timeout=0, isolation_level=None) as other:
        steps = []

        def write() -> bool:
            steps.append(1)
            other.execute("INSERT INTO task_queue (type, payload) VALUES ('meanwhile', '{}')")
            return False

        store_of(db).keeping.back_up(tmp_path / "copy.db", write)
    other.close()
    assert 2 < len(steps) < 100  # each page once
    assert look(tmp_path / "copy.db", "SELECT count(*) FROM task_queue WHERE type = 'meanwhile'") == [(0,)]
    assert tasks_in(path) == 4000 + len(steps)


def _prepared(text: str) -> NewTask:
    return NewTask("job", f'{{"text": "{text}"}}')


def test_a_database_in_memory_can_be_backed_up(tmp_path: Path) -> None:
    with QueueDatabase(":memory:") as database:
        database.initialize_schema()
        database.execute("INSERT INTO task_queue (type, payload) VALUES ('t', '{}')")
        assert tasks_in(QueueBackup(database, tmp_path).create_backup()) == 1


# -- listing and pruning


def test_backups_are_listed_newest_first(backup: QueueBackup) -> None:
    assert backup.list_backups() == []
    assert backup.get_latest_backup() is None
    made = [backup.create_backup(name) for name in ("b", None, "a")]
    found = backup.list_backups()

    assert [one.path for one in found] == made[::-1]
    assert backup.get_latest_backup() == found[0]
    newest = found[0]
    assert isinstance(newest, BackupInfo)
    assert newest.size_bytes == made[-1].stat().st_size
    assert newest.size_mb == newest.size_bytes / 1_048_576
    assert abs(newest.created_at - datetime.now(timezone.utc)) < timedelta(minutes=1)


def test_a_copied_backup_keeps_its_time_and_one_with_a_name_of_its_own_has_the_files(backup: QueueBackup) -> None:
    made = backup.create_backup()
    before = backup.list_backups()[0].created_at
    os.utime(made, (0, 0))
    assert backup.list_backups()[0].created_at == before
    by_hand = made.with_name("queue_backup_by_hand.db")
    by_hand.write_bytes(made.read_bytes())
    os.utime(by_hand, (86_400, 86_400))
    assert backup.list_backups()[-1] == BackupInfo(
        by_hand, made.stat().st_size, datetime(1970, 1, 2, tzinfo=timezone.utc)
    )


def test_pruning_keeps_the_newest(backup: QueueBackup) -> None:
    made = [backup.create_backup() for _ in range(4)]
    assert backup.cleanup_old_backups(keep_count=10) == 0
    assert backup.cleanup_old_backups(keep_count=1, keep_days=1) == 0
    assert backup.cleanup_old_backups(keep_count=2) == 2
    assert [one.path for one in backup.list_backups()] == [made[3], made[2]]
    with pytest.raises(QueueBackupError, match="keep_count"):
        backup.cleanup_old_backups(keep_count=-1)


# -- verifying


def test_a_backup_that_is_not_there_is_not_found(backup: QueueBackup, tmp_path: Path) -> None:
    with pytest.raises(QueueBackupError, match="not found"):
        backup.verify_backup(tmp_path / "none.db")


def test_a_damaged_backup_is_corrupt(q: PrismQ, backup: QueueBackup) -> None:
    q.enqueue_many([_prepared("x" * 1000) for _ in range(50)])
    made = backup.create_backup()
    spoil(made, 4096 * 3)
    with pytest.raises(QueueBackupError, match="corrupt"):
        backup.verify_backup(made)


def test_an_index_that_lacks_a_row_is_corrupt(q: PrismQ, backup: QueueBackup) -> None:
    q.enqueue("job")
    made = backup.create_backup()
    with sqlite3.connect(made) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'queued', 'failed') WHERE name = 'ix_task_ready'"
        )
    connection.close()
    with pytest.raises(QueueBackupError, match=r"corrupt.*ix_task_ready"):
        backup.verify_backup(made)


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\x00" + b"\x00" * 4080])
def test_a_file_that_is_no_backup_is_refused(backup: QueueBackup, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.db").write_bytes(content)
    with pytest.raises(QueueBackupError):
        backup.verify_backup(tmp_path / "x.db")


def test_a_database_of_another_program_is_no_backup(backup: QueueBackup, tmp_path: Path) -> None:
    hand(tmp_path / "x.db", "CREATE TABLE theirs (x)")
    with pytest.raises(QueueBackupError, match="no backup of a queue"):
        backup.verify_backup(tmp_path / "x.db")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("INSERT INTO schema_migrations (version, name, checksum) VALUES (99, 'later', 'x')", "schema version 99"),
        ("UPDATE schema_migrations SET checksum = 'x' WHERE version = 1", "changed copy"),
    ],
)
def test_a_backup_of_another_version_is_refused(backup: QueueBackup, sql: str, said: str) -> None:
    made = backup.create_backup()
    hand(made, sql)
    with pytest.raises(QueueBackupError, match=said):
        backup.restore_backup(made)


# -- restoring


def test_a_restore_brings_back_what_was_and_keeps_what_is(q: PrismQ, backup: QueueBackup, path: Path) -> None:
    first = q.enqueue("job")
    made = backup.create_backup()
    q.enqueue("later")
    q.tasks.delete(first.id)

    assert backup.restore_backup(made) == path
    assert [task.type for task in q.tasks.find()] == ["job"]
    [aside] = path.parent.glob("queue.db.before-restore-*")
    assert look(aside, "SELECT type FROM task_queue") == [("later",)]
    assert q.store.keeping.integrity_check() == ["ok"]
    assert q.store.keeping.compare_books() == {}
    assert sorted(one.name for one in path.parent.glob("*restoring*")) == []


def test_a_restore_elsewhere_leaves_the_queue_alone(q: PrismQ, backup: QueueBackup, tmp_path: Path) -> None:
    q.enqueue("job")
    made = backup.create_backup()
    q.enqueue("later")
    target = tmp_path / "new" / "copy.db"

    assert backup.restore_backup(made, target) == target
    assert tasks_in(target) == 1
    assert len(q.tasks.find()) == 2
    with PrismQ(target) as copy:
        assert copy.store.insight.depth() == copy.store.insight.recount()
    q.enqueue("more")
    assert backup.restore_backup(backup.create_backup(), target) == target  # over the copy
    assert tasks_in(target) == 3
    assert len(list(target.parent.glob("copy.db.before-restore-*"))) == 1


def test_others_that_have_it_open_see_the_restored_tasks(q: PrismQ, backup: QueueBackup, path: Path) -> None:
    q.enqueue("job")
    made = backup.create_backup()
    other = sqlite3.connect(path, isolation_level=None)
    reader = sqlite3.connect(path, isolation_level=None)
    q.enqueue("later")
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM task_queue").fetchone() == (2,)
    assert other.execute("SELECT count(*) FROM task_queue").fetchone() == (2,)

    backup.restore_backup(made)
    assert other.execute("SELECT type FROM task_queue").fetchall() == [("job",)]
    assert reader.execute("SELECT count(*) FROM task_queue").fetchone() == (2,)  # its own old moment
    reader.execute("COMMIT")
    other.execute("INSERT INTO task_queue (type, payload) VALUES ('new', '{}')")
    assert sorted(task.type for task in q.tasks.find()) == ["job", "new"]
    other.close()
    reader.close()


def test_nothing_is_restored_over_workers_that_live(q: PrismQ, backup: QueueBackup) -> None:
    made = backup.create_backup()
    q.enqueue("job")
    with q.worker(concurrency=1), pytest.raises(QueueBackupError, match=r"workers live.*Stop them"):
        backup.restore_backup(made)
    assert len(q.tasks.find()) == 1
    backup.restore_backup(made)
    assert q.tasks.find() == []


@pytest.mark.parametrize(
    ("columns", "ago_s", "refused"),
    [
        ({"hostname": "elsewhere", "pid": 1}, 0, True),
        ({"hostname": "elsewhere", "pid": 1}, 61, False),
        ({"hostname": "elsewhere", "pid": 1, "status": "stopped"}, 0, False),
        ({"pid": 0}, 0, False),  # here, and no process has this number
    ],
)
def test_which_workers_live(
    q: PrismQ, backup: QueueBackup, columns: dict[str, object], ago_s: float, refused: bool
) -> None:
    import socket

    made = backup.create_backup()
    if columns.get("pid") == 0:
        ended = subprocess.Popen([sys.executable, "-c", ""])
        ended.wait()
        columns = {"hostname": socket.gethostname(), "pid": ended.pid}
    q.store.workers.register(Worker(worker_id="w", **columns), SYSTEM_CLOCK.now() - ago_s)  # type: ignore[arg-type]
    if refused:
        with pytest.raises(QueueBackupError, match="live"):
            backup.restore_backup(made)
    else:
        backup.restore_backup(made)


def test_a_lease_from_before_the_restore_is_stale_and_no_id_is_given_twice(q: PrismQ, backup: QueueBackup) -> None:
    task = q.enqueue("job")
    made = backup.create_backup()
    sleeper = claim_one(q.store, SYSTEM_CLOCK, "zombie")  # a process that sleeps through the restore
    lost = q.enqueue("later")
    zombies_other = claim_one(q.store, SYSTEM_CLOCK, "zombie")
    backup.restore_backup(made)

    current = claim_one(q.store, SYSTEM_CLOCK, "new")
    assert current.task_id == task.id
    assert current.fencing_token > sleeper.fencing_token
    assert (sleeper.task_id, sleeper.fencing_token) in complete(q.store, SYSTEM_CLOCK, sleeper).lost
    assert q.enqueue("new").id > lost.id
    assert (zombies_other.task_id, zombies_other.fencing_token) in complete(q.store, SYSTEM_CLOCK, zombies_other).lost
    assert complete(q.store, SYSTEM_CLOCK, current).lost == frozenset()
    assert q.store.keeping.compare_books() == {}


def test_leases_of_the_backups_time_are_over_and_its_workers_lost(q: PrismQ, backup: QueueBackup) -> None:
    q.enqueue("job")
    q.store.workers.register(Worker(worker_id="w1", hostname="h", pid=1), SYSTEM_CLOCK.now() - 3600)
    q.store.work.exchange(Batch(), a_request("w1", lease_s=3600), SYSTEM_CLOCK.now())
    backup.restore_backup(backup.create_backup())

    [worker] = q.store.workers.all()
    assert worker.status == "lost"
    [returned] = q.store.upkeep.expire_leases(SYSTEM_CLOCK.now())
    assert returned.worker_id == "w1"
    assert q.store.keeping.compare_books() == {}


def test_a_restore_where_the_file_is_gone_does_not_play_an_old_log_into_it(
    q: PrismQ, db: QueueDatabase, backup: QueueBackup, path: Path
) -> None:
    q.enqueue("job")
    made = backup.create_backup()
    q.enqueue("later")
    wal = path.with_name("queue.db-wal")
    content = wal.read_bytes()
    assert content
    q.close()
    db.close()
    path.unlink()
    wal.write_bytes(content)

    backup.restore_backup(made)
    assert [task.type for task in q.tasks.find()] == ["job"]
    assert q.store.keeping.integrity_check() == ["ok"]
    assert len(list(path.parent.glob("queue.db.before-restore-*-wal"))) == 1


DAMAGE = {
    "header": (0, b"garbage garbage garbage " * 10),
    "schema": (100, b"\xff" * 3996),
    "root pages": (4096, b"\xff" * 4096 * 8),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_database_is_exchanged_and_kept(
    q: PrismQ, db: QueueDatabase, backup: QueueBackup, path: Path, kind: str
) -> None:
    q.enqueue("job")
    made = backup.create_backup()
    q.enqueue("later")
    q.close()
    db.close()
    spoil(path, *DAMAGE[kind])
    spoilt = path.read_bytes()

    with QueueDatabase(path) as database:
        QueueBackup(database).restore_backup(made)
    assert [task.type for task in q.tasks.find()] == ["job"]
    assert q.store.keeping.integrity_check() == ["ok"]
    [aside] = [one for one in path.parent.glob("queue.db.before-restore-*") if not one.name.endswith(("-wal", "-shm"))]
    assert aside.stat().st_size >= len(spoilt) - 4096


_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("SELECT count(*) FROM task_queue").fetchone()
print("open", flush=True)
sys.stdin.read()
"""


def test_a_damaged_database_that_a_process_has_open_is_not_exchanged(
    q: PrismQ, db: QueueDatabase, backup: QueueBackup, path: Path
) -> None:
    q.enqueue("job")
    made = backup.create_backup()
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline()
        q.close()
        db.close()
        spoil(path, *DAMAGE["header"])
        spoilt = path.read_bytes()
        with QueueDatabase(path) as database, pytest.raises(QueueBackupError, match="has it open"):
            QueueBackup(database).restore_backup(made)
        assert path.read_bytes() == spoilt
        holder.stdin.close()
    with QueueDatabase(path) as database:
        QueueBackup(database).restore_backup(made)
    assert len(q.tasks.find()) == 1


def test_a_damaged_backup_is_not_restored(q: PrismQ, backup: QueueBackup, path: Path) -> None:
    q.enqueue_many([_prepared("x" * 1000) for _ in range(50)])
    made = backup.create_backup()
    spoil(made, 4096 * 3)
    with pytest.raises(QueueBackupError, match="corrupt"):
        backup.restore_backup(made)
    assert q.tasks.count() == 50
    assert list(path.parent.glob("queue.db.before-restore-*")) == []


def test_a_database_of_another_program_is_not_overwritten(backup: QueueBackup, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.db"
    hand(theirs, "CREATE TABLE theirs (x)")
    with pytest.raises(QueueBackupError, match="another program"):
        backup.restore_backup(backup.create_backup(), theirs)
    assert look(theirs, "SELECT name FROM sqlite_master") == [("theirs",)]


def test_the_database_is_no_backup_of_itself(backup: QueueBackup, path: Path) -> None:
    with pytest.raises(QueueBackupError, match="database itself"):
        backup.restore_backup(path)


def test_a_restore_waits_for_nobody_for_ever(
    q: PrismQ, backup: QueueBackup, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prismq.storage.sqlite.restore._BUSY_S", 0.2)
    made = backup.create_backup()
    q.enqueue("job")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(QueueBackupError, match="locked"):
        backup.restore_backup(made)
    other.execute("ROLLBACK")
    other.close()
    assert len(q.tasks.find()) == 1


def test_a_restore_while_somebody_enqueues_loses_nothing_silently(q: PrismQ, backup: QueueBackup, path: Path) -> None:
    """What is enqueued around the restore is in the restored queue, or in the file that is kept aside, or both."""
    made = backup.create_backup()
    done, stop = [], threading.Event()

    def enqueue() -> None:
        with PrismQ(path) as other:
            while not stop.wait(0.02):
                done.append(other.enqueue("job").id)

    thread = threading.Thread(target=enqueue)
    thread.start()
    try:
        for _ in range(3):
            with contextlib.suppress(QueueBackupError):  # it was written to between all five tries
                backup.restore_backup(made)
                break
    finally:
        stop.set()
        thread.join()
    found = {row[0] for row in look(path, "SELECT id FROM task_queue")}
    for aside in path.parent.glob("queue.db.before-restore-*"):
        if not aside.name.endswith(("-wal", "-shm")):
            found |= {row[0] for row in look(aside, "SELECT id FROM task_queue")}
    assert set(done) <= found
    assert len(set(done)) == len(done)


def test_verifying_says_what_the_backup_holds(q: PrismQ, backup: QueueBackup) -> None:
    q.enqueue("job")
    made = backup.create_backup()
    found = q.store.keeping.verify(made)
    newest = max(migration.version for migration in migrations())
    assert (found.path, found.schema_version, found.tasks, found.books_right) == (made, newest, 1, True)
    hand(made, "INSERT INTO queue_depth VALUES ('q', 't', 'queued', 'normal', 7)")
    assert not q.store.keeping.verify(made).books_right
