"""`prismq remediation`."""

from __future__ import annotations

import pytest

from prismq import PrismQ
from prismq.domain.account import AuditEntry
from prismq.domain.breaker import BreakerState
from tests.cli.conftest import Cli, add_worker


def test_nothing_that_had_to_be_put_right_is_said(cli: Cli, q: PrismQ) -> None:
    assert "Nothing had to be put right" in cli("remediation", "list").out
    assert cli("remediation", "list", "--json").json["breakers"] == []


def test_a_breaker_is_opened_seen_explained_and_closed(cli: Cli, q: PrismQ) -> None:
    handle = q.enqueue("mail.send", {})

    opened = cli("remediation", "open", "mail.send", "--for", "10m", "--reason", "the provider is down")

    assert opened.out == "mail.send: its tasks wait until a task is tried in 10 m\n"
    listed = cli("remediation", "list").out
    assert "the provider is down" in listed
    assert "breaker_open" in listed
    assert "The circuit breaker of type 'mail.send' is open since" in cli("why", handle.id).out
    [breaker] = cli("remediation", "list", "--json").json["breakers"]
    assert (breaker["type"], breaker["state"]) == ("mail.send", "open")
    assert cli("remediation", "close", "mail.send").out == "mail.send: its tasks are claimed again\n"
    assert cli("remediation", "close", "mail.send").out == "mail.send: was not open\n"
    found = q.store.remedies.breaker("mail.send")
    assert found is not None
    assert found.state is BreakerState.CLOSED
    assert [one.via for one in q.store.audit.find(action="remediation")] == ["cli", "cli"]


def test_one_without_a_time_is_open_until_it_is_closed(cli: Cli, q: PrismQ) -> None:
    document = cli("remediation", "open", "mail.send", "--json").json

    assert document["probe_at"] is None
    assert cli("remediation", "close", "mail.send", "--json").json == {"type": "mail.send", "closed": True}


def test_a_type_that_nobody_knows_is_opened_with_a_warning(cli: Cli, q: PrismQ) -> None:
    q.enqueue("send", {})

    answer = cli("remediation", "open", "sendd")

    assert answer.code == 0
    assert "no task of the type 'sendd' was ever seen, and no worker knows it. Did you mean 'send'?" in answer.err
    assert cli("remediation", "open", "sendd", "--json").json["warning"].startswith("no task of the type 'sendd'")


def test_a_type_is_known_by_its_tasks_of_long_ago_and_by_a_worker(cli: Cli, q: PrismQ) -> None:
    q.enqueue("send", {})
    assert q.store.insight.totals(q.clock.now())
    assert cli("tasks", "delete", "--status", "queued", "--yes").code == 0
    add_worker(q, types='["resize"]')

    for name in ("send", "resize"):
        answer = cli("remediation", "open", name, "--json")
        assert (answer.json["warning"], answer.err) == (None, "")


def test_closing_what_never_was_open_ends_with_1_and_says_what_is_near(cli: Cli, q: PrismQ) -> None:
    cli("remediation", "open", "mail.send")

    answer = cli("remediation", "close", "mail.sned")

    assert answer.code == 1
    assert "Did you mean 'mail.send'?" in answer.err


def test_acts_are_listed_with_their_reasons(cli: Cli, q: PrismQ) -> None:
    now = q.clock.now()
    entry = AuditEntry(
        "remediation", "remediation.reclaim", now, "w1", {"reason": "its lease ran out"}, 3, via="system"
    )
    q.store.remedies.note("reclaim", 3, entry, now)

    answer = cli("remediation", "list")

    words = " ".join(answer.out.split())
    assert "reclaim" in words
    assert "lease" in words
    document = cli("remediation", "list", "--json", "--limit", 5).json
    assert document["totals"][0]["tasks"] == 3
    assert document["acts"][0]["target"] == "w1"


@pytest.mark.parametrize(
    "wrong",
    [("open",), ("open", "mail", "--for", "soon"), ("open", "mail", "--for", "0"), ("open", ""), ("list", "-n", "0")],
)
def test_what_cannot_be_is_a_usage_error(cli: Cli, q: PrismQ, wrong: tuple[str, ...]) -> None:
    assert cli("remediation", *wrong).code == 2
