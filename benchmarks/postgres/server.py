"""A private server on a disk, as it is by default but for what is said here, and a database for each sample."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from prismq.cli.demo.server import PrivateServer

# What the report states. `fsync` and `synchronous_commit` are the defaults, said so that nobody has to wonder; the
# memory is what a small server of its own would be given.
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "max_connections": "100",
    "shared_preload_libraries": "pg_stat_statements",
}


class Server(PrivateServer):
    """Started by the benchmark, gone with it."""

    def __init__(self, folder: Path | None) -> None:
        self._numbers = itertools.count(1)
        lines = "".join(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
        super().__init__(lines, parent=folder)

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        name = f"bench_{next(self._numbers)}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop a database, whoever still looks at it; what it left to be written is written now, in nobody's time."""
        name = url.rpartition("/")[2]
        with self.connect("postgres") as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute("CHECKPOINT")

    def connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection in autocommit mode."""
        return psycopg.connect(self.url(database), autocommit=True)

    @property
    def version(self) -> str:
        """The server's own word."""
        with self.connect("postgres") as connection:
            return str(connection.execute("SHOW server_version").fetchall()[0][0])


@contextmanager
def database(server: Server) -> Iterator[str]:
    """A database for one sample, dropped after it."""
    url = server.new_database()
    try:
        yield url
    finally:
        server.drop(url)
