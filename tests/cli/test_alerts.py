"""`prismq alerts` and `prismq slo`."""

from __future__ import annotations

import sys
from pathlib import Path

from prismq import PrismQ
from prismq.cli.alerting import alerting
from prismq.config import load_settings
from prismq.domain.events import ChoreFailed, Event
from prismq.storage.contract.alerts import DUTY, FIRING, AlertChange, AlertRecord, NewNotice, Sample
from tests.cli.conftest import Cli
from tests.helpers.receiver import receiver


def plant(folder: Path) -> None:
    """An alert that fires, as the watch would write it."""
    with PrismQ(folder / ".prismq" / "queue.db") as q:
        now = q.clock.now()
        q.store.duties.take(DUTY, "me", 60, now)
        record = AlertRecord(
            "QueueUnserved", {"queue": "mail"}, "page", FIRING, 3.0, 0.0, "3 tasks wait", "No worker.", now - 60, now,
            fired_at=now - 30, told=("ops",),
        )  # fmt: skip
        assert q.store.alerts.record([AlertChange(record, [NewNotice("ops", "firing", {}, now)])], "me", now)


def test_nothing_is_wrong_and_nobody_watches(cli: Cli) -> None:
    cli("init")
    answer = cli("alerts", "list")
    assert (answer.code, answer.out.strip()) == (0, "Nothing is wrong.")
    assert "nobody watches" in answer.err
    with PrismQ(cli.folder / ".prismq" / "queue.db") as q:
        q.store.duties.take(DUTY, "worker host-1 abc", 60, q.clock.now())
    answer = cli("alerts", "list")
    assert answer.out.splitlines()[0] == "Nothing is wrong."
    assert answer.out.splitlines()[1].startswith("Watched by worker host-1 abc, for ")
    assert "nobody watches" not in answer.err
    assert cli("alerts", "history").out.strip() == "Nothing has fired."
    assert cli("alerts", "silences").out.strip() == "Nothing is silenced."


def test_what_fires_is_listed_acknowledged_and_silenced(cli: Cli) -> None:
    cli("init")
    plant(cli.folder)
    answer = cli("alerts", "list")
    assert answer.code == 1
    assert "QueueUnserved" in answer.out
    [one] = cli("alerts", "list", "--json").json["items"]
    assert (one["rule"], one["state"], one["labels"]) == ("QueueUnserved", "firing", {"queue": "mail"})

    assert cli("alerts", "ack", "1", "--note", "on it").code == 0
    assert cli("alerts", "list").code == 0, "somebody looks after it"
    shown = cli("alerts", "show", "1")
    assert "on it" in shown.out
    assert "firing" in shown.out
    assert cli("alerts", "show", "1", "--json").json["notices"][0]["channel"] == "ops"
    assert "QueueUnserved" in cli("alerts", "history").out

    assert cli("alerts", "silence", "queue=mail", "rule=Queue*", "--for", "2h", "--reason", "work").code == 0
    [silence] = cli("alerts", "silences", "--json").json
    assert (silence["matchers"], silence["reason"]) == ({"queue": "mail", "rule": "Queue*"}, "work")
    assert cli("alerts", "list", "--json").json["items"][0]["state"] == "silenced"
    assert cli("alerts", "unsilence", "1").code == 0
    assert cli("alerts", "unsilence", "1").code == 1
    actions = [one["action"] for one in cli("audit", "--json").json]
    assert actions == ["alerts.unsilence", "alerts.silence", "alerts.acknowledge"]


def test_what_is_not_there_is_an_error(cli: Cli) -> None:
    cli("init")
    assert "there is none" in cli("alerts", "ack", "7").err
    assert "there is no alert 7" in cli("alerts", "show", "7").err
    assert cli("alerts", "silence", "mail").code == 2
    assert "no channels" in cli("alerts", "test").err


def test_a_silence_that_can_match_nothing_is_refused_with_what_is_near(cli: Cli) -> None:
    cli("init")
    answer = cli("alerts", "silence", "rule=NoActiveWorker")
    assert (answer.code, answer.out) == (2, "")
    assert "there is no alert 'NoActiveWorker'. Did you mean 'NoActiveWorkers'?" in answer.err
    answer = cli("alerts", "silence", "qeue=mail")
    assert (answer.code, answer.out) == (2, "")
    assert "no alert has a label 'qeue'. Did you mean 'queue'?" in answer.err
    assert cli("alerts", "silences").out.strip() == "Nothing is silenced."


def test_what_is_open_can_be_silenced_though_these_settings_do_not_know_its_rule(cli: Cli) -> None:
    cli("init")
    with PrismQ(cli.folder / ".prismq" / "queue.db") as q:
        now = q.clock.now()
        q.store.duties.take(DUTY, "me", 60, now)
        record = AlertRecord("Theirs", {"shop": "a"}, "page", FIRING, 3.0, 0.0, "", "", now, now, fired_at=now)
        assert q.store.alerts.record([AlertChange(record)], "me", now)
    assert cli("alerts", "silence", "rule=Theirs", "shop=a").code == 0


def test_an_alert_that_follows_from_another_is_shown_so(cli: Cli) -> None:
    cli("init")
    plant(cli.folder)
    with PrismQ(cli.folder / ".prismq" / "queue.db") as q:
        now = q.clock.now()
        record = AlertRecord("NoActiveWorkers", {}, "page", FIRING, 0.0, 1.0, "No worker", "", now, now, fired_at=now)
        assert q.store.alerts.record([AlertChange(record)], "me", now)
    states = {one["rule"]: (one["state"], one["muted_by"]) for one in cli("alerts", "list", "--json").json["items"]}
    assert states == {"NoActiveWorkers": ("firing", None), "QueueUnserved": ("muted", "NoActiveWorkers")}
    assert "QueueUnserved" in cli("alerts", "list", "--state", "muted").out
    assert "muted, follows from NoActiveWorkers" in " ".join(cli("alerts", "show", "1").out.split())


def test_what_this_machine_lacks_for_a_channel_is_said_and_what_cannot_be_is_refused(cli: Cli, q: PrismQ) -> None:
    file = cli.folder / "prismq.toml"
    file.write_text('[alerts.channels.script]\ncommand = ["/no/such/program"]\n')
    answer = cli("config", "check")
    assert answer.code == 0
    assert "the channel 'script' of alerts runs '/no/such/program', and there is no such program" in answer.err
    assert "program cannot be started: No such file or directory" in cli("alerts", "test").out
    heard: list[Event] = []
    q.listen(heard.append)
    alerting(q, load_settings(file), "test")
    assert ["there is no such program" in one.error for one in heard if isinstance(one, ChoreFailed)] == [True]

    file.write_text('[alerts.channels.chat]\napprise = "slak://hidden/token"\n')
    answer = cli("config", "check")
    assert answer.code == 4
    assert "channels['chat']: URL 1 (slak://…) means nothing to apprise" in answer.err
    assert "hidden" not in answer.out + answer.err

    file.write_text('[alerts.own_rules.Mine]\nmetric = "prismq_workers"\nthreshold = 1\nsummary = "{valeu}"\n')
    answer = cli("config", "check")
    assert answer.code == 4
    assert "the summary has {valeu}, and nothing is called so. Did you mean 'value'?" in " ".join(answer.err.split())


def test_channels_are_tested_at_once(cli: Cli) -> None:
    cli("init")
    file = cli.folder / "prismq.toml"
    script = cli.folder / "told.json"
    program = f"import pathlib, sys; pathlib.Path({str(script)!r}).write_bytes(sys.stdin.buffer.read())"
    with receiver() as pager:
        file.write_text(
            file.read_text()
            + f"\n[alerts.channels.hook]\nwebhook = '{pager.url}'\n"
            + f"[alerts.channels.chat]\napprise = 'json://127.0.0.1:{pager.server.server_address[1]}/hidden'\n"
            + f'[alerts.channels.script]\ncommand = ["{sys.executable}", "-c", {program!r}]\n'
            + f"[alerts.channels.broken]\ncommand = ['{sys.executable}', '-c', 'raise SystemExit(3)']\n"
        )
        answer = cli("alerts", "test")
        assert answer.code == 1
        assert "hook: it took the message" in answer.out
        assert "chat: it took the message" in answer.out
        assert "script: it took the message" in answer.out
        assert "ended with code 3" in answer.out
        assert "hidden" not in answer.out + answer.err
        pager.wait_for(2)
    assert '"kind": "test"' in script.read_text()
    assert cli("alerts", "test", "hook").code == 1, "it is away now"
    assert "there is no channel 'hok'. Did you mean 'hook'?" in cli("alerts", "test", "hok").err


def test_a_url_that_apprise_does_not_know_is_named_without_it(cli: Cli) -> None:
    cli("init")
    file = cli.folder / "prismq.toml"
    file.write_text(file.read_text() + "\n[alerts.channels.chat]\napprise = 'nonsense://hidden'\n")
    answer = cli("alerts", "test")
    assert "means nothing to apprise" in answer.out
    assert "hidden" not in answer.out + answer.err


def test_rules_are_listed(cli: Cli) -> None:
    cli("init")
    rows = {one["rule"]: one for one in cli("alerts", "rules", "--json").json}
    assert rows["NoActiveWorkers"]["for_seconds"] == 60
    assert "NoActiveWorkers" in cli("alerts", "rules").out


def test_the_doctor_tells_of_a_channel_that_fails(cli: Cli) -> None:
    cli("init")
    with PrismQ(cli.folder / ".prismq" / "queue.db") as q:
        now = q.clock.now()
        q.store.alerts.not_delivered("ops", [], "it answered 500", now - 100, retry_at=None)
    answer = cli("doctor")
    assert "alert channel 'ops' has delivered nothing for 1 m 4" in " ".join(answer.out.split())


def test_service_levels_are_shown(cli: Cli) -> None:
    cli("init")
    answer = cli("slo")
    assert answer.code == 0
    assert "success" in answer.out
    found = cli("slo", "--json").json
    assert [one["slo"] for one in found] == ["success", "processing", "api", "workers"]
    assert all(one["state"] == "no data" for one in found)


def test_a_service_level_that_is_not_there_is_an_error_that_says_what_to_do(cli: Cli) -> None:
    cli("init")
    with PrismQ(cli.folder / ".prismq" / "queue.db") as q:
        q.enqueue("add", {}, queue="mail")
        q.enqueue("add", {}, queue="within_5_minutes")
    unknown, bare = cli("slo", "--queue", "within_5_minute"), cli("slo", "--queue", "mail", "--json")
    assert (unknown.code, unknown.out) == (1, "")
    assert "there is no queue 'within_5_minute'" in unknown.err
    assert "Did you mean 'within_5_minutes'?" in unknown.err
    assert (bare.code, bare.json) == (1, [])
    assert "nothing is promised of the queue 'mail'" in bare.err
    assert 'promises = { "mail" = 300 }' in " ".join(bare.err.split())
    assert cli("slo", "--queue", "within_5_minutes").code == 0
    file = cli.folder / "prismq.toml"
    file.write_text(file.read_text().replace("\n[slo]\n", '\n[slo]\npromises = { "mail" = 300, "new" = 60 }\n'))
    assert cli("slo", "--queue", "mail").code == 0
    assert cli("slo", "--queue", "new").code == 0


def test_a_budget_that_burns_fast_is_told_without_an_exponent(cli: Cli) -> None:
    cli("init")
    with PrismQ(cli.folder / ".prismq" / "queue.db") as q:
        now = q.clock.now()
        q.store.levels.add([Sample("api", now - now % 60, 0, 100)])
    out = " ".join(cli("slo").out.split())
    assert "1,000 x" in out
    assert "e+" not in out
