"""`prismq queues`."""

from __future__ import annotations

import pytest

from prismq import PrismQ
from tests.cli.conftest import Cli, set_task


def test_queues_are_listed_with_their_depth(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    q.enqueue("add", {}, queue="fast", delay=60)
    found = cli("queues", "list", "--json").json
    assert [one["queue"] for one in found] == ["default", "fast"]
    assert found[0]["depth"]["queued"] == found[1]["depth"]["scheduled"] == 1
    assert set(found[0]["depth"]) == {
        "scheduled", "queued", "claimed", "processing", "completed", "failed", "dead_letter", "cancelled"
    }  # fmt: skip


def test_no_queues_is_said(cli: Cli, q: PrismQ) -> None:
    assert "no queues yet" in cli("queues", "list").out
    assert cli("queues", "list", "--json").json == []


def test_a_queue_is_paused_and_resumed(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    assert cli("queues", "pause", "default").out == "default: paused\n"
    [found] = cli("queues", "list", "--json").json
    assert found["paused"] is True
    assert found["paused_by"]
    assert "paused by" in cli("queues", "list").out
    assert cli("queues", "resume", "default").out == "default: resumed\n"
    assert cli("queues", "resume", "default").out == "default: was not paused\n"
    assert cli("queues", "list", "--json").json[0]["paused"] is False


def test_a_queue_that_holds_nothing_can_be_paused_ahead_with_a_remark(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    answer = cli("queues", "pause", "defualt")
    assert answer.code == 0
    assert "Did you mean 'default'?" in answer.err


def test_resuming_an_unknown_queue_ends_with_1(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    answer = cli("queues", "resume", "defualt")
    assert answer.code == 1
    assert "there is no queue 'defualt'. Did you mean 'default'?" in answer.err


def test_pausing_waits_until_nothing_runs(cli: Cli, q: PrismQ, monkeypatch: pytest.MonkeyPatch) -> None:
    q.enqueue("add", {})
    set_task(q, 1, status="processing")
    monkeypatch.setattr("prismq.cli.queues.pause", lambda *_: set_task(q, 1, status="completed"))
    answer = cli("queues", "pause", "default", "--wait", "--json")
    assert answer.code == 0
    assert answer.json == [{"queue": "default", "paused": True, "running": 0}]


def test_pausing_waits_no_longer_than_told(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    set_task(q, 1, status="processing")
    answer = cli("queues", "pause", "default", "--wait", "--timeout", "0")
    assert answer.code == 1
    assert answer.out == "default: paused, 1 task still running\n"


def test_a_limit_is_set_and_taken_away(cli: Cli, q: PrismQ) -> None:
    assert cli("queues", "limit", "fast", 3).out == "fast: at most 3 tasks at once\n"
    assert cli("queues", "list", "--json").json[0]["max_running"] == 3
    assert "at most 3" in cli("queues", "list").out
    assert cli("queues", "limit", "fast", "none", "--json").json == {"queue": "fast", "max_running": None}


@pytest.mark.parametrize("wrong", ["0", "many", "1.5"])
def test_a_limit_that_cannot_be_is_a_usage_error(cli: Cli, q: PrismQ, wrong: str) -> None:
    assert cli("queues", "limit", "fast", wrong).code == 2


def test_purging_deletes_what_waits_and_nothing_else(cli: Cli, q: PrismQ) -> None:
    for _ in range(4):
        q.enqueue("add", {})
    q.enqueue("add", {}, delay=60)
    q.enqueue("add", {}, queue="fast")
    set_task(q, 1, status="processing")
    set_task(q, 2, status="failed")
    answer = cli("queues", "purge", "default", "--yes", "--json")
    assert answer.json == {"action": "purge", "matched": 3, "changed": 3, "cancelling": 0, "unchanged_ids": []}
    assert [task.id for task in q.tasks.find()] == [6, 2, 1]


def test_purging_asks_first(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    answer = cli("queues", "purge", "default", stdin="n\n")
    assert answer.code == 1
    assert "1 task (queued, scheduled) will be deleted" in answer.err
    assert q.tasks.count() == 1


def test_purging_an_unknown_queue_ends_with_1(cli: Cli, q: PrismQ) -> None:
    assert cli("queues", "purge", "nothing", "--yes").code == 1
