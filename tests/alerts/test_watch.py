"""From a fault to a message, and from its end to another: the watch, its duty, its channels, and silences."""

from __future__ import annotations

import pytest

from prismq.domain.events import AlertFired
from prismq.domain.task import TaskFilter
from prismq.observability.alerts.board import board
from prismq.observability.alerts.channels.webhook import verify
from prismq.storage.contract import Store
from prismq.storage.contract.alerts import Silence
from tests.alerts.conftest import SECRET, Watched
from tests.helpers.builders import a_report, a_task, a_worker
from tests.helpers.clock import FakeClock
from tests.helpers.engines import Engine
from tests.helpers.receiver import Receiver, receiver


def test_an_empty_queue_that_nobody_uses_says_nothing(watched: Watched) -> None:
    watched.for_(600)
    assert watched.store.alerts.open() == []
    assert watched.pager.received == []


def test_no_worker_is_told_and_told_to_be_over(watched: Watched, store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    watched.for_(45)
    assert [one.state for one in watched.open("NoActiveWorkers")] == ["pending"]
    assert watched.pager.received == []
    watched.for_(30)
    assert watched.firing("NoActiveWorkers")
    assert watched.told("NoActiveWorkers") == ["firing"]

    store.workers.register(a_worker("w1", slots=4, types='["job"]'), clock.now())
    for _ in range(6):
        store.workers.heartbeat(a_report("w1", last_look_at=clock.now(), last_claim_at=clock.now()), clock.now())
        watched.step(15)
    assert watched.open("NoActiveWorkers") == []
    assert watched.told("NoActiveWorkers") == ["firing", "resolved"]
    [record] = store.alerts.history(rule="NoActiveWorkers")
    assert (record.state, record.told) == ("resolved", ("pager",))


def test_a_worker_without_a_task_ever_makes_no_queue_that_is_used(
    watched: Watched, store: Store, clock: FakeClock
) -> None:
    store.workers.register(a_worker("w1", slots=4), clock.now())
    store.workers.stop("w1", "stopped", None, clock.now())
    watched.for_(300)
    assert watched.open("NoActiveWorkers") == []


def test_a_queue_that_was_used_and_is_empty_again_wants_a_worker_all_the_same(
    watched: Watched, store: Store, clock: FakeClock
) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    assert store.insight.totals(clock.now())
    store.tasks.delete(TaskFilter(queue="default"))
    watched.for_(90)
    assert watched.told("NoActiveWorkers") == ["firing"]


def test_what_follows_from_another_alert_is_told_when_that_one_is_over(
    watched: Watched, store: Store, clock: FakeClock
) -> None:
    store.inbox.enqueue(a_task(queue="lonely"), clock.now())
    watched.for_(150)
    assert watched.told("NoActiveWorkers") == ["firing"]
    assert (len(watched.firing("QueueUnserved")), watched.told("QueueUnserved")) == (1, [])
    states = {one.record.rule: one.state for one in board(store, clock.now()).open}
    assert (states["NoActiveWorkers"], states["QueueUnserved"]) == ("firing", "muted")

    store.workers.register(a_worker("w1", slots=4, queues='["others"]'), clock.now())
    for _ in range(6):
        store.workers.touch("w1", clock.now())
        watched.step(15)
    assert watched.told("NoActiveWorkers") == ["firing", "resolved"]
    assert watched.told("QueueUnserved") == ["firing"], "that one was not over with the other"


def test_what_followed_from_another_alert_and_ends_with_it_is_never_told(
    watched: Watched, store: Store, clock: FakeClock
) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    watched.for_(400)
    assert watched.firing("OldestTaskOverTarget"), "it takes longer to be over than the alert that it follows from"
    store.workers.register(a_worker("w1", slots=4, types='["job"]'), clock.now())
    store.tasks.delete(TaskFilter(queue="default"))
    for _ in range(12):
        store.workers.touch("w1", clock.now())
        watched.step(15)
    assert store.alerts.open() == []
    assert set(watched.pager.alerts) == {("firing", "NoActiveWorkers"), ("resolved", "NoActiveWorkers")}


@pytest.mark.parametrize(
    ("settings", "link"),
    [
        ({}, "docs/runbooks.md#noactiveworkers"),
        ({"dashboard_url": "https://q.example.com/queue/"}, "https://q.example.com/queue/runbooks#noactiveworkers"),
        (
            {"dashboard_url": "https://q.example.com", "runbooks_url": "https://wiki.example.com/runbooks.html"},
            "https://wiki.example.com/runbooks.html#noactiveworkers",
        ),
    ],
)
def test_a_message_leads_to_the_runbook(
    store: Store, clock: FakeClock, pager: Receiver, settings: dict[str, str], link: str
) -> None:
    watched = Watched(store, clock, pager, **settings)
    store.inbox.enqueue(a_task(), clock.now())
    watched.for_(90)
    [message] = [one.message for one in pager.received]
    assert message["alerts"][0]["runbook"] == link
    assert f"What to do: {link}" in message["text"]


def test_a_blip_is_no_alert(watched: Watched, store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    watched.for_(30)
    assert watched.open("NoActiveWorkers")
    store.workers.register(a_worker("w1", slots=4, types='["job"]'), clock.now())
    watched.step(15)
    assert watched.open("NoActiveWorkers") == []
    assert store.alerts.history() == []
    assert watched.pager.received == []


def test_what_still_fires_is_told_again_until_somebody_looks_after_it(
    store: Store, clock: FakeClock, pager: Receiver
) -> None:
    watched = Watched(store, clock, pager, repeat_seconds=600, escalate_after_seconds=10_000)
    store.inbox.enqueue(a_task(), clock.now())
    watched.for_(90)
    watched.for_(600, every_s=60)
    assert watched.told("NoActiveWorkers") == ["firing", "repeat"]
    [record] = watched.firing("NoActiveWorkers")
    assert store.alerts.acknowledge(record.alert_id, "ann", "on it", clock.now())
    watched.for_(1800, every_s=60)
    assert watched.told("NoActiveWorkers") == ["firing", "repeat"]
    [record] = watched.firing("NoActiveWorkers")
    assert (record.acked_by, record.ack_note) == ("ann", "on it"), "later looks leave the acknowledgement alone"


def test_what_nobody_acknowledges_goes_to_the_next_channel(store: Store, clock: FakeClock, pager: Receiver) -> None:
    channels = {
        "first": {"webhook": pager.url},
        "boss": {"webhook": pager.url, "escalation": True},
    }
    watched = Watched(store, clock, pager, channels=channels, escalate_after_seconds=300)
    store.inbox.enqueue(a_task(), clock.now())
    watched.for_(90)
    assert watched.told("NoActiveWorkers") == ["firing"]
    watched.for_(330, every_s=30)
    assert watched.told("NoActiveWorkers") == ["firing", "escalation"]
    assert watched.firing("NoActiveWorkers")[0].told == ("first", "boss")
    store.workers.register(a_worker("w1", slots=4, types='["job"]'), clock.now())
    watched.for_(60)
    store.workers.touch("w1", clock.now())
    watched.for_(60)
    assert watched.told("NoActiveWorkers")[2:] == ["resolved", "resolved"], "both hear that it is over"


def test_a_silenced_alert_is_told_when_the_silence_is_over(watched: Watched, store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    now = clock.now()
    number = store.alerts.silence(Silence(0, {"rule": "NoActive*"}, now, now + 600, "ann", now, "moving house"))
    watched.for_(300)
    assert watched.firing("NoActiveWorkers")
    assert watched.told("NoActiveWorkers") == []
    assert store.alerts.unsilence(number, clock.now())
    watched.step(15)
    assert watched.told("NoActiveWorkers") == ["firing"]


def test_a_silence_that_ends_while_the_alert_is_about_to_be_over_wakes_nobody(
    watched: Watched, store: Store, clock: FakeClock
) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    now = clock.now()
    number = store.alerts.silence(Silence(0, {"rule": "NoActive*"}, now, now + 3600, "ann", now, "moving house"))
    watched.for_(120)
    store.workers.register(a_worker("w1", slots=4, types='["job"]'), clock.now())
    watched.step(15)
    assert watched.firing("NoActiveWorkers")[0].clear_since is not None
    assert store.alerts.unsilence(number, clock.now())
    for _ in range(6):
        store.workers.touch("w1", clock.now())
        watched.step(15)
    assert watched.told("NoActiveWorkers") == []


def test_a_message_is_signed_and_names_no_secret(watched: Watched, store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    watched.for_(90)
    [got] = [one for one in watched.pager.received if b"NoActiveWorkers" in one.body]
    stamp, given = got.headers["X-PrismQ-Timestamp"], got.headers["X-PrismQ-Signature"]
    assert verify(SECRET, stamp, got.body, given, clock.now())
    assert not verify(SECRET, stamp, got.body + b" ", given, clock.now())
    assert not verify("another secret of length", stamp, got.body, given, clock.now())
    assert not verify(SECRET, stamp, got.body, given, clock.now() + 3600), "an old one is no new one"
    assert not verify(SECRET, "soon", got.body, given, clock.now())
    assert SECRET.encode() not in got.body


def test_of_two_watches_one_works_and_the_other_takes_over(
    engine: Engine, store: Store, clock: FakeClock, pager: Receiver
) -> None:
    one, two = Watched(store, clock, pager), Watched(engine.another(), clock, pager, holder="two")
    store.inbox.enqueue(a_task(), clock.now())
    for _ in range(6):
        one.step(15)
        two.step()
    assert (one.watch.on_duty, two.watch.on_duty) == (True, False)
    assert one.told("NoActiveWorkers") == ["firing"]
    # The first is killed: it says nothing any more, and its duty ends by itself.
    for _ in range(8):
        two.step(15)
    assert two.watch.on_duty
    assert two.told("NoActiveWorkers") == ["firing"], "what was told is known to the one who comes after"
    store.workers.register(a_worker("w1", slots=4, types='["job"]'), clock.now())
    for _ in range(6):
        store.workers.touch("w1", clock.now())
        two.step(15)
    assert two.told("NoActiveWorkers") == ["firing", "resolved"]


def test_a_watch_that_stood_still_changes_nothing_afterwards(
    engine: Engine, store: Store, clock: FakeClock, pager: Receiver
) -> None:
    one, two = Watched(store, clock, pager), Watched(engine.another(), clock, pager, holder="two")
    one.step()
    figures = one.watch.looker.look()
    clock.advance(120)
    two.step()
    store.inbox.enqueue(a_task(), clock.now())
    assert two.watch.on_duty
    assert not store.alerts.record(one.watch.changes(figures), "one", clock.now())


def test_who_knows_channels_goes_before_who_does_not(
    engine: Engine, store: Store, clock: FakeClock, pager: Receiver
) -> None:
    plain, told = Watched(store, clock, pager, channels={}), Watched(engine.another(), clock, pager, holder="two")
    plain.step()
    assert plain.watch.on_duty
    told.step(1)
    plain.step(1)
    assert (plain.watch.on_duty, told.watch.on_duty) == (False, True)


def test_without_channels_alerts_are_kept_and_reported_all_the_same(
    store: Store, clock: FakeClock, pager: Receiver
) -> None:
    watched = Watched(store, clock, pager, channels={})
    store.inbox.enqueue(a_task(), clock.now())
    watched.for_(90)
    assert watched.firing("NoActiveWorkers")
    assert "NoActiveWorkers" in [event.rule for event in watched.events if isinstance(event, AlertFired)]


def test_a_channel_that_fails_is_tried_again_and_told_of(watched: Watched, store: Store, clock: FakeClock) -> None:
    watched.pager.answer = 500
    store.inbox.enqueue(a_task(), clock.now())
    watched.for_(90)
    [state] = store.alerts.channels()
    assert state.failing_since is not None
    assert state.error == "127.0.0.1 answered 500 Internal Server Error"
    watched.for_(420)
    assert watched.firing("AlertChannelFailing")
    watched.pager.answer = 200
    sent = len(watched.pager.received)
    watched.for_(660, every_s=30)
    assert len(watched.pager.received) > sent
    assert all(one.done_at is not None and not one.given_up for one in store.alerts.notices())
    assert store.alerts.channels()[0].failing_since is None
    assert watched.open("AlertChannelFailing") == []


def test_a_redirect_is_no_delivery(watched: Watched, store: Store, clock: FakeClock) -> None:
    watched.pager.answer = 302
    store.inbox.enqueue(a_task(), clock.now())
    watched.for_(90)
    assert store.alerts.channels()[0].error == "127.0.0.1 answered 302 Found"


def test_a_channel_that_hangs_holds_neither_the_watch_nor_another_channel_up(
    store: Store, clock: FakeClock, pager: Receiver
) -> None:
    with receiver() as other:
        channels = {"stuck": {"webhook": pager.url}, "well": {"webhook": other.url}}
        watched = Watched(store, clock, pager, channels=channels, send_timeout_seconds=5)
        store.inbox.enqueue(a_task(), clock.now())
        pager.let_go.clear()
        for _ in range(6):
            clock.advance(15)
            watched.watch.step()
        other.wait_for(1)
        assert ("firing", "NoActiveWorkers") in other.alerts
        # The clock says that the channel has had its time; its thread is still stuck.
        clock.advance(60)
        watched.watch.step()
        stuck = next(one for one in store.alerts.channels() if one.channel == "stuck")
        assert stuck.failing_since is not None
        # What it missed is sent when it is back.
        pager.let_go.set()
        for _ in range(40):
            watched.step(15)
        assert ("firing", "NoActiveWorkers") in pager.alerts
        assert next(one for one in store.alerts.channels() if one.channel == "stuck").failing_since is None


def test_a_rule_that_is_switched_off_ends_its_alerts(store: Store, clock: FakeClock, pager: Receiver) -> None:
    watched = Watched(store, clock, pager)
    store.inbox.enqueue(a_task(), clock.now())
    watched.for_(90)
    assert watched.firing("NoActiveWorkers")
    off = Watched(store, clock, pager, rules={"NoActiveWorkers": {"enabled": False}})
    off.step(15)
    assert off.open("NoActiveWorkers") == []
    assert off.told("NoActiveWorkers") == ["firing", "resolved"]


def test_a_rule_of_ones_own_compares_each_series(store: Store, clock: FakeClock, pager: Receiver) -> None:
    own = {
        "MailPilesUp": {
            "metric": "prismq_queue_tasks", "labels": {"queue": "mail", "status": "queued"}, "threshold": 2,
            "clear": 1, "for_seconds": 30, "resolve_after_seconds": 0, "summary": "{value} letters wait ({priority})",
        },
    }  # fmt: skip
    watched = Watched(store, clock, pager, own_rules=own)
    for _ in range(4):
        store.inbox.enqueue(a_task(queue="mail"), clock.now())
        store.inbox.enqueue(a_task(queue="other"), clock.now())
    watched.for_(60)
    [record] = watched.firing("MailPilesUp")
    assert record.summary == "4 letters wait (normal)"
    assert record.labels["queue"] == "mail"
    store.tasks.delete(TaskFilter(queue="mail"))
    watched.step(15)
    assert watched.told("MailPilesUp") == ["firing", "resolved"]


def test_history_is_kept_for_as_long_as_the_settings_say(watched: Watched, store: Store, clock: FakeClock) -> None:
    store.inbox.enqueue(a_task(), clock.now())
    watched.for_(90)
    store.workers.register(a_worker("w1", slots=4, types='["job"]'), clock.now())
    for _ in range(6):
        store.workers.touch("w1", clock.now())
        watched.step(15)
    assert store.alerts.history(rule="NoActiveWorkers")
    store.workers.stop("w1", "stopped", None, clock.now())
    store.tasks.delete(TaskFilter(queue="default"))
    watched.step(91 * 86_400)
    assert store.alerts.history(rule="NoActiveWorkers") == []
    assert store.alerts.notices() == []


def test_who_told_of_an_outage_without_the_duty_tells_of_its_end_as_well(
    engine: Engine, store: Store, clock: FakeClock, pager: Receiver
) -> None:
    first = Watched(store, clock, pager)
    first.step()
    with receiver() as other:
        second = Watched(engine.another(), clock, other, holder="two")
        second.step()
        engine.hand("ALTER TABLE duties RENAME TO duties_gone")
        for _ in range(25):
            clock.advance(15)
            first.watch.step()
            second.watch.step()
        pager.wait_for(1)
        other.wait_for(1)
        engine.hand("ALTER TABLE duties_gone RENAME TO duties")
        first.step(1)
        assert first.watch.on_duty
        second.step()
        first.step(15)
        pager.wait_for(2)
        other.wait_for(2)
        for one in (first, second):
            assert one.told("DatabaseUnreachable") == ["firing", "resolved"]


def test_what_belongs_together_is_one_message(store: Store, clock: FakeClock, pager: Receiver) -> None:
    watched = Watched(store, clock, pager, group_wait_seconds=20)
    for number in range(25):
        store.workers.register(a_worker(f"w{number}", slots=4), clock.now())
    watched.for_(480)
    unwell = [one.message for one in pager.received if one.message["alerts"][0]["rule"] == "WorkerUnhealthy"]
    assert [len(one["alerts"]) for one in unwell] == [25]
    [message] = unwell
    assert message["title"].startswith("[FIRING, ticket] The worker w")
    assert message["title"].endswith("(and 24 more)")
    assert "… and 5 more alerts." in message["text"]
    assert "What to do: docs/runbooks.md#workerunhealthy" in message["text"]
