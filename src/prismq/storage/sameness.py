"""When two databases hold the same row: each value in a form that does not depend on the engine that keeps it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from prismq.domain.times import from_text
from prismq.storage.contract.transfer import Kind, Row, Shape

CHECKSUMS = 1 << 128

_WHOLE = re.compile(r"-?\d+")
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_SHORT_CHARS = 200
_WRITTEN_OUT = 200_000  # more digits than PostgreSQL keeps
# Numbers go through json as text that no string of JSON in a PostgreSQL can be.
_NUMBER_MARK = "\x00"


def sameness(shape: Shape) -> Callable[[Row], Row]:
    """A function from a row to a tuple that is equal for equal rows: JSON by value, times by moment."""
    forms = [(at, _FORMS[kind]) for at, kind in enumerate(shape.kinds) if kind in _FORMS]
    if not forms:
        return lambda row: row

    def form(row: Row) -> Row:
        values = list(row)
        for at, of in forms:
            if values[at] is not None:
                values[at] = of(values[at])
        return tuple(values)

    return form


def checksum(table: str, rows: Iterable[Row]) -> int:
    """The sum of the rows' hashes, so that it does not depend on how they were divided. `rows` as `sameness` has them.

    Against accidents, not against malice: who wants to can find other rows with the same sum.
    """
    total = 0
    for row in rows:
        text = repr(row).encode("utf-8", "surrogatepass")
        total += int.from_bytes(blake2b(text, digest_size=16, person=table.encode()[:16]).digest(), "big")
    return total % CHECKSUMS


def json_sameness(text: str) -> str:
    """JSON with keys in order, no spaces, and numbers by value. Raises ValueError or RecursionError for other text."""
    return _short_json(text) if len(text) <= _SHORT_CHARS else _json(text)


def _json(text: str) -> str:
    value = json.loads(text, parse_float=_number, parse_int=_number, parse_constant=_no_number)
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


_short_json = lru_cache(maxsize=4096)(_json)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


@lru_cache(maxsize=4096)
def _number(text: str) -> str:
    if _WHOLE.fullmatch(text):
        return _NUMBER_MARK + ("0" if text == "-0" else text)
    try:
        number = _EXACT.normalize(_EXACT.create_decimal(text))
    except ArithmeticError as error:
        raise ValueError(f"{text[:40]} is no number that any engine keeps") from error
    if not number:
        return _NUMBER_MARK + "0"
    return _NUMBER_MARK + (f"{number:f}" if abs(number.adjusted()) <= _WRITTEN_OUT else str(number))


def time_sameness(text: Any) -> Any:
    """The moment in UTC as text, to the microsecond; what is no time is compared as it is."""
    if type(text) is str and len(text) == 23 and text[10] == " " and text[19] == ".":  # nearly all are so
        return f"{text}000"
    try:
        return from_text(text).replace(tzinfo=None).isoformat(" ", "microseconds")
    except (ValueError, TypeError, AttributeError, OverflowError):
        return text


_FORMS: dict[Kind, Callable[[Any], Any]] = {
    Kind.NUMBER: float,
    Kind.JSON: json_sameness,
    Kind.TIME: time_sameness,
    Kind.FLAG: int,
}
