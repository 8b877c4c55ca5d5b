"""Numbered migrations as files; how they are applied is each engine's own."""

from __future__ import annotations

import hashlib
from importlib import resources
from typing import NamedTuple


class Migration(NamedTuple):
    """A file `NNNN_name.sql`."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Of the text with its line ends made the same on every system."""
        return hashlib.sha256("\n".join(self.sql.splitlines()).encode()).hexdigest()[:16]


def load_migrations(package: str) -> list[Migration]:
    """Every migration in `migrations/` of `package`, in order."""
    found = []
    for file in resources.files(package).joinpath("migrations").iterdir():
        if file.name.endswith(".sql"):
            number, _, name = file.name[: -len(".sql")].partition("_")
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    return sorted(found)
