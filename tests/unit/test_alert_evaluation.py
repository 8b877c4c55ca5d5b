"""Pending, firing, resolved: a figure goes up and down, and the clock moves when the test says so."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from prismq.config.alerts import AlertsConfig, ChannelConfig
from prismq.domain.errors import ConfigurationError, InvalidArgument
from prismq.observability.alerts.definitions import ALERTS, GROUPS, MUTES, Comparison, Severity
from prismq.observability.alerts.evaluation import GAP_S, INSTANCES_MAX, evaluate
from prismq.observability.alerts.matching import check_silence, matches, muting
from prismq.observability.alerts.measures import MEASURES, Measure
from prismq.observability.alerts.routing import Manners, with_notices
from prismq.observability.alerts.rules import Rule, in_words, rules_of
from prismq.observability.kit.options import KitOptions
from prismq.observability.kit.prometheus import prometheus_kit
from prismq.storage.contract.alerts import FIRING, PENDING, RESOLVED, AlertRecord

STEP_S = 15.0


def a_rule(**fields: Any) -> Rule:
    values = {
        "name": "R", "group": "queue", "severity": Severity.PAGE, "comparison": Comparison.ABOVE, "threshold": 10.0,
        "clear": 5.0, "unit": "tasks", "for_s": 30.0, "keep_s": 30.0, "description": "", "labels": ("queue",),
        "summary": "{queue}: {value} of {threshold} {detail}",
    }  # fmt: skip
    return Rule(**{**values, **fields})


def run(rule: Rule, values: Sequence[float | None], step_s: float = STEP_S) -> list[str]:
    """The state after each look: `-` for none."""
    states, known, now = [], [], 1000.0
    for number, value in enumerate(values, 1):
        found = [] if value is None else [Measure({"queue": "q"}, value)]
        changes = evaluate([rule], {rule.name: found}, known, now)
        assert len(changes) <= 1
        record = changes[0].record if changes and not changes[0].gone else None
        states.append("-" if record is None else record.state[0])
        known = [] if record is None or record.state == RESOLVED else [_numbered(record, number)]
        now += step_s
    return states


def _numbered(record: AlertRecord, number: int) -> AlertRecord:
    from dataclasses import replace

    return record if record.alert_id else replace(record, alert_id=number)


@pytest.mark.parametrize(
    ("values", "states"),
    [
        ([11, 11, 11, 11], "ppff"),
        ([11, 11, 9, 11, 11, 11], "pp-ppf"),  # it has to last
        ([10, 10, 10], "---"),  # the threshold itself is fine
        ([11] * 3 + [9, 9, 9, 9, 9], "ppffffff"),  # between the two thresholds nothing changes
        ([11] * 3 + [5, 5, 5, 5], "ppfffr-"),
        ([11] * 3 + [5, 5, 6, 5, 5, 5], "ppffffffr"),  # the good time begins anew
        ([11] * 3 + [None, None, None], "ppfffr"),  # what is gone is fine
        ([None, 11, None], "-p-"),
    ],
)
def test_an_alert_fires_when_it_lasts_and_ends_when_it_is_well_again(values: list[float], states: str) -> None:
    assert "".join(run(a_rule(), values)) == states


def test_below_is_the_mirror_of_above() -> None:
    values = [11, 11, 11, 7, 5, 5, 5, 5]
    above = run(a_rule(), values)
    below = run(a_rule(comparison=Comparison.BELOW, threshold=-10.0, clear=-5.0), [-one for one in values])
    assert above == below


def test_a_rule_without_pending_time_fires_and_ends_at_once() -> None:
    assert run(a_rule(for_s=0, keep_s=0, clear=10.0), [11, 9, 11]) == ["f", "r", "f"]


@given(st.lists(st.floats(0, 20) | st.none(), max_size=60), st.integers(0, 8), st.integers(0, 8))
def test_whatever_the_figure_does(values: list[float | None], pending: int, keeping: int) -> None:
    rule = a_rule(for_s=pending * STEP_S, keep_s=keeping * STEP_S)
    states = run(rule, values)
    for number, state in enumerate(states):
        before = states[number - 1] if number else "-"
        if state == "f" and before != "f":  # it fires only after as many bad looks as it has to wait
            assert all((one or 0) > rule.threshold for one in values[number - pending : number + 1])
        if state == "r":  # and ends only after as many good ones
            assert all(one is None or one <= rule.clear for one in values[number - keeping : number + 1])
        if before == "f":
            assert state in "fr", "an alert that fires does not vanish"


def test_where_nobody_looked_nobody_knows_and_it_is_pending_anew() -> None:
    assert run(a_rule(for_s=GAP_S), [11, 11], step_s=GAP_S + 1) == ["p", "p"]


def test_each_instance_is_judged_for_itself_and_by_its_own_threshold() -> None:
    rule = a_rule(for_s=0, queues={"big": 100.0})
    found = [Measure({"queue": "big"}, 50), Measure({"queue": "small"}, 50), Measure({"queue": "own"}, 50, "", 60.0)]
    [change] = evaluate([rule], {"R": found}, [], 0)
    assert dict(change.record.labels) == {"queue": "small"}


def test_a_measure_that_could_not_be_taken_changes_nothing() -> None:
    rule = a_rule(for_s=0)
    [change] = evaluate([rule], {"R": [Measure({"queue": "q"}, 11)]}, [], 0)
    assert evaluate([rule], {"R": None}, [change.record], 15) == []


def test_alerts_of_rules_that_are_gone_or_off_end() -> None:
    fires = AlertRecord("R", {}, "page", FIRING, 1, 1, "", "", 0, 0, fired_at=0, alert_id=1)
    waits = AlertRecord("X", {}, "page", PENDING, 1, 1, "", "", 0, 0, alert_id=2)
    ended = evaluate([a_rule(enabled=False)], {}, [fires, waits], 15)
    assert [(one.record.state, one.gone) for one in ended] == [(RESOLVED, False), (PENDING, True)]


def test_a_rule_has_so_many_instances_and_those_are_the_worst() -> None:
    found = [Measure({"queue": str(number)}, 100 + number) for number in range(INSTANCES_MAX + 20)]
    changes = evaluate([a_rule()], {"R": found}, [], 0)
    assert {int(one.record.labels["queue"]) for one in changes} == set(range(20, INSTANCES_MAX + 20))


def test_words_are_put_in_once_and_whatever_stands_in_a_name_stays() -> None:
    rule = a_rule(for_s=0)
    [change] = evaluate([rule], {"R": [Measure({"queue": "{value}"}, 11, "{threshold} {nonsense}")]}, [], 0)
    assert change.record.summary == "{value}: 11 tasks of 10 tasks {threshold} {nonsense}"


def test_the_words_of_an_alert_that_ends_are_those_of_when_it_was() -> None:
    rule, known, told = a_rule(for_s=0, keep_s=30), [], []
    for number, value in enumerate([20, 25, 8, 0, 0, 0]):
        found = [Measure({"queue": "q"}, value, f"look {number}")]
        [change] = evaluate([rule], {"R": found}, known, number * STEP_S)
        known = [_numbered(change.record, 1)]
        told.append((change.record.state, change.record.value, change.record.summary))
    assert [one[2] for one in told] == ["q: 20 tasks of 10 tasks look 0", *["q: 25 tasks of 10 tasks look 1"] * 5]
    assert [one[1] for one in told] == [20, 25, 8, 0, 0, 0]
    assert [one[0] for one in told] == [FIRING] * 5 + [RESOLVED]


def test_every_built_in_alert_is_measured_and_makes_sense() -> None:
    assert {one.name for one in ALERTS} == set(MEASURES)
    assert len({one.name for one in ALERTS}) == len(ALERTS)
    for one in ALERTS:
        assert one.group in GROUPS
        assert one.clear <= one.threshold if one.comparison is Comparison.ABOVE else one.clear >= one.threshold
        assert one.for_s < GAP_S or one.for_s % STEP_S == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rules": {"HighQueueDepht": {}}}, "there is no alert 'HighQueueDepht'. Did you mean 'HighQueueDepth'?"),
        ({"rules": {"HighQueueDepth": {"threshold": 5, "clear": 9}}}, "clear = 9 is on the bad side of threshold = 5"),
        ({"rules": {"HighQueueDepth": {"queues": {"a": 5}}}}, "this alert is not about single queues"),
        ({"rules": {"PoisonTask": {"params": {"windows": 5}}}}, "there is no parameter 'windows'"),
        ({"own_rules": {"Mine": {"metric": "prismq_tasks", "threshold": 1}}}, "there is no metric 'prismq_tasks'"),
        (
            {"own_rules": {"Mine": {"metric": "prismq_queue_tasks", "labels": {"type": "a"}, "threshold": 1}}},
            "prismq_queue_tasks has no label 'type'",
        ),
        ({"own_rules": {"Mine": {"metric": "prismq_task_run_seconds", "threshold": 1}}}, "is a histogram"),
        (
            {"own_rules": {"Mine": {"metric": "prismq_queue_tasks", "threshold": 1, "summary": "{valeu} in {queue}"}}},
            "the summary has {valeu}, and nothing is called so. Did you mean 'value'? It may have {value}, ",
        ),
        ({"own_rules": {"PoisonTask": {"metric": "prismq_build_info", "threshold": 1}}}, "of a built-in alert"),
    ],
)
def test_a_rule_that_cannot_be_is_named_with_what_would_be_right(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        rules_of(AlertsConfig(**settings))
    assert words in str(caught.value)


@pytest.mark.parametrize("url", ["runbooks.md", "ftp://a.b/c", "https://a.b/c#d", "https://a.b/c d", "https:///c"])
def test_an_address_of_the_runbooks_that_no_heading_can_follow_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="runbooks_url"):
        AlertsConfig(runbooks_url=url)


def test_every_rule_leads_to_its_runbook_and_one_of_ones_own_to_none() -> None:
    own = {"Mine": {"metric": "prismq_workers", "threshold": 1}}
    rules = rules_of(AlertsConfig(runbooks_url="https://a.b/c", own_rules=own))
    assert {one.runbook for one in rules} == {None, *(f"https://a.b/c#{alert.name.lower()}" for alert in ALERTS)}


def an_alert(rule: str, state: str = FIRING, **labels: str) -> AlertRecord:
    return AlertRecord(rule, labels, "page", state, 1.0, 0.0, "", "", 0.0, 0.0)


@pytest.mark.parametrize(
    ("record", "louder", "muted"),
    [
        (an_alert("QueueUnserved", queue="a"), an_alert("NoActiveWorkers"), True),
        (an_alert("QueueUnserved", queue="a"), an_alert("NoActiveWorkers", PENDING), False),
        (an_alert("QueueUnserved", queue="a"), an_alert("NoActiveWorkers", RESOLVED), False),
        (an_alert("QueueUnserved", PENDING, queue="a"), an_alert("NoActiveWorkers"), False),
        (an_alert("NoActiveWorkers"), an_alert("QueueUnserved", queue="a"), False),
        (an_alert("BacklogGrowing", queue="a"), an_alert("QueueUnserved", queue="a"), True),
        (an_alert("BacklogGrowing", queue="a"), an_alert("QueueUnserved", queue="b"), False),
        (an_alert("DeadLettersGrew", queue="a", type="t"), an_alert("HighFailureRate", queue="a"), True),
        (an_alert("LeasesLost", queue="a", type="t"), an_alert("PoisonTask", queue="a", type="u"), False),
        (an_alert("DiskFillingUp"), an_alert("DiskAlmostFull"), True),
        (an_alert("PoisonTask", queue="a", type="t"), an_alert("NoActiveWorkers"), False),
    ],
)
def test_an_alert_is_kept_back_by_the_one_it_follows_from(
    record: AlertRecord, louder: AlertRecord, muted: bool
) -> None:
    assert muting(record, [record, louder]) == (louder if muted else None)


def test_nothing_keeps_back_what_keeps_it_back() -> None:
    def reached(rule: str) -> set[str]:
        return set(MUTES.get(rule, ())).union(*(reached(one) for one in MUTES.get(rule, ())))

    assert all(rule not in reached(rule) for rule in MUTES)
    assert {rule for rule, quieter in MUTES.items() for rule in (rule, *quieter)} <= {one.name for one in ALERTS}


def test_alertmanager_keeps_back_the_same() -> None:
    document = yaml.safe_load(prometheus_kit(KitOptions())["alertmanager.yml"])
    found: dict[str, set[str]] = {}
    for rule in document["inhibit_rules"]:
        [louder], [quieter] = ([re.search('"(.*)"', one)[1] for one in rule[key]]
                               for key in ("source_matchers", "target_matchers"))  # fmt: skip
        found[louder] = {one.name for one in ALERTS if re.fullmatch(quieter, one.name)}
    assert {louder: quieter for louder, quieter in found.items() if quieter} == MUTES


KNOWN = {"NoActiveWorkers": (), "QueueUnserved": ("queue",), "PoisonTask": ("queue", "type")}


@pytest.mark.parametrize(
    ("matchers", "words"),
    [
        ({}, "a silence names what it is about"),
        ({"rule": "Nope"}, "there is no alert 'Nope'."),
        ({"rule": "QueueUnserve"}, "Did you mean 'QueueUnserved'?"),
        ({"rule": "Quue*"}, "there is no alert 'Quue*'"),
        ({"foo": "bar"}, "no alert has a label 'foo'. A silence may name queue, rule, severity, type"),
        ({"rul": "QueueUnserved"}, "no alert has a label 'rul'. Did you mean 'rule'?"),
        ({"rule": "NoActiveWorkers", "queue": "mail"}, "no alert NoActiveWorkers has a label 'queue'."),
        ({"rule": "*", "severity": "pager"}, "there is no severity 'pager'. Did you mean 'page'?"),
    ],
)
def test_a_silence_that_can_match_nothing_is_refused(matchers: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_silence(matchers, 60, KNOWN)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "matchers",
    [{"rule": "*"}, {"queue": "not there yet"}, {"rule": "Queue*", "queue": "ma*"}, {"type": "a", "severity": "p?ge"},
     {"rule": "*", "type": "a"}],
)  # fmt: skip
def test_a_silence_that_may_match_something_is_taken(matchers: dict[str, str]) -> None:
    check_silence(matchers, 60, KNOWN)


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ({}, "exactly one of apprise, webhook and command, not none"),
        ({"webhook": "https://a.b/c", "command": ["x"]}, "not webhook and command"),
        ({"command": ["x"], "secret": "0123456789abcdef"}, "this channel has no webhook"),
        ({"webhook": "gopher://hidden-token"}, "begins with https:// or http://"),
        ({"webhook": "https://a.b/c", "secret": "short-hidden"}, "16 or more characters"),
        ({"webhook": "https://a.b/hidden", "sekret": "hidden"}, "channels['ops']['sekret']"),
        ({"command": ["x"], "severities": ["urgent"]}, "channels['ops']['severities'][0]"),
    ],
)
def test_a_channel_that_cannot_be_is_named_without_its_secrets(channel: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        AlertsConfig(channels={"ops": channel})
    assert words in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_settings_show_no_secret() -> None:
    config = AlertsConfig(
        channels={"ops": {"webhook": "https://a.b/hidden", "secret": "hidden hidden hidden"},
                  "mail": {"apprise": "mailtos://user:hidden@a.b"}}
    )  # fmt: skip
    assert "hidden" not in repr(config) + str(config.model_dump(mode="json"))


MANNERS = Manners(0, 600, 300)


def a_change(**fields: Any) -> Any:
    from prismq.storage.contract.alerts import AlertChange

    values = {"labels": {"queue": "mail"}, "severity": "page", "state": FIRING, "value": 1.0, "threshold": 0.0,
              "summary": "", "description": "", "since": 0.0, "seen": 0.0, "fired_at": 0.0}  # fmt: skip
    return AlertChange(AlertRecord("R", **{**values, **fields}))


@pytest.mark.parametrize(
    ("channel", "alert", "told"),
    [
        ({}, {}, True),
        ({}, {"severity": "info"}, False),
        ({"severities": ["info"]}, {"severity": "info"}, True),
        ({"queues": ["other"]}, {}, False),
        ({"queues": ["other"]}, {"labels": {}}, True),
        ({"queues": ["mail"]}, {}, True),
        ({"escalation": True}, {}, False),
    ],
)
def test_a_channel_is_told_what_it_is_for(channel: dict[str, Any], alert: dict[str, Any], told: bool) -> None:
    channels = {"ops": ChannelConfig(command=["x"], **channel)}
    change = with_notices(a_change(**alert), a_rule(), channels, [], MANNERS, 1.0)
    assert [one.channel for one in change.notices] == (["ops"] if told else [])
    assert change.record.told == (("ops",) if told else ())


def test_what_is_about_to_be_over_is_neither_repeated_nor_escalated() -> None:
    channels = {"ops": ChannelConfig(command=["x"]), "boss": ChannelConfig(command=["x"], escalation=True)}
    fine = a_change(notified_at=0.0, told=("ops",), clear_since=990.0)
    assert not with_notices(fine, a_rule(), channels, [], MANNERS, 1000.0).notices
    bad = a_change(notified_at=0.0, told=("ops",))
    kinds = {one.kind for one in with_notices(bad, a_rule(), channels, [], MANNERS, 1000.0).notices}
    assert kinds == {"repeat", "escalation"}


def test_matchers_all_have_to_hold() -> None:
    labels = {"rule": "HighQueueDepth", "queue": "mail-eu", "severity": "page"}
    assert matches({"rule": "High*", "queue": "mail-??"}, labels)
    assert not matches({"rule": "High*", "queue": "mail"}, labels)
    assert not matches({"worker_id": "?*"}, labels), "a label that is not there is empty"
    assert not matches({}, labels), "nothing named is nothing meant"


@pytest.mark.parametrize(
    ("value", "unit", "words"),
    [
        (0.125, "ratio", "12.5 %"), (1.0, "tasks", "1 task"), (1200.0, "tasks", "1,200 tasks"),
        (90.0, "seconds", "1 m 30 s"), (14.4, "times", "14.4 times"),
        (3 * 1024**3, "bytes", "3.0 GiB"), (98 * 1024**2, "bytes", "98 MiB"),
        (2.5, "", "2.5"), (None, "tasks", "-"),
    ],
)  # fmt: skip
def test_values_in_words(value: float | None, unit: str, words: str) -> None:
    assert in_words(value, unit) == words
