"""Loads queries: one `.sql` file each, read once, by name."""

from __future__ import annotations

from functools import cache
from importlib import resources

from typing_extensions import LiteralString


@cache
def load_sql(package: str, name: str) -> LiteralString:
    """The text of `sql/NAME.sql` in `package`, without its comment lines. Raises FileNotFoundError.

    The text is one that stands in this package's own files, hence a LiteralString: parameters are bound,
    never formatted in.
    """
    text = resources.files(package).joinpath("sql").joinpath(f"{name}.sql").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return "\n".join(lines).strip()
