"""Breakers opened and closed by somebody."""

from __future__ import annotations

from prismq.domain.account import AuditEntry
from prismq.domain.breaker import Breaker, BreakerState, closed
from prismq.domain.errors import InvalidArgument, QueueBusyError, closest
from prismq.domain.limits import NAME_CHARS_MAX
from prismq.observability.condition import LIVE, WorkerView
from prismq.storage.contract import Store
from prismq.worker.acts import BREAKER_CLOSE, BREAKER_OPEN

FOR_S_MAX = 30 * 86_400.0
_TRIES = 3


def open_breaker(
    store: Store, now: float, type_: str, *, by: str, via: str, origin: str | None = None, reason: str = "",
    for_s: float | None = None,
) -> Breaker:  # fmt: skip
    """Claim no task of this type until somebody closes its breaker; with `for_s`, until so many seconds have passed and
    one of its tasks, tried then, has completed. What runs goes on.

    Raises InvalidArgument for a type or a time that cannot be, and QueueDatabaseError.
    """
    _check(type_)
    if for_s is not None and not 0 < for_s <= FOR_S_MAX:
        raise InvalidArgument(f"a breaker is opened for a time above 0 and at most 30 days, not {for_s!r} seconds")
    for _ in range(_TRIES):
        before = store.remedies.breaker(type_)
        since = before.opened_at if before is not None and before.is_shut and before.opened_at is not None else now
        after = Breaker(
            type_,
            BreakerState.OPEN,
            now,
            reason or f"opened by {by}",
            by,
            since,
            1,
            None if for_s is None else now + for_s,
        )
        if store.remedies.put_breaker(after, instead_of=before):
            which = {"reason": after.reason} | ({} if for_s is None else {"for_s": for_s})
            entry = AuditEntry(by, f"remediation.{BREAKER_OPEN}", now, type_, which, 0, origin, via)
            store.remedies.note(BREAKER_OPEN, 0, entry, now)
            return after
    raise QueueBusyError(f"the breaker of {type_!r} was changed by others again and again; try once more")


def close_breaker(
    store: Store, now: float, type_: str, *, by: str, via: str, origin: str | None = None
) -> Breaker | None:
    """Claim tasks of this type again; None where its breaker was not open. Raises QueueDatabaseError."""
    _check(type_)
    for _ in range(_TRIES):
        before = store.remedies.breaker(type_)
        if before is None or not before.is_shut:
            return None
        after = closed(before, f"closed by {by}", now, by)
        if store.remedies.put_breaker(after, instead_of=before):
            entry = AuditEntry(by, f"remediation.{BREAKER_CLOSE}", now, type_, {"reason": after.reason}, 0, origin, via)
            store.remedies.note(BREAKER_CLOSE, 0, entry, now)
            return after
    raise QueueBusyError(f"the breaker of {type_!r} was changed by others again and again; try once more")


def stranger(store: Store, now: float, type_: str) -> str | None:
    """A warning where no task of this type was ever seen and no live worker knows it: it may be misspelt. A breaker is
    opened all the same, because a type may be shut before its first task. Raises QueueDatabaseError."""
    seen = {known for _, known, _, _ in store.insight.depth()} | {one.type for one in store.insight.totals(now)}
    for worker in store.workers.all():
        if worker.status in LIVE:
            seen |= WorkerView(worker, 0.0, worker.status).types or frozenset()
    if type_ in seen:
        return None
    return f"no task of the type {type_!r} was ever seen, and no worker knows it.{closest(type_, seen)}"


def _check(type_: str) -> None:
    if not 0 < len(type_) <= NAME_CHARS_MAX or not type_.isprintable():
        raise InvalidArgument(
            f"a task type is a name of 1 to {NAME_CHARS_MAX} printable characters, not {type_[:40]!r}"
        )
