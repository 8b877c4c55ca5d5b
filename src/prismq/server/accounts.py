"""Whom a secret belongs to: looked up in the database, and remembered for a moment."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from prismq.app import PrismQ
from prismq.client.tokens import digest
from prismq.clock import Clock
from prismq.domain.account import ApiToken, Session
from prismq.domain.errors import QueueDatabaseError
from prismq.server.settings import is_loopback
from prismq.server.throttle import Throttle

if TYPE_CHECKING:
    from prismq.server.services import Services

# A revoked token, or a signed-out browser, is let in for at most so long by a server that did not do it itself.
REMEMBERED_S = 2.0
_REMEMBERED_MAX = 1_000
_USE_NOTED_S = 60.0
FAILURES_MAX, FAILURES_WINDOW_S = 10, 60.0

V = TypeVar("V")


class Accounts:
    """Tokens and sessions, as requests need them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        clock = services.q.clock
        self._tokens: _Memory[ApiToken] = _Memory(clock)
        self._sessions: _Memory[Session] = _Memory(clock)
        self._openness: _Memory[bool] = _Memory(clock)
        self.throttle = Throttle(clock, FAILURES_MAX, FAILURES_WINDOW_S)
        self.trusts_mount = False  # mounted into an application that asks people itself
        # Where nobody signs in, pages carry this: other sites cannot read it.
        self.open_csrf = secrets.token_hex(32)

    async def is_open(self, address: str | None) -> bool:
        """Whether nobody at this address is asked who they are: only on loopback, and while there is no token."""
        settings = self._services.settings
        if self.trusts_mount:
            return True
        if settings.auth == "required" or not is_loopback(settings.host):
            return False
        if address is not None and not is_loopback(address):
            return False
        if settings.auth == "off":
            return True
        known = self._openness.get("")
        if known is None:
            known = await self._services.ask(lambda q: not q.store.accounts.tokens())
            self._openness.put("", known)
        return known

    async def of_token(self, token: str) -> ApiToken | None:
        """The token, if it is valid now."""
        key = digest(token)
        found = self._tokens.get(key) or await self._services.ask(lambda q: _token(q, key))
        if found is None or not found.is_valid(self._services.q.clock.now()):
            return None
        self._tokens.put(key, found)
        return found

    async def of_session(self, cookie: str) -> Session | None:
        """The session, if it and its token are valid now."""
        key = digest(cookie)
        now = self._services.q.clock.now()
        found = self._sessions.get(key) or await self._services.ask(lambda q: q.store.accounts.session_of(key, now))
        if found is None or now >= found.expires_at or not found.token.is_valid(now):
            return None
        self._sessions.put(key, found)
        return found

    def forget(self) -> None:
        """Something was changed here: look again."""
        for memory in (self._tokens, self._sessions, self._openness):
            memory.clear()


def _token(q: PrismQ, key: str) -> ApiToken | None:
    found = q.store.accounts.token_of(key)
    now = q.clock.now()
    if found is not None and (found.last_used_at is None or now - found.last_used_at >= _USE_NOTED_S):
        with suppress(QueueDatabaseError):  # a busy database is no reason to turn anybody away
            q.store.accounts.used(found.token_id, now)
    return found


class _Memory(Generic[V]):
    """What was found, for REMEMBERED_S; on the event loop alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[float, V]] = {}

    def get(self, key: str) -> V | None:
        kept = self._kept.get(key)
        if kept is None or self._clock.monotonic() - kept[0] >= REMEMBERED_S:
            return None
        return kept[1]

    def put(self, key: str, value: V) -> None:
        if key in self._kept and self.get(key) is not None:
            return  # as old as it is
        if len(self._kept) >= _REMEMBERED_MAX:
            self._kept.clear()
        self._kept[key] = (self._clock.monotonic(), value)

    def clear(self) -> None:
        self._kept.clear()
