"""Loads queries: one `.sql` file each, read once, by name."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import cast

from typing_extensions import LiteralString


@lru_cache(maxsize=None)
def load_sql(package: str, name: str) -> LiteralString:
    """The text of `sql/NAME.sql` in `package`, without its comment lines. Raises FileNotFoundError.

    The text is one that stands in this package's own files, hence a LiteralString: parameters are bound,
    never formatted in.
    """
    text = resources.files(package).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
    return cast(LiteralString, "\n".join(lines).strip())
