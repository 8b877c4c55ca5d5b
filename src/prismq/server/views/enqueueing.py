"""The form that enqueues: fields from the task function's type hints where this process knows it, else JSON."""

from __future__ import annotations

import inspect
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin

from prismq.app import PrismQ
from prismq.domain.errors import InvalidArgument
from prismq.domain.redaction import REDACTED
from prismq.domain.signature import EMPTY, read_signature
from prismq.domain.task import Task, json_list
from prismq.server.views.selection import Pairs

ARGUMENT = "arg."  # what the names of arguments' fields begin with
_TYPES_MAX = 500


class Field(NamedTuple):
    """A field of the form. `kind`: text, integer, number, boolean, choice, or json for all that a line cannot hold."""

    name: str
    kind: str
    hint: str
    required: bool
    value: str
    choices: Sequence[tuple[str, str]] = ()  # JSON and label
    placeholder: str = ""


@dataclass(frozen=True)
class EnqueuePage:
    """The form, as it is to be shown; `values` are the options' as they were sent, `problem` what was wrong."""

    type: str
    signature: str
    about: str
    fields: Sequence[Field]
    payload: str
    values: Mapping[str, str]
    types: Sequence[str]
    queues: Sequence[str]
    knows_application: bool
    problem: str = ""
    retry_of: Task | None = None

    @property
    def by_fields(self) -> bool:
        """Whether there is a field for each parameter."""
        return bool(self.signature)


@dataclass(frozen=True)
class Order:
    """What is to be enqueued."""

    type: str
    payload: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)


def enqueue_page(
    q: PrismQ, type_: str, *, sent: Pairs | None = None, problem: str = "", retry_of: Task | None = None
) -> EnqueuePage:
    """The form for a type; `sent`: fill it in with what was sent before. Raises QueueDatabaseError."""
    depth = q.store.insight.depth()
    known = sorted({*q.handlers, *(name for _, name, _, _ in depth)})[:_TYPES_MAX]
    # Secrets are not shown; `restored` puts them back where they were left as they are.
    before: Mapping[str, Any] = q.redactor.redact(retry_of.get_payload_dict()) if retry_of is not None else {}
    handler = q.handlers.get(type_)
    fields: list[Field] = []
    signature = about = ""
    if handler is not None:
        read = read_signature(handler.function, type_)
        signature, about = read.text, _about(handler.function)
        for one in read.parameters:
            sent_text = None if sent is None else next((v for k, v in sent.items if k == ARGUMENT + one.name), "")
            fields.append(_field(one, read.hints[one.name], read.shown[one.name], before, sent_text))
    payload = (
        next((value for key, value in sent.items if key == "payload"), "{}")
        if sent is not None
        else (json.dumps(before, indent=2, ensure_ascii=False) if retry_of is not None else "{}")
    )
    values = {name: sent.one(name) or "" for name in _OPTIONS} if sent is not None else _options_of(retry_of)
    return EnqueuePage(
        type_, signature, about, fields, payload, values, known, sorted({queue for queue, _, _, _ in depth}),
        bool(q.handlers), problem, retry_of,
    )  # fmt: skip


def _about(function: Any) -> str:
    return next(iter((inspect.getdoc(function) or "").splitlines()), "")


def _options_of(task: Task | None) -> dict[str, str]:
    if task is None:
        return dict.fromkeys(_OPTIONS, "")
    tags = ", ".join(str(tag) for tag in json_list(task.tags))
    return {**dict.fromkeys(_OPTIONS, ""), "queue": task.queue, "priority": str(task.priority), "tags": tags}


def _field(parameter: inspect.Parameter, hint: Any, shown: str, before: Mapping[str, Any], sent: str | None) -> Field:
    name = parameter.name
    required = parameter.default is EMPTY and parameter.kind not in (
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    )
    kind, choices = _kind(hint) if required or parameter.default is not EMPTY else ("json", [])
    value = sent if sent is not None else _text(before[name], kind) if name in before else ""
    placeholder = "" if required else f"{parameter.default!r}"[:80] if parameter.default is not EMPTY else "none"
    return Field(name, kind, shown, required, value, choices, placeholder)


def _kind(hint: Any) -> tuple[str, list[tuple[str, str]]]:
    origin = get_origin(hint)
    if origin is typing.Annotated:
        return _kind(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        some = [one for one in get_args(hint) if one is not type(None)]
        return _kind(some[0]) if len(some) == 1 else ("json", [])
    if origin is Literal:
        return "choice", [(json.dumps(one), str(one)) for one in get_args(hint)]
    if isinstance(hint, type):
        if issubclass(hint, Enum):
            return "choice", [(json.dumps(one.value), one.name) for one in hint]
        for base, kind in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "text")):
            if hint is base:
                return kind, []
        if hint.__module__ in ("datetime", "uuid", "pathlib", "decimal"):
            return "text", []
    return "json", []


def _text(value: Any, kind: str) -> str:
    return value if kind == "text" and isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _int(text: str) -> int:
    return int(text)


_OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "queue": str,
    "priority": _int,
    "delay": float,
    "max_attempts": _int,
    "timeout": float,
    "idempotency_key": str,
    "tags": lambda text: [tag.strip() for tag in text.split(",") if tag.strip()],
}


def order_of(page: EnqueuePage, sent: Pairs) -> Order:
    """What the form asks for. Raises InvalidArgument, for people to read; the task's own checks come later."""
    if not page.type:
        raise InvalidArgument("say which type of task to enqueue")
    payload = _arguments(page, sent) if page.by_fields else _object(sent)
    options: dict[str, Any] = {}
    for name, read in _OPTIONS.items():
        text = sent.one(name)
        if text is None:
            continue
        try:
            options[name] = read(text)
        except ValueError:
            raise InvalidArgument(f"{name.replace('_', ' ')} takes a number, not {text[:40]!r}") from None
    return Order(page.type, payload, options)


def restored(payload: Any, original: Any) -> Any:
    """The payload with what the form showed as redacted taken from the original, place by place."""
    if payload == REDACTED and original is not None:
        return original
    if isinstance(payload, Mapping) and isinstance(original, Mapping):
        return {key: restored(value, original.get(key)) for key, value in payload.items()}
    if isinstance(payload, list) and isinstance(original, list):
        return [
            restored(value, original[place] if place < len(original) else None) for place, value in enumerate(payload)
        ]
    return payload


def _object(sent: Pairs) -> Mapping[str, Any]:
    text = sent.one("payload") or "{}"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"the payload is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidArgument("the payload is a JSON object: a key for each parameter of the task")
    return value


def _arguments(page: EnqueuePage, sent: Pairs) -> dict[str, Any]:
    texts = {key[len(ARGUMENT) :]: value for key, value in sent.items if key.startswith(ARGUMENT)}
    found: dict[str, Any] = {}
    for one in page.fields:
        text = texts.get(one.name, "")
        if text == "" and not (one.required and one.kind == "text"):
            continue  # its default; the task says where there is none
        if one.kind == "text":
            found[one.name] = text
            continue
        try:
            found[one.name] = json.loads(text)
        except (ValueError, RecursionError):
            if one.kind == "json":
                raise InvalidArgument(
                    f"{one.name!r} ({one.hint}) takes JSON: text stands in quotes, lists in brackets; got {text[:60]!r}"
                ) from None
            found[one.name] = text  # the task's own check names what it takes
    return found
