"""A private server on a disk, as it is by default but for what is said here, and a database for each sample."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from prismq.cli.demo.server import PrivateServer, ServerUnavailable, free_port, install

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
def redis_server(folder: Path) -> Iterator[str]:
    """The URL of a private Redis that keeps nothing, for the time of the block. Raises ServerUnavailable."""
    if shutil.which("redis-server") is None:
        install("redis-server")
    program = shutil.which("redis-server")
    if program is None:
        raise ServerUnavailable("redis-server was not found; install it, for example `apt-get install redis-server`")
    port = free_port()
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline or process.poll() is not None:
                    raise
                time.sleep(0.01)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


@contextmanager
def database(server: Server) -> Iterator[str]:
    """A database for one sample, dropped after it."""
    url = server.new_database()
    try:
        yield url
    finally:
        server.drop(url)
