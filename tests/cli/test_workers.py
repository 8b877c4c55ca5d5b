"""`prismq workers`."""

from __future__ import annotations

from dataclasses import fields

import pytest

from prismq import PrismQ, Worker
from prismq.domain.worker import WorkerCommand
from tests.cli.conftest import Cli, add_worker, set_task


def asked(q: PrismQ, worker_id: str) -> list[tuple[WorkerCommand, int | None]]:
    return [(command, argument) for command, argument, _ in q.store.workers.take_commands(worker_id, q.clock.now())]


def test_workers_are_listed(cli: Cli, q: PrismQ) -> None:
    add_worker(q, busy=3, queues='["fast"]')
    [found] = cli("workers", "list", "--json").json
    assert set(found) == {column.name for column in fields(Worker)} | {"live", "condition", "seconds_since_heartbeat"}
    assert (found["condition"], found["live"], found["queues"]) == ("active", True, ["fast"])
    out = cli("workers", "list").out
    assert "host-0-abc123" in out
    assert "3/8" in out


def test_no_worker_is_said(cli: Cli, q: PrismQ) -> None:
    assert "No worker is running" in cli("workers", "list").out
    assert cli("workers", "list", "--json").json == []


def test_workers_that_ended_are_listed_when_asked_for(cli: Cli, q: PrismQ) -> None:
    add_worker(q, status="lost")
    assert cli("workers", "list", "--json").json == []
    [found] = cli("workers", "list", "--json", "--all").json
    assert (found["condition"], found["live"]) == ("lost", False)


@pytest.mark.parametrize(("ago_s", "condition"), [(0, "active"), (40, "late heartbeat"), (90, "silent")])
def test_a_worker_is_shown_as_it_is_and_not_as_it_says(cli: Cli, q: PrismQ, ago_s: float, condition: str) -> None:
    add_worker(q, ago_s=ago_s)
    [found] = cli("workers", "list", "--json").json
    assert (found["status"], found["condition"]) == ("active", condition)
    assert condition in cli("workers", "list").out


def test_a_worker_that_does_not_look_for_waiting_work_is_shown_as_such(cli: Cli, q: PrismQ) -> None:
    from prismq.domain.times import from_epoch

    q.enqueue("add", {})
    set_task(q, 1, run_after_utc="2020-01-01 00:00:00.000")
    add_worker(q, last_look_utc=from_epoch(q.clock.now() - 90))
    assert cli("workers", "list", "--json").json[0]["condition"] == "not consuming"
    out = cli("workers", "list").out
    assert "reports, but has claimed nothing for 1 m 30 s while tasks wait that it could run" in out


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["pause"], (WorkerCommand.PAUSE, None)),
        (["resume"], (WorkerCommand.RESUME, None)),
        (["drain"], (WorkerCommand.DRAIN, None)),
        (["resize", "--slots", 3], (WorkerCommand.RESIZE, 3)),
    ],
)
def test_a_worker_is_asked(cli: Cli, q: PrismQ, words: list[object], command: tuple[WorkerCommand, int | None]) -> None:
    worker_id = add_worker(q)
    answer = cli("workers", words[0], worker_id, *words[1:], "--json")
    assert answer.code == 0
    assert answer.json == [{"worker_id": worker_id, "command": words[0], "slots": command[1], "status": "active"}]
    assert asked(q, worker_id) == [command]


@pytest.mark.parametrize("name", ["host-0-abc123", "host-0", "abc1", "all"])
def test_a_worker_is_meant_by_the_beginning_of_its_id_or_of_its_last_part(cli: Cli, q: PrismQ, name: str) -> None:
    worker_id = add_worker(q)
    add_worker(q, "ended-0-ffff", status="stopped")
    assert cli("workers", "pause", name).code == 0
    assert len(asked(q, worker_id)) == 1


def test_all_means_every_worker_that_runs(cli: Cli, q: PrismQ) -> None:
    ids = [add_worker(q, f"host-{number}-aaa{number}") for number in range(3)]
    assert [one["worker_id"] for one in cli("workers", "drain", "all", "--json").json] == ids


def test_a_name_that_means_several_asks_nobody(cli: Cli, q: PrismQ) -> None:
    ids = [add_worker(q, f"host-{number}-aaa{number}") for number in range(2)]
    answer = cli("workers", "pause", "host")
    assert answer.code == 1
    assert "'host' means several workers; there are host-0-aaa0, host-1-aaa1. Nobody was asked" in answer.err
    assert [asked(q, one) for one in ids] == [[], []]


def test_an_unknown_worker_ends_with_1_and_names_those_there_are(cli: Cli, q: PrismQ) -> None:
    add_worker(q)
    answer = cli("workers", "pause", "nobody")
    assert answer.code == 1
    assert "no running worker is called 'nobody'; there are host-0-abc123" in answer.err
    assert cli("workers", "pause", "host-0-abc123", "nobody").code == 1


def test_all_without_a_worker_ends_with_1(cli: Cli, q: PrismQ) -> None:
    assert cli("workers", "drain", "all").code == 1


def test_a_worker_that_fell_silent_may_never_read_it_and_that_is_said(cli: Cli, q: PrismQ) -> None:
    add_worker(q, ago_s=90)
    answer = cli("workers", "pause", "all")
    assert answer.code == 0
    assert "has not reported for 1 m 30 s; it may never read this" in answer.err


def test_draining_waits_until_the_worker_has_ended(cli: Cli, q: PrismQ, monkeypatch: pytest.MonkeyPatch) -> None:
    worker_id = add_worker(q)
    monkeypatch.setattr(
        "prismq.cli.workers.pause", lambda *_: q.store.workers.stop(worker_id, "stopped", None, q.clock.now())
    )
    answer = cli("workers", "drain", worker_id, "--wait")
    assert answer.code == 0
    assert answer.out == f"{worker_id}: asked to drain, and is stopped\n"


def test_draining_waits_no_longer_than_told(cli: Cli, q: PrismQ) -> None:
    worker_id = add_worker(q)
    answer = cli("workers", "drain", worker_id, "--wait", "--timeout", "0")
    assert answer.code == 1
    assert "is still active after 0" in answer.err


def test_a_real_worker_obeys(cli: Cli, q: PrismQ) -> None:
    with q.worker(concurrency=2, hints=False, heartbeat_interval_seconds=0.2) as real:
        assert cli("workers", "pause", real.worker_id, "--wait", "--timeout", "30s").code == 0
        assert cli("workers", "resume", "all", "--wait", "--timeout", "30s").code == 0


@pytest.mark.parametrize("slots", ["0", "2000", "many"])
def test_a_size_that_cannot_be_is_a_usage_error(cli: Cli, q: PrismQ, slots: str) -> None:
    add_worker(q)
    assert cli("workers", "resize", "all", "--slots", slots).code == 2
