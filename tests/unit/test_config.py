from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prismq.config import (
    DatabaseTarget,
    Settings,
    WorkerConfig,
    default_db_path,
    load_settings,
    load_worker_config,
    resolve_database,
)
from prismq.domain.errors import ConfigurationError
from prismq.domain.strategy import SchedulingStrategy

DAY_S = 86_400


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder: a prismq.toml of the machine must not matter."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def worker(file_path: str | Path | None = None, **variables: str) -> WorkerConfig:
    """The configuration with PRISMQ_WORKER_* variables given by their last part, in lower case."""
    environ = {f"PRISMQ_WORKER_{name.upper()}": text for name, text in variables.items()}
    return load_worker_config(file_path, environ=environ)


def complaint(file_path: str | Path | None = None, **variables: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        worker(file_path, **variables)
    return str(caught.value)


# Where values come from


def test_the_defaults_are_those_of_the_reference() -> None:
    config = worker()
    assert config.worker_id is None
    assert config.capabilities == {}
    assert config.scheduling_strategy == "priority"
    assert (config.lease_duration_seconds, config.poll_interval_seconds, config.max_retries) == (60, 1, 3)


def test_the_defaults_of_what_the_reference_has_not() -> None:
    config = worker()
    assert (config.processes, config.concurrency, config.queues, config.prefetch) == (1, 8, None, None)
    assert (config.heartbeat_interval_seconds, config.shutdown_grace_seconds) == (10, 30)
    assert (config.result_retention_seconds, config.failure_retention_seconds) == (7 * DAY_S, 90 * DAY_S)
    assert (config.only_known, config.hints, config.task_log_level) == (True, True, "DEBUG")


FILES = [
    ("prismq.toml", 'worker_id = "w"\nconcurrency = 3\nqueues = ["a"]\n[capabilities]\nregion = "eu"\n'),
    ("prismq.yaml", "worker_id: w\nconcurrency: 3\nqueues: [a]\ncapabilities: {region: eu}\n"),
    ("prismq.yml", "worker_id: w\nconcurrency: 3\nqueues: [a]\ncapabilities: {region: eu}\n"),
    ("prismq.json", '{"worker_id": "w", "concurrency": 3, "queues": ["a"], "capabilities": {"region": "eu"}}'),
]


@pytest.mark.parametrize(("name", "text"), FILES)
def test_every_kind_of_file_says_the_same(name: str, text: str) -> None:
    expected = WorkerConfig(worker_id="w", concurrency=3, queues=["a"], capabilities={"region": "eu"})
    assert worker(write(f"other-{name}", text)) == expected


@pytest.mark.parametrize(("name", "text"), FILES)
def test_the_file_of_the_current_folder_is_found(name: str, text: str) -> None:
    write(name, text)
    assert worker().concurrency == 3


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.toml", 'database = "q.db"\n[worker]\nconcurrency = 3\n'),
        ("c.yaml", "database: q.db\nworker:\n  concurrency: 3\n"),
        ("c.json", '{"database": "q.db", "worker": {"concurrency": 3}}'),
    ],
)
def test_a_worker_section_is_what_counts_where_there_is_one(name: str, text: str) -> None:
    assert worker(write(name, text)).concurrency == 3
    assert load_settings(name, environ={}).worker.concurrency == 3


def test_the_environment_wins_over_the_file() -> None:
    write("prismq.toml", "[worker]\nconcurrency = 3\nprocesses = 2\n")
    config = worker(concurrency="5")
    assert (config.concurrency, config.processes) == (5, 2)


def test_the_environment_can_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMQ_WORKER_CONCURRENCY", "5")
    assert load_worker_config().concurrency == 5
    assert load_worker_config(apply_env_overrides=False).concurrency == 8


@pytest.mark.parametrize(
    ("name", "text", "key", "value"),
    [
        ("id", "worker-7", "worker_id", "worker-7"),
        ("id", "none", "worker_id", None),
        ("capabilities", '{"gpu": true, "regions": ["eu"]}', "capabilities", {"gpu": True, "regions": ["eu"]}),
        ("scheduling_strategy", "WEIGHTED_RANDOM", "scheduling_strategy", SchedulingStrategy.WEIGHTED_RANDOM),
        ("lease_duration_seconds", "90.5", "lease_duration_seconds", 90.5),
        ("queues", "media, mail", "queues", ["media", "mail"]),
        ("queues", '["media, mail"]', "queues", ["media, mail"]),
        ("queues", "None", "queues", None),
        ("prefetch", "0", "prefetch", 0),
        ("prefetch", "null", "prefetch", None),
        ("only_known", "no", "only_known", False),
        ("hints", "0", "hints", False),
        ("task_log_level", "warning", "task_log_level", "WARNING"),
        ("concurrency", "  4 ", "concurrency", 4),
        ("concurrency", "", "concurrency", 8),
    ],
)
def test_a_variable_is_read_as_its_setting_needs(name: str, text: str, key: str, value: object) -> None:
    assert getattr(worker(**{name: text}), key) == value


def test_every_setting_has_a_variable() -> None:
    for key in WorkerConfig.model_fields:
        [name] = WorkerConfig.env_variables(key)
        assert name == ("PRISMQ_WORKER_ID" if key == "worker_id" else f"PRISMQ_WORKER_{key.upper()}")


def test_variables_of_other_programs_are_passed_over() -> None:
    assert load_worker_config(environ={"WORKER_CONCURRENCY": "x", "PRISMQ_OTHER": "x"}) == WorkerConfig()


def test_nothing_is_read_at_import() -> None:
    code = "import os; os.environ['PRISMQ_WORKER_CONCURRENCY'] = 'x'; import prismq.config"
    subprocess.run([sys.executable, "-c", code], check=True)


# What is wrong


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("lease_duration_seconds", "abc", "input should be a valid number"),
        ("lease_duration_seconds", "0", "input should be greater than 0"),
        ("lease_duration_seconds", "nan", "input should be"),
        ("poll_interval_seconds", "inf", "input should be less than or equal to 3600"),
        ("max_retries", "-1", "greater than or equal to 0"),
        ("concurrency", "0", "greater than or equal to 1"),
        ("concurrency", "1.5", "valid integer"),
        ("processes", "100000", "less than or equal to 256"),
        ("prefetch", "-1", "greater than or equal to 0"),
        ("capabilities", "{", "is not JSON"),
        ("capabilities", '{"a": 1, "a": 2}', "'a' is set twice"),
        ("capabilities", "[1]", "input should be a valid dictionary"),
        ("queues", "[1]", "input should be a valid string"),
        ("queues", ",", "at least 1 item"),
        ("queues", '[" "]', "is no name for a queue"),
        ("hints", "perhaps", "input should be a valid boolean"),
        ("task_log_level", "loud", "'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'"),
        ("scheduling_strategy", "prio", "Did you mean 'priority'?"),
        ("result_retention_seconds", "inf", "less than or equal to"),
    ],
)
def test_a_bad_variable_is_named_with_its_value_and_what_would_be_right(name: str, text: str, words: str) -> None:
    message = complaint(**{name: text})
    assert f"from the environment variable PRISMQ_WORKER_{name.upper()}" in message
    assert words in message
    assert f"{name}: " in message
    assert "(default " in message


def test_a_bad_value_in_a_file_is_named_with_the_file() -> None:
    path = write("c.toml", "[worker]\nconcurrency = 0\n")
    message = complaint(path)
    assert message.startswith("concurrency = 0 from c.toml: input should be greater than or equal to 1.")
    assert "tasks that one process runs at a time, 1 to 1000 (default 8)" in message


def test_a_bad_argument_is_named_as_the_callers() -> None:
    with pytest.raises(ConfigurationError, match="concurrency = 0 from the caller"):
        WorkerConfig(concurrency=0)
    with pytest.raises(ConfigurationError, match=r"no setting 'concurency'.* Did you mean 'concurrency'\?"):
        WorkerConfig(concurency=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.toml", "concurency = 3"),
        ("c.toml", "[worker]\nconcurency = 3"),
        ("c.yaml", "worker: {concurency: 3}"),
        ("c.json", '{"concurency": 3}'),
    ],
)
def test_an_unknown_setting_is_answered_with_the_nearest(name: str, text: str) -> None:
    message = complaint(write(name, text))
    assert f"there is no setting 'concurency', which {name} sets to 3. Did you mean 'concurrency'?" in message


def test_an_unknown_variable_is_answered_with_the_nearest() -> None:
    message = complaint(concurency="3")
    assert "PRISMQ_WORKER_CONCURENCY is no setting of a worker. Did you mean 'PRISMQ_WORKER_CONCURRENCY'?" in message


def test_an_unknown_section_is_refused() -> None:
    assert "no setting 'wroker'" in complaint(write("c.toml", "[wroker]\nconcurrency = 3\n[worker]\n"))


@pytest.mark.parametrize("lease", [1, 15, 20])
def test_a_heartbeat_that_was_not_set_follows_a_short_lease(lease: float) -> None:
    assert WorkerConfig(lease_duration_seconds=lease).heartbeat_interval_seconds == lease / 4


@pytest.mark.parametrize("heartbeat", [30, 31, 3600])
def test_a_heartbeat_must_be_below_half_the_lease(heartbeat: float) -> None:
    message = complaint(heartbeat_interval_seconds=str(heartbeat))
    assert message.startswith(f"heartbeat_interval_seconds = '{heartbeat}' from the environment variable PRISMQ_")
    assert "it must be below half of lease_duration_seconds (60 s)" in message
    assert worker(heartbeat_interval_seconds=str(heartbeat), lease_duration_seconds="7201")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("c.toml", "x = ", "is not valid TOML: Invalid value"),
        ("c.toml", "a = 1\na = 2", "is not valid TOML: Cannot overwrite a value"),
        ("c.json", "{", "is not valid JSON: Expecting property name"),
        ("c.json", '{"queues": ["a"], "queues": ["b"]}', "is not valid JSON: 'queues' is set twice"),
        ("c.json", "[" * 100_000, "is not valid JSON"),
        ("c.yaml", "a: [1", "is not valid YAML: while parsing a flow sequence"),
        ("c.yaml", "queues: [a]\nqueues: [b]\n", "is not valid YAML: 'queues' is set twice"),
        ("c.yaml", "worker:\n  hints: on\n  hints: off\n", "'hints' is set twice"),
        ("c.yaml", "!!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("c.yaml", "- 1", "the top level must hold settings as `name: value`, not list [1]"),
        ("c.yaml", "worker: 3", "worker must hold settings as `name: value`, not int 3"),
        ("c.yaml", "5: 1", "the top level must hold settings"),
        ("c.ini", "", "has the suffix '.ini'; it must be .toml, .yaml, .yml or .json"),
        ("prismq", "", "has the suffix ''"),
        ("c.yaml", "capabilities: {since: 2024-01-01}", "JSON has no form for date"),
        ("c.json", '{"max_retries": null}', "max_retries = None from c.json"),
    ],
)
def test_a_broken_file_is_named_with_what_is_wrong(name: str, text: str, words: str) -> None:
    message = complaint(write(name, text))
    assert name in message
    assert words in message


def test_a_file_that_is_not_there_is_an_error_only_when_asked_for(folder: Path) -> None:
    assert worker() == WorkerConfig()
    assert complaint("c.toml") == "there is no configuration file c.toml. Check the path"
    (folder / "d.toml").mkdir()
    assert "the configuration file d.toml cannot be read" in complaint("d.toml")


def test_a_file_that_is_not_text_says_so(folder: Path) -> None:
    (folder / "c.yaml").write_bytes(b"\xff\xfea")
    assert "c.yaml is not UTF-8 text" in complaint("c.yaml")


def test_the_mark_that_notepad_writes_does_no_harm(folder: Path) -> None:
    (folder / "c.json").write_bytes(b'\xef\xbb\xbf{"concurrency": 3}')
    assert worker("c.json").concurrency == 3


@pytest.mark.parametrize("name", ["c.yaml", "c.json", "c.toml"])
def test_an_empty_file_sets_nothing(name: str) -> None:
    assert worker(write(name, "")) == WorkerConfig()


def test_two_files_in_one_folder_are_one_too_many() -> None:
    write("prismq.toml", "")
    write("prismq.json", "{}")
    assert "has more than one configuration file: prismq.toml, prismq.json. Keep one" in complaint()
    assert worker("prismq.toml") == WorkerConfig()


def test_a_configuration_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        WorkerConfig().concurrency = 3  # type: ignore[misc]


def test_a_configuration_travels_to_another_process() -> None:
    config = WorkerConfig(worker_id="w", capabilities={"a": [1]}, lease_duration_seconds=8)
    assert pickle.loads(pickle.dumps(config)) == config


# All settings


def settings(file_path: str | Path | None = None, **variables: str) -> Settings:
    return load_settings(file_path, environ={f"PRISMQ_{name.upper()}": text for name, text in variables.items()})


def test_settings_without_a_file_are_the_defaults() -> None:
    assert settings() == Settings()
    assert (Settings().database, Settings().durability, Settings().busy_timeout_seconds) == (None, "normal", 5)


def test_settings_come_from_the_environment_over_the_file() -> None:
    write("prismq.toml", 'durability = "full"\nbusy_timeout_seconds = 1\n[worker]\nconcurrency = 3\nprocesses = 2\n')
    found = settings(busy_timeout_seconds="2", worker_concurrency="4")
    assert (found.durability, found.busy_timeout_seconds) == ("full", 2)
    assert (found.worker.concurrency, found.worker.processes) == (4, 2)


def test_worker_settings_belong_into_their_section() -> None:
    with pytest.raises(ConfigurationError, match="move it to the section `worker`"):
        settings(write("c.toml", "concurrency = 3"))
    with pytest.raises(ConfigurationError, match="It belongs to the top level of the file"):
        settings(write("c.toml", "[worker]\ndatabase = 'q.db'"))


def test_a_wrong_setting_is_named_with_its_source() -> None:
    with pytest.raises(ConfigurationError, match="durability = 'max' from the environment variable PRISMQ_DURAB"):
        settings(durability="max")
    with pytest.raises(ConfigurationError, match="concurrency = 0 from the caller"):
        Settings(worker={"concurrency": 0})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"'mysql'.*sqlite:///… or postgresql://…"):
        settings(write("c.toml", 'database = "mysql://h/d"'))
    with pytest.raises(ConfigurationError, match="from the environment variable PRISMQ_QUEUE_DB_PATH"):
        settings(queue_db_path="mysql://h/d")


def test_a_password_is_shown_nowhere() -> None:
    url = "postgresql://ann:secret@host/q"
    shown = repr(Settings(database=url)) + str(Settings(database=url)) + str(resolve_database(url))
    assert "secret" not in shown
    assert "postgresql://ann:***@host/q" in shown
    for bad in ("mysql://ann:secret@host/q", "postgresql+psycopg://ann:secret@host/q"):
        for action in (
            resolve_database,
            lambda text: Settings(database=text),
            lambda text: settings(database_url=text),
        ):
            with pytest.raises(ConfigurationError) as caught:
                action(bad)
            assert "secret" not in str(caught.value)


# Which database


@pytest.mark.parametrize(
    ("given", "scheme", "location"),
    [
        ("queue.db", "sqlite", "queue.db"),
        (Path("a") / "queue.db", "sqlite", str(Path("a/queue.db"))),
        ("/var/queue.db", "sqlite", str(Path("/var/queue.db"))),
        (":memory:", "sqlite", ":memory:"),
        ("sqlite:///queue.db", "sqlite", "queue.db"),
        ("sqlite:////var/queue.db", "sqlite", str(Path("/var/queue.db"))),
        ("SQLite:///C:/data/queue.db", "sqlite", str(Path("C:/data/queue.db"))),
        ("sqlite:///:memory:", "sqlite", ":memory:"),
        ("postgresql://host/q", "postgresql", "postgresql://host/q"),
        (
            "postgres://ann:pw@host:5432/q?sslmode=require",
            "postgresql",
            "postgresql://ann:pw@host:5432/q?sslmode=require",
        ),
    ],
)
def test_a_path_or_a_url_names_the_database(given: str | Path, scheme: str, location: str) -> None:
    assert resolve_database(given, environ={}) == (scheme, location, "argument")


def test_a_tilde_is_the_home_folder() -> None:
    assert resolve_database("~/queue.db", environ={}).location == str(Path("~/queue.db").expanduser())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("mysql://h/d", "there is no storage for 'mysql'"),
        ("sqllite:///q.db", "Did you mean 'sqlite'?"),
        ("sqlite://queue.db", "it takes three slashes and a path"),
        ("sqlite:///", "it takes three slashes and a path"),
        ("sqlite:queue.db", "a URL has :// after its scheme"),
        ("sqlite:///q.db?mode=ro", "options after ? are not known here"),
        ("postgresql+psycopg://h/d", "leave out the driver: postgresql://…"),
        ("", "it is no path"),
        ("  ", "it is no path"),
    ],
)
def test_what_names_no_database_is_refused_with_what_would(given: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        resolve_database(given, environ={})
    assert words in str(caught.value)
    assert "the database given" in str(caught.value)


def test_argument_environment_file_and_default_count_in_this_order(folder: Path) -> None:
    write("prismq.toml", 'database = "file.db"')
    path = {"PRISMQ_QUEUE_DB_PATH": "/env/queue.db"}
    url = {**path, "PRISMQ_DATABASE_URL": "postgresql://host/q"}
    assert resolve_database("a.db", environ=url) == ("sqlite", "a.db", "argument")
    assert resolve_database(environ=url) == ("postgresql", "postgresql://host/q", "environment")
    assert resolve_database(environ=path) == ("sqlite", str(Path("/env/queue.db")), "environment")
    assert resolve_database(environ={}) == ("sqlite", str(folder / "file.db"), "file")
    write("prismq.toml", "")
    assert resolve_database(environ={}) == ("sqlite", str(default_db_path()), "default")


def test_the_variables_of_the_machine_are_read_when_none_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRISMQ_QUEUE_DB_PATH", "/env/queue.db")
    monkeypatch.delenv("PRISMQ_DATABASE_URL", raising=False)
    assert resolve_database().source == "environment"


def test_a_relative_path_in_a_file_starts_at_the_file(folder: Path) -> None:
    (folder / "etc").mkdir()
    path = write("etc/prismq.json", json.dumps({"database": "data/q.db"}))
    assert settings(path).database == str(folder / "etc" / "data" / "q.db")
    write("etc/prismq.json", json.dumps({"database": "sqlite:///data/q.db"}))
    assert settings(path).database == str(folder / "etc" / "data" / "q.db")
    for as_it_is in (":memory:", "postgresql://host/q"):
        write("etc/prismq.json", json.dumps({"database": as_it_is}))
        assert settings(path).database == as_it_is


@pytest.mark.parametrize("text", ['databse = "q.db"', "database = 3", 'database = "mysql://h"', "[wroker]"])
def test_a_faulty_file_never_leads_to_the_default_path_in_silence(text: str) -> None:
    write("prismq.toml", text)
    with pytest.raises(ConfigurationError, match=r"prismq\.toml"):
        resolve_database(environ={})


def test_the_default_path_is_that_of_the_platform_and_is_not_made() -> None:
    assert str(default_db_path("nt")) == r"C:\Data\PrismQ\queue\queue.db"
    assert default_db_path("posix").as_posix() == "/tmp/prismq/queue/queue.db"


def test_a_path_is_asked_for_only_of_a_file() -> None:
    assert DatabaseTarget("sqlite", "q.db", "default").require_path() == Path("q.db")
    with pytest.raises(
        ConfigurationError, match=r"postgresql://ann:\*\*\*@h/q \(from the environment\) is not a SQLite file"
    ):
        DatabaseTarget("postgresql", "postgresql://ann:pw@h/q", "environment").require_path()


def test_every_setting_says_what_it_is() -> None:
    models: tuple[Any, ...] = (WorkerConfig, Settings)
    assert all(field.description for model in models for field in model.model_fields.values())
