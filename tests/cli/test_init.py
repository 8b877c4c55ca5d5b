"""`prismq init`, `migrate` and `config`."""

from __future__ import annotations

import sqlite3

import pytest

from prismq import PrismQ
from prismq.config import Settings, WorkerConfig, load_settings
from prismq.config.models import SECTIONS
from prismq.storage.sqlite.schema import migrations
from tests.cli.conftest import Cli
from tests.helpers.postgres import server


def test_init_writes_a_configuration_and_creates_the_database_it_names(cli: Cli) -> None:
    answer = cli("init")
    assert answer.code == 0
    assert (cli.folder / ".prismq" / "queue.db").is_file()
    assert load_settings().database == str(cli.folder / ".prismq" / "queue.db")
    assert cli("tasks", "list").code == 0


def test_init_explains_every_setting_in_the_file_it_writes(cli: Cli) -> None:
    cli("init")
    text = (cli.folder / "prismq.toml").read_text()
    for key in [*Settings.model_fields, *WorkerConfig.model_fields]:
        assert f"\n# {key} =" in text or f"\n{key} =" in text or f"[{key}]" in text, key


def test_the_defaults_in_the_file_of_init_are_valid_when_they_are_uncommented(cli: Cli) -> None:
    cli("init")
    lines = (cli.folder / "prismq.toml").read_text().splitlines()
    settings = [line.removeprefix("# ") for line in lines if " = " in line and line.removeprefix("# ")[:1].islower()]
    keyed = [
        line for line in settings if line.partition(" = ")[0] in {*Settings.model_fields, *WorkerConfig.model_fields}
    ]
    top = [line for line in keyed if line.partition(" = ")[0] in Settings.model_fields]
    worker = [line for line in keyed if line not in top]
    (cli.folder / "prismq.toml").write_text("\n".join([*top, "[worker]", *worker]))
    assert load_settings().worker == WorkerConfig()


def test_init_takes_another_place_for_the_database(cli: Cli) -> None:
    assert cli("init", "data/tasks.db").code == 0
    assert (cli.folder / "data" / "tasks.db").is_file()
    assert 'database = "data/tasks.db"' in (cli.folder / "prismq.toml").read_text()


def test_init_makes_the_tables_on_a_server_and_keeps_its_password_out_of_the_file(cli: Cli) -> None:
    name = server().new_database()
    url = server().url(name, password="s3cret")
    try:
        answer = cli("init", url)
        assert (answer.code, "created" in answer.out) == (0, True)
        assert "s3cret" not in answer.out + answer.err
        assert "the password was not written" in answer.err
        text = (cli.folder / "prismq.toml").read_text()
        assert f'database = "{server().url(name)}"' in text
        assert "s3cret" not in text
        with PrismQ(url) as q:
            assert q.store.pending() == []
        assert cli("tasks", "list", "--config", "prismq.toml").code == 0  # this server lets us in without one
        again = cli("init", url, "--json")
        assert again.json["migrations"] == []
        assert again.json["config_written"] is False
        assert "s3cret" not in again.out
        other = cli("init", server().url("postgres", password="s3cret"))
        assert other.code == 4
        assert "s3cret" not in other.err
    finally:
        server().drop(name)


def test_init_without_a_place_takes_the_server_that_the_environment_names(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = server().new_database()
    monkeypatch.setenv("PRISMQ_DATABASE_URL", server().url(name))
    try:
        answer = cli("init")
        assert (answer.code, answer.err) == (0, "")
        assert not (cli.folder / ".prismq").exists()
        with PrismQ() as q:
            assert q.store.pending() == []
    finally:
        server().drop(name)


def test_init_answers_programs(cli: Cli) -> None:
    assert cli("init", "--json").json == {
        "config": "prismq.toml",
        "config_written": True,
        "database": ".prismq/queue.db",
        "migrations": [one.version for one in migrations()],
    }


def test_init_leaves_an_existing_configuration_as_it_is(cli: Cli) -> None:
    (cli.folder / "prismq.toml").write_text('database = "mine.db"')
    answer = cli("init")
    assert answer.code == 0
    assert (cli.folder / "prismq.toml").read_text() == 'database = "mine.db"'
    assert (cli.folder / "mine.db").is_file()
    assert "left as it is" in answer.out


def test_init_force_writes_the_configuration_anew(cli: Cli) -> None:
    (cli.folder / "prismq.toml").write_text('database = "mine.db"')
    assert cli("init", "--force").code == 0
    assert 'database = ".prismq/queue.db"' in (cli.folder / "prismq.toml").read_text()


def test_init_refuses_a_place_that_the_existing_configuration_contradicts(cli: Cli) -> None:
    (cli.folder / "prismq.toml").write_text('database = "mine.db"')
    answer = cli("init", "other.db")
    assert answer.code == 4
    assert "--force" in answer.err
    assert not (cli.folder / "other.db").exists()


def test_init_writes_no_second_configuration_beside_another_kind(cli: Cli) -> None:
    (cli.folder / "prismq.yaml").write_text("database: mine.db")
    assert cli("init").code == 0
    assert not (cli.folder / "prismq.toml").exists()
    assert cli("init", "--force").code == 4


def test_init_can_make_the_database_alone(cli: Cli) -> None:
    assert cli("init", "x.db", "--no-config").code == 0
    assert sorted(path.name for path in cli.folder.iterdir() if path.suffix != "") == ["x.db"]


def test_init_keeps_what_an_existing_queue_holds(cli: Cli) -> None:
    cli("init")
    cli("enqueue", "add", "a=1")
    answer = cli("init")
    assert "up to date" in answer.out
    assert len(cli("tasks", "list", "--json").json) == 1


def test_init_refuses_a_database_of_another_program_unless_it_may_adopt_it(cli: Cli) -> None:
    connection = sqlite3.connect(cli.folder / "mine.db")
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.commit()
    connection.close()
    refused = cli("init", "mine.db")
    assert refused.code == 3
    assert "--adopt" in refused.err
    assert cli("init", "mine.db", "--adopt").code == 0
    assert cli("status", "--db", "mine.db").code == 0


def test_init_says_when_the_environment_wins_over_its_file(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMQ_QUEUE_DB_PATH", "elsewhere.db")
    answer = cli("init")
    assert answer.code == 0
    assert "elsewhere.db, and it wins over prismq.toml" in answer.err


def test_init_says_when_the_file_that_is_there_leads_elsewhere(cli: Cli) -> None:
    (cli.folder / "prismq.toml").write_text("[worker]\nconcurrency = 2\n", encoding="utf-8")
    answer = cli("init", "other.db")
    assert answer.code == 0
    assert 'Put the line `database = "other.db"` at its top' in answer.err
    (cli.folder / "prismq.toml").write_text('database = "other.db"\n[worker]\nconcurrency = 2\n', encoding="utf-8")
    assert cli("init", "other.db").err == ""
    assert cli("status").code == 0


def test_init_writes_nothing_but_toml(cli: Cli) -> None:
    assert cli("init", "--config", "prismq.yaml").code == 2


# -- migrate


def test_migrate_says_that_there_is_nothing_to_do(cli: Cli, q: PrismQ) -> None:
    answer = cli("migrate")
    assert answer.code == 0
    assert "up to date" in answer.out
    assert cli("migrate", "--json").json == {
        "database": str(cli.folder / "queue.db"),
        "dry_run": False,
        "migrations": [],
    }


def test_migrate_dry_run_says_what_is_missing_and_changes_nothing(cli: Cli, q: PrismQ) -> None:
    q.store.database.execute("DELETE FROM schema_migrations")
    assert cli("migrate", "--dry-run", "--json").json["migrations"] == [one.version for one in migrations()]
    assert q.store.database.execute("SELECT count(*) FROM schema_migrations").fetchone()[0] == 0


def test_migrate_refuses_a_newer_schema(cli: Cli, q: PrismQ) -> None:
    q.store.database.execute("INSERT INTO schema_migrations (version, name, checksum) VALUES (999, 'future', 'ffff')")
    answer = cli("migrate")
    assert answer.code == 3
    assert "never downgraded" in answer.err


# -- config


def test_config_check_lists_every_setting_with_its_source(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    (cli.folder / "prismq.toml").write_text('database = "x.db"\n[worker]\nconcurrency = 16\nprocesses = 2')
    monkeypatch.setenv("PRISMQ_WORKER_CONCURRENCY", "32")
    answer = cli("config", "check", "--json")
    found = {one["name"]: one for one in answer.json}
    assert set(found) == {
        *(key for key in Settings.model_fields if key not in SECTIONS),
        *(f"{section}.{key}" for section, kind in SECTIONS.items() for key in kind.model_fields),
    }
    file = str(cli.folder / "prismq.toml")
    assert found["database"] == {
        "name": "database", "value": str(cli.folder / "x.db"), "source": "file", "where": file
    }  # fmt: skip
    assert found["worker.concurrency"] == {
        "name": "worker.concurrency", "value": 32, "source": "environment", "where": "PRISMQ_WORKER_CONCURRENCY"
    }  # fmt: skip
    assert found["worker.processes"]["source"] == "file"
    assert found["worker.hints"] == {"name": "worker.hints", "value": True, "source": "default", "where": None}


def test_config_check_shows_people_the_value_and_the_source(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMQ_WORKER_CONCURRENCY", "32")
    out = cli("config", "check").out
    assert any(line.split() == ["worker.concurrency", "32", "PRISMQ_WORKER_CONCURRENCY"] for line in out.splitlines())
    assert "no file: none in this folder" in out


def test_config_check_checks_the_file_it_is_given(cli: Cli) -> None:
    (cli.folder / "other.yaml").write_text("worker:\n  concurency: 3\n")
    answer = cli("config", "check", "other.yaml")
    assert answer.code == 4
    assert "Did you mean 'concurrency'?" in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[worker]\nconcurrency = 0", "concurrency = 0 from"),
        ("[worker]\nheartbeat_interval_seconds = 50", "below half of lease_duration_seconds"),
        ("durability = 'sometimes'", "durability"),
        ("concurrency = 3", "move it to the section `worker`"),
        ("[worker", "is not valid TOML"),
    ],
)
def test_config_check_names_what_is_wrong(cli: Cli, text: str, words: str) -> None:
    (cli.folder / "prismq.toml").write_text(text)
    answer = cli("config", "check")
    assert answer.code == 4
    assert words in answer.err


def test_config_check_says_when_only_the_environment_makes_the_file_valid(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cli.folder / "prismq.toml").write_text("[worker]\nconcurrency = 0")
    monkeypatch.setenv("PRISMQ_WORKER_CONCURRENCY", "4")
    answer = cli("config", "check", "--json")
    assert answer.code == 0
    assert "only the environment makes the settings valid" in answer.err


def test_config_show_prints_a_file_that_means_the_same(cli: Cli) -> None:
    (cli.folder / "prismq.toml").write_text(
        'database = "x.db"\n[worker]\nqueues = ["a", "b"]\ncapabilities = { region = "eu", gpus = 2 }\nhints = false\n'
    )
    before = load_settings()
    shown = cli("config", "show")
    assert shown.code == 0
    (cli.folder / "shown.toml").write_text(shown.out)
    assert load_settings("shown.toml") == before


def test_config_show_answers_programs(cli: Cli) -> None:
    shown = cli("config", "show", "--json").json
    assert set(shown) == set(Settings.model_fields)
    assert set(shown["worker"]) == set(WorkerConfig.model_fields)
    assert shown["worker"]["scheduling_strategy"] == "priority"


def test_a_password_is_not_shown(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMQ_DATABASE_URL", "postgresql://me:secret@host/queue")
    assert "secret" not in cli("config", "check").out + cli("config", "show", "--json").out
