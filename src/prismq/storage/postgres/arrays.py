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


def copy_lines(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as COPY takes them in its text form."""
    return "\n".join(["\t".join(map(_field, row)) for row in rows]) + "\n"


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
