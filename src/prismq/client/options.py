"""Options of a task and of one enqueue: checked, and made into what a store writes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict

from pydantic_core import to_json

from prismq.domain import limits
from prismq.domain.backoff import Backoff
from prismq.domain.errors import InvalidArgument, closest
from prismq.domain.task import NewTask
from prismq.domain.times import to_epoch

Seconds = float | int | timedelta


class EnqueueOptions(TypedDict, total=False):
    """What may be said of one enqueue; each overrides what the task function says. Times in seconds."""

    queue: str
    priority: int  # lower runs first; 100 is normal
    delay: Seconds
    run_at: datetime  # naive: UTC
    max_attempts: int
    timeout: Seconds | None
    backoff: Backoff
    idempotency_key: str
    unique_for: Seconds | Literal["pending"]
    unique_key: str
    compatibility: Mapping[str, Any]
    tags: Iterable[str]
    retention: Seconds | None
    headers: Mapping[str, str]


_KNOWN = frozenset(EnqueueOptions.__annotations__)


def apply(new: NewTask, options: Mapping[str, Any], now: float) -> NewTask:
    """Write `options` into `new`. Raises InvalidArgument, which names the option and what it takes."""
    for name, value in options.items():
        if name not in _KNOWN:
            raise InvalidArgument(
                f"there is no option {name!r}.{closest(name, _KNOWN)} Options: {', '.join(sorted(_KNOWN))}. "
                f"Nothing was enqueued."
            )
        _APPLY[name](new, value, now)
    if "delay" in options and "run_at" in options:
        raise _wrong("run_at", options["run_at"], "either delay or run_at, not both")
    if (new.unique_for_s or new.unique_pending) and new.unique_key is None:
        digest = hashlib.sha256(f"{new.queue}\n{new.type}\n".encode() + _canonical(new.payload)).hexdigest()[:32]
        new.unique_key = f"{new.type}:{digest}"
    return new


def _canonical(payload: str) -> bytes:
    from pydantic_core import from_json

    value = from_json(payload)
    return to_json(dict(sorted(value.items())) if isinstance(value, dict) else value)


def _wrong(option: str, value: object, expected: str) -> InvalidArgument:
    return InvalidArgument(f"option {option!r} takes {expected}, not {value!r:.100}. Nothing was enqueued.")


def seconds(option: str, value: Any, *, low: float = 0.0, high: float = limits.DELAY_S_MAX) -> float:
    """`value` (a number or a timedelta) as seconds within [low, high]. Raises InvalidArgument."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _wrong(option, value, "a number of seconds or a timedelta")
    if not low <= value <= high:
        raise _wrong(option, value, f"seconds from {low:g} to {high:g}")
    return float(value)


def name_of(option: str, value: Any) -> str:
    """A queue's, type's or tag's name: text without control characters, not too long. Raises InvalidArgument."""
    if not isinstance(value, str) or not value.strip():
        raise _wrong(option, value, "a name, text that is not empty")
    if len(value) > limits.NAME_CHARS_MAX or not value.isprintable():
        raise _wrong(option, value, f"a name of at most {limits.NAME_CHARS_MAX} printable characters")
    return value


def whole(option: str, value: Any, low: int, high: int) -> int:
    """`value` as a whole number within [low, high]. Raises InvalidArgument."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _wrong(option, value, f"a whole number from {low:,} to {high:,}")
    return value


def json_object_text(option: str, value: Any) -> str:
    """A mapping as canonical JSON (sorted keys), so that equal needs share a route. Raises InvalidArgument."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _wrong(option, value, "a mapping with text keys, such as {'region': 'eu'}")
    try:
        return to_json(dict(sorted(value.items()))).decode()
    except (ValueError, TypeError) as error:
        raise _wrong(option, value, f"a mapping that can be JSON ({error})") from error


def tags_text(value: Any) -> str | None:
    """Tags as a JSON list; None for none. Raises InvalidArgument."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise _wrong("tags", value, "a list of names")
    tags = sorted({name_of("tags", tag) for tag in value})
    if len(tags) > limits.TAGS_MAX:
        raise _wrong("tags", value, f"at most {limits.TAGS_MAX} tags")
    return to_json(tags).decode() if tags else None


def _key(option: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= limits.KEY_CHARS_MAX:
        raise _wrong(option, value, f"text of 1 to {limits.KEY_CHARS_MAX} characters")
    return value


def _queue(new: NewTask, value: Any, _: float) -> None:
    new.queue = name_of("queue", value)


def _priority(new: NewTask, value: Any, _: float) -> None:
    new.priority = whole("priority", value, limits.PRIORITY_MIN, limits.PRIORITY_MAX)


def _delay(new: NewTask, value: Any, now: float) -> None:
    delay_s = seconds("delay", value)
    new.run_at = now + delay_s if delay_s else None


def _run_at(new: NewTask, value: Any, now: float) -> None:
    if not isinstance(value, datetime):
        raise _wrong("run_at", value, "a datetime (naive: UTC)")
    new.run_at = to_epoch(value)


def _max_attempts(new: NewTask, value: Any, _: float) -> None:
    new.max_attempts = whole("max_attempts", value, 1, limits.ATTEMPTS_MAX)


def _timeout(new: NewTask, value: Any, _: float) -> None:
    new.timeout_s = None if value is None else seconds("timeout", value, low=0.001)


def _backoff(new: NewTask, value: Any, _: float) -> None:
    if not isinstance(value, Backoff):
        raise _wrong("backoff", value, "a prismq.Backoff, such as Backoff(initial_s=5)")
    new.backoff = value.to_json()


def _idempotency_key(new: NewTask, value: Any, _: float) -> None:
    new.idempotency_key = _key("idempotency_key", value)


def _unique_for(new: NewTask, value: Any, _: float) -> None:
    if value == "pending":
        new.unique_pending = True
    else:
        new.unique_for_s = seconds("unique_for", value)


def _unique_key(new: NewTask, value: Any, _: float) -> None:
    new.unique_key = _key("unique_key", value)


def _compatibility(new: NewTask, value: Any, _: float) -> None:
    new.compatibility = json_object_text("compatibility", value)


def _tags(new: NewTask, value: Any, _: float) -> None:
    new.tags = tags_text(value)


def _retention(new: NewTask, value: Any, _: float) -> None:
    new.retention_s = None if value is None else seconds("retention", value)


def _headers(new: NewTask, value: Any, _: float) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in value.items()):
        raise _wrong("headers", value, "a mapping of text to text")
    new.headers = {**new.headers, **value}


_APPLY = {
    "queue": _queue,
    "priority": _priority,
    "delay": _delay,
    "run_at": _run_at,
    "max_attempts": _max_attempts,
    "timeout": _timeout,
    "backoff": _backoff,
    "idempotency_key": _idempotency_key,
    "unique_for": _unique_for,
    "unique_key": _unique_key,
    "compatibility": _compatibility,
    "tags": _tags,
    "retention": _retention,
    "headers": _headers,
}
