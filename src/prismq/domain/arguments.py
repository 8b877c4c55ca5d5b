"""A call turned into JSON and back, checked against the function's type hints both times.

The payload is an object with one key per parameter: `thumbnail("cat.png", width=64)` is kept as
`{"path":"cat.png","width":64}`. Parameters left to their defaults are left out. `*sizes` is kept as a list
and `**options` as an object, each under its own name. Bytes are base64. Pydantic does the work, in its lax
mode; it is imported when the first task is defined, not before.

What is encoded can be decoded to equal arguments: what JSON would change on the way is refused.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from inspect import Parameter
from typing import TYPE_CHECKING, Any, get_args, get_origin

import typing_extensions
from typing_extensions import NotRequired, TypedDict

from prismq.domain.errors import InvalidArgument, PayloadTooLarge, closest
from prismq.domain.json_values import (
    NOT_JSON,
    NUMBER_CHARS_MAX,
    UNSERIALIZABLE,
    change_of,
    core_config,
    given,
    has_non_finite,
    is_exact,
    plain_json,
    reason,
    with_plain_json,
)
from prismq.domain.limits import PAYLOAD_BYTES_MAX, RESULT_BYTES_MAX
from prismq.domain.signature import EMPTY, Signature, read_signature

if TYPE_CHECKING:
    from pydantic_core import SchemaSerializer, SchemaValidator, ValidationError

_NOTHING_ENQUEUED = "Nothing was enqueued."
# Two objects before Python 3.11, one since.
_UNPACK = (typing_extensions.Unpack, getattr(typing, "Unpack", typing_extensions.Unpack))

# Type hints put together while the program runs are values to a type checker.
_DICT: Any = dict
_LIST: Any = list
_NOT_REQUIRED: Any = NotRequired


class Arguments:
    """The parameters of one task function, compiled for encoding and decoding calls. Build it with `of`."""

    __slots__ = (
        "_defaults",
        "_is_plain",
        "_keywords",
        "_misfit",
        "_on_trial",
        "_positional",
        "_positional_only",
        "_read",
        "_result",
        "_shown",
        "_validate",
        "_var_keyword",
        "_var_positional",
        "_write",
        "name",
        "signature",
    )

    def __init__(self, signature: Signature) -> None:
        from pydantic_core import ValidationError

        self.name = signature.name
        self.signature = signature.text  # `thumbnail(path: str, width: int = 256) -> str`, for people
        self._shown = signature.shown
        kinds = {parameter.name: parameter.kind for parameter in signature.parameters}
        self._positional = tuple(n for n, kind in kinds.items() if kind <= Parameter.POSITIONAL_OR_KEYWORD)
        self._positional_only = tuple(n for n, kind in kinds.items() if kind is Parameter.POSITIONAL_ONLY)
        self._keywords = frozenset(
            n for n, kind in kinds.items() if kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        )
        self._var_positional = next((n for n, kind in kinds.items() if kind is Parameter.VAR_POSITIONAL), None)
        self._var_keyword = next((n for n, kind in kinds.items() if kind is Parameter.VAR_KEYWORD), None)
        self._is_plain = len(self._keywords) == len(kinds)
        self._defaults = tuple((p.name, p.default) for p in signature.parameters if p.default is not EMPTY)
        self._on_trial = tuple(name for name, hint in signature.hints.items() if not is_exact(hint))

        validator, serializer = _compile(signature)
        # In by name or alias, out by name: a model may take one alias and write another.
        self._validate = partial(validator.validate_python, by_alias=True, by_name=True)
        self._read = partial(validator.validate_json, by_alias=True, by_name=True)
        self._write = partial(serializer.to_json, by_alias=False, round_trip=True, warnings=False)
        self._misfit: type[ValidationError] = ValidationError
        self._result = _Result(signature.returns)

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        namespace: Mapping[str, Any] | None = None,
    ) -> Arguments:
        """Compile the signature of `function`; `name` is what messages call it, by default its own name.

        `namespace` holds names that its hints may use besides its module's, such as the locals of the
        function that defines it. Raises InvalidArgument for a hint that cannot be resolved or kept as JSON.
        """
        return cls(read_signature(function, name, namespace))

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The payload of the call `function(*args, **kwargs)`.

        Raises InvalidArgument, which names the parameter, and PayloadTooLarge.
        """
        if self._is_plain and len(args) <= len(self._positional):
            values: dict[str, Any] = dict(zip(self._positional, args, strict=False))
            if kwargs:
                if not values.keys().isdisjoint(kwargs):
                    raise self._given_twice(values.keys() & kwargs.keys())
                values.update(kwargs)
        else:
            values = self._bind(args, kwargs)
        try:
            checked: dict[str, Any] = self._validate(values)
        except self._misfit as error:
            raise InvalidArgument(f"{self._complaint(error)} {_NOTHING_ENQUEUED}") from None
        try:
            raw: bytes = self._write(checked)
        except UNSERIALIZABLE as error:
            raise self._unwritable(checked, error) from None
        if len(raw) > PAYLOAD_BYTES_MAX:
            raise PayloadTooLarge(self.name, len(raw), PAYLOAD_BYTES_MAX)
        text = raw.decode()
        if has_non_finite(text):
            name = _first_key(checked, lambda name: has_non_finite(self._write({name: checked[name]}).decode()))
            raise self._refused(name, "JSON has no NaN and no infinity", checked.get(name))
        if self._on_trial or len(raw) > NUMBER_CHARS_MAX:
            self._try_reading(checked, text)
        return text

    def decode(self, payload: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The args and kwargs to call the function with, typed by its hints, defaults filled in.

        Raises InvalidArgument, which names the parameter, where the payload does not fit the function: rows
        may be written by hand, and functions change while their tasks wait.
        """
        try:
            values: dict[str, Any] = self._read(payload)
        except self._misfit as error:
            raise InvalidArgument(
                f"the payload of this task does not fit {self._complaint(error)} "
                f"Correct the payload or the function, then retry the task."
            ) from None
        for name, default in self._defaults:
            if name not in values:
                values[name] = default
        if self._is_plain:
            return (), values
        rest = values.pop(self._var_positional, ()) if self._var_positional else ()
        # Where there is a *rest, what stands before it can only be given by position.
        by_position = self._positional if rest else self._positional_only
        args = (*(values.pop(name) for name in by_position), *rest)
        if self._var_keyword:
            values.update(values.pop(self._var_keyword, {}))
        return args, values

    def encode_result(self, value: Any) -> str | None:
        """What the function returned, as JSON text; None for None.

        A value that does not fit the return annotation is kept as it is: the work is done. NaN and infinity
        are kept as text. Raises InvalidArgument where the value has no JSON form or is too large.
        """
        if value is None:
            return None
        try:
            raw = self._result.write(value)
        except UNSERIALIZABLE as error:
            raise InvalidArgument(
                f"the result of {self.name!r} has no JSON form: it is {given(value)} ({reason(error)}). "
                f"Return plain values, a dataclass or a pydantic model, or nothing."
            ) from None
        if len(raw) > RESULT_BYTES_MAX:
            raise InvalidArgument(
                f"the result of {self.name!r} takes {len(raw):,} bytes as JSON; the limit is "
                f"{RESULT_BYTES_MAX:,}. Store the data elsewhere and return where it lies."
            )
        return raw.decode()

    def decode_result(self, text: str | None) -> Any:
        """The result as the return annotation types it, or plain JSON where it does not fit; None for None.

        Raises InvalidArgument where the text is not JSON.
        """
        if text is None:
            return None
        try:
            return self._result.read(text)
        except ValueError as error:
            raise InvalidArgument(f"the stored result of {self.name!r} is not JSON: {error}") from None

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by parameter name, for any signature."""
        values: dict[str, Any] = dict(zip(self._positional, args, strict=False))
        rest = args[len(self._positional) :]
        if rest:
            if self._var_positional is None:
                takes, gave = len(self._positional), len(args)
                raise self._wrong(
                    f"it takes {takes} positional argument{'' if takes == 1 else 's'}, {gave} "
                    f"{'was' if gave == 1 else 'were'} given; the first too many is {given(rest[0])}."
                )
            values[self._var_positional] = list(rest)
        twice = [name for name in kwargs if name in values and name in self._keywords]
        if twice:
            raise self._given_twice(twice)
        options: dict[str, Any] = {}
        for name, value in kwargs.items():
            if name in self._keywords:
                values[name] = value
            elif self._var_keyword is not None:
                options[name] = value
            elif name in self._positional_only:
                raise self._wrong(f"{name!r} can only be given by position, not by name.")
            else:
                raise self._wrong(self._unexpected(name, value))
        if options and self._var_keyword is not None:
            values[self._var_keyword] = options
        return values

    def _try_reading(self, checked: Mapping[str, Any], text: str) -> None:
        """Refuse what would not arrive as it was given, such as a str | datetime, or an excluded field."""
        try:
            back: dict[str, Any] = self._read(text)
        except self._misfit as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0]) if first["loc"] else next(iter(checked))
            because = f"it could not be read back ({first['msg']})"
            raise self._refused(name, because, checked.get(name)) from None
        for name in self._on_trial:
            value = checked.get(name)
            change = change_of(value, back.get(name))
            if change is not None:
                before, after = map(given, change)
                if before == after:
                    after = f"another {type(change[1]).__name__}: its JSON form leaves something out"
                raise self._refused(name, f"{before} would arrive as {after}", value)

    # What is wrong, in words.

    def _wrong(self, what: str) -> InvalidArgument:
        return InvalidArgument(f"{self.signature}: {what} {_NOTHING_ENQUEUED}")

    def _given_twice(self, names: Iterable[str]) -> InvalidArgument:
        return self._wrong(f"{', '.join(sorted(map(repr, names)))} is given both by position and by name.")

    def _refused(self, name: str, because: str, value: Any) -> InvalidArgument:
        hint = self._shown.get(name, "any")
        return self._wrong(f"{name!r} ({hint}) cannot be kept as JSON, got {given(value)}: {because}.")

    def _unwritable(self, checked: Mapping[str, Any], error: BaseException) -> InvalidArgument:
        name = _first_key(checked, lambda name: _fails(lambda: self._write({name: checked[name]})))
        return self._refused(name, reason(error), checked.get(name))

    def _unexpected(self, name: str, value: Any) -> str:
        hint = closest(name, self._shown)
        return f"it has no parameter {name!r}, which was given as {given(value)}.{hint}"

    def _complaint(self, error: ValidationError) -> str:
        """`thumbnail(path: str): …` and what is wrong, as a sentence."""
        details = error.errors(include_url=False)
        # A misspelt name is both unexpected and missing; the first says more.
        unexpected = (one for one in details if one["type"] == "extra_forbidden" and len(one["loc"]) == 1)
        worst = next(unexpected, details[0])
        path, kind, value = worst["loc"], worst["type"], worst["input"]
        if kind == "json_invalid":
            return f"{self.signature}: it is not JSON ({worst['ctx']['error']})."
        if not path:
            return f"{self.signature}: it must be a JSON object, a key for each parameter, not {given(value)}."
        name = str(path[0])
        if len(path) == 1 and kind == "extra_forbidden":
            return f"{self.signature}: {self._unexpected(name, value)}"
        hint = self._shown.get(name, "any")
        if len(path) == 1 and kind == "missing":
            return f"{self.signature}: {name!r} ({hint}) is missing."
        if kind == NOT_JSON:
            return f"{self.signature}: {_path(path)} ({hint}) cannot be kept as JSON: {worst['msg']}."
        got = f"got {given(value)}: {worst['msg'][:1].lower()}{worst['msg'][1:].rstrip('.')}."
        if len(path) == 1:
            return f"{self.signature}: {name!r} must be {hint}, {got}"
        return f"{self.signature}: {_path(path)} does not fit {hint}, {got}"


class _Result:
    """Results of one return annotation, to JSON and back."""

    __slots__ = ("_read", "_validate", "_write")

    def __init__(self, hint: Any) -> None:
        from pydantic import TypeAdapter
        from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
        from pydantic_core import SchemaError, SchemaSerializer, SchemaValidator

        try:
            schema = TypeAdapter(hint).core_schema
        except (PydanticUserError, PydanticUndefinedAnnotation, SchemaError):
            # A class that pydantic does not know: what is returned may have a JSON form all the same.
            schema = TypeAdapter(Any).core_schema
        config = core_config("strings")
        validator = SchemaValidator(schema, config)
        self._validate = partial(validator.validate_python, by_alias=True, by_name=True)
        self._read = partial(validator.validate_json, by_alias=True, by_name=True)
        self._write = partial(SchemaSerializer(schema, config).to_json, by_alias=False, round_trip=True, warnings=False)

    def write(self, value: Any) -> bytes:
        import pydantic_core

        try:
            return self._write(self._validate(value))
        except UNSERIALIZABLE:
            return pydantic_core.to_json(value, bytes_mode="base64", inf_nan_mode="strings")

    def read(self, text: str) -> Any:
        from pydantic_core import ValidationError

        try:
            return self._read(text)
        except ValidationError:
            return json.loads(text)


def to_json(value: Any, what: str) -> str:
    """The payload `value`, a dict, as JSON text; `what` is the task type, for messages.

    Values that JSON has no form for but pydantic knows (datetime, UUID, Path, dataclasses …) are written as
    it writes them, so that a typed handler reads them back. Raises InvalidArgument and PayloadTooLarge.
    """
    import pydantic_core

    def write(item: object) -> bytes:
        return pydantic_core.to_json(item, bytes_mode="base64", inf_nan_mode="constants")

    if not isinstance(value, Mapping):
        raise InvalidArgument(
            f"the payload of {what!r} must be a dict, a key for each parameter, got {given(value)}. {_NOTHING_ENQUEUED}"
        )
    payload = dict(value)
    for key in payload:
        if not isinstance(key, str):
            raise InvalidArgument(
                f"the payload of {what!r} has the key {given(key)}, and keys must be text. {_NOTHING_ENQUEUED}"
            )
    try:
        raw = write(payload)
    except UNSERIALIZABLE as error:
        name = _first_key(payload, lambda name: _fails(lambda: write(payload[name])))
        raise InvalidArgument(
            f"the payload of {what!r} cannot be kept as JSON: {name!r} is {given(payload.get(name))} "
            f"({reason(error)}). {_NOTHING_ENQUEUED}"
        ) from None
    if len(raw) > PAYLOAD_BYTES_MAX:
        raise PayloadTooLarge(what, len(raw), PAYLOAD_BYTES_MAX)
    text = raw.decode()
    if has_non_finite(text):
        name = _first_key(payload, lambda name: has_non_finite(write(payload[name]).decode()))
        raise InvalidArgument(
            f"the payload of {what!r} cannot be kept as JSON: {name!r} holds NaN or an infinity, and JSON "
            f"has neither. {_NOTHING_ENQUEUED}"
        )
    return text


def _path(path: tuple[int | str, ...]) -> str:
    """`'order'['lines'][3]`: where in which parameter."""
    return repr(path[0]) + "".join(f"[{part!r}]" for part in path[1:])


def _first_key(values: Mapping[str, Any], is_it: Callable[[str], bool]) -> str:
    return next(filter(is_it, values), "?")


def _fails(action: Callable[[], object]) -> bool:
    try:
        action()
    except UNSERIALIZABLE:
        return True
    return False


def _compile(signature: Signature) -> tuple[SchemaValidator, SchemaSerializer]:
    """One validator and one serializer for all parameters, as the keys of an object."""
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
    from pydantic_core import SchemaError, SchemaSerializer, SchemaValidator

    config: ConfigDict = {
        "extra": "forbid",
        "ser_json_bytes": "base64",
        "val_json_bytes": "base64",
        # A dataclass does not check its own fields: what is wrong in one should come out here.
        "revalidate_instances": "always",
    }
    plain = plain_json()

    def adapter(keys: dict[str, Any]) -> TypeAdapter[Any]:
        # The functional form takes any name, `self` and `_x` too, where a model would not.
        kind: Any = _TYPED_DICT("Payload", keys)
        kind.__pydantic_config__ = config
        return TypeAdapter(kind)

    keys: dict[str, Any] = {}
    for parameter in signature.parameters:
        hint = with_plain_json(signature.hints[parameter.name], plain)
        if parameter.kind is Parameter.VAR_POSITIONAL:
            hint = _NOT_REQUIRED[_LIST[hint]]
        elif parameter.kind is Parameter.VAR_KEYWORD:
            hint = _NOT_REQUIRED[get_args(hint)[0] if get_origin(hint) in _UNPACK else _DICT[str, hint]]
        elif parameter.default is not EMPTY:
            hint = _NOT_REQUIRED[hint]
        keys[parameter.name] = hint
    unusable = (PydanticUserError, PydanticUndefinedAnnotation, SchemaError, TypeError)
    try:
        schema = adapter(keys).core_schema
    except unusable as error:
        for name, hint in keys.items():
            try:
                adapter({name: hint})
            except unusable:
                raise InvalidArgument(
                    f"{signature.text}: parameter {name!r} is a {signature.shown[name]}, which cannot be "
                    f"turned into JSON and back. Pass what it can be found by (an id, a path), or make it a "
                    f"dataclass or a pydantic model. Pydantic says: {str(error).partition(chr(10))[0]}"
                ) from error
        raise InvalidArgument(f"{signature.text}: its type hints cannot be used: {error}") from error
    return SchemaValidator(schema, core_config("constants")), SchemaSerializer(schema, core_config("constants"))


_TYPED_DICT: Any = TypedDict
