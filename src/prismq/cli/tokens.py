"""`prismq tokens`: who may use the HTTP API and the dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from prismq.cli import output
from prismq.cli.context import Call, command, usage
from prismq.cli.exits import Exit
from prismq.cli.options import seconds_of
from prismq.domain.account import Role

group = typer.Typer(no_args_is_help=True, help="Make, list and revoke the tokens of the HTTP API and the dashboard.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The token's name: a person's, or a program's.")]


@command(group, "create")
def create(
    call: Call,
    name: Name,
    role: Annotated[
        Role,
        typer.Option(
            "--role",
            case_sensitive=False,
            help="viewer: look; operator: enqueue and act, too; admin: tokens, too.",
        ),
    ] = Role.VIEWER,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="It is over after so long, such as 90d; else never.")
    ] = None,
) -> None:
    """Make a token, and print it this once: the database keeps a hash of it alone."""
    from prismq.client.operator import who_am_i
    from prismq.client.tokens import create_token

    expires_s = None if expires is None else seconds_of(expires, "--expires")
    if expires_s is not None and expires_s <= 0:
        usage("--expires is how long the token is to last, a time above 0")
    with call.queue() as q:
        expires_at = None if expires_s is None else q.clock.now() + expires_s
        made, secret = create_token(q.store, q.clock.now(), name, role, expires_at, by=who_am_i(), via="cli")
    if call.as_json:
        output.print_json({"name": made.name, "role": made.role.value, "token": secret, "expires_at": _iso(expires_at)})
        return
    output.note(f"The token of {name!r}, {made.role}. It is shown this once:")
    output.say(secret)


@command(group, "list")
def list_tokens(call: Call) -> None:
    """List the tokens, without the tokens themselves."""
    from prismq.domain.times import from_epoch

    with call.queue() as q:
        found, now = q.store.accounts.tokens(), q.clock.now()
    if call.as_json:
        output.print_json(
            [
                {
                    "name": one.name,
                    "role": one.role.value,
                    "hint": one.hint,
                    "valid": one.is_valid(now),
                    "created_at": _iso(one.created_at),
                    "created_by": one.created_by,
                    "expires_at": _iso(one.expires_at),
                    "last_used_at": _iso(one.last_used_at),
                }
                for one in found
            ]
        )
        return
    if not found:
        output.say("There are no tokens. Make one with `prismq tokens create NAME --role viewer`.")
        return
    output.print_table(
        [
            output.Column("NAME"),
            output.Column("ROLE", whole=True),
            output.Column("BEGINS", whole=True),
            output.Column("MADE BY"),
            output.Column("EXPIRES", whole=True),
            output.Column("USED", right=True, whole=True),
        ],
        [
            (
                one.name,
                one.role.value,
                f"{one.hint}…",
                one.created_by,
                ("" if one.is_valid(now) else "over since ") + output.moment(from_epoch(one.expires_at))
                if one.expires_at is not None
                else "never",
                "never" if one.last_used_at is None else output.age(now - one.last_used_at),
            )
            for one in found
        ],
    )


@command(group, "revoke")
def revoke(call: Call, name: Name) -> int:
    """Revoke a token, and sign out the browsers that signed in with it. Servers notice within seconds."""
    from prismq.client.operator import who_am_i
    from prismq.domain.account import AuditEntry
    from prismq.domain.errors import closest

    with call.queue() as q:
        if not q.store.accounts.revoke_token(name):
            names = [one.name for one in q.store.accounts.tokens()]
            output.note(f"error: there is no token {name!r}.{closest(name, names)}")
            return Exit.FAILED
        q.store.audit.add(AuditEntry(who_am_i(), "tokens.revoke", q.clock.now(), name, via="cli"))
    if call.as_json:
        output.print_json({"name": name, "revoked": True})
    else:
        output.say(f"{name}: revoked")
    return Exit.OK


def _iso(epoch_s: float | None) -> str | None:
    from prismq.domain.times import from_epoch

    return None if epoch_s is None else from_epoch(epoch_s).isoformat()
