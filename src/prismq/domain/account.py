"""Who may do what: roles, the tokens that carry them, and the record of what was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple


class Role(str, Enum):
    """What somebody may do; each role may do what those before it may."""

    VIEWER = "viewer"  # look
    OPERATOR = "operator"  # enqueue, and act on tasks, queues, workers and schedules
    ADMIN = "admin"  # give out and revoke tokens

    def __str__(self) -> str:
        return self.value

    def covers(self, wanted: Role) -> bool:
        """Whether somebody with this role may do what `wanted` is asked for."""
        order = list(Role)
        return order.index(self) >= order.index(wanted)


@dataclass(frozen=True)
class ApiToken:
    """A token as it is kept: never the token itself. Times are seconds since 1970."""

    token_id: int
    name: str
    role: Role
    hint: str  # the first characters, so that people can tell tokens apart
    created_at: float
    created_by: str
    expires_at: float | None = None
    last_used_at: float | None = None

    def is_valid(self, now: float) -> bool:
        """Whether it opens anything; a token is over at `expires_at` itself. One that was revoked is gone."""
        return self.expires_at is None or now < self.expires_at


class Session(NamedTuple):
    """A signed-in browser. It ends with its time, and with the token it was opened with."""

    token: ApiToken
    expires_at: float  # seconds since 1970


@dataclass(frozen=True)
class AuditEntry:
    """What somebody did. `which` is the filter it was asked for with, `tasks` how many it changed."""

    actor: str
    action: str  # such as tasks.cancel or queues.pause
    at: float  # seconds since 1970
    target: str | None = None  # a task's id, or a name
    which: Mapping[str, Any] = field(default_factory=dict)
    tasks: int | None = None
    origin: str | None = None  # the address it came from; None for the command line of this machine
    via: str = "token"  # token, session, open (no authentication asked for), cli, or system (done by itself)
    entry_id: int | None = None
