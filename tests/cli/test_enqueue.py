"""`prismq enqueue`."""

from __future__ import annotations

import json

import pytest

from prismq import PrismQ
from tests.cli.conftest import Cli


def test_a_task_is_enqueued_by_name(cli: Cli, q: PrismQ) -> None:
    answer = cli("enqueue", "add", "a=1", "b=2")
    assert answer.out == "Task 1 (add) is queued in the queue 'default'.\n"
    assert json.loads(q.tasks.get(1).payload) == {"a": 1, "b": 2}


def test_a_value_is_json_where_it_can_be_read_so_and_text_otherwise(cli: Cli, q: PrismQ) -> None:
    cli("enqueue", "x", "n=1", "f=1.5", "t=true", "s=cat.png", 'q="1"', "l=[1,2]", "e=", "u=a=b")
    assert json.loads(q.tasks.get(1).payload) == {
        "n": 1, "f": 1.5, "t": True, "s": "cat.png", "q": "1", "l": [1, 2], "e": "", "u": "a=b"
    }  # fmt: skip


def test_the_payload_may_be_given_whole_from_a_file_or_from_stdin(cli: Cli, q: PrismQ) -> None:
    (cli.folder / "payload.json").write_text('{"a": 2}')
    cli("enqueue", "x", "--payload", '{"a": 1}')
    cli("enqueue", "x", "--payload", "@payload.json")
    cli("enqueue", "x", "--payload", "-", stdin='{"a": 3}')
    assert [json.loads(q.tasks.get(number).payload)["a"] for number in (1, 2, 3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--payload", "{a: 1}"], "--payload is not JSON"),
        (["--payload", "[1]"], "takes a JSON object"),
        (["--payload", "{}", "a=1"], "not both"),
        (["--payload", "@missing.json"], "missing.json cannot be read"),
        (["novalue"], "key=value"),
        (["--delay", "soon"], "--delay takes seconds"),
        (["--delay", "-5"], "--delay takes"),
        (["--at", "tomorrow"], "--at takes a time"),
        (["--delay", "5", "--at", "2099-01-01"], "either delay or run_at"),
        (["--priority", "high"], "--priority"),
        (["--priority", "99999999"], "'priority' takes a whole number"),
        (["--max-attempts", "0"], "--max-attempts"),
        (["--queue", ""], "'queue' takes"),
    ],
)
def test_what_cannot_be_is_a_usage_error_and_nothing_is_enqueued(
    cli: Cli, q: PrismQ, arguments: list[str], words: str
) -> None:
    answer = cli("enqueue", "add", *arguments)
    assert answer.code == 2
    assert words in answer.err
    assert q.tasks.count() == 0


def test_options_reach_the_task(cli: Cli, q: PrismQ) -> None:
    answer = cli(
        "enqueue", "add", "--queue", "fast", "--priority", 5, "--delay", "2h", "--key", "k", "--max-attempts", 3,
        "--timeout", "1m", "--tag", "a", "--tag", "b", "--json",
    )  # fmt: skip
    assert set(answer.json) == {"id", "created", "type", "queue", "status", "run_after_utc"}
    assert (answer.json["status"], answer.json["queue"]) == ("scheduled", "fast")
    task = q.tasks.get(1)
    assert (task.priority, task.idempotency_key, task.max_attempts, task.timeout_seconds) == (5, "k", 3, 60.0)
    assert task.tags == '["a","b"]'


def test_a_time_is_utc_unless_it_says_otherwise(cli: Cli, q: PrismQ) -> None:
    cli("enqueue", "add", "--at", "2099-01-31T06:30")
    cli("enqueue", "add", "--at", "2099-01-31T06:30+02:00")
    times = [q.tasks.get(number).run_after_utc for number in (1, 2)]
    assert [str(time) for time in times] == ["2099-01-31 06:30:00+00:00", "2099-01-31 04:30:00+00:00"]


def test_a_second_enqueue_with_the_same_key_says_that_the_first_is_there(cli: Cli, q: PrismQ) -> None:
    cli("enqueue", "add", "--key", "k")
    answer = cli("enqueue", "add", "--key", "k")
    assert answer.code == 0
    assert "was there already" in answer.out
    assert cli("enqueue", "add", "--key", "k", "--json").json["created"] is False
    assert q.tasks.count() == 1


def test_the_application_checks_the_arguments_and_gives_its_defaults(cli: Cli, app_file: str) -> None:
    assert cli("enqueue", "add", "a=1", "b=2", "-A", app_file).code == 0
    [task] = cli("tasks", "list", "--db", "app.db", "--json").json
    assert task["tags"] == ["sums"]
    answer = cli("enqueue", "add", "a=1", "b=x", "-A", app_file)
    assert answer.code == 2
    assert "'b' must be int" in answer.err


def test_the_database_given_wins_over_the_application_s_own(cli: Cli, q: PrismQ, app_file: str) -> None:
    assert cli("enqueue", "add", "a=1", "b=2", "-A", app_file, "--db", cli.folder / "queue.db").code == 0
    assert q.tasks.count() == 1
    assert not (cli.folder / "app.db").exists()


def test_a_type_that_the_application_does_not_know_names_the_closest(cli: Cli, app_file: str) -> None:
    answer = cli("enqueue", "ad", "-A", app_file)
    assert answer.code == 1
    assert "Did you mean 'add'? Known types: add, daily, fail, greet" in answer.err
    assert not (cli.folder / "app.db").exists()


@pytest.mark.parametrize(
    ("reference", "words"),
    [("nowhere:q", "there is no module 'nowhere'"), ("nowhere.py:q", "there is no file nowhere.py")],
)
def test_an_application_that_is_not_there_is_a_configuration_error(cli: Cli, reference: str, words: str) -> None:
    answer = cli("enqueue", "add", "-A", reference)
    assert answer.code == 4
    assert words in answer.err


def test_an_application_that_fails_at_import_is_named_with_the_reason(cli: Cli) -> None:
    (cli.folder / "broken_application.py").write_text("1 / 0")
    answer = cli("enqueue", "add", "-A", "broken_application.py:q")
    assert answer.code == 4
    assert "broken_application.py:q cannot be loaded: ZeroDivisionError: division by zero" in answer.err


def worked(q: PrismQ) -> object:
    @q.task(name="add")
    def add(a: int, b: int) -> int:
        return a + b

    @q.task(name="greet")
    def greet(name: str) -> str:
        return f"Hello {name}"

    @q.task(name="fail", max_attempts=1)
    def fail() -> None:
        raise ValueError("it cannot be")

    return q.worker(concurrency=2, hints=False)


def test_waiting_prints_the_result(cli: Cli, q: PrismQ) -> None:
    with worked(q):  # type: ignore[attr-defined]
        assert cli("enqueue", "add", "a=1", "b=2", "--wait", "30s").out == "3\n"
        assert cli("enqueue", "greet", "name=Ann", "--wait", 30).out == "Hello Ann\n"
        assert cli("enqueue", "add", "a=1", "b=2", "--wait", 30, "--json").json == {
            "id": 3, "created": True, "type": "add", "queue": "default", "status": "completed", "result": 3,
            "error": None,
        }  # fmt: skip


def test_waiting_for_a_task_that_fails_ends_with_1(cli: Cli, q: PrismQ) -> None:
    with worked(q):  # type: ignore[attr-defined]
        answer = cli("enqueue", "fail", "--max-attempts", 1, "--wait", 30)
        assert (answer.code, answer.out) == (1, "")
        assert "ended as dead_letter: ValueError: it cannot be" in answer.err
        answer = cli("enqueue", "fail", "--max-attempts", 1, "--wait", 30, "--json")
        assert (answer.code, answer.json["status"]) == (1, "dead_letter")


def test_waiting_in_vain_says_that_the_task_stays_in_the_queue(cli: Cli, q: PrismQ) -> None:
    answer = cli("enqueue", "add", "--wait", 0)
    assert answer.code == 1
    assert "task 1 is still queued after 0 s; it stays in the queue" in answer.err
