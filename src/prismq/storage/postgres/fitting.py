"""Which values of another engine PostgreSQL can hold as they are: found before anything is written."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from prismq.domain.times import from_text
from prismq.storage.contract.transfer import Kind, Row, Shape, Unfit
from prismq.storage.sameness import json_sameness

_SMALL, _WHOLE = 1 << 31, 1 << 63
# The bounds of `numeric`, which the numbers of jsonb are: digits before the decimal point, and after it.
_DIGITS_BEFORE, _DIGITS_AFTER = 131_072, 16_383
_EXPONENT = re.compile(r"[eE]")
_SUSPECT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_FINER = re.compile(r"[.,]\d{6}\d*[1-9]")
# The largest entry of a B-tree. The server compresses an entry first; zlib does that better, so what it cannot bring
# below this will not fit. The columns together are those of an index.
_INDEX_BYTES = 2_704
_INDEXED = (("idempotency_key",), ("type", "queue"), ("unique_key",), ("worker_id",), ("schedule",), ("locked_by",))

_OUT = "mend the row by hand, or delete it, in the database it is in now"
_AS_JSON = "write valid JSON into it, or delete the task: prismq tasks delete ID"
_AS_TIME = "write it as SQLite does: UPDATE {table} SET {column} = strftime('%Y-%m-%d %H:%M:%f', {column}) WHERE …"


def unfit(shape: Shape, row: Row) -> list[Unfit]:
    """See Transfer.unfit."""
    found = []
    for name, kind, value in zip(shape.columns, shape.kinds, row, strict=True):
        if value is None:
            continue
        reason = _CHECKS[kind](value)
        if reason is None and name == "revision" and value < 0:
            reason = "below 0"
        if reason is not None:
            remedy = _AS_TIME if kind is Kind.TIME else _AS_JSON if kind is Kind.JSON else _OUT
            found.append(Unfit(name, reason, remedy.format(table=shape.table.name, column=name)))
    return found or _too_long(shape, row)


def _too_long(shape: Shape, row: Row) -> list[Unfit]:
    if sum(len(value) for value in row if isinstance(value, str)) <= _INDEX_BYTES // 4:  # 4 bytes a character at most
        return []
    values = dict(zip(shape.columns, row, strict=True))
    for names in _INDEXED:
        text = "".join(str(values[name]) for name in names if values.get(name) is not None).encode()
        if len(text) > _INDEX_BYTES and len(zlib.compress(text)) > _INDEX_BYTES:
            reason = f"longer than an index of PostgreSQL takes ({len(text):,} bytes; {_INDEX_BYTES:,} fit)"
            return [Unfit(" and ".join(names), reason, _OUT)]
    return []


def _number_between(low: int, high: int) -> Callable[[Any], str | None]:
    def check(value: Any) -> str | None:
        if not isinstance(value, int):
            return "not a whole number"
        return None if low <= value < high else f"not between {low:,} and {high - 1:,}"

    return check


def _number(value: Any) -> str | None:
    return None if isinstance(value, (int, float)) else "not a number"


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return "not text, but bytes (a BLOB)" if isinstance(value, bytes) else "not text"
    if "\x00" in value:
        return "a NUL character in the text"
    return None if _is_utf8(value) else "text that is not UTF-8"


def _is_utf8(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json(value: Any) -> str | None:
    wrong = _text(value)
    if wrong is not None:
        return wrong
    try:
        json_sameness(value)
        if _EXPONENT.search(value) or len(value) > _DIGITS_AFTER:
            json.loads(value, parse_float=_bounded, parse_int=_bounded)
    except _OutOfRange:
        return "JSON with a number of more digits than PostgreSQL keeps"
    except RecursionError:
        return "JSON that is nested too deeply"
    except ValueError:
        return "text that is not JSON"
    if _SUSPECT.search(value):
        strings = json.dumps(json.loads(value, parse_int=str, parse_float=str), ensure_ascii=False)
        if not _is_utf8(strings):
            return "JSON with half of a surrogate pair"
        if "\x00" in _unescaped(value):
            return "JSON with a NUL character (\\u0000)"
    return None


def _unescaped(text: str) -> str:
    """Every string of the JSON text, keys included, one after the other."""
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            found.extend(value)
            for one in value.values():
                walk(one)
        elif isinstance(value, list):
            for one in value:
                walk(one)

    walk(json.loads(text, parse_int=str, parse_float=str))
    return "".join(found)


class _OutOfRange(ValueError):
    """A number that `numeric` does not take."""


def _bounded(text: str) -> None:
    number = Decimal(text)
    exponent = number.as_tuple().exponent
    if number.adjusted() >= _DIGITS_BEFORE or (isinstance(exponent, int) and -exponent > _DIGITS_AFTER):
        raise _OutOfRange


def _time(value: Any) -> str | None:
    wrong = _text(value)
    if wrong is not None:
        return wrong
    return _moment(value)


@lru_cache(maxsize=16_384)  # many rows have the same
def _moment(text: str) -> str | None:
    try:
        from_text(text)
    except (ValueError, OverflowError):
        return "not a time"
    return "a time finer than a microsecond" if _FINER.search(text) else None


def _flag(value: Any) -> str | None:
    return None if value in (0, 1) else "neither 0 nor 1"


def _any(value: Any) -> str | None:
    return None


_CHECKS: dict[Kind, Callable[[Any], str | None]] = {
    Kind.ANY: _any,
    Kind.WHOLE: _number_between(-_WHOLE, _WHOLE),
    Kind.SMALL: _number_between(-_SMALL, _SMALL),
    Kind.NUMBER: _number,
    Kind.TEXT: _text,
    Kind.JSON: _json,
    Kind.TIME: _time,
    Kind.FLAG: _flag,
}
