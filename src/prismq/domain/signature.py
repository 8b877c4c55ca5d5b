"""A function's parameters and their type hints, read once, when it becomes a task."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from prismq.domain.errors import InvalidArgument
from prismq.domain.json_values import short

EMPTY: Any = Parameter.empty


@dataclass(frozen=True)
class Signature:
    """What may be passed to a function and what it returns; a parameter without a hint has the hint Any."""

    name: str
    text: str  # `thumbnail(path: str, width: int = 256) -> str`, for people
    parameters: tuple[Parameter, ...]
    hints: Mapping[str, Any]
    shown: Mapping[str, str]  # the hints as they were written
    returns: Any


def read_signature(
    function: Callable[..., Any], name: str | None = None, namespace: Mapping[str, Any] | None = None
) -> Signature:
    """Read the signature of `function`; `name` is what messages call it, by default its own name.

    Hints may be text; names in it are looked up in the function's module and in `namespace`. Raises
    InvalidArgument where the signature cannot be read or a hint cannot be resolved.
    """
    name = name or _name_of(function)
    try:
        signature = inspect.signature(function)
    except NameError as error:  # Python 3.14 evaluates hints here
        raise InvalidArgument(_unresolved(name, "a parameter", error)) from None
    except (ValueError, TypeError) as error:
        raise InvalidArgument(
            f"{name!r} cannot be a task: its signature cannot be read ({error}). Wrap it in a function of your own."
        ) from None
    parameters = tuple(signature.parameters.values())
    text = _text(name, parameters, signature.return_annotation)
    known = {**_globals_of(function), **(namespace or {})}
    hints = {}
    for parameter in parameters:
        hint = _resolved(parameter.annotation, known, text, f"parameter {parameter.name!r}")
        # `width: int = None` is common, and then None is what may be passed.
        hints[parameter.name] = typing.Optional[hint] if parameter.default is None else hint  # noqa: UP045
    return Signature(
        name=name,
        text=text,
        parameters=parameters,
        hints=hints,
        shown={parameter.name: _show(parameter.annotation) for parameter in parameters},
        returns=_resolved(signature.return_annotation, known, text, "the result"),
    )


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(name).rpartition("<locals>.")[2]


def _globals_of(function: Any) -> Mapping[str, Any]:
    """The names of the module in which the innermost function was written."""
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    if not inspect.isroutine(function):
        function = type(function).__call__
    names: Mapping[str, Any] = getattr(getattr(function, "__func__", function), "__globals__", {})
    return names


def _resolved(annotation: Any, known: dict[str, Any], text: str, where: str) -> Any:
    if annotation is EMPTY:
        return Any
    holder: Any = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, known, None, include_extras=True)["it"]
    except NameError as error:
        raise InvalidArgument(_unresolved(text, where, error)) from None
    except (TypeError, SyntaxError, AttributeError) as error:
        raise InvalidArgument(f"{text}: the type hint of {where} cannot be understood: {error}") from None


def _unresolved(text: str, where: str, error: NameError) -> str:
    return (
        f"{text}: the type hint of {where} cannot be resolved: {error}. Import or define the type at module "
        f"level, not only under TYPE_CHECKING or inside a function: arguments are checked against it."
    )


def _show(annotation: Any) -> str:
    if annotation is EMPTY:
        return "any"
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return text.replace("typing.", "")


def _text(name: str, parameters: tuple[Parameter, ...], returns: Any) -> str:
    shown: list[str] = []
    stars = {Parameter.VAR_POSITIONAL.value: "*", Parameter.VAR_KEYWORD.value: "**"}
    kinds = [parameter.kind for parameter in parameters]
    for place, parameter in enumerate(parameters):
        before = kinds[place - 1] if place else None
        if before is Parameter.POSITIONAL_ONLY and parameter.kind is not before:
            shown.append("/")
        if (
            parameter.kind is Parameter.KEYWORD_ONLY
            and Parameter.VAR_POSITIONAL not in kinds
            and before is not parameter.kind
        ):
            shown.append("*")
        text = stars.get(parameter.kind.value, "") + parameter.name
        if parameter.annotation is not EMPTY:
            text += f": {_show(parameter.annotation)}"
        if parameter.default is not EMPTY:
            text += f" = {short(parameter.default)}"
        shown.append(text)
    if kinds and kinds[-1] is Parameter.POSITIONAL_ONLY:
        shown.append("/")
    arrow = "" if returns is EMPTY else f" -> {_show(returns)}"
    return f"{name}({', '.join(shown)}){arrow}"
