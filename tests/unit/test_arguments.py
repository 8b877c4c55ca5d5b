from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple, Optional
from uuid import UUID

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypedDict, Unpack

from prismq.domain.arguments import Arguments, to_json
from prismq.domain.errors import InvalidArgument, PayloadTooLarge
from prismq.domain.limits import PAYLOAD_BYTES_MAX, RESULT_BYTES_MAX


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(str, Enum):
    SMALL = "s"


@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0
    label: str | None = None


@dataclasses.dataclass(eq=False)
class Handle:
    number: int


class Line(NamedTuple):
    start: int
    end: int


class Options(TypedDict, total=False):
    quality: int


class Order(pydantic.BaseModel):
    number: int
    lines: list[Point] = []
    placed_at: datetime | None = None
    weight: float = 1.0
    note: Any = None
    secret: str = pydantic.Field("", exclude=True)
    customer: str = pydantic.Field("", alias="customerName")


class Base(pydantic.BaseModel):
    a: int


class Derived(Base):
    b: int = 0


class Opaque:
    pass


def thumbnail(path: str, width: int = 256) -> str:
    return f"{path}:{width}"


def everything(
    text: str,
    number: int,
    real: float,
    flag: bool,
    raw: bytes,
    at: datetime,
    day: date,
    length: timedelta,
    key: UUID,
    price: Decimal,
    where: Path,
    colour: Colour,
    names: set[str],
    pair: tuple[int, str],
    table: dict[str, list[float]],
    point: Point,
    maybe: Optional[int],  # noqa: UP045 - both spellings are in use
    mode: Literal["fast", "good"],
    plain: Any,
) -> None: ...


def same(*values: Any, **named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return values, named


def call_of(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What the function returns when its arguments have gone through JSON."""
    arguments = Arguments.of(function)
    decoded_args, decoded_kwargs = arguments.decode(arguments.encode(args, kwargs))
    return function(*decoded_args, **decoded_kwargs)


def refusal(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(InvalidArgument) as caught:
        Arguments.of(function).encode(args, kwargs)
    message = str(caught.value)
    assert message.endswith("Nothing was enqueued.")
    return message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
finite = st.floats(allow_nan=False, allow_infinity=False)
calls = st.fixed_dictionaries(
    {
        "text": st.text(),
        "number": st.integers(),
        "real": finite,
        "flag": st.booleans(),
        "raw": st.binary(),
        "at": st.datetimes(timezones=st.none() | st.just(timezone.utc)),
        "day": st.dates(),
        "length": st.timedeltas(),
        "key": st.uuids(),
        "price": st.decimals(allow_nan=False, allow_infinity=False),
        "where": st.text("abc/.", min_size=1).map(Path),
        "colour": st.sampled_from(Colour),
        "names": st.sets(st.text()),
        "pair": st.tuples(st.integers(), st.text()),
        "table": st.dictionaries(st.text(), st.lists(finite)),
        "point": st.builds(Point, x=finite, y=finite, label=st.none() | st.text()),
        "maybe": st.none() | st.integers(),
        "mode": st.sampled_from(["fast", "good"]),
        "plain": json_values,
    }
)

EVERYTHING = Arguments.of(everything)
ANYTHING = Arguments.of(same)


# There and back


@given(calls)
def test_typed_arguments_come_back_as_they_went(call: dict[str, Any]) -> None:
    payload = EVERYTHING.encode((), call)
    args, kwargs = EVERYTHING.decode(payload)
    assert args == ()
    assert kwargs == call
    assert {name: type(value) for name, value in kwargs.items()} == {n: type(v) for n, v in call.items()}
    assert json.loads(payload).keys() == call.keys()


@given(st.lists(json_values, max_size=3), st.dictionaries(st.text(), json_values, max_size=3))
def test_arguments_without_hints_may_be_any_json(args: list[Any], kwargs: dict[str, Any]) -> None:
    assert ANYTHING.decode(ANYTHING.encode(tuple(args), kwargs)) == (tuple(args), kwargs)


@given(st.text())
def test_a_payload_is_what_every_json_reader_takes(text: str) -> None:
    assert json.loads(ANYTHING.encode((text,), {})) == {"values": [text]}


def test_a_payload_is_one_compact_object_with_a_key_per_parameter() -> None:
    assert Arguments.of(thumbnail).encode(("cat.png",), {"width": 64}) == '{"path":"cat.png","width":64}'


def test_parameters_left_to_their_defaults_are_not_stored_but_filled_in() -> None:
    arguments = Arguments.of(thumbnail)
    assert arguments.encode(("cat.png",), {}) == '{"path":"cat.png"}'
    assert arguments.decode('{"path": "cat.png"}') == ((), {"path": "cat.png", "width": 256})


def test_arguments_are_turned_into_what_the_hints_say() -> None:
    def task(n: int, where: Path, colour: Colour) -> Any:
        return n, where, colour

    assert call_of(task, "5", "a/b", "red") == (5, Path("a/b"), Colour.RED)


def test_models_dataclasses_and_tuples_keep_their_types() -> None:
    def task(order: Order, points: dict[int, list[Point]], line: Line, one: Point | None = None) -> Any:
        return order, points, line, one

    order = Order(number=3, lines=[Point(1, 2)], placed_at=datetime(2024, 1, 1, tzinfo=timezone.utc), note=[1])
    points = {1: [Point(1.5)], 2: []}
    assert call_of(task, order, points, Line(1, 2)) == (order, points, Line(1, 2), None)


def test_a_dataclass_without_equality_comes_back_too() -> None:
    assert call_of(lambda_of(Handle), Handle(3)).number == 3


def lambda_of(hint: Any) -> Callable[[Any], Any]:
    def task(x: Any) -> Any:
        return x

    task.__annotations__ = {"x": hint}
    return task


def test_aliases_are_taken_but_names_are_kept() -> None:
    arguments = Arguments.of(lambda_of(Order))
    assert '"customer":"Ann"' in arguments.encode(({"number": 1, "customerName": "Ann"},), {})
    for payload in ('{"x": {"number": 1, "customer": "Ann"}}', '{"x": {"number": 1, "customerName": "Ann"}}'):
        assert arguments.decode(payload)[1]["x"].customer == "Ann"


def test_bytes_are_base64() -> None:
    arguments = Arguments.of(lambda_of(bytes))
    payload = arguments.encode((b"\xff\x00",), {})
    assert payload == '{"x":"_wA="}'
    assert arguments.decode('{"x": "/wA="}')[1]["x"] == b"\xff\x00"


# Every kind of parameter


def positional_only(a: int, b: int = 2, /) -> Any:
    return a, b


def keyword_only(*, a: int, b: int = 2) -> Any:
    return a, b


def mixed(a: int, /, b: int, c: int = 3, *rest: int, d: int = 4, **options: int) -> Any:
    return a, b, c, rest, d, options


def nothing() -> Any:
    return ()


def plain(a: int, b: int, c: int = 3) -> Any:
    return a, b, c


def same_names(a: int, /, **options: int) -> Any:
    return a, options


def rest_only(*rest: int) -> Any:
    return rest


SHAPES = [positional_only, keyword_only, mixed, nothing, plain, same_names, rest_only]


@given(
    st.sampled_from(SHAPES),
    st.lists(st.integers(0, 9), max_size=5),
    st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "rest", "options"]), st.integers(0, 9), max_size=4),
)
def test_a_call_that_python_accepts_is_the_same_call_in_the_worker(
    function: Callable[..., Any], args: list[int], kwargs: dict[str, int]
) -> None:
    try:
        expected = function(*args, **kwargs)
    except TypeError:
        refusal(function, *args, **kwargs)
    else:
        assert call_of(function, *args, **kwargs) == expected


def test_rest_and_options_are_kept_under_their_own_names() -> None:
    payload = Arguments.of(mixed).encode((1, 2, 3, 4, 5), {"d": 6, "e": 7})
    assert json.loads(payload) == {"a": 1, "b": 2, "c": 3, "rest": [4, 5], "d": 6, "options": {"e": 7}}


def test_options_may_be_typed_one_by_one() -> None:
    def task(**options: Unpack[Options]) -> Any:
        return options

    namespace = {"Options": Options, "Unpack": Unpack}
    arguments = Arguments.of(task, namespace=namespace)
    assert arguments.decode(arguments.encode((), {"quality": "80"})) == ((), {"quality": 80})
    with pytest.raises(InvalidArgument, match="quallity"):
        arguments.encode((), {"quallity": 80})


def test_names_that_mean_something_to_pydantic_are_names_like_any_other() -> None:
    def task(self: int, cls: int, _x: int, model_config: int, copy: int, json: int) -> Any:
        return self, cls, _x, model_config, copy, json

    assert call_of(task, 1, 2, 3, 4, 5, 6) == (1, 2, 3, 4, 5, 6)


def test_a_default_of_none_may_be_passed() -> None:
    def task(width: int = None) -> Any:  # type: ignore[assignment]  # noqa: RUF013 - many people write it
        return width

    assert call_of(task, None) is None
    assert call_of(task, 3) == 3


class Robot:
    def move(self, steps: int) -> int:
        return steps

    def __call__(self, colour: Colour) -> Colour:
        return colour


def test_methods_callables_partials_and_lambdas_can_be_tasks() -> None:
    assert call_of(Robot().move, "3") == 3
    assert call_of(Robot(), "red") is Colour.RED
    assert call_of(functools.partial(mixed, 1, d=9), 2, e=5) == (1, 2, 3, (), 9, {"e": 5})
    assert call_of(lambda x, y=2: (x, y), [1]) == ([1], 2)


def test_a_decorated_function_has_the_signature_of_the_one_inside() -> None:
    @functools.wraps(thumbnail)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return thumbnail(*args, **kwargs)

    assert Arguments.of(wrapper).encode(("a", 1), {}) == '{"path":"a","width":1}'


# Refusals at the enqueue


def test_a_wrong_argument_is_refused_with_all_that_is_known() -> None:
    assert refusal(thumbnail, "cat.png", "wide") == (
        "thumbnail(path: str, width: int = 256) -> str: 'width' must be int, got str 'wide': input should be a "
        "valid integer, unable to parse string as an integer. Nothing was enqueued."
    )


def test_a_missing_argument_is_named_with_its_type() -> None:
    assert "'path' (str) is missing." in refusal(thumbnail)


def test_a_misspelt_argument_is_answered_with_the_right_name() -> None:
    message = refusal(thumbnail, pth="cat.png")
    assert "it has no parameter 'pth', which was given as str 'cat.png'. Did you mean 'path'? N" in message


def test_too_many_arguments_are_counted() -> None:
    assert "it takes 2 positional arguments, 3 were given; the first too many is int 9." in refusal(
        thumbnail, "a", 1, 9
    )
    assert "it takes 0 positional arguments, 1 was given" in refusal(keyword_only, 1, a=1)


def test_an_argument_given_twice_is_refused() -> None:
    assert "'path' is given both by position and by name." in refusal(thumbnail, "a", path="b")


def test_a_positional_only_argument_given_by_name_is_refused() -> None:
    assert "'a' can only be given by position, not by name." in refusal(positional_only, a=1)


def test_a_fault_deep_inside_is_located() -> None:
    assert "'order'['lines'][1]['x'] does not fit Order, got str 'left'" in refusal(
        order_task, {"number": 1, "lines": [{"x": 1}, {"x": "left"}]}
    )


def order_task(order: Order) -> None: ...


def test_a_long_argument_is_shown_in_short() -> None:
    assert len(refusal(thumbnail, "a", "w" * 10_000)) < 400


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [1.0, math.nan], {"a": {"b": math.inf}}])
def test_nan_and_infinity_are_refused_because_json_has_neither(value: Any) -> None:
    assert "'x' (any) cannot be kept as JSON" in refusal(lambda x: x, value)
    if isinstance(value, float):
        assert "JSON has no NaN and no infinity" in refusal(lambda_of(float), value)


def test_nan_inside_a_model_is_refused_though_pydantic_would_write_null() -> None:
    assert "cannot be kept as JSON" in refusal(order_task, Order(number=1, weight=math.nan))


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity and NaN"])
def test_the_words_nan_and_infinity_are_words(text: str) -> None:
    assert call_of(lambda_of(str), text) == text


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, date(2024, 1, 1), b"x", uuid.UUID(int=1), Point(1), [Path("x")], {"k": print}]
)
def test_what_json_has_no_form_for_needs_a_hint(value: Any) -> None:
    message = refusal(lambda x: x, value)
    assert "'x'" in message
    assert "JSON has no form for" in message
    assert "type hint" in message


def test_keys_that_are_not_text_are_refused_where_no_hint_says_what_they_are() -> None:
    assert "JSON has only text for keys, and int 1 is one of these" in refusal(lambda x: x, {1: 2})
    assert call_of(lambda_of(dict[int, int]), {1: 2}) == {1: 2}


def test_any_inside_a_container_is_as_strict_as_any_alone() -> None:
    assert "'x'['a']" in refusal(lambda_of(dict[str, Any]), {"a": {1}})
    assert "JSON has no form for date" in refusal(lambda_of(list[Any] | None), [date(2024, 1, 1)])
    assert "JSON has no form for set" in refusal(lambda_of(list), [{1}])


def test_a_list_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert "levels deep, or holds itself" in refusal(lambda x: x, endless)


def test_half_a_surrogate_pair_is_refused() -> None:
    assert "'x' (str) cannot be kept as JSON" in refusal(lambda_of(str), "\ud800")


def test_an_integer_too_long_to_read_back_is_refused() -> None:
    assert call_of(lambda_of(int), 10**4000) == 10**4000
    assert "could not be read back" in refusal(lambda_of(int), 10**5000)


def test_a_union_that_json_cannot_tell_apart_is_refused_not_guessed() -> None:
    either = lambda_of(str | datetime)
    assert call_of(either, "2024-01-01") == "2024-01-01"
    assert "would arrive as str '2024-01-01T00:00:00+00:00'" in refusal(
        either, datetime(2024, 1, 1, tzinfo=timezone.utc)
    ).replace("Z'", "+00:00'")


def test_a_union_that_json_can_tell_apart_is_fine() -> None:
    either = lambda_of(int | str | list[int])
    assert [call_of(either, value) for value in (5, "5", [5])] == [5, "5", [5]]


def test_the_seconds_of_an_offset_are_not_lost_in_silence() -> None:
    odd = datetime(1890, 1, 1, tzinfo=timezone(timedelta(seconds=3601)))
    assert "would arrive as" in refusal(lambda_of(datetime), odd)


def test_a_field_that_a_model_leaves_out_of_its_json_is_not_lost_in_silence() -> None:
    assert "would arrive as str ''" in refusal(order_task, Order(number=1, secret="x"))


def test_a_secret_is_refused_without_showing_it() -> None:
    message = refusal(lambda_of(pydantic.SecretStr), "hunter2")
    assert "hunter2" not in message
    assert "its JSON form leaves something out" in message


def test_an_instance_of_a_subclass_is_not_cut_down_in_silence() -> None:
    assert "would arrive as Base" in refusal(lambda_of(Base), Derived(a=1, b=2))


def test_the_fields_of_a_dataclass_are_checked_too() -> None:
    assert "'x'['x'] does not fit" in refusal(lambda_of(Point), Point("left"))  # type: ignore[arg-type]
    assert call_of(lambda_of(Point), Point(1)) == Point(1.0)


def test_plain_subclasses_of_text_arrive_as_plain_text() -> None:
    assert call_of(lambda x: x, Size.SMALL) == "s"


def test_a_payload_has_a_largest_size() -> None:
    arguments = Arguments.of(thumbnail)
    overhead = len('{"path":""}')
    assert arguments.encode(("a" * (PAYLOAD_BYTES_MAX - overhead),), {})
    with pytest.raises(PayloadTooLarge, match="'thumbnail' take 1,048,577 bytes"):
        arguments.encode(("a" * (PAYLOAD_BYTES_MAX - overhead + 1),), {})
    with pytest.raises(PayloadTooLarge):  # bytes count, not characters
        arguments.encode(("é" * (PAYLOAD_BYTES_MAX // 2),), {})


# Refusals at the definition


def test_a_hint_that_cannot_be_resolved_is_refused_when_the_task_is_defined() -> None:
    def task(x: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(InvalidArgument, match=r"task\(x: Missing\).*'x' cannot be resolved: name 'Missing'"):
        Arguments.of(task)


def test_the_hint_of_the_result_must_resolve_too() -> None:
    def task() -> Missing: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(InvalidArgument, match="the result cannot be resolved"):
        Arguments.of(task)


def test_names_of_the_defining_function_can_be_handed_in() -> None:
    class Local(pydantic.BaseModel):
        n: int

    def task(x: Local) -> Any:
        return x

    with pytest.raises(InvalidArgument, match="inside a function"):
        Arguments.of(task)
    arguments = Arguments.of(task, namespace=locals())
    assert arguments.decode(arguments.encode((Local(n=1),), {}))[1]["x"] == Local(n=1)


@pytest.mark.parametrize("hint", [Opaque, type(sys), "1 +", "not a type!"])
def test_a_type_without_a_json_form_is_refused_when_the_task_is_defined(hint: Any) -> None:
    with pytest.raises(InvalidArgument, match="'x'"):
        Arguments.of(lambda_of(hint))


def test_what_has_no_signature_cannot_be_a_task() -> None:
    with pytest.raises(InvalidArgument, match="'int' cannot be a task"):
        Arguments.of(int)


def test_importing_the_module_does_not_import_pydantic() -> None:
    code = "import sys, prismq.domain.arguments; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Reading payloads that others wrote


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ('{"path": 5}', "'path' must be str, got int 5"),
        ('{"path": null}', "'path' must be str, got None"),
        ("{}", "'path' (str) is missing"),
        ('{"path": "a", "wdth": 3}', "it has no parameter 'wdth', which was given as int 3. Did you mean 'width'?"),
        ("[]", "it must be a JSON object, a key for each parameter, not list []"),
        ("null", "it must be a JSON object, a key for each parameter, not None"),
        ('{"path": "a"', "it is not JSON (EOF while parsing an object"),
        ("", "it is not JSON"),
        ("path=a", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
    ],
)
def test_a_payload_that_does_not_fit_says_why(payload: str, problem: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Arguments.of(thumbnail).decode(payload)
    message = str(caught.value)
    assert message.startswith("the payload of this task does not fit thumbnail(path: str, width: int = 256)")
    assert problem in message
    assert message.endswith("Correct the payload or the function, then retry the task.")


@given(st.text() | json_values.map(json.dumps))
def test_whatever_is_in_the_column_is_a_call_or_an_invalid_argument(payload: str) -> None:
    with contextlib.suppress(InvalidArgument):
        EVERYTHING.decode(payload)


# Results


def returning(hint: Any) -> Arguments:
    def task() -> Any: ...

    task.__annotations__ = {"return": hint}
    return Arguments.of(task)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (str, "done"),
        (int, 5),
        (None, None),
        (Point, Point(1.0, 2.0)),
        (list[Point], [Point(1.0)]),
        (Order, Order(number=2, customerName="Ann")),
        (datetime, datetime(2024, 1, 1, tzinfo=timezone.utc)),
        (bytes, b"\xff"),
        (dict[str, Colour], {"a": Colour.RED}),
        (float, math.inf),
        (Any, {"a": [1, None]}),
    ],
)
def test_a_result_comes_back_typed(hint: Any, value: Any) -> None:
    arguments = returning(hint)
    assert arguments.decode_result(arguments.encode_result(value)) == value


def test_no_result_is_no_text() -> None:
    arguments = returning(int)
    assert arguments.encode_result(None) is None
    assert arguments.decode_result(None) is None


def test_a_result_that_does_not_fit_its_hint_is_kept_for_the_work_is_done() -> None:
    arguments = returning(int)
    assert arguments.decode_result(arguments.encode_result("five")) == "five"


def test_a_result_without_a_hint_is_plain_json_when_it_is_read() -> None:
    arguments = returning(Any)
    assert arguments.encode_result({1}) == "[1]"
    assert arguments.encode_result(date(2024, 1, 1)) == '"2024-01-01"'
    assert arguments.encode_result([math.nan]) == '["NaN"]'


def test_a_class_that_nobody_can_write_is_refused_only_as_a_result() -> None:
    arguments = returning(Opaque)
    assert arguments.encode_result("text") == '"text"'
    with pytest.raises(InvalidArgument, match=r"the result of 'task' has no JSON form: it is Opaque"):
        arguments.encode_result(Opaque())


def test_a_result_has_a_largest_size() -> None:
    with pytest.raises(InvalidArgument, match="the result of 'task' takes 1,048,579 bytes"):
        returning(str).encode_result("a" * (RESULT_BYTES_MAX + 1))


def test_a_stored_result_that_is_not_json_says_so() -> None:
    with pytest.raises(InvalidArgument, match="the stored result of 'task' is not JSON"):
        returning(str).decode_result("{")


# Payloads without a function


def test_a_raw_payload_is_written_so_that_a_typed_handler_reads_it() -> None:
    payload = {"text": "x", "at": datetime(2024, 1, 1, tzinfo=timezone.utc), "where": Path("a"), "raw": b"\xff"}

    def task(text: str, at: datetime, where: Path, raw: bytes) -> None: ...

    assert Arguments.of(task).decode(to_json(payload, "task"))[1] == payload


@given(st.dictionaries(st.text(), json_values))
def test_a_raw_payload_is_kept_as_it_is(payload: dict[str, Any]) -> None:
    assert json.loads(to_json(payload, "task")) == payload


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        ([1], "must be a dict, a key for each parameter, got list [1]"),
        (None, "must be a dict, a key for each parameter, got None"),
        ("{}", "must be a dict"),
        ({1: 2}, "has the key int 1, and keys must be text"),
        ({"ok": 1, "bad": object()}, "cannot be kept as JSON: 'bad' is object"),
        ({"ok": 1, "bad": [math.nan]}, "'bad' holds NaN or an infinity"),
        ({"bad": "\ud800"}, "cannot be kept as JSON: 'bad' is str"),
    ],
)
def test_a_raw_payload_that_cannot_be_kept_is_refused(payload: Any, problem: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        to_json(payload, "thumbnail")
    assert str(caught.value).startswith("the payload of 'thumbnail'")
    assert problem in str(caught.value)


def test_a_raw_payload_has_a_largest_size() -> None:
    with pytest.raises(PayloadTooLarge, match="'thumbnail'"):
        to_json({"x": "a" * PAYLOAD_BYTES_MAX}, "thumbnail")


# Signatures


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (thumbnail, "thumbnail(path: str, width: int = 256) -> str"),
        (positional_only, "positional_only(a: int, b: int = 2, /) -> Any"),
        (keyword_only, "keyword_only(*, a: int, b: int = 2) -> Any"),
        (mixed, "mixed(a: int, /, b: int, c: int = 3, *rest: int, d: int = 4, **options: int) -> Any"),
        (lambda x, *, y=1: None, "<lambda>(x, *, y = 1)"),
        (Robot().move, "Robot.move(steps: int) -> int"),
    ],
)
def test_a_signature_reads_as_it_was_written(function: Callable[..., Any], text: str) -> None:
    assert Arguments.of(function).signature == text


def test_messages_call_the_task_by_the_name_it_was_given() -> None:
    assert Arguments.of(thumbnail, name="media.thumbnail").signature.startswith("media.thumbnail(path: str")
