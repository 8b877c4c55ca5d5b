"""Lists as PostgreSQL's array literals, and rows as COPY's lines.

For a batch, several times faster than the driver's way, which goes element by element.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def arrays(rows: Iterable[Sequence[Any]]) -> list[str]:
    """Rows as one array for each column. There is at least one row; the statement casts each array to its type."""
    return [array(column) for column in zip(*rows, strict=True)]


def array(values: Sequence[Any]) -> str:
    """Numbers, texts, times, and None among them."""
    kinds = set(map(type, values))
    if kinds <= {int, float}:
        return "{" + ",".join(map(repr, values)) + "}"
    if kinds == {type(None)}:
        return "{" + ",".join(["NULL"] * len(values)) + "}"
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def copy_lines(columns: Iterable[Sequence[Any]]) -> str:
    """Rows, given by their columns, as COPY takes them in its text form."""
    return "\n".join(map("\t".join, zip(*map(_fields, columns), strict=True))) + "\n"


def _fields(values: Sequence[Any]) -> Sequence[str]:
    kinds = set(map(type, values))
    if kinds == {int}:
        return list(map(repr, values))
    if kinds == {str}:
        text = "\n".join(values)  # so that one search serves for all of them
        if text.count("\n") == len(values) - 1 and not ("\\" in text or "\t" in text or "\r" in text):
            return values
    return list(map(_field, values))


def _field(value: Any) -> str:
    if value is None:
        return "\\N"
    if type(value) is int:
        return repr(value)
    text = str(value)
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if text.isprintable():  # so without a tab or the end of a line
        return text
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
