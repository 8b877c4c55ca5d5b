"""`prismq doctor`: each fault that it claims to find is planted for real, found, and mended where it says so."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import redis

from prismq import NewTask, PrismQ, QueueBackup, QueueDatabase
from prismq.clock import SYSTEM_CLOCK
from prismq.domain.finding import Finding, Severity
from prismq.domain.task import TaskFilter
from prismq.domain.times import epoch_to_text
from prismq.domain.worker import Worker
from prismq.observability.doctor.examination import Report, checks_of, examine
from prismq.observability.doctor.patient import Patient
from prismq.storage.contract import Store
from prismq.storage.open import open_store
from prismq.storage.sqlite import diagnosis
from prismq.version import __version__
from tests.helpers.builders import claim_one
from tests.helpers.processes import hand, look, wait_until
from tests.helpers.redis import RedisServer, redis_server

DAY_S = 86_400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.db"


@pytest.fixture
def q(path: Path) -> Iterator[PrismQ]:
    with PrismQ(path) as queue:
        queue.store.check()
        yield queue


def report_on(store: Store, **asked: Any) -> Report:
    """Of everything but the place: tests run in /tmp."""
    options = {key: asked.pop(key) for key in ("backup_interval_s", "backup_dir", "redis_url") if key in asked}
    asked.setdefault("skip", ("location",))
    return examine(Patient(store, SYSTEM_CLOCK, **options), **asked)


def found(store: Store, check: str, **asked: Any) -> list[Finding]:
    return [one for one in report_on(store, **asked).findings if one.check == check]


def the_finding(store: Store, check: str, **asked: Any) -> Finding:
    [finding] = found(store, check, **asked)
    assert finding.what
    assert finding.meaning
    assert finding.advice
    return finding


def a_live_worker(q: PrismQ, worker_id: str = "w1", *, ago_s: float = 0.0, **columns: Any) -> None:
    values = {"hostname": "h", "pid": 1, "slots": 4, "version": __version__, **columns}
    q.store.workers.register(Worker(worker_id=worker_id, **values), SYSTEM_CLOCK.now() - ago_s)


def test_a_queue_that_is_well_has_no_findings_but_the_advice_to_back_up(q: PrismQ) -> None:
    a_live_worker(q)
    report = report_on(q.store)
    assert [(one.check, one.severity) for one in report.findings] == [("backups", Severity.NOTE)]
    assert report.healthy
    assert len(report.checked) + len(report.not_checked) == len(checks_of(Patient(q.store, SYSTEM_CLOCK)))


def test_every_check_has_a_name_of_its_own_and_says_what_it_looks_at(q: PrismQ) -> None:
    checks = checks_of(Patient(q.store, SYSTEM_CLOCK))
    assert len({one.name for one in checks}) == len(checks)
    assert all(one.looks_at for one in checks)


def test_a_check_that_is_left_out_is_not_made(q: PrismQ) -> None:
    q.enqueue("job")
    report = report_on(q.store, skip=("location", "unserved"))
    assert report.healthy
    assert report.not_checked == ["location", "unserved"]


# -- the place and the file


@pytest.mark.skipif(os.name == "nt", reason="Windows has no /tmp")
def test_a_queue_in_tmp_is_told_of() -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    try:
        with PrismQ(folder / "queue.db") as q:
            finding = the_finding(q.store, "location", skip=())
            assert str(folder) in finding.what
            assert "reboot" in finding.meaning
    finally:
        shutil.rmtree(folder)


def test_a_queue_on_a_network_file_system_is_told_of(path: Path, q: PrismQ, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test can mount one: here the system's list of mounts says that there is."""
    q.close()
    mount = SimpleNamespace(mountpoint=str(path.parent.resolve()), fstype="nfs4", opts="rw")
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: [mount])
    with closing(open_store("sqlite", str(path))) as store:
        report = report_on(store)
    [finding] = report.findings
    assert (finding.check, finding.severity) == ("open", Severity.PROBLEM)
    assert "nfs4" in finding.what
    assert "integrity" in report.not_checked


def test_a_schema_that_wants_migrating_is_told_of(path: Path, q: PrismQ) -> None:
    q.close()
    hand(path, "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)")
    with closing(open_store("sqlite", str(path))) as store:
        finding = the_finding(store, "open")
    assert "lacks migration" in finding.what
    assert "prismq migrate" in finding.advice


def test_a_schema_of_a_later_version_is_told_of(path: Path, q: PrismQ) -> None:
    q.close()
    hand(path, "INSERT INTO schema_migrations (version, name, checksum) VALUES (99, 'later', 'x')")
    with closing(open_store("sqlite", str(path))) as store:
        assert "version 99" in the_finding(store, "open").what


_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
connection.execute("SELECT count(*) FROM task_queue").fetchone()
print("there", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(path: Path, q: PrismQ) -> Iterator[Any]:
    """Another program with a transaction open, which it never ends."""
    running: list[subprocess.Popen[bytes]] = []

    def hold(begin: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", _LOCK, str(path), begin], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline()
        return process

    yield hold
    for process in running:
        process.kill()
        process.communicate()


def test_a_lock_that_another_program_holds_is_told_of_with_its_name(path: Path, holder: Any) -> None:
    process = holder("BEGIN IMMEDIATE")
    with closing(open_store("sqlite", str(path), busy_timeout_s=0.1)) as store:
        finding = the_finding(store, "writable")
    assert "locked" in finding.what
    assert finding.severity is Severity.PROBLEM
    if sys.platform == "linux":
        assert f"pid {process.pid}" in finding.advice


def test_a_log_that_a_reader_holds_back_is_told_of_and_cut_once_the_reader_ends(
    path: Path, q: PrismQ, holder: Any
) -> None:
    process = holder("BEGIN")
    big = NewTask("job", f'{{"x": "{"y" * 1_000_000}"}}')
    for _ in range(3):
        q.enqueue_many([big] * 25)
    a_live_worker(q)
    wal = path.with_name("queue.db-wal")
    assert wal.stat().st_size > diagnosis.WAL_BYTES_MAX

    finding = the_finding(q.store, "wal")
    assert "a reader holds back" in finding.what
    if sys.platform == "linux":
        assert f"pid {process.pid}" in finding.advice
    # Mending says why it could not.
    with closing(open_store("sqlite", str(path), busy_timeout_s=0.1)) as store:
        report = report_on(store, fix=True)
        [left] = [one for one in report.findings if one.check == "wal"]
        assert "mending failed" in left.what
        assert report.mended == []

    process.kill()
    process.wait()
    report = report_on(q.store, fix=True)
    assert [one.check for one in report.findings if one.check == "wal"] == []
    assert [one.finding.check for one in report.mended] == ["wal"]
    assert wal.stat().st_size == 0


def test_a_log_that_nobody_checkpointed_is_told_of(path: Path, q: PrismQ) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as by_hand:
        by_hand.execute("PRAGMA wal_autocheckpoint = 0")
        for _ in range(70):
            by_hand.execute(
                "INSERT INTO task_queue (type, payload) VALUES ('t', json_object('x', hex(zeroblob(500000))))"
            )
        finding = the_finding(q.store, "wal")
        assert "holds back" not in finding.what
        assert "prismq maintenance checkpoint" in finding.advice


def test_little_free_disk_is_told_of(q: PrismQ, monkeypatch: pytest.MonkeyPatch) -> None:
    free = shutil.disk_usage(q.store.keeping.folder).free
    assert found(q.store, "disk") == [] or free < diagnosis.FREE_BYTES_MIN
    monkeypatch.setattr(diagnosis, "FREE_BYTES_MIN", free * 2)
    assert "free on the volume" in the_finding(q.store, "disk").what


def test_a_file_of_free_pages_is_told_of(q: PrismQ) -> None:
    big = NewTask("job", f'{{"x": "{"y" * 1_000_000}"}}')
    for _ in range(3):
        q.enqueue_many([big] * 30)
    assert found(q.store, "bloat") == []
    q.store.tasks.delete(TaskFilter())
    assert "free pages" in the_finding(q.store, "bloat").what
    q.store.keeping.vacuum()
    assert found(q.store, "bloat") == []


def test_auto_vacuum_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "auto.db"
    hand(path, "PRAGMA auto_vacuum = FULL")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = FULL")
        connection.execute("CREATE TABLE mine (x)")
    with PrismQ(path, adopt=True) as q:
        finding = the_finding(q.store, "bloat")
        assert finding.severity is Severity.NOTE
        assert "auto_vacuum" in finding.what


@pytest.mark.parametrize("payload", ["no json", "[1]", '"text"', "7", "{"])
@pytest.mark.parametrize("when", ["2025-01-01 00:00:00", "2200-01-01 00:00:00"], ids=["queued", "scheduled"])
def test_a_payload_that_no_handler_can_be_called_with_is_told_of(
    path: Path, q: PrismQ, payload: str, when: str
) -> None:
    q.enqueue("job", {"fine": 1})
    q.enqueue("job", delay=3600)
    hand(path, "INSERT INTO task_queue (type, payload, run_after_utc) VALUES ('t', ?, ?)", (payload, when))
    q.store.upkeep.book(SYSTEM_CLOCK.now())
    finding = the_finding(q.store, "payloads")
    assert finding.what.startswith("1 waiting task (3)")


def test_a_blob_for_a_payload_is_told_of(path: Path, q: PrismQ) -> None:
    hand(path, "INSERT INTO task_queue (type, payload) VALUES ('t', x'ff00')")
    assert "(1)" in the_finding(q.store, "payloads").what


def test_damaged_pages_are_told_of(path: Path, q: PrismQ) -> None:
    q.enqueue_many([NewTask("job", f'{{"x": "{"y" * 3000}"}}') for _ in range(200)])
    q.close()
    pages = path.stat().st_size // 4096
    with path.open("rb+") as file:
        file.seek((pages - 60) * 4096)
        file.write(b"\xff" * 4096 * 20)
    with closing(open_store("sqlite", str(path))) as store:
        finding = the_finding(store, "integrity")
    assert finding.severity is Severity.PROBLEM
    assert "prismq backup restore" in finding.advice


def test_a_file_that_is_damaged_from_its_first_page_on_ends_in_findings_and_not_in_a_traceback(
    path: Path, q: PrismQ
) -> None:
    q.close()
    with path.open("rb+") as file:
        file.seek(100)
        file.write(b"\xff" * 4096)
    with closing(open_store("sqlite", str(path))) as store:
        report = report_on(store, fix=True)
    assert not report.healthy
    assert "damaged" in report.findings[0].what


# -- workers and clocks


def test_a_heartbeat_of_the_future_is_told_of(q: PrismQ) -> None:
    a_live_worker(q, ago_s=-3)
    assert found(q.store, "clock") == []
    a_live_worker(q, "w2", ago_s=-90, hostname="ahead")
    finding = the_finding(q.store, "clock")
    assert "ahead" in finding.what
    assert finding.severity is Severity.PROBLEM


def test_tasks_of_the_future_are_told_of(path: Path, q: PrismQ) -> None:
    q.enqueue("job", delay=3600)
    assert found(q.store, "clock") == []
    tomorrow = epoch_to_text(SYSTEM_CLOCK.now() + DAY_S)
    hand(path, "INSERT INTO task_queue (type, payload, created_at_utc) VALUES ('t', '{}', ?)", (tomorrow,))
    assert "(such as 2)" in the_finding(q.store, "clock").what


_WORKER = """
import sys
from prismq import PrismQ
q = PrismQ(sys.argv[1])
q.worker(concurrency=1, heartbeat_interval_seconds=0.2).start()
print("there", flush=True)
sys.stdin.read()
"""


def test_a_worker_that_died_without_a_word_is_told_of_and_listed_as_lost(path: Path, q: PrismQ) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _WORKER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        process.kill()
    [worker] = q.store.workers.all()
    assert worker.status == "active"
    assert found(q.store, "dead-workers") == []  # it may be late
    long_ago = epoch_to_text(SYSTEM_CLOCK.now() - 120)
    hand(path, "UPDATE workers SET heartbeat_utc = ?", (long_ago,))
    assert f"pid {process.pid}" in the_finding(q.store, "dead-workers").what

    report = report_on(q.store, fix=True)
    assert [one.finding.check for one in report.mended] == ["dead-workers"]
    assert [worker.status for worker in q.store.workers.all()] == ["lost"]
    assert report.healthy


def test_live_workers_of_different_versions_are_told_of(q: PrismQ) -> None:
    a_live_worker(q)
    a_live_worker(q, "old", version="0.0.1", ago_s=3600)  # silent: no matter what it was
    a_live_worker(q, "by hand", version=None)
    assert found(q.store, "versions") == []
    a_live_worker(q, "older", version="0.0.2")
    assert "0.0.2: 1 worker" in the_finding(q.store, "versions").what


# -- tasks and queues


def test_leases_that_nobody_returns_are_told_of_and_returned(path: Path, q: PrismQ) -> None:
    a_live_worker(q)
    task = q.enqueue("job")
    claim_one(q.store, SYSTEM_CLOCK, lease_s=0.001)
    wait_until(lambda: SYSTEM_CLOCK.now() > 0, "the clock goes")
    assert found(q.store, "leases") == []  # a worker that runs will see to it
    hand(path, "UPDATE task_queue SET lease_until_utc = ?", (epoch_to_text(SYSTEM_CLOCK.now() - 61),))
    assert "(such as 1)" in the_finding(q.store, "leases").what

    report = report_on(q.store, fix=True)
    assert [one.how for one in report.mended] == [
        "1 task went back to the queue, or to the dead letters where no attempt was left"
    ]
    assert q.tasks.get(task.id).status == "queued"
    assert q.store.keeping.compare_books() == {}


def test_tasks_that_nobody_serves_are_told_of(q: PrismQ) -> None:
    q.enqueue("job", queue="media")
    a_live_worker(q, queues='["mail"]')
    finding = the_finding(q.store, "unserved")
    assert "'media'" in finding.what
    assert finding.severity is Severity.PROBLEM
    a_live_worker(q, "w2")
    assert found(q.store, "unserved") == []


def test_a_queue_that_was_paused_days_ago_is_told_of(q: PrismQ) -> None:
    q.enqueue("job", queue="media")
    q.store.queues.pause("media", "jana", SYSTEM_CLOCK.now() - 2 * DAY_S)
    assert found(q.store, "paused") == []
    q.store.queues.pause("old", "jana", SYSTEM_CLOCK.now() - 4 * DAY_S)
    finding = the_finding(q.store, "paused")
    assert "jana 4 d" in finding.what
    assert "prismq queues resume old" in finding.advice


def test_many_dead_letters_are_told_of(path: Path, q: PrismQ) -> None:
    q.enqueue_many([NewTask("mail", queue="out") for _ in range(1000)])
    hand(path, "UPDATE task_queue SET status = 'dead_letter'")
    assert found(q.store, "dead-letters") == []
    hand(path, "INSERT INTO task_queue (type, payload, status) VALUES ('x', '{}', 'dead_letter')")
    finding = the_finding(q.store, "dead-letters")
    assert "1,001 dead letters" in finding.what
    assert "'mail' in the queue 'out'" in finding.what


def test_counts_that_somebody_spoilt_are_told_of_and_corrected(path: Path, q: PrismQ) -> None:
    a_live_worker(q)
    q.enqueue("job")
    q.store.upkeep.book(SYSTEM_CLOCK.now())
    hand(path, "DROP TRIGGER tr_task_deleted")
    hand(path, "DELETE FROM task_queue")
    finding = the_finding(q.store, "books")
    assert "1 too many" in finding.what

    report = report_on(q.store, fix=True)
    assert [one.how for one in report.mended] == ["1 count corrected"]
    assert found(q.store, "books") == []
    assert q.store.insight.depth() == q.store.insight.recount() == {}


# -- backups


def test_backups_that_are_scheduled_and_missing_are_told_of_and_made(path: Path, q: PrismQ) -> None:
    a_live_worker(q)
    finding = the_finding(q.store, "backups", backup_interval_s=3600.0, backup_dir="copies")
    assert finding.severity is Severity.PROBLEM
    assert "there is none" in finding.what

    report = report_on(q.store, backup_interval_s=3600.0, backup_dir="copies", fix=True)
    assert report.healthy
    assert len(list((path.parent / "copies").iterdir())) == 1


def test_old_backups_are_told_of(path: Path, q: PrismQ) -> None:
    with QueueDatabase(path) as db:
        made = QueueBackup(db).create_backup()
    assert found(q.store, "backups", backup_interval_s=3600.0) == []
    made.rename(made.with_name("queue_backup_20250101T000000.000000Z.db"))
    finding = the_finding(q.store, "backups", backup_interval_s=3600.0)
    assert "due every 1 h" in finding.what
    assert " d " in finding.what


def test_a_newest_backup_that_could_not_be_restored_is_told_of(path: Path, q: PrismQ) -> None:
    q.enqueue_many([NewTask("job", f'{{"x": "{"y" * 3000}"}}') for _ in range(50)])
    with QueueDatabase(path) as db:
        made = QueueBackup(db).create_backup()
    assert found(q.store, "newest-backup") == []
    with made.open("rb+") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096 * 5)
    assert "corrupt" in the_finding(q.store, "newest-backup").what


# -- the examination itself


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(
    path: Path, q: PrismQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand(path, "DROP TABLE queue_depth")
    report = report_on(q.store)
    assert {one.check for one in report.findings} >= {"books", "dead-letters"}
    assert report.checked[-1] == "integrity"
    assert look(path, "PRAGMA quick_check") == [("ok",)]


# -- Redis


@pytest.fixture
def cache() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def of_redis(q: PrismQ, url: str | None) -> list[Finding]:
    return found(q.store, "redis", redis_url=url)


def test_a_redis_that_is_well_has_no_findings_and_one_that_is_away_is_told_of(q: PrismQ, cache: RedisServer) -> None:
    assert of_redis(q, None) == []
    assert of_redis(q, cache.url) == []
    cache.kill()
    [one] = of_redis(q, cache.url)
    assert one.severity is Severity.WARNING
    assert "does not answer" in one.what


def test_a_redis_that_throws_keys_away_or_is_full_is_told_of(q: PrismQ, cache: RedisServer) -> None:
    with redis.Redis.from_url(cache.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", "1gb")
        [one] = of_redis(q, cache.url)
        assert (one.severity, "allkeys-lru" in one.what) == (Severity.NOTE, True)
        client.config_set("maxmemory", "3mb")
        for number in range(4_000):
            client.set(f"key-{number}", "x" * 1_000)
        [one] = of_redis(q, cache.url)
        assert one.severity is Severity.WARNING
        assert "keys so far" in one.what
        client.config_set("maxmemory-policy", "noeviction")
        [one] = of_redis(q, cache.url)
        assert "maxmemory" in one.what
        assert "refuses" in one.meaning


def test_a_redis_that_persists_or_cannot_is_told_of(q: PrismQ, cache: RedisServer) -> None:
    with redis.Redis.from_url(cache.url) as client:
        client.config_set("save", "3600 1")
        [one] = of_redis(q, cache.url)
        assert (one.severity, "persistence is on" in one.what) == (Severity.NOTE, True)
        (cache.folder / "dump.rdb").unlink(missing_ok=True)
        (cache.folder / "dump.rdb").mkdir()  # what it would rename its file to
        (cache.folder / "dump.rdb" / "in-the-way").touch()
        client.set("a", "b")
        with pytest.raises(redis.RedisError):
            client.save()
        client.bgsave()
        wait_until(lambda: client.info()["rdb_last_bgsave_status"] == "err", "the save has failed")
        [one] = of_redis(q, cache.url)
        assert one.severity is Severity.WARNING
        assert "could not write" in one.what
