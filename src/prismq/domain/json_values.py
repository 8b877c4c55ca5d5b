"""What JSON keeps, what it would change on the way, and how to say so.

Type hints are looked at here as far as JSON is concerned; reading them off a function is in signature.py.
"""

from __future__ import annotations

import datetime as dt
import json
import reprlib
import types
from dataclasses import fields, is_dataclass
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

if TYPE_CHECKING:
    from pydantic_core import CoreConfig, core_schema

# Deeper than this is a list that holds itself, or nothing a person meant.
JSON_DEPTH_MAX = 100

# The kind of the error that plain_json() raises.
NOT_JSON: Literal["not_json"] = "not_json"

# What pydantic raises, or lets through, for a value it cannot write.
UNSERIALIZABLE = (ValueError, TypeError, AttributeError, RecursionError)

# More digits than Python and pydantic read back.
NUMBER_CHARS_MAX = 4_300

# Types whose values are the same after JSON, on their own and in JSON's containers. Not so a datetime: the
# offset of an old time zone has seconds, which are lost.
_EXACT_TYPES: frozenset[object] = frozenset(
    {str, int, float, bool, bytes, type(None), Decimal, UUID, Path, PurePath, dt.date, dt.timedelta}
)
_CONTAINERS = (list, set, frozenset, tuple, dict)

# Type hints put together while the program runs are values to a type checker.
_DICT: Any = dict
_TUPLE: Any = tuple
_UNION: Any = Union
_ANNOTATED: Any = Annotated

_short = reprlib.Repr()
_short.maxstring = _short.maxother = 60


def given(value: Any) -> str:
    """The value as a message shows it: its type and the beginning of its repr."""
    return "None" if value is None else f"{type(value).__name__} {short(value)}"


def short(value: Any) -> str:
    """The beginning of the value's repr."""
    try:
        return _short.repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "too large to show"


def reason(error: BaseException) -> str:
    """What a serializer complained of, without its preamble and full stop."""
    return (str(error) or type(error).__name__).removeprefix("Error serializing to JSON: ").rstrip(".")


def core_config(inf_nan: Literal["constants", "strings"]) -> CoreConfig:
    """Bytes as base64; NaN and infinity as numbers, to be found and refused, or as text."""
    from pydantic_core import CoreConfig

    return CoreConfig(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan=inf_nan)


def has_non_finite(text: str) -> bool:
    """Whether JSON text holds NaN or an infinity as a number; inside a string it is text like any other."""
    if "NaN" not in text and "Infinity" not in text:
        return False
    found: list[str] = []
    json.loads(text, parse_constant=found.append)
    return bool(found)


def problem_of(value: Any, depth: int = 0) -> str | None:
    """Why the value is not plain JSON; None where it is. Tuples pass for lists."""
    if value is None or isinstance(value, (str, int, float)):
        return None
    if depth > JSON_DEPTH_MAX:
        return f"it is nested more than {JSON_DEPTH_MAX} levels deep, or holds itself"
    if isinstance(value, (list, tuple)):
        parts = iter(value)
    elif isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                return f"JSON has only text for keys, and {given(key)} is one of these"
        parts = iter(value.values())
    else:
        return f"JSON has no form for {type(value).__name__}"
    return next((found for part in parts if (found := problem_of(part, depth + 1))), None)


def plain_json() -> Any:
    """A type hint for any JSON value. Anything else is refused, not quietly turned into text."""
    from pydantic_core import PydanticCustomError, core_schema

    def check(value: Any) -> Any:
        problem = problem_of(value)
        if problem is not None:
            advice = "Name the type in a type hint, and it is turned into JSON and back where that can be done"
            raise PydanticCustomError(NOT_JSON, "{problem}. {advice}", {"problem": problem, "advice": advice})
        return value

    class PlainJson:
        @staticmethod
        def __get_pydantic_core_schema__(source: Any, handler: Any) -> core_schema.CoreSchema:
            return core_schema.json_or_python_schema(
                core_schema.any_schema(), core_schema.no_info_plain_validator_function(check)
            )

    return Annotated[Any, PlainJson]


def with_plain_json(hint: Any, plain: Any) -> Any:
    """`hint` with the hint `plain` in place of Any, as far as the containers that JSON knows go."""
    if hint is Any or hint is object:
        return plain
    if hint in (list, set, frozenset):
        return hint[plain]
    if hint is dict:
        return _DICT[str, plain]
    if hint is tuple:
        return _TUPLE[plain, ...]
    origin, inner = get_origin(hint), get_args(hint)
    if not inner:
        return hint
    if origin is Annotated:
        annotated = (with_plain_json(inner[0], plain), *hint.__metadata__)
        return _ANNOTATED[annotated]
    parts = tuple(part if part is Ellipsis else with_plain_json(part, plain) for part in inner)
    if _is_union(origin):
        return _UNION[parts]
    if origin is dict and inner[0] is Any:
        return _DICT[str, parts[1]]
    return origin[parts] if origin in _CONTAINERS else hint


def is_exact(hint: Any) -> bool:
    """Whether values of this hint are known to be the same after JSON; others are tried out one by one."""
    if hint is Any or hint is object or hint in _CONTAINERS:
        return True
    origin, inner = get_origin(hint), get_args(hint)
    if origin is None:
        if isinstance(hint, type) and issubclass(hint, Enum):
            return all(type(member.value) in (str, int) for member in hint)
        return hint in _EXACT_TYPES
    if origin is Literal:
        return all(type(value) in (str, int, bool, type(None)) for value in inner)
    if _is_union(origin):
        # One of several types may be taken for another; none is taken for null.
        others = [part for part in inner if part is not type(None)]
        return len(others) == 1 and is_exact(others[0])
    if origin is dict:
        return inner[0] in (str, int, Any) and is_exact(inner[1])
    if origin in _CONTAINERS:
        return all(part is Ellipsis or is_exact(part) for part in inner)
    return False


def _is_union(origin: Any) -> bool:
    return origin is Union or origin is types.UnionType


def change_of(before: Any, after: Any) -> tuple[Any, Any] | None:
    """The first part of `before` that is another in `after`; None where both are the same.

    A tuple may become a list, 1 may become 1.0, and a str or int of a class of its own (an Enum, say) the
    plain one: where a hint leaves it open, they mean the same.
    """
    if before is after:
        return None
    both_sequences = isinstance(before, (list, tuple)) and isinstance(after, (list, tuple))
    if both_sequences and len(before) == len(after):
        return _first_change(zip(before, after, strict=True))
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        return _first_change((before[key], after[key]) for key in before)
    if isinstance(before, (str, int, float)) and isinstance(after, (str, int, float)):
        return None if before == after else (before, after)
    kind: Any = type(before)
    own_equality: Any = kind.__eq__
    if kind is not type(after):
        return before, after
    if hasattr(kind, "__pydantic_fields__"):
        names = [*kind.__pydantic_fields__, "__pydantic_extra__"]
        return _first_change((getattr(before, name, None), getattr(after, name, None)) for name in names)
    if is_dataclass(kind):
        names = [field.name for field in fields(kind) if field.init]
        return _first_change((getattr(before, name, None), getattr(after, name, None)) for name in names)
    if own_equality is object.__eq__:
        return change_of(getattr(before, "__dict__", None), getattr(after, "__dict__", None))
    return None if before == after else (before, after)


def _first_change(pairs: Any) -> tuple[Any, Any] | None:
    return next((change for one, other in pairs if (change := change_of(one, other))), None)
