"""Signing in, tokens, and the audit log."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from prismq.domain.account import ApiToken, Role
from prismq.domain.times import to_epoch
from prismq.server import sessions
from prismq.server.actions import Acting
from prismq.server.auth import PUBLIC, csrf_token
from prismq.server.dependencies import Admin, Csrf, Operator, Serving, Viewer
from prismq.server.routes.shapes import (
    Cursor,
    Input,
    Limit,
    Name,
    Page,
    Saved,
    Text,
    before_of,
    cursor_of,
    moment,
    problems,
)

router = APIRouter(prefix="/api/v1", tags=["accounts"])


class SignIn(Input):
    """An API token."""

    token: str = Field(min_length=1, max_length=200, examples=["prismq_…"])


class Me(BaseModel):
    """Who asks."""

    name: str = Field(examples=["ada"])
    role: Role
    via: str = Field(description="token, session, or open where nobody is asked.")
    csrf_token: str | None = Field(description="Of a session: send it as X-CSRF-Token with whatever changes something.")


class Token(BaseModel):
    """A token, without the token itself, which nobody can show again."""

    name: str = Field(examples=["ci"])
    role: Role
    hint: str = Field(description="Its first characters.", examples=["prismq_a1B2"])
    created_at: datetime | None
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class Tokens(BaseModel):
    """Every token, by name."""

    items: list[Token]


class NewToken(Input, json_schema_extra={"examples": [{"name": "ci", "role": "operator"}]}):
    """A token to make."""

    name: Name
    role: Role
    expires_at: datetime | None = Field(None, description="When it is over; null: never.")


class CreatedToken(Token):
    """A new token."""

    token: str = Field(description="Shown this once.", examples=["prismq_…"])


class AuditEntry(BaseModel):
    """What somebody did."""

    id: int
    at: datetime | None
    actor: str = Field(examples=["ada"])
    via: str = Field(description="token, session, open, cli, or system: what workers do by themselves.")
    origin: str | None = Field(description="The address it came from.")
    action: str = Field(examples=["tasks.retry"])
    target: str | None = Field(description="A task's id, or a name.")
    conditions: dict[str, Any] = Field(description="The filter of a bulk action.")
    tasks: int | None = Field(description="How many tasks it changed.")


@router.post("/session", summary="Sign in", response_model=Me, responses=problems(413, 415), dependencies=[PUBLIC])
async def sign_in(given: SignIn, request: Request, response: Response) -> Me:
    """A browser's session for an API token: a cookie that scripts cannot read. After ten wrong tokens within a minute
    an address has to wait."""
    who = await sessions.sign_in(request, response, given.token)
    return Me(name=who.name, role=who.role, via=who.via, csrf_token=csrf_token(request))


@router.get("/session", summary="Who am I?", response_model=Me, responses=problems())
async def whoami(who: Viewer, csrf: Csrf) -> Me:
    """Name and role, and a session's CSRF token."""
    return Me(name=who.name, role=who.role, via=who.via, csrf_token=csrf or None)


@router.delete("/session", summary="Sign out", response_model=Saved, responses=problems())
async def sign_out(who: Viewer, request: Request, response: Response) -> Saved:
    """End the browser's session."""
    await sessions.sign_out(request, response)
    return Saved(done=True)


def token_fields(one: ApiToken) -> dict[str, Any]:
    """A token for the API."""
    return {
        "name": one.name,
        "role": one.role,
        "hint": one.hint,
        "created_at": moment(one.created_at),
        "created_by": one.created_by,
        "expires_at": moment(one.expires_at),
        "last_used_at": moment(one.last_used_at),
    }


@router.get("/tokens", summary="List tokens", response_model=Tokens, responses=problems())
async def list_tokens(who: Admin, serving: Serving) -> Tokens:
    """By name; expired ones, too."""
    return Tokens(items=[Token(**token_fields(one)) for one in await serving.ask(lambda q: q.store.accounts.tokens())])


@router.post(
    "/tokens", status_code=201, summary="Make a token", response_model=CreatedToken, responses=problems(413, 415)
)
async def create_token(new: NewToken, who: Admin, acting: Acting) -> CreatedToken:
    """The answer is the only time that the token is shown."""
    expires_at = None if new.expires_at is None else to_epoch(new.expires_at)
    made, secret = await acting(lambda actor: actor.create_token(new.name, new.role, expires_at))
    return CreatedToken(**token_fields(made), token=secret)


@router.delete("/tokens/{name}", summary="Revoke a token", response_model=Saved, responses=problems(404))
async def revoke_token(
    name: Annotated[Name, Path(description="The token's name.", examples=["ci"])], who: Admin, acting: Acting
) -> Saved:
    """It opens nothing any more, and the sessions that were opened with it end."""
    await acting(lambda actor: actor.revoke_token(name))
    return Saved(done=True)


@router.get("/audit", summary="The audit log", response_model=Page[AuditEntry], responses=problems())
async def audit(
    who: Operator,
    serving: Serving,
    actor: Annotated[Text | None, Query(description="Who did it.")] = None,
    action: Annotated[Text | None, Query(description="Such as tasks.retry, or the part before the dot.")] = None,
    target: Annotated[Text | None, Query(description="A task's id, or a name.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AuditEntry]:
    """Who did what, newest first."""
    before = before_of(cursor)
    found = await serving.ask(
        lambda q: q.store.audit.find(actor=actor, action=action, target=target, limit=limit + 1, before_id=before)
    )
    items = [
        AuditEntry(
            id=one.entry_id or 0,
            at=moment(one.at),
            actor=one.actor,
            via=one.via,
            origin=one.origin,
            action=one.action,
            target=one.target,
            conditions=dict(one.which),
            tasks=one.tasks,
        )
        for one in found[:limit]
    ]
    return Page(items=items, next_cursor=cursor_of(items[-1].id) if len(found) > limit else None)
