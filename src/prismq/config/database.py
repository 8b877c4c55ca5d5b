"""Which database is meant: a path or a URL, read into a target."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

from prismq.domain.errors import ConfigurationError, closest

DATABASE_VARIABLES = ("PRISMQ_DATABASE_URL", "PRISMQ_QUEUE_DB_PATH")  # the first that is set counts

_PASSWORD_OPTION = re.compile(r"([?&](?:ssl)?password=)[^&]*")

Source = Literal["argument", "environment", "file", "default"]


class DatabaseTarget(NamedTuple):
    """Which database is meant, and who said so. `location` is a path for sqlite, a URL for postgresql."""

    scheme: Literal["sqlite", "postgresql"]
    location: str
    source: Source

    def require_path(self) -> Path:
        """The file. Raises ConfigurationError for a database that is not a file."""
        if self.scheme == "sqlite":
            return Path(self.location)
        raise ConfigurationError(
            f"the database {self} (from the {self.source}) is not a SQLite file, and this needs one. "
            f"Give a path, or use PrismQ, which serves both"
        )

    def __str__(self) -> str:
        """For people: a URL without its password."""
        return without_password(self.location)


def default_db_path(system: str = os.name) -> Path:
    """Where the queue lives when nobody says: `system` is os.name. No folder is made."""
    if system == "nt":
        return Path(r"C:\Data\PrismQ\queue\queue.db")
    return Path("/tmp/prismq/queue/queue.db")  # noqa: S108 - its folder is made for its owner alone


def target_of(database: str | os.PathLike[str], source: Source, where: str) -> DatabaseTarget:
    """The database that a path or URL means; `where` says in the error who gave it."""
    text = os.fspath(database)
    try:
        return DatabaseTarget(*read_database(text), source)
    except ValueError as error:
        raise ConfigurationError(f"{where}, {without_password(text)!r}: {error}") from None


def read_database(text: str) -> tuple[Literal["sqlite", "postgresql"], str]:
    """Scheme and location. Raises ValueError, which says what is wrong and what would be right."""
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    if not text.strip() or "\x00" in text:
        raise ValueError("it is no path; give the path of a file, such as queue.db")
    if not mark:
        if scheme.startswith(("sqlite:", "postgres:", "postgresql:")):
            raise ValueError("a URL has :// after its scheme, as in sqlite:///queue.db")
        return "sqlite", text if text == ":memory:" else str(Path(text).expanduser())
    if scheme == "sqlite":
        path = rest.removeprefix("/")
        if not rest.startswith("/") or not path:
            raise ValueError(
                "it takes three slashes and a path: sqlite:///queue.db, or absolute sqlite:////var/queue.db"
            )
        if "?" in path:
            raise ValueError("options after ? are not known here; durability and busy_timeout_seconds are settings")
        return read_database(path) if "://" not in path else ("sqlite", path)
    if scheme in ("postgresql", "postgres"):
        return "postgresql", f"postgresql://{rest}"
    if scheme.startswith(("postgresql+", "postgres+", "sqlite+")):
        raise ValueError(f"leave out the driver: {scheme.partition('+')[0]}://…")
    near = closest(scheme, ("sqlite", "postgresql"))
    raise ValueError(f"there is no storage for {scheme!r}.{near} Use a path, sqlite:///… or postgresql://…")


def without_password(location: str) -> str:
    """A URL with *** for its password; what is no URL stays as it is."""
    if "://" not in location:
        return location
    scheme, _, rest = _PASSWORD_OPTION.sub(r"\1***", location).partition("://")
    login, mark, host = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}:***@{host}" if mark and ":" in login else f"{scheme}://{rest}"
