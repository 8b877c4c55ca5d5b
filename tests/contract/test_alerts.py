"""Alerts, silences, what is said, canaries and samples: what each store must do with them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prismq.storage.contract import HeldTask, Store
from prismq.storage.contract.alerts import (
    DUTY,
    FIRING,
    PENDING,
    RESOLVED,
    AlertChange,
    AlertRecord,
    Canary,
    ChannelState,
    NewNotice,
    Sample,
    Silence,
)
from tests.helpers.builders import a_task, claim_one, complete, start
from tests.helpers.clock import START, FakeClock

HOUR_S, DAY_S = 3600.0, 86_400.0


def an_alert(rule: str = "R", state: str = FIRING, **fields: object) -> AlertRecord:
    values = {"labels": {"queue": "ä"}, "severity": "page", "value": 3.5, "threshold": 2.0, "summary": "it is bad",
              "description": "very", "since": START, "seen": START}  # fmt: skip
    return AlertRecord(rule=rule, state=state, **{**values, **fields})  # type: ignore[arg-type]


@pytest.fixture
def store(store: Store, clock: FakeClock) -> Store:
    assert store.duties.take(DUTY, "me", 1e9, clock.now())
    return store


def write(store: Store, clock: FakeClock, *changes: AlertChange) -> None:
    assert store.alerts.record(changes, "me", clock.now())


def test_what_is_written_is_read_again(store: Store, clock: FakeClock) -> None:
    written = an_alert(fired_at=START + 1, notified_at=START + 2, told=("a", "b"), clear_since=START + 3)
    write(store, clock, AlertChange(written))
    [found] = store.alerts.open()
    assert found == replace(written, alert_id=found.alert_id)
    assert store.alerts.get(found.alert_id) == found
    assert store.alerts.get(found.alert_id + 1) is None


def test_an_alert_is_open_until_it_is_resolved_and_history_has_what_fired(store: Store, clock: FakeClock) -> None:
    write(store, clock, AlertChange(an_alert("A", PENDING)), AlertChange(an_alert("B", fired_at=START)))
    pending, firing = store.alerts.open()
    assert (pending.rule, firing.rule) == ("A", "B")
    assert [one.rule for one in store.alerts.history()] == ["B"]
    write(
        store, clock,
        AlertChange(pending, gone=True), AlertChange(replace(firing, state=RESOLVED, resolved_at=START + 9)),
    )  # fmt: skip
    assert store.alerts.open() == []
    [ended] = store.alerts.history()
    assert (ended.rule, ended.state, ended.resolved_at) == ("B", RESOLVED, START + 9)


def test_history_is_newest_first_by_rule_and_in_pages(store: Store, clock: FakeClock) -> None:
    for number in range(5):
        write(store, clock, AlertChange(an_alert("AB"[number % 2], fired_at=START + number)))
    everything = [one.fired_at for one in store.alerts.history()]
    assert everything == [START + number for number in (4, 3, 2, 1, 0)]
    assert [one.rule for one in store.alerts.history(rule="B")] == ["B", "B"]
    first = store.alerts.history(limit=2)
    assert [one.fired_at for one in store.alerts.history(limit=2, before_id=first[-1].alert_id)] == everything[2:4]


def test_who_does_not_have_the_duty_writes_nothing(store: Store, clock: FakeClock) -> None:
    assert not store.alerts.record([AlertChange(an_alert())], "somebody else", clock.now())
    clock.advance(2e9)
    assert not store.alerts.record([AlertChange(an_alert())], "me", clock.now()), "a duty whose time is over"
    assert store.alerts.open() == []


def test_an_acknowledgement_survives_what_the_watch_writes_later(store: Store, clock: FakeClock) -> None:
    write(store, clock, AlertChange(an_alert()))
    [before] = store.alerts.open()
    assert store.alerts.acknowledge(before.alert_id, "ann", "on it", clock.advance(5))
    write(store, clock, AlertChange(replace(before, value=9.0)))
    [after] = store.alerts.open()
    assert (after.value, after.acked_by, after.ack_note, after.acked_at) == (9.0, "ann", "on it", START + 5)
    write(store, clock, AlertChange(replace(after, state=RESOLVED, resolved_at=clock.now())))
    assert not store.alerts.acknowledge(before.alert_id, "bob", None, clock.now()), "it is over"
    assert not store.alerts.acknowledge(before.alert_id + 7, "bob", None, clock.now())


def test_what_has_to_be_said_is_due_until_it_was_delivered_or_given_up(store: Store, clock: FakeClock) -> None:
    notices = [NewNotice("mail", "firing", {"a": 1}, START + 10), NewNotice("chat", "firing", {}, START)]
    write(store, clock, AlertChange(an_alert(), notices))
    [alert] = store.alerts.open()
    assert [one.channel for one in store.alerts.due_notices(clock.now())] == ["chat"]
    mail, chat = store.alerts.due_notices(clock.advance(10))
    assert (mail.alert_id, mail.kind, mail.tries) == (alert.alert_id, "firing", 0)
    assert mail.content == {"a": 1, "alert_id": alert.alert_id}

    store.alerts.delivered("mail", [mail.notice_id], clock.now())
    store.alerts.not_delivered("chat", [chat.notice_id], "no", clock.now(), retry_at=clock.now() + 60)
    assert store.alerts.due_notices(clock.advance(59)) == []
    [again] = store.alerts.due_notices(clock.advance(1))
    assert (again.channel, again.tries, again.error) == ("chat", 1, "no")
    assert store.alerts.channels() == [
        ChannelState("chat", None, START + 10, "no"), ChannelState("mail", START + 10, None, None),
    ]  # fmt: skip
    store.alerts.not_delivered("chat", [chat.notice_id], "still no", clock.now(), retry_at=None)
    assert store.alerts.due_notices(clock.advance(1e6)) == []
    assert {one.channel: one.given_up for one in store.alerts.notices(alert_id=alert.alert_id)} == {
        "chat": True, "mail": False,
    }  # fmt: skip
    assert store.alerts.channels()[0].failing_since == START + 10, "since the first time that it failed"


def test_channels_that_are_no_longer_known_are_forgotten(store: Store, clock: FakeClock) -> None:
    write(store, clock, AlertChange(an_alert(), [NewNotice("old", "firing", {}, START)]))
    store.alerts.delivered("older", [], clock.now())
    store.alerts.forget_channels(["new"])
    assert store.alerts.channels() == []
    assert store.alerts.due_notices(clock.now()) == []
    assert store.alerts.notices()[0].given_up


def test_a_silence_holds_for_its_time(store: Store, clock: FakeClock) -> None:
    now = clock.now()
    first = store.alerts.silence(Silence(0, {"rule": "*"}, now, now + 60, "ann", now, "work"))
    second = store.alerts.silence(Silence(0, {"queue": "a"}, now + 30, now + 90, "bob", now, ""))
    assert [one.silence_id for one in store.alerts.silences(now)] == [second, first]
    assert store.alerts.silences(now)[1] == Silence(first, {"rule": "*"}, now, now + 60, "ann", now, "work")
    assert store.alerts.unsilence(first, clock.advance(10))
    assert not store.alerts.unsilence(first, clock.now()), "it is over already"
    assert [one.silence_id for one in store.alerts.silences(clock.now())] == [second]
    assert len(store.alerts.silences(clock.now(), past=True)) == 2


def test_canaries_are_kept_by_queue(store: Store, clock: FakeClock) -> None:
    one = Canary("a", 7, START, START + 1, 0.5, None)
    store.alerts.put_canary(one)
    store.alerts.put_canary(Canary("b", 8, START, waiting_since=START))
    store.alerts.put_canary(one._replace(task_id=9))
    assert [canary.task_id for canary in store.alerts.canaries()] == [9, 8]
    store.alerts.forget_canaries(["b"])
    assert store.alerts.canaries() == [Canary("b", 8, START, None, None, START)]


def test_pruning_takes_what_ended_before_and_leaves_what_is_open(store: Store, clock: FakeClock) -> None:
    write(
        store, clock,
        AlertChange(an_alert("open", fired_at=START), [NewNotice("mail", "firing", {}, START)]),
        AlertChange(an_alert("old", RESOLVED, fired_at=START, resolved_at=START + 1)),
        AlertChange(an_alert("new", RESOLVED, fired_at=START, resolved_at=START + 100)),
    )  # fmt: skip
    store.alerts.silence(Silence(0, {"rule": "*"}, START, START + 1, "ann", START, ""))
    assert store.alerts.prune(START + 50) == 2
    assert {one.rule for one in store.alerts.history()} == {"open", "new"}
    assert len(store.alerts.notices()) == 1


def test_samples_of_a_slot_are_added_up_whoever_counts(store: Store, clock: FakeClock) -> None:
    slot = START // 60 * 60
    store.levels.add([Sample("api", slot + 1, 9, 10), Sample("workers", slot, 1, 2)])
    store.levels.add([Sample("api", slot + 59, 5, 5)])
    store.levels.add([Sample("api", slot + 60, 1, 1)])
    assert store.levels.between(slot, slot + 120) == [
        Sample("api", slot, 14, 15), Sample("api", slot + 60, 1, 1), Sample("workers", slot, 1, 2),
    ]  # fmt: skip
    assert store.levels.between(slot + 60, slot + 60) == []


def test_old_samples_are_folded_into_hours_and_pruned(store: Store, clock: FakeClock) -> None:
    hour = START // HOUR_S * HOUR_S
    store.levels.add([Sample("api", hour + 60 * minute, 1, 2) for minute in range(120)])
    assert store.levels.fold(hour + HOUR_S) == 0, "they are of today"
    assert store.levels.fold(hour + 2 * DAY_S + HOUR_S) == 59
    store.levels.add([Sample("api", hour, 1, 1)])  # that came late
    folded = store.levels.between(hour, hour + HOUR_S)
    assert sum(one.total for one in folded) == 121
    assert len(store.levels.between(hour, hour + 2 * HOUR_S)) == 62
    assert store.levels.prune(hour + HOUR_S) == 2
    assert len(store.levels.between(0, hour + DAY_S)) == 60


def test_tasks_in_hand_and_those_that_crashed(store: Store, clock: FakeClock) -> None:
    for _ in range(3):
        store.inbox.enqueue(a_task(max_attempts=2), clock.now())
    done, running = claim_one(store, clock), claim_one(store, clock, lease_s=1e6)
    complete(store, clock, done)
    start(store, clock, running)
    assert store.insight.held_tasks(10) == [HeldTask(running.task_id, "default", "job", START, 0)]
    for _ in range(2):
        crashed = claim_one(store, clock, worker="gone")
        start(store, clock, crashed)
        clock.advance(31)
        store.upkeep.expire_leases(clock.now())
    [found] = store.insight.crashed_lately(START, 100)
    assert (found.task_id, found.crashes) == (crashed.task_id, 2)
    assert store.insight.crashed_lately(clock.now() + 1, 100) == []
