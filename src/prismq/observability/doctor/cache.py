"""Faults of the Redis that tells workers of new tasks. Nothing of the queue is kept there."""

from __future__ import annotations

from collections.abc import Iterator

from prismq.domain.finding import Check, Finding, Severity
from prismq.domain.words import plural
from prismq.observability.doctor.patient import Patient
from prismq.storage.open import redis_state

_FULL = 0.9
_EVICTS_NOTHING = "noeviction"
_LOSES_NOTHING = (
    "No task depends on it: PrismQ keeps nothing in Redis that it would miss, and hints that are lost cost a poll."
)


def checks_of(patient: Patient) -> list[Check]:
    """Of Redis, where one is configured."""
    return [
        Check(
            "redis",
            "a Redis that does not answer, is nearly full or throws keys away (its eviction policy), or cannot write "
            "what it was told to persist",
            "",
            lambda now: _redis(patient.redis_url),
        )
    ]


def _redis(url: str | None) -> Iterator[Finding]:
    if url is None:
        return
    try:
        state = redis_state(url)
    except Exception as error:  # noqa: BLE001 - the driver is not imported here, and has errors of its own
        yield Finding(
            "redis", Severity.WARNING, f"Redis does not answer: {error}",
            f"Workers find new tasks by polling until it does, within poll_interval_seconds. {_LOSES_NOTHING}",
            "Start it, or correct redis_url; take redis_url out where it is not wanted.",
        )  # fmt: skip
        return
    limit = f"{state.maxmemory / 1_048_576:,.0f} MiB"
    if state.maxmemory and state.policy == _EVICTS_NOTHING and state.used_memory >= _FULL * state.maxmemory:
        yield Finding(
            "redis", Severity.WARNING,
            f"Redis uses {state.used_memory / state.maxmemory:.0%} of its {limit} (maxmemory), and its policy is "
            f"{_EVICTS_NOTHING}",
            f"When it is full it refuses what others write to it. {_LOSES_NOTHING}",
            "Raise maxmemory, or see with `redis-cli --bigkeys` who fills it.",
        )  # fmt: skip
    if state.maxmemory and state.policy != _EVICTS_NOTHING:
        so_far = f"; {plural(state.evicted_keys, 'key')} so far" if state.evicted_keys else ""
        yield Finding(
            "redis", Severity.WARNING if state.evicted_keys else Severity.NOTE,
            f"Redis throws keys away when its {limit} are full (maxmemory-policy {state.policy}{so_far})",
            f"{_LOSES_NOTHING} Other programs that keep data in this Redis may lose it.",
            "Set maxmemory-policy to noeviction where others keep data in it, or give PrismQ a Redis of its own.",
        )  # fmt: skip
    if state.save_failed:
        yield Finding(
            "redis", Severity.WARNING, "Redis could not write its data to the disk when it last tried",
            f"With stop-writes-on-bgsave-error, its default, it refuses writes and pings: hints stop. {_LOSES_NOTHING}",
            "Look at its log, at the disk and at the rights of its folder; or switch persistence off (save \"\" and "
            "appendonly no) in a Redis that PrismQ has for itself.",
        )  # fmt: skip
    elif state.persists:
        yield Finding(
            "redis", Severity.NOTE, "Redis writes its data to the disk (persistence is on)",
            f"That is right where others keep data in it. {_LOSES_NOTHING}",
            "In a Redis that PrismQ has for itself, save \"\" and appendonly no spare the disk.",
        )  # fmt: skip
