"""`prismq backup`, `maintenance`, `archive` and `doctor`."""

from __future__ import annotations

from pathlib import Path

import pytest

from prismq import NewTask, PrismQ
from prismq.cli.exits import Exit
from prismq.clock import SYSTEM_CLOCK
from prismq.storage.contract import Retention
from prismq.worker.copies import Pruner
from tests.cli.conftest import Cli, add_worker
from tests.helpers.processes import hand

# -- backup


def test_a_backup_is_made_listed_verified_and_restored(cli: Cli, q: PrismQ) -> None:
    q.enqueue("job")
    made = cli("backup", "create", "--name", "daily", "--json").json
    assert set(made) == {"path", "size_bytes", "created_at_utc"}
    assert "queue_backup_daily_" in made["path"]
    assert cli("backup", "list", "--json").json == [made]
    assert Path(made["path"]).name in cli("backup", "list").out
    found = cli("backup", "verify", "--json").json
    assert (found["valid"], found["tasks"], found["path"]) == (True, 1, made["path"])

    q.enqueue("later")
    q.close()
    done = cli("backup", "restore", "latest", "--yes", "--json").json
    assert (done["tasks"], done["backup"]) == (1, made["path"])
    assert Path(done["kept_aside"]).is_file()
    assert [task.type for task in q.tasks.find()] == ["job"]


def test_a_backup_is_named_by_its_path_or_its_name_in_the_folder(cli: Cli, q: PrismQ) -> None:
    made = Path(cli("backup", "create", "--dir", "copies", "--json").json["path"])
    assert made.parent == cli.folder / "copies"
    assert cli("backup", "verify", made.name, "--dir", "copies").code == Exit.OK
    assert cli("backup", "verify", made).code == Exit.OK
    assert cli("backup", "restore", made, "--to", "copy.db").code == Exit.OK
    assert (cli.folder / "copy.db").is_file()
    assert cli("backup", "list").out.startswith("There are no backups in")


def test_a_restore_asks_first(cli: Cli, q: PrismQ) -> None:
    cli("backup", "create")
    q.enqueue("job")
    answer = cli("backup", "restore", "latest", stdin="no\n")
    assert answer.code == Exit.FAILED
    assert "will be undone" in answer.err
    assert len(q.tasks.find()) == 1


def test_a_restore_brings_back_a_file_that_is_gone(cli: Cli, q: PrismQ) -> None:
    q.enqueue("job")
    cli("backup", "create")
    q.close()
    for name in ("", "-wal", "-shm"):
        (cli.folder / f"queue.db{name}").unlink(missing_ok=True)
    assert cli("backup", "restore", "latest", "--yes").code == Exit.OK
    assert len(q.tasks.find()) == 1


def test_backup_errors_are_a_line_and_a_code(cli: Cli, q: PrismQ) -> None:
    answer = cli("backup", "verify", "none.db")
    assert answer.code == Exit.DATABASE
    assert "not found" in answer.err
    assert "not found" in cli("backup", "restore", "latest", "--yes").err
    add_worker(q, hostname="elsewhere")
    cli("backup", "create")
    answer = cli("backup", "restore", "latest", "--yes")
    assert answer.code == Exit.DATABASE
    assert "Stop them" in answer.err


def test_old_backups_are_pruned(cli: Cli, q: PrismQ) -> None:
    for _ in range(3):
        cli("backup", "create")
    assert cli("backup", "prune", "--keep", 1, "--older-than", "1d", "--json").json == {"deleted": 0, "kept": 3}
    assert cli("backup", "prune", "--keep", 1).out == "2 backups deleted, 1 kept.\n"


# -- maintenance


def test_maintenance_does_what_it_says(cli: Cli, q: PrismQ) -> None:
    q.enqueue("job")
    done = cli("maintenance", "checkpoint", "--mode", "truncate", "--json").json
    assert done["busy"] is False
    assert done["log"] == done["checkpointed"]
    assert cli("maintenance", "analyze", "--json").json == {"analyzed": True}
    assert cli("maintenance", "check", "--json").json == {"ok": True, "damage": []}
    assert cli("maintenance", "check", "--quick").out == "The database is whole.\n"
    stats = cli("maintenance", "stats", "--json").json
    assert stats["wal_mode"] is True
    assert "Write-ahead log" in cli("maintenance", "stats").out
    done = cli("maintenance", "optimize", "--full", "--yes", "--json").json
    assert (done["analyzed"], done["vacuumed"]) == (True, True)
    assert cli("maintenance", "optimize", "--json").json["vacuumed"] is False
    assert cli("maintenance", "vacuum", "--yes").code == Exit.OK


def test_vacuum_asks_first_for_nobody_can_write_meanwhile(cli: Cli, q: PrismQ) -> None:
    answer = cli("maintenance", "vacuum", stdin="\n")
    assert answer.code == Exit.FAILED
    assert "nobody can write" in answer.err


def test_a_mode_that_there_is_none_of_is_a_usage_error(cli: Cli, q: PrismQ) -> None:
    assert cli("maintenance", "checkpoint", "--mode", "half").code == Exit.USAGE


def test_damage_ends_with_1(cli: Cli, q: PrismQ) -> None:
    q.enqueue_many([NewTask("job", f'{{"x": "{"y" * 3000}"}}') for _ in range(100)])
    q.close()
    path = cli.folder / "queue.db"
    with path.open("rb+") as file:
        file.seek(path.stat().st_size - 4096 * 20)
        file.write(b"\xff" * 4096 * 5)
    answer = cli("maintenance", "check", "--json")
    assert answer.code == Exit.FAILED
    assert answer.json["ok"] is False
    assert answer.json["damage"]


# -- archive


@pytest.fixture
def archived(q: PrismQ, cli: Cli) -> None:
    q.enqueue("mail", {"to": "jana"})
    q.enqueue("job")
    path = cli.folder / "queue.db"
    hand(path, "INSERT INTO task_logs (task_id, message) VALUES (1, 'sent to jana')")
    spans = '[{"id": "a1", "name": "task:execute", "start": 1.0, "duration_s": 1.5, "status": "ok"}, "spoilt"]'
    hand(path, f"INSERT INTO task_spans VALUES (1, 1, 1, 'abc123', '{spans}')")
    hand(path, "UPDATE task_queue SET status = 'completed', finished_at_utc = '2025-01-01 00:00:00'")
    pruner = Pruner(q.store, Retention(0, 0, 1e9, 1e9), SYSTEM_CLOCK, "old")
    assert pruner.step() == 2
    pruner.close()


def test_an_archived_task_is_listed_and_shown(cli: Cli, archived: None) -> None:
    (cli.folder / "prismq.toml").write_text('[worker]\narchive_dir = "old"\n')
    assert [line["id"] for line in cli("archive", "list", "--json").json] == [2, 1]
    assert [line["id"] for line in cli("archive", "list", "--type", "mail", "--json").json] == [1]
    assert cli("archive", "list", "--status", "failed", "--json").json == []
    assert "2025-01-01 00:00:00" in cli("archive", "list").out
    line = cli("archive", "show", 1, "--json").json
    assert line["task"]["payload"] == '{"to":"jana"}'
    assert line["spans"][0]["trace_id"] == "abc123"
    shown = cli("archive", "show", 1).out
    assert "sent to jana" in shown
    assert "Spans of attempt 1, trace abc123" in shown
    assert "task:execute  1.5 s  ok" in shown
    answer = cli("archive", "show", 3)
    assert answer.code == Exit.FAILED
    assert "not in the archive" in answer.err


def test_an_archive_elsewhere_is_named(cli: Cli, archived: None) -> None:
    assert cli("archive", "show", 2, "--dir", "old").code == Exit.OK
    answer = cli("archive", "list")
    assert answer.code == Exit.CONFIGURATION
    assert "archive_dir" in answer.err


def test_a_torn_archive_is_told_of(cli: Cli, archived: None) -> None:
    [path] = (cli.folder / "old").iterdir()
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 3)
    answer = cli("archive", "list", "--dir", "old", "--json")
    assert len(answer.json) == 2
    assert "not whole" in answer.err


# -- doctor


def test_the_doctor_says_what_is_wrong_and_ends_with_1(cli: Cli, q: PrismQ) -> None:
    q.enqueue("job")
    answer = cli("doctor", "--skip", "location")
    assert answer.code == Exit.FAILED
    for words in ("problem (unserved)", "What it means:", "What to do:", "Not checked: location"):
        assert words in answer.out
    report = cli("doctor", "--skip", "location", "--json").json
    assert report["healthy"] is False
    assert {one["check"] for one in report["findings"]} == {"unserved", "backups"}
    assert {"check", "severity", "what", "meaning", "advice", "can_be_mended"} == set(report["findings"][0])


def test_the_doctor_ends_with_0_where_only_notes_are_left(cli: Cli, q: PrismQ) -> None:
    answer = cli("doctor", "--skip", "location")
    assert answer.code == Exit.OK
    assert "1 note" in answer.out


def test_the_doctor_mends_what_is_safe(cli: Cli, q: PrismQ) -> None:
    (cli.folder / "prismq.toml").write_text("[worker]\nbackup_interval_seconds = 3600\n")
    q.enqueue("job")
    add_worker(q, "gone", ago_s=600)
    add_worker(q, "here")
    q.store.upkeep.book(SYSTEM_CLOCK.now())
    hand(cli.folder / "queue.db", "UPDATE queue_depth SET tasks = 7")
    before = cli("doctor", "--skip", "location", "--json")
    assert before.code == Exit.FAILED
    assert {one["check"] for one in before.json["findings"] if one["can_be_mended"]} == {
        "books", "backups", "dead-workers",
    }  # fmt: skip
    after = cli("doctor", "--skip", "location", "--fix", "--json")
    assert after.code == Exit.OK
    assert after.json["findings"] == []
    assert {one["check"] for one in after.json["mended"]} == {"books", "backups", "dead-workers"}
    assert "nothing is wrong" in cli("doctor", "--skip", "location").out


def test_a_check_that_there_is_none_of_is_a_usage_error(cli: Cli, q: PrismQ) -> None:
    answer = cli("doctor", "--skip", "luck")
    assert answer.code == Exit.USAGE
    assert "books" in answer.err


def test_the_doctor_makes_no_database(cli: Cli) -> None:
    assert cli("doctor").code == Exit.DATABASE
    assert list(cli.folder.rglob("*.db")) == []
