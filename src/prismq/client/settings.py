"""The options of `@q.task`, checked, as the fields of a Handler."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from prismq.client.options import json_object_text, name_of, seconds, tags_text, whole
from prismq.domain import limits
from prismq.domain.backoff import Backoff
from prismq.domain.errors import InvalidArgument, closest

_MB = 1_048_576
_EXECUTORS = ("auto", "thread", "process")


def handler_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Raises InvalidArgument, which names the option and what it takes."""
    fields: dict[str, Any] = {}
    for option, value in settings.items():
        if option not in _TAKES:
            raise InvalidArgument(
                f"@q.task has no option {option!r}.{closest(option, _TAKES)} Options: {', '.join(sorted(_TAKES))}"
            )
        if value is not None:
            fields |= _TAKES[option](value)
    return fields


def _backoff(value: Any) -> dict[str, Any]:
    if isinstance(value, Backoff):
        return {"backoff": value}
    if callable(value) and len(inspect.signature(value).parameters) == 1:
        return {"delay_of": value}
    raise InvalidArgument(f"backoff takes a prismq.Backoff or a function from attempt to seconds, not {value!r:.100}")


def _unique_for(value: Any) -> dict[str, Any]:
    return {"unique_pending": True} if value == "pending" else {"unique_for_s": seconds("unique_for", value)}


def _executor(value: Any) -> dict[str, Any]:
    if value not in _EXECUTORS:
        raise InvalidArgument(f"executor takes one of {', '.join(_EXECUTORS)}, not {value!r:.100}")
    return {"executor": value}


def _compatibility(value: Any) -> dict[str, Any]:
    json_object_text("compatibility", value)
    return {"compatibility": dict(value)}


def _tags(value: Any) -> dict[str, Any]:
    tags_text(value)
    return {"tags": tuple(value)}


_TAKES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "name": lambda value: {},
    "queue": lambda value: {"queue": name_of("queue", value)},
    "priority": lambda value: {"priority": whole("priority", value, limits.PRIORITY_MIN, limits.PRIORITY_MAX)},
    "max_attempts": lambda value: {"max_attempts": whole("max_attempts", value, 1, limits.ATTEMPTS_MAX)},
    "timeout": lambda value: {"timeout_s": seconds("timeout", value, low=0.001)},
    "backoff": _backoff,
    "compatibility": _compatibility,
    "tags": _tags,
    "retention": lambda value: {"retention_s": seconds("retention", value)},
    "unique_for": _unique_for,
    "executor": _executor,
    "memory_limit_mb": lambda value: {"memory_limit_bytes": whole("memory_limit_mb", value, 1, 1_048_576) * _MB},
}
