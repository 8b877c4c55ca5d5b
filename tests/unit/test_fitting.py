"""What PostgreSQL cannot hold is known before it is tried; the server itself is the judge."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import psycopg
import pytest

from prismq.storage.contract.transfer import Kind, Shape, Table
from prismq.storage.postgres.fitting import unfit
from tests.helpers.postgres import server

_TYPES = {
    Kind.WHOLE: "bigint",
    Kind.SMALL: "integer",
    Kind.NUMBER: "double precision",
    Kind.TEXT: "text",
    Kind.JSON: "jsonb",
    Kind.TIME: "timestamptz",
}

VALUES: list[tuple[Kind, Any]] = [
    *((Kind.JSON, text) for text in (
        "{}", "null", '"text"', "-0.0", "1e5", '{"a":1,"a":2}', '"\\u0000"',
        '"\\\\u0000"', '{"k\\u0000": 1}', '"\\ud83d\\ude00"',
        '"\\ud83d"', '"\\ude00\\ud83d"', '"\\uDEAD"', "NaN", "[Infinity]", "-Infinity", "", "nothing", "{'a': 1}",
        "[1,]", "01", "1.", '"\t"', '"a\nb"', " [1] ", "1e131071", "1e131072", "1e-16383", "1e-16384", "9" * 131_072,
        "9" * 131_073,
        "1" + "0" * 20_000 + ".5", '{"a": {"b": [[[[]]]]}}', "\ufeff{}", '"\x00"',
    )),
    *((Kind.TEXT, text) for text in ("", "plain", "ž🐎", "a\x00b", "\udc80", "\x01\x7f\ufffe")),
    *((Kind.WHOLE, number) for number in (0, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1)),
    *((Kind.SMALL, number) for number in (2**31 - 1, 2**31, -(2**31), -(2**31) - 1)),
    *((Kind.NUMBER, number) for number in (0.0, 1e308, float("inf"), 3)),
    *((Kind.TIME, text) for text in (
        "2025-01-31 06:30:00", "2025-01-31 06:30:00.120", "2025-01-31T06:30:00Z", "2025-01-31T06:30:00+05:30",
        "0001-01-01 00:00:00",
        "9999-12-31 23:59:59.999", "2025-02-30 00:00:00", "soon", "", "2025-01-31 06:30:00.1234567",
    )),
]  # fmt: skip


@pytest.fixture(scope="module")
def connection() -> Iterator[psycopg.Connection[Any]]:
    with server().connect(autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=lambda one: repr(one)[:40])
def test_the_server_takes_what_is_said_to_fit_and_nothing_else(
    connection: psycopg.Connection[Any], kind: Kind, value: Any
) -> None:
    fits = not unfit(Shape(Table("t", ("c",)), ("c",), (kind,)), (value,))
    try:
        connection.execute(f"SELECT (%s::text)::{_TYPES[kind]}", (str(value),))
        taken = True
    except (psycopg.Error, UnicodeEncodeError):
        taken = False
    if kind is Kind.TIME and str(value).endswith("1234567"):
        assert taken, "it would be rounded"
        assert not fits
        return
    if taken and not fits:
        # Never refused by mistake, but for what Python itself does not read as a queue's text does.
        assert value == "\ufeff{}", (kind, value)
    assert taken or not fits, f"{kind} {value!r:.60} fits, they say, and the server refuses it"


def test_a_key_that_no_index_takes_is_found_and_one_that_can_be_compressed_is_not() -> None:
    rng = Random(7)
    noise = "".join(chr(rng.randrange(0x4E00, 0x9000)) for _ in range(2_000))
    shape = Shape(Table("task_queue", ("id",)), ("id", "idempotency_key"), (Kind.WHOLE, Kind.TEXT))
    [found] = unfit(shape, (1, noise))
    assert found.column == "idempotency_key"
    assert unfit(shape, (1, "a" * 6_000)) == []
    with server().connect() as one:
        one.execute("CREATE TABLE keys (k text UNIQUE)")
        one.execute("INSERT INTO keys VALUES (%s)", ("a" * 6_000,))
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            one.execute("INSERT INTO keys VALUES (%s)", (noise,))
        one.rollback()


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (Kind.TEXT, b"\x00\x01", "bytes"),
        (Kind.WHOLE, "many", "not a whole number"),
        (Kind.WHOLE, 1.5, "not a whole number"),
        (Kind.NUMBER, "soon", "not a number"),
        (Kind.FLAG, 2, "neither 0 nor 1"),
        (Kind.TIME, "1700000000", "not a time"),
        (Kind.JSON, "[" * 100_000, "nested too deeply"),
    ],
)
def test_what_only_sqlite_lets_into_a_column_is_named(kind: Kind, value: Any, reason: str) -> None:
    [found] = unfit(Shape(Table("t", ("c",)), ("c",), (kind,)), (value,))
    assert reason in found.reason
    assert found.remedy
