"""`prismq scale`."""

from __future__ import annotations

import pytest

from prismq import PrismQ
from tests.cli.conftest import Cli
from tests.helpers.builders import a_report, a_worker, claim, complete


def _busy(q: PrismQ, number: int = 120, seconds: float = 5.0) -> None:
    now = q.clock.now()
    q.store.workers.register(a_worker("w1", slots=2), now)
    q.store.workers.heartbeat(a_report("w1", slots=2), now)
    for _ in range(number):
        q.enqueue("add", {}, queue="mail")
    for lease in claim(q.store, q.clock, limit=number):
        complete(q.store, q.clock, lease, started_at=q.clock.now() - seconds)


def test_advice_names_the_queue_that_wants_more_and_ends_with_1(cli: Cli, q: PrismQ) -> None:
    _busy(q)

    answer = cli("scale", "advice")

    assert answer.code == 1
    assert "mail" in answer.out
    assert "2 serve it, add slots." in answer.out
    document = cli("scale", "advice", "--json", "--target", "1h").json
    assert document["queues"][0]["target_wait_seconds"] == 3600
    assert document["queues"][0]["slots_floor"] >= 5


def test_enough_slots_end_with_0(cli: Cli, q: PrismQ) -> None:
    _busy(q, 5, 0.1)

    answer = cli("scale", "advice", "--queue", "mail")

    assert answer.code == 0
    assert "that is enough" in answer.out or "fewer would do" in answer.out


def test_the_settings_promise_goes_before_the_target(cli: Cli, q: PrismQ) -> None:
    (cli.folder / "prismq.toml").write_text("[slo]\npromises = { mail = 7 }\n")
    _busy(q)

    [mail] = cli("scale", "advice", "--json", "--target", "1h").json["queues"]

    assert (mail["target_wait_seconds"], mail["target_from"]) == (7, "setting")
    assert 'prismq_queue_promise_seconds{queue="mail"} 7.0' in cli("metrics").out


def test_where_nothing_ended_it_says_that_nobody_knows_how_long_tasks_take(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    q.store.upkeep.book(q.clock.now())

    answer = cli("scale", "simulate", "--slots", 4, "--last", "1h")
    words = " ".join(answer.out.split())
    assert "1 task came in the last 1 h and none has ended" in words
    assert "how long one takes is not known" in words
    assert "look further back with --last 7d" in words
    assert "100.00%" not in words
    assert "--last" not in cli("scale", "simulate", "--slots", 4, "--last", "7d").out
    [found] = cli("scale", "simulate", "--slots", 4, "--json").json
    assert (found["tasks"], found["service_seconds"], found["part_within_target"]) == (1, None, None)


@pytest.mark.parametrize("last", ["1m", "8d"])
def test_a_time_that_cannot_be_replayed_is_named_with_what_can(cli: Cli, q: PrismQ, last: str) -> None:
    answer = cli("scale", "simulate", "--slots", 4, "--last", last)

    assert answer.code == 2
    assert f"--last takes a time from 10m to 7d, such as 2h or 1d; not '{last}'" in " ".join(answer.err.split())


@pytest.mark.parametrize("command", [("advice",), ("simulate", "--slots", "1")], ids=lambda command: command[0])
def test_a_queue_that_is_none_is_told_of(cli: Cli, q: PrismQ, command: tuple[str, ...]) -> None:
    q.enqueue("noop", {}, queue="media")
    answer = cli("scale", *command, "--queue", "medai", "--db", "queue.db")
    assert answer.code != 0
    assert "there is no queue 'medai'" in answer.err
    assert "Did you mean 'media'?" in answer.err


def test_an_unused_queue_has_nothing_to_measure(cli: Cli, q: PrismQ) -> None:
    assert "nothing to measure" in cli("scale", "advice").out
    assert cli("scale", "advice", "--json").json["queues"] == []
    assert "nothing to replay" in cli("scale", "simulate", "--slots", 3).out


def test_a_day_is_replayed_with_each_size(cli: Cli, q: PrismQ) -> None:
    _busy(q)

    answer = cli("scale", "simulate", "--slots", 1, "--slots", 16)
    found = cli("scale", "simulate", "-s", 1, "-s", 16, "--growth", 2, "--last", "1h", "--json").json

    assert answer.code == 0
    assert "120 tasks in 1 d" in answer.out
    assert "MOST WAITING" in answer.out
    assert [one["slots"] for one in found] == [1, 16]
    assert found[0]["tasks"] == 240
    assert found[0]["wait_p99_seconds"] > found[1]["wait_p99_seconds"]


@pytest.mark.parametrize(
    "wrong",
    [
        ("advice", "--target", "soon"),
        ("advice", "--target", "0"),
        ("advice", "--part", "2"),
        ("simulate",),
        ("simulate", "--slots", "0"),
        ("simulate", "--slots", "few"),
        ("simulate", "--slots", "4", "--last", "1s"),
        ("simulate", "--slots", "4", "--growth", "-1"),
    ],
)
def test_what_cannot_be_is_a_usage_error_that_says_so(cli: Cli, q: PrismQ, wrong: tuple[str, ...]) -> None:
    answer = cli("scale", *wrong)

    assert answer.code == 2
    assert answer.err.startswith("prismq: error: ") or "Missing option" in answer.err
