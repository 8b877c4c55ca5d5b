"""`prismq move`, from the command line."""

from __future__ import annotations

import json
import sqlite3

import pytest

from prismq import PrismQ, QueueDatabaseError
from tests.cli.conftest import Cli, set_task
from tests.helpers.postgres import server


@pytest.fixture
def three(q: PrismQ) -> PrismQ:
    for number in range(3):
        q.enqueue("t", {"n": number})
    return q


def test_without_a_place_to_go_to_it_says_how_one_looks(cli: Cli, three: PrismQ) -> None:
    answer = cli("move")
    assert answer.code == 2
    assert "--to postgresql://user:password@host/database" in answer.err


def test_a_dry_run_shows_what_would_be_done_and_makes_no_file(cli: Cli, three: PrismQ) -> None:
    answer = cli("move", "--to", "new.db", "--dry-run")
    assert answer.code == 0
    assert "a queue is made there" in " ".join(answer.out.split())
    assert "task_queue" in answer.out
    assert not (cli.folder / "new.db").exists()
    assert three.enqueue("t").created


def test_it_asks_first_and_without_a_yes_nothing_happens(cli: Cli, three: PrismQ) -> None:
    answer = cli("move", "--to", "new.db", stdin="n\n")
    assert answer.code == 1
    assert "The queue will be moved. Go on?" in answer.err
    assert not (cli.folder / "new.db").exists()


def test_the_queue_is_there_afterwards_and_the_old_one_says_so(cli: Cli, three: PrismQ) -> None:
    answer = cli("move", "--to", "new.db", stdin="y\n")
    assert answer.code == 0, answer.err
    assert "Every row is the same in both;" in answer.out
    assert f"The queue is at {cli.folder / 'new.db'} now" in answer.out

    listed = cli("tasks", "list", "--db", "new.db", "--json")
    assert sorted(task["payload"]["n"] for task in listed.json) == [0, 1, 2]
    with pytest.raises(QueueDatabaseError, match="this queue has moved to"):
        three.enqueue("t")
    looked = cli("tasks", "list")
    assert looked.code == 0
    assert f"this queue has moved to {cli.folder / 'new.db'}; what is here is as it was then" in looked.err
    again = cli("move", "--to", "new.db", "--yes")
    assert again.code == 3
    assert "has already been moved" in again.err


def test_to_a_postgresql_and_its_password_is_never_shown(cli: Cli, three: PrismQ) -> None:
    url = server().url(server().new_database(), password="s3cret", schema="jobs")
    answer = cli("move", "--to", url, "--yes", "--json")
    assert answer.code == 0, answer.err
    assert {one["table"]: one["rows"] for one in answer.json["compared"]}["task_queue"] == 3
    refused = cli("enqueue", "t", "--db", cli.folder / "queue.db")
    assert refused.code == 3
    assert ":***@127.0.0.1" in refused.err
    everything = (
        answer.out
        + answer.err
        + refused.err
        + str(sqlite3.connect(cli.folder / "queue.db").execute("SELECT * FROM prismq_move").fetchall())
    )
    assert "s3cret" not in everything
    listed = cli("tasks", "list", "--db", url, "--json")
    assert len(listed.json) == 3


def test_what_postgresql_cannot_hold_is_listed_with_ids_and_a_remedy(cli: Cli, three: PrismQ) -> None:
    set_task(three, 1, payload="not json")
    set_task(three, 2, payload=json.dumps({"text": "a\x00b"}), created_at_utc="2460000.5")
    three.store.database.execute("UPDATE task_queue SET error_message = CAST(x'ff41' AS TEXT) WHERE id = 3")
    url = server().url(server().new_database())

    answer = cli("move", "--to", url, "--yes")

    assert answer.code == 1
    for expected in (
        "task_queue.payload: text that is not JSON, in 1 row: 1",
        "task_queue.payload: JSON with a NUL character (\\u0000), in 1 row: 2",
        "task_queue.created_at_utc: not a time, in 1 row: 2",
        "strftime('%Y-%m-%d %H:%M:%f', created_at_utc)",
        "task_queue.error_message: text that is not UTF-8, in 1 row: 3",
        "Nothing was changed.",
    ):
        assert expected in answer.out
    as_json = cli("move", "--to", url, "--dry-run", "--json")
    assert {(one["column"], one["rows"]) for one in as_json.json["obstacles"]} >= {("payload", 1), ("error_message", 1)}
    assert three.enqueue("t").created

    # The remedies that are named help.
    three.store.database.execute(
        "UPDATE task_queue SET created_at_utc = strftime('%Y-%m-%d %H:%M:%f', created_at_utc) WHERE id = 2"
    )
    assert cli("tasks", "delete", 1).code == 0
    set_task(three, 2, payload="{}")
    set_task(three, 3, error_message="A")
    assert cli("move", "--to", url, "--yes").code == 0


def test_sqlite_takes_what_sqlite_had_whatever_it_is(cli: Cli, three: PrismQ) -> None:
    set_task(three, 1, payload="not json", run_after_utc="soon", error_message="nul \x00 inside")
    three.store.database.execute(
        "UPDATE task_queue SET error_message = CAST(x'ff41' AS TEXT), tags = x'00' WHERE id = 2"
    )
    assert cli("move", "--to", "new.db", "--yes").code == 0
    sql = "SELECT id, payload, run_after_utc, hex(error_message), typeof(error_message), typeof(tags) FROM task_queue"
    rows = [sqlite3.connect(cli.folder / name).execute(sql).fetchall() for name in ("queue.db", "new.db")]
    assert rows[0] == rows[1]
    assert rows[1][1][3:] == ("FF41", "text", "blob")


def test_there_is_nothing_to_give_up_where_nothing_moves(cli: Cli, three: PrismQ) -> None:
    answer = cli("move", "--abort")
    assert answer.code == 3
    assert "is not being moved" in answer.err


def test_a_target_in_use_is_refused(cli: Cli, three: PrismQ) -> None:
    with PrismQ(cli.folder / "other.db") as other:
        other.enqueue("mine")
    answer = cli("move", "--to", "other.db", "--yes")
    assert answer.code == 3
    assert "is not empty (there are rows in task_queue)" in answer.err
    assert three.enqueue("t").created


def test_a_queue_moves_not_onto_itself(cli: Cli, three: PrismQ) -> None:
    (cli.folder / "link.db").symlink_to(cli.folder / "queue.db")
    for name in ("queue.db", "./queue.db", "link.db"):
        answer = cli("move", "--to", name, "--yes")
        assert answer.code == 3, name
    assert three.enqueue("t").created
