"""`prismq schedules`."""

from __future__ import annotations

import pytest

from prismq import NewTask, PrismQ
from prismq.storage.contract import Schedule
from tests.cli.conftest import Cli


@pytest.fixture
def morning(q: PrismQ) -> PrismQ:
    template = NewTask("daily", '{"a":1}', queue="reports")
    q.store.schedules.declare(
        Schedule("morning", "30 6 * * MON-FRI", "Europe/Prague", "latest", template), q.clock.now()
    )
    return q


def test_schedules_are_listed_in_words(cli: Cli, morning: PrismQ) -> None:
    [found] = cli("schedules", "list", "--json").json
    assert set(found) == {
        "schedule", "expression", "timezone", "description", "missed", "type", "queue", "payload", "last_run_utc",
        "last_task_id", "next_run_utc", "paused", "paused_at_utc", "error",
    }  # fmt: skip
    assert found["description"].endswith("(Europe/Prague)")
    assert (found["last_run_utc"], found["payload"]) == (None, {"a": 1})
    assert found["next_run_utc"].endswith("+00:00")
    out = cli("schedules", "list").out
    assert "morning" in out
    assert "never" in out


def test_no_schedules_is_said(cli: Cli, q: PrismQ) -> None:
    assert "There are no schedules" in cli("schedules", "list").out
    assert cli("schedules", "list", "--json").json == []


def test_running_enqueues_the_task_of_the_schedule_now(cli: Cli, morning: PrismQ) -> None:
    answer = cli("schedules", "run", "morning", "--json")
    assert answer.json == {"schedule": "morning", "task_id": 1, "created": True}
    task = morning.tasks.get(1)
    assert (task.type, task.queue, task.schedule, task.payload, task.status) == (
        "daily", "reports", "morning", '{"a":1}', "queued"
    )  # fmt: skip
    assert cli("schedules", "list", "--json").json[0]["last_task_id"] is None


def test_a_schedule_is_paused_and_resumed(cli: Cli, morning: PrismQ) -> None:
    assert cli("schedules", "pause", "morning").out == "morning: paused\n"
    [found] = cli("schedules", "list", "--json").json
    assert (found["paused"], found["next_run_utc"]) == (True, None)
    assert cli("schedules", "resume", "morning").out == "morning: resumed\n"
    assert cli("schedules", "list", "--json").json[0]["paused"] is False


def test_a_removed_schedule_is_gone(cli: Cli, morning: PrismQ) -> None:
    assert cli("schedules", "remove", "morning", "--json").json == {"schedule": "morning", "removed": True}
    assert cli("schedules", "list", "--json").json == []


@pytest.mark.parametrize("word", ["run", "pause", "resume", "remove"])
def test_an_unknown_schedule_ends_with_1_and_names_the_closest(cli: Cli, morning: PrismQ, word: str) -> None:
    answer = cli("schedules", word, "mornin")
    assert answer.code == 1
    assert "there is no schedule 'mornin'. Did you mean 'morning'?" in answer.err


def test_an_expression_that_cannot_be_read_does_not_hide_the_others(cli: Cli, morning: PrismQ) -> None:
    morning.store.database.execute(
        "INSERT INTO schedules (schedule, expression, template, last_slot_utc, updated_at_utc)"
        " VALUES ('broken', '99 * * * *', '{\"type\": \"x\"}', '2025-01-01 00:00:00', '2025-01-01 00:00:00')"
    )
    found = cli("schedules", "list", "--json").json
    assert [one["schedule"] for one in found] == ["broken", "morning"]
    assert "the field minute is '99'" in found[0]["error"]
    assert "broken" in cli("schedules", "list").out
