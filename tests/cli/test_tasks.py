"""`prismq tasks`."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from prismq import PrismQ, Task
from prismq.cli import selection
from tests.cli.conftest import Cli, set_task


def ids(answer_json: list[dict[str, int]]) -> list[int]:
    return [one["id"] for one in answer_json]


def statuses(q: PrismQ) -> dict[int, str]:
    return {task.id: task.status for task in q.tasks.find(limit=1000) if task.id is not None}


def held(q: PrismQ, task_id: int) -> None:
    """A worker runs this task."""
    set_task(
        q, task_id, status="processing", attempts=1, locked_by="host-0-abc", reserved_at_utc="2025-01-31 06:30:00.000",
        processing_started_utc="2025-01-31 06:30:00.100", lease_until_utc="2099-01-31 06:31:00.000",
    )  # fmt: skip


# -- list


def test_tasks_are_listed_newest_first(cli: Cli, q: PrismQ) -> None:
    for name in ("one", "two", "three"):
        q.enqueue(name, {})
    assert [one["type"] for one in cli("tasks", "list", "--json").json] == ["three", "two", "one"]


def test_a_listed_task_has_every_column_and_its_state(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {"a": 1}, tags=["x"])
    [task] = cli("tasks", "list", "--json").json
    assert set(task) == {column.name for column in fields(Task)} | {"state"}
    assert (task["payload"], task["tags"], task["compatibility"]) == ({"a": 1}, ["x"], {})
    assert task["created_at_utc"].endswith("+00:00")


def test_text_that_is_not_json_is_given_as_text(cli: Cli, q: PrismQ) -> None:
    q.store.database.execute("INSERT INTO task_queue (type, payload) VALUES ('x', 'NaN'), ('y', 'not json')")
    assert [one["payload"] for one in cli("tasks", "list", "--json").json] == ["not json", "NaN"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--type", "mail"], [3, 1]),
        (["--queue", "fast"], [2]),
        (["--tag", "vip"], [1]),
        (["--text", "CAT"], [2]),
        (["--status", "scheduled"], [3]),
        (["--status", "scheduled", "--status", "failed"], [3, 2]),
        (["--status", "Scheduled,FAILED"], [3, 2]),
        (["--status", "pending"], [1]),
        (["--limit", 2], [3, 2]),
        (["--before", 3], [2, 1]),
        (["--before", 3, "--limit", 1], [2]),
        (["--since", "1h"], [3, 2, 1]),
        (["--until", "1h"], []),
        (["--until", "2020-01-01T00:00:00Z"], []),
        (["--schedule", "morning"], []),
        (["--type", "mail", "--tag", "vip"], [1]),
    ],
)
def test_options_choose_the_tasks(cli: Cli, q: PrismQ, options: list[object], expected: list[int]) -> None:
    q.enqueue("mail", {}, tags=["vip"])
    q.enqueue("thumb", {"path": "cat.png"}, queue="fast")
    q.enqueue("mail", {}, delay=60)
    set_task(q, 2, status="failed")
    assert ids(cli("tasks", "list", "--json", *options).json) == expected


def test_an_unknown_status_names_the_closest(cli: Cli, q: PrismQ) -> None:
    answer = cli("tasks", "list", "--status", "fialed")
    assert answer.code == 2
    assert "there is no status 'fialed'. Did you mean 'failed'? The statuses are scheduled, queued" in answer.err


@pytest.mark.parametrize("options", [["--since", "yesterday"], ["--until", "5x"], ["--limit", 0], ["--before", "x"]])
def test_a_value_that_cannot_be_is_a_usage_error(cli: Cli, q: PrismQ, options: list[object]) -> None:
    assert cli("tasks", "list", *options).code == 2


def test_the_list_for_people_says_where_the_next_page_begins(cli: Cli, q: PrismQ) -> None:
    for _ in range(3):
        q.enqueue("add", {})
    answer = cli("tasks", "list", "--limit", 2)
    assert answer.out.splitlines()[0].split() == ["ID", "STATUS", "TYPE", "QUEUE", "PRIO", "TRY", "AGE", "NOTE"]
    assert "--before 2" in answer.err


def test_an_empty_list_says_so(cli: Cli, q: PrismQ) -> None:
    assert cli("tasks", "list").out == "There are no tasks.\n"
    q.enqueue("add", {})
    assert cli("tasks", "list", "--type", "x").out == "No task matches.\n"


def test_the_list_notes_errors_progress_and_due_times(cli: Cli, q: PrismQ) -> None:
    for _ in range(3):
        q.enqueue("add", {})
    set_task(q, 1, status="failed", error_message="ValueError: no\nsecond line")
    held(q, 2)
    set_task(q, 2, progress=json.dumps({"done": 3, "total": 9, "note": None}))
    q.enqueue("later", {}, delay=7200)
    out = cli("tasks", "list").out
    assert "ValueError: no" in out
    assert "second line" not in out
    assert "3 of 9" in out
    assert "due in" in out


# -- show


def test_a_task_is_shown_with_everything(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {"a": 1}, tags=["vip"], idempotency_key="k", timeout=5)
    set_task(
        q, 1, status="failed", attempts=2, error_message="ValueError: no", reserved_at_utc="2025-01-31 06:30:00.000",
        processing_started_utc="2025-01-31 06:30:00.100", finished_at_utc="2025-01-31 06:30:02.100",
        progress='{"done": 1, "total": 4, "note": "half way"}',
    )  # fmt: skip
    q.store.database.execute(
        "INSERT INTO task_attempts (task_id, fencing_token, attempt, outcome, worker_id, error_type, error_message,"
        " traceback, finished_at_utc) VALUES (1, 1, 1, 'retried', 'host-0-abc', 'ValueError', 'no', 'Traceback …',"
        " '2025-01-31 06:29:00')"
    )
    out = cli("tasks", "show", 1).out
    for words in (
        "Task 1: add is failed", "2 of 5", "ValueError: no", "Attempt 1: retried", "Traceback …", "host-0-abc",
        "1 of 4 (25%): half way", '"a": 1', "Timeline", "attempt 2 ended as failed after 2 s: ValueError: no",
        "vip", "2 s",
    ):  # fmt: skip
        assert words in out, words


def test_the_page_of_a_task_has_stable_keys(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {"a": 1})
    page = cli("tasks", "show", 1, "--json").json
    assert set(page) == {"task", "why_it_waits", "attempts", "timeline", "logs"}
    assert page["timeline"][0]["event"] == "enqueued on default"
    assert set(page["timeline"][0]) == {
        "at_utc", "event", "kind", "duration_seconds", "worker_id", "attempt", "error_type", "error_message",
        "traceback", "ahead",
    }  # fmt: skip
    assert page["attempts"] == []


def test_the_timeline_tells_of_each_attempt_once(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    set_task(
        q, 1, status="completed", attempts=2, locked_by="w", reserved_at_utc="2999-01-31 06:30:00.000",
        processing_started_utc="2999-01-31 06:30:00.100", finished_at_utc="2999-01-31 06:30:00.200",
    )  # fmt: skip
    q.store.database.execute(
        "INSERT INTO task_attempts (task_id, fencing_token, attempt, outcome, worker_id, reserved_at_utc,"
        " started_at_utc, finished_at_utc, error_type, error_message) VALUES (1, 1, 1, 'retried', 'w',"
        " '2999-01-31 06:29:00', '2999-01-31 06:29:01', '2999-01-31 06:29:02', 'ValueError', 'no')"
    )
    events = [one["event"] for one in cli("tasks", "show", 1, "--json").json["timeline"]]
    assert events == [
        "enqueued on default", "attempt 1 claimed by w", "attempt 1 started",
        "attempt 1 failed after 1 s: ValueError: no", "attempt 2 claimed by w", "attempt 2 started",
        "attempt 2 completed after 100 ms",
    ]  # fmt: skip


def test_a_waiting_task_says_why_it_waits(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    assert "No worker is running." in cli("tasks", "show", 1).out
    q.tasks.pause("default", by="ann")
    assert "The queue 'default' was paused by ann" in cli("tasks", "show", 1).out


def test_a_result_is_shown(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    set_task(q, 1, status="completed", result='{"sum": 3}')
    assert '"sum": 3' in cli("tasks", "show", 1).out
    assert cli("tasks", "show", 1, "--json").json["task"]["result"] == {"sum": 3}


def test_an_unknown_task_ends_with_1(cli: Cli, q: PrismQ) -> None:
    for words in (("show",), ("logs",), ("retry",), ("cancel",), ("delete",), ("run-now",), ("priority", 5)):
        answer = cli("tasks", *words, 99)
        assert answer.code == 1, words
        assert "there is no task 99" in answer.err


# -- logs


def add_log(q: PrismQ, message: str, details: str | None = None) -> None:
    q.store.database.execute(
        "INSERT INTO task_logs (task_id, at_utc, level, message, details, attempt)"
        " VALUES (1, '2025-01-31 06:30:00', 'INFO', ?, ?, 1)",
        (message, details),
    )


def test_logs_are_printed_oldest_first(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    add_log(q, "first", '{"a": 1}')
    add_log(q, "second")
    assert cli("tasks", "logs", 1).out.splitlines() == [
        "2025-01-31 06:30:00.000 UTC INFO    #1 first  a=1",
        "2025-01-31 06:30:00.000 UTC INFO    #1 second",
    ]
    lines = cli("tasks", "logs", 1, "--json").json
    assert set(lines[0]) == {"log_id", "task_id", "at_utc", "level", "message", "details", "attempt"}
    assert lines[0]["details"] == {"a": 1}


def test_a_task_without_logs_says_so_and_gives_programs_an_empty_list(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    assert "no log lines" in cli("tasks", "logs", 1).err
    assert cli("tasks", "logs", 1, "--json").json == []


def test_following_ends_when_the_task_has_ended(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    add_log(q, "first")
    add_log(q, "last")
    set_task(q, 1, status="completed")
    lines = cli("tasks", "logs", 1, "--follow", "--json").out.splitlines()
    assert [json.loads(line)["message"] for line in lines] == ["first", "last"]


def test_following_prints_each_line_once_as_it_comes(cli: Cli, q: PrismQ, monkeypatch: pytest.MonkeyPatch) -> None:
    q.enqueue("add", {})
    held(q, 1)
    add_log(q, "first")

    def meanwhile(*_: object) -> None:
        add_log(q, "second")
        set_task(q, 1, status="completed")

    monkeypatch.setattr("prismq.cli.tasks.pause", meanwhile)
    out = cli("tasks", "logs", 1, "--follow").out
    assert [line.split()[-1] for line in out.splitlines()] == ["first", "second"]


# -- acting by id


def test_a_failed_task_is_retried(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    set_task(q, 1, status="failed", attempts=5)
    answer = cli("tasks", "retry", 1, "--json")
    assert answer.code == 0
    assert answer.json == {"action": "retry", "matched": 1, "changed": 1, "cancelling": 0, "unchanged_ids": []}
    assert statuses(q) == {1: "queued"}


def test_several_tasks_are_cancelled_at_once(cli: Cli, q: PrismQ) -> None:
    for _ in range(3):
        q.enqueue("add", {})
    assert cli("tasks", "cancel", 1, 3).out == "2 tasks cancelled.\n"
    assert statuses(q) == {1: "cancelled", 2: "queued", 3: "cancelled"}


def test_a_running_task_is_cancelling_and_not_yet_cancelled(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    held(q, 1)
    answer = cli("tasks", "cancel", 1)
    assert answer.code == 0
    assert answer.out == "1 running task asked to stop: cancelling until it has stopped.\n"
    assert cli("tasks", "show", 1, "--json").json["task"]["state"] == "cancelling"


def test_an_action_that_does_not_fit_says_why_and_ends_with_1(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    answer = cli("tasks", "retry", 1)
    assert answer.code == 1
    assert "task 1 was left alone: it is queued, and retry is for tasks that are completed, failed" in answer.err
    held(q, 1)
    assert cli("tasks", "delete", 1).code == 1
    assert statuses(q) == {1: "processing"}


def test_what_fits_is_done_and_the_rest_is_named(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {}, delay=60)
    q.enqueue("add", {})
    answer = cli("tasks", "run-now", 1, 2, "--json")
    assert answer.code == 0
    assert answer.json["unchanged_ids"] == [2]
    assert statuses(q) == {1: "queued", 2: "queued"}


def test_nothing_is_done_when_one_of_the_ids_is_unknown(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    assert cli("tasks", "cancel", 1, 99).code == 1
    assert statuses(q) == {1: "queued"}


def test_a_priority_may_be_negative(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    assert cli("tasks", "priority", -5, 1).code == 0
    assert q.tasks.get(1).priority == -5


def test_a_priority_out_of_range_is_a_usage_error(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    assert cli("tasks", "priority", 10_000_000, 1).code == 2


def test_a_deleted_task_is_gone(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    assert cli("tasks", "delete", 1).code == 0
    assert statuses(q) == {}


# -- acting by conditions


def test_bulk_actions_want_a_condition(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    for words in (("retry",), ("cancel",), ("delete",), ("run-now",), ("priority", 5)):
        answer = cli("tasks", *words, "--yes")
        assert answer.code == 2, words
        assert "at least one condition" in answer.err
    assert statuses(q) == {1: "queued"}


def test_ids_and_conditions_are_not_mixed(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    assert cli("tasks", "cancel", 1, "--type", "add").code == 2


def test_the_number_is_shown_and_no_is_heeded(cli: Cli, q: PrismQ) -> None:
    for _ in range(3):
        q.enqueue("add", {})
    answer = cli("tasks", "delete", "--type", "add", stdin="n\n")
    assert answer.code == 1
    assert (
        "3 tasks (queued, scheduled, completed, failed, dead_letter, cancelled) will be deleted. Go on?" in answer.err
    )
    assert answer.out == ""
    assert len(statuses(q)) == 3


def test_no_answer_is_a_no_that_names_the_option(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    answer = cli("tasks", "delete", "--type", "add", stdin="")
    assert answer.code == 1
    assert "--yes" in answer.err
    assert len(statuses(q)) == 1


def test_yes_at_the_prompt_goes_on(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    answer = cli("tasks", "delete", "--type", "add", "--json", stdin="y\n")
    assert answer.code == 0
    assert answer.json["changed"] == 1


def test_nothing_is_asked_when_nothing_matches(cli: Cli, q: PrismQ) -> None:
    answer = cli("tasks", "cancel", "--type", "x")
    assert answer.code == 0
    assert answer.out.startswith("No task matches")
    assert cli("tasks", "cancel", "--type", "x", "--json").json["matched"] == 0


def test_retry_by_conditions_leaves_completed_tasks_alone(cli: Cli, q: PrismQ) -> None:
    for status in ("completed", "failed", "dead_letter", "cancelled"):
        handle = q.enqueue("add", {})
        set_task(q, handle.id, status=status)
    assert cli("tasks", "retry", "--type", "add", "--yes").out == "2 tasks queued again.\n"
    assert statuses(q) == {1: "completed", 2: "queued", 3: "queued", 4: "cancelled"}
    assert cli("tasks", "retry", "--status", "completed", "--yes").code == 0
    assert statuses(q)[1] == "queued"


def test_an_action_that_cannot_be_done_to_a_status_is_refused(cli: Cli, q: PrismQ) -> None:
    answer = cli("tasks", "retry", "--status", "queued", "--yes")
    assert answer.code == 2
    assert "retry cannot be done to tasks that are queued" in answer.err


def test_many_tasks_are_done_page_by_page(cli: Cli, q: PrismQ, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_PAGE", 10)
    with q.transaction():
        for number in range(35):
            q.enqueue("add" if number % 2 else "keep", {})
    answer = cli("tasks", "cancel", "--type", "add", "--yes", "--json")
    assert answer.json == {"action": "cancel", "matched": 17, "changed": 17, "cancelling": 0, "unchanged_ids": []}
    assert sorted(statuses(q).values()) == ["cancelled"] * 17 + ["queued"] * 18
    assert cli("tasks", "delete", "--status", "queued,cancelled", "--yes", "--json").json["changed"] == 35


def test_priority_by_conditions(cli: Cli, q: PrismQ) -> None:
    q.enqueue("a", {})
    q.enqueue("b", {})
    assert cli("tasks", "priority", 7, "--type", "a", "--yes").code == 0
    assert [q.tasks.get(number).priority for number in (1, 2)] == [7, 100]
