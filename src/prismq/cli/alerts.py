"""`prismq alerts`: what is wrong, who was told, silences, and a test of the channels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from prismq.cli import output
from prismq.cli.context import Call, command, usage
from prismq.cli.exits import Exit
from prismq.cli.options import seconds_of

if TYPE_CHECKING:
    from prismq.app import PrismQ
    from prismq.observability.alerts.board import Board, Shown

group = typer.Typer(no_args_is_help=True, help="See what is wrong; acknowledge, silence, and test the channels.")

Number = Annotated[int, typer.Argument(metavar="ID", min=1, help="Its number, as `prismq alerts list` shows it.")]


@command(group, "list")
def list_alerts(
    call: Call,
    state: Annotated[
        Literal["firing", "pending", "acknowledged", "silenced", "muted"] | None,
        typer.Option("--state", metavar="STATE", help="Only those: firing, pending, acknowledged, silenced or muted."),
    ] = None,
) -> int:
    """List what is wrong now, who watches, and channels that fail. Ends with 1 where something fires."""
    from prismq.observability.alerts.board import board, channels_json, iso

    with call.queue() as q:
        found = board(q.store, q.clock.now())
    shown = [one for one in found.open if state is None or one.state == state]
    if call.as_json:
        watcher = found.watcher
        output.print_json(
            {
                "items": [one.to_json(call.settings.alerts) for one in shown],
                "watcher": None if watcher is None else {"holder": watcher.holder, "since": iso(watcher.since)},
                "channels": channels_json(call.settings.alerts, found.channels),
            }
        )
    else:
        _print_board(found, shown)
    return Exit.FAILED if found.firing else Exit.OK


def _print_board(found: Board, shown: list[Shown]) -> None:
    if shown:
        _table(shown, found.at)
    else:
        output.say("Nothing is wrong." if not found.open else "There is none of that state.")
    for one in found.channels:
        if one.failing_since is not None:
            since = output.age(found.at - one.failing_since)
            output.note(f"the channel {one.channel} has delivered nothing for {since}: {one.error}")
    if found.watcher is not None:
        output.say(f"Watched by {found.watcher.holder}, for {output.age(max(0.0, found.at - found.watcher.since))}.")
    else:
        output.note("nobody watches: the alerts are those of the last look. `prismq worker` and `prismq server` watch")


def _table(shown: list[Shown], now: float) -> None:
    from prismq.observability.alerts.board import value_in_words

    output.print_table(
        [
            output.Column("ID", right=True, whole=True),
            output.Column("STATE", whole=True),
            output.Column("SEVERITY", whole=True),
            output.Column("ALERT", whole=True),
            output.Column("WHAT", fold=True),
            output.Column("VALUE", right=True, whole=True),
            output.Column("SINCE", right=True, whole=True),
        ],
        [
            (
                str(one.record.alert_id),
                one.state,
                one.record.severity,
                one.record.rule,
                one.record.summary,
                value_in_words(one.record),
                output.age(now - one.record.since),
            )
            for one in shown
        ],
    )


@command(group, "history")
def history(
    call: Call,
    rule: Annotated[str | None, typer.Option("--rule", metavar="NAME", help="Of this alert alone.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="How many at most.")] = 50,
) -> None:
    """List what fired before, newest first."""
    from prismq.domain.times import from_epoch
    from prismq.observability.alerts.board import Shown

    with call.queue() as q:
        found = [Shown(one) for one in q.store.alerts.history(rule=rule, limit=limit)]
        now = q.clock.now()
    if call.as_json:
        output.print_json([one.to_json(call.settings.alerts) for one in found])
        return
    if not found:
        output.say("Nothing has fired.")
        return
    output.print_table(
        [
            output.Column("ID", right=True, whole=True),
            output.Column("FIRED", whole=True),
            output.Column("LASTED", right=True, whole=True),
            output.Column("SEVERITY", whole=True),
            output.Column("ALERT", whole=True),
            output.Column("WHAT", fold=True),
            output.Column("TOLD"),
        ],
        [
            (
                str(one.record.alert_id),
                output.moment(from_epoch(one.record.fired_at or one.record.since)),
                "still" if one.record.resolved_at is None else _lasted(one, now),
                one.record.severity,
                one.record.rule,
                one.record.summary,
                ", ".join(one.record.told),
            )
            for one in found
        ],
    )


def _lasted(one: Shown, now: float) -> str:
    return output.duration((one.record.resolved_at or now) - (one.record.fired_at or one.record.since))


@command(group, "show")
def show(call: Call, alert_id: Number) -> int:
    """Show one alert, and what was said about it to whom."""
    from prismq.domain.times import from_epoch
    from prismq.observability.alerts.board import notice_json, shown_of
    from prismq.observability.alerts.rules import runbook_of

    with call.queue() as q:
        record = q.store.alerts.get(alert_id)
        notices = q.store.alerts.notices(alert_id=alert_id)
        found = [] if record is None else shown_of(q.store, [record], q.clock.now())
    if record is None:
        output.note(f"error: there is no alert {alert_id}")
        return Exit.FAILED
    [shown] = found
    if call.as_json:
        output.print_json({**shown.to_json(call.settings.alerts), "notices": [notice_json(one) for one in notices]})
        return Exit.OK
    output.say(record.summary)
    output.print_pairs(
        [
            ("alert", record.rule),
            ("labels", ", ".join(f"{name}={value}" for name, value in record.labels.items()) or "-"),
            ("state", shown.state if shown.muted_by is None else f"{shown.state}, follows from {shown.muted_by.rule}"),
            ("severity", record.severity),
            ("since", output.moment(from_epoch(record.since))),
            ("acknowledged", record.acked_by or "by nobody"),
            ("note", record.ack_note or "-"),
            ("what to do", runbook_of(record.rule, call.settings.alerts) or "-"),
        ]
    )
    output.say(record.description)
    if notices:
        output.heading("Who was told")
        output.print_table(
            [output.Column("WHEN", whole=True), output.Column("CHANNEL"), output.Column("WHAT", whole=True),
             output.Column("STATE", whole=True), output.Column("ERROR", fold=True)],
            [
                (output.moment(from_epoch(one.created_at)), one.channel, one.kind, notice_json(one)["state"],
                 one.error or "")
                for one in notices
            ],
        )  # fmt: skip
    return Exit.OK


@command(group, "ack")
def acknowledge(
    call: Call,
    alert_id: Number,
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why, or what is being done.")] = None,
) -> int:
    """Say that somebody looks after an alert: it is neither repeated nor escalated."""
    from prismq.client.operator import who_am_i
    from prismq.observability.alerts import acts

    with call.queue() as q:
        try:
            found = acts.acknowledge(q.store, alert_id, who_am_i(), note, q.clock.now())
        except acts.NoSuchAlert as error:
            output.note(f"error: {error}")
            return Exit.FAILED
        _note(q, "alerts.acknowledge", str(alert_id), {"rule": found.rule})
    if call.as_json:
        output.print_json({"id": alert_id, "acknowledged": True})
    else:
        output.say(f"{found.rule}: acknowledged")
    return Exit.OK


@command(group, "silence")
def silence(
    call: Call,
    matchers: Annotated[
        list[str],
        typer.Argument(metavar="NAME=VALUE...", help="rule, severity or a label, and its value; * is anything."),
    ],
    for_: Annotated[str, typer.Option("--for", metavar="TIME", help="How long, such as 2h or 3d.")] = "1h",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why.")] = "",
) -> int:
    """Let alerts that match not be told for a while. They are still judged and shown."""
    from prismq.client.operator import who_am_i
    from prismq.domain.times import from_epoch
    from prismq.observability.alerts import acts

    wanted = {}
    for one in matchers:
        name, mark, value = one.partition("=")
        if not mark or not name.strip() or not value.strip():
            usage(f"{one!r} is no matcher; give NAME=VALUE, such as rule=NoActiveWorkers or queue=mail")
        wanted[name.strip()] = value.strip()
    with call.queue() as q:
        length_s = seconds_of(for_, "--for")
        made = acts.silence(q.store, call.settings.alerts, wanted, length_s, who_am_i(), reason, q.clock.now())
        _note(q, "alerts.silence", str(made.silence_id), {"matchers": wanted})
    if call.as_json:
        output.print_json({"id": made.silence_id, "until": from_epoch(made.until).isoformat()})
    else:
        output.say(f"Silence {made.silence_id} holds until {output.moment(from_epoch(made.until))}.")
    return Exit.OK


@command(group, "silences")
def silences(call: Call, past: Annotated[bool, typer.Option("--past", help="Those that ended, too.")] = False) -> None:
    """List the silences that are, or will be, in force."""
    from prismq.domain.times import from_epoch
    from prismq.observability.alerts.board import silence_json

    with call.queue() as q:
        now = q.clock.now()
        found = q.store.alerts.silences(now, past=past)
    if call.as_json:
        output.print_json([silence_json(one, now) for one in found])
        return
    if not found:
        output.say("Nothing is silenced.")
        return
    output.print_table(
        [output.Column("ID", right=True, whole=True), output.Column("MATCHES"), output.Column("UNTIL", whole=True),
         output.Column("BY"), output.Column("WHY", fold=True)],
        [
            (
                str(one.silence_id), ", ".join(f"{name}={value}" for name, value in one.matchers.items()),
                output.moment(from_epoch(one.until)), one.created_by, one.reason,
            )
            for one in found
        ],
    )  # fmt: skip


@command(group, "unsilence")
def unsilence(call: Call, silence_id: Number) -> int:
    """End a silence now."""
    from prismq.observability.alerts import acts

    with call.queue() as q:
        try:
            acts.unsilence(q.store, silence_id, q.clock.now())
        except acts.NoSuchAlert as error:
            output.note(f"error: {error}")
            return Exit.FAILED
        _note(q, "alerts.unsilence", str(silence_id), {})
    if call.as_json:
        output.print_json({"id": silence_id, "ended": True})
    else:
        output.say(f"Silence {silence_id} is over.")
    return Exit.OK


@command(group, "rules")
def rules(call: Call) -> None:
    """List the rules as the settings have them."""
    from prismq.observability.alerts.rules import in_words, rules_of

    found = rules_of(call.settings.alerts)
    if call.as_json:
        output.print_json([one.to_json() for one in found])
        return
    output.print_table(
        [output.Column("ALERT", whole=True), output.Column("SEVERITY", whole=True), output.Column("FIRES", fold=True),
         output.Column("FOR", right=True, whole=True), output.Column("STATE", whole=True)],
        [
            (
                one.name, one.severity.value, f"{one.comparison} {in_words(one.threshold, one.unit)}",
                output.duration(one.for_s) if one.for_s else "at once",
                ("on" if one.enabled else "off") + (", changed" if one.changed else ""),
            )
            for one in found
        ],
    )  # fmt: skip


@command(group, "test")
def send_test(
    call: Call,
    channels: Annotated[
        list[str] | None, typer.Argument(metavar="[CHANNEL]...", help="Only these; without it, all of them.")
    ] = None,
) -> int:
    """Send a message to the channels of the settings, at once. Ends with 1 where one did not take it."""
    from prismq.client.operator import who_am_i
    from prismq.observability.alerts.trial import try_channels

    if not call.settings.alerts.channels:
        output.note("error: there are no channels; name one in the section [alerts.channels] of the configuration file")
        return Exit.FAILED
    with call.queue() as q:
        tried = try_channels(q.store, q.clock, call.settings.alerts, channels or [], who_am_i())
        _note(q, "alerts.test", ", ".join(one.channel for one in tried), {})
    if call.as_json:
        output.print_json([one._asdict() for one in tried])
    else:
        for one in tried:
            output.say(f"{one.channel}: {'it took the message' if one.error is None else one.error}")
    return Exit.FAILED if any(one.error is not None for one in tried) else Exit.OK


def _note(q: PrismQ, action: str, target: str, which: dict[str, Any]) -> None:
    from prismq.client.operator import who_am_i
    from prismq.domain.account import AuditEntry

    plain = json.loads(json.dumps(which))
    q.store.audit.add(AuditEntry(who_am_i(), action, q.clock.now(), target, plain, via="cli"))
