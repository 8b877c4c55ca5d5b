"""A private PostgreSQL server: a real one, started at the first use, one for each process that runs tests."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.string import TextLoader

from prismq.cli.demo.server import USER, PrivateServer, ServerUnavailable, free_port, install

__all__ = ["USER", "PgBouncer", "PostgresServer", "ServerUnavailable", "free_port", "install", "server"]

_TEMPLATE = "prismq_template"
# As a server is by default where it matters: every commit is on the disk (a disk in memory, here) before it is
# acknowledged. Autovacuum would come in the middle of a test as it likes.
_SETTINGS = """
fsync = on
synchronous_commit = on
autovacuum_naptime = 1d
max_connections = 200
shared_buffers = 128MB
max_wal_size = 512MB
timezone = 'Asia/Kolkata'
log_min_messages = fatal
"""
_HBA = """
local all all trust
host all locked 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
host replication all 127.0.0.1/32 trust
"""


class PostgresServer(PrivateServer):
    """A server that a test may stop and start, on a disk in memory where there is one."""

    def __init__(self, settings: str = "", *, open_to: str = "127.0.0.1/32") -> None:
        memory = Path("/dev/shm")
        self._numbers = itertools.count(1)
        access = f"{_HBA}host all all {open_to} trust\n"
        super().__init__(_SETTINGS + settings, access, memory if memory.is_dir() else None)

    def standby(self) -> PostgresServer:
        """A copy that follows this one, so closely that a commit waits for it; `promote()` makes it the primary."""
        return _Standby(self)

    def promote(self) -> None:
        """Make a standby a primary."""
        self._control("promote")

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection as a SQL tool has it: in UTC, JSON as text."""
        connection = psycopg.connect(self.url(database), options="-c timezone=UTC", **options)
        for kind in ("json", "jsonb"):
            connection.adapters.register_loader(kind, TextLoader)
        return connection

    def execute(self, sql: str) -> None:
        """One statement in the database `postgres`."""
        with self.connect(autocommit=True) as connection:
            connection.execute(sql)

    def new_database(self, template: str = "template0") -> str:
        """The name of a new database."""
        try:
            return self._new_database(template, "30s")
        except psycopg.errors.QueryCanceled:  # seen once in some 50,000: it waited, for nobody knows what
            return self._new_database(template, "60s")

    def _new_database(self, template: str, patience: str) -> str:
        name = f"test_{next(self._numbers)}"
        with self.connect(autocommit=True) as connection:
            connection.execute(f"SET statement_timeout = '{patience}'")
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def new_queue(self) -> str:
        """The name of a new database with an empty queue in it."""
        from prismq.storage.postgres.database import PostgresDatabase

        if not hasattr(self, "_template_made"):
            self.execute(f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0")
            database = PostgresDatabase(self.url(_TEMPLATE))
            database.initialize_schema()
            database.close()
            self._template_made = True
        return self.new_database(_TEMPLATE)

    def drop(self, database: str) -> None:
        """Drop a database, whoever still looks at it."""
        self.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")


class _Standby(PostgresServer):
    def __init__(self, primary: PostgresServer) -> None:
        self._primary = primary
        super().__init__(
            f"primary_conninfo = 'host=127.0.0.1 port={primary.port} user={USER} application_name=standby'\n"
        )
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
        primary.execute("SELECT pg_reload_conf()")

    def _make(self, settings: str, access: str) -> None:
        where = ("-h", "127.0.0.1", "-p", self._primary.port, "-U", USER)
        self.run("pg_basebackup", "-D", self.data, *where, "-c", "fast", "-X", "stream", "--no-sync")
        self.configure(settings, access)
        (self.data / "standby.signal").touch()
        if self.run_as:
            shutil.chown(self.data / "standby.signal", self.run_as["user"])


class PgBouncer:
    """A pooler of our own before a server, in transaction mode."""

    def __init__(self, before: PostgresServer, connections: int = 2) -> None:
        if shutil.which("pgbouncer") is None:
            install("pgbouncer")
        program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
        if program is None:
            raise RuntimeError("the tests need PgBouncer, and it was not found: `apt-get install pgbouncer`")
        self.port = free_port()
        self._folder = before.folder / f"pgbouncer-{self.port}"
        self._folder.mkdir()
        settings = self._folder / "settings"
        users = self._folder / "users"
        users.write_text(f'"{USER}" ""\n')
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={before.port} user={USER}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\nauth_type = trust\n"
            f"auth_file = {users}\npool_mode = transaction\ndefault_pool_size = {connections}\n"
        )
        self._command: dict[str, Any] = {"args": [program, "-q", str(settings)], **before.run_as}
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(**self._command, stderr=subprocess.DEVNULL)
        for _ in range(500):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5):
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.01)
        raise RuntimeError("PgBouncer did not start")

    def url(self, database: str) -> str:
        """The URL of a database of the server behind it."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def restart(self) -> None:
        """As after a crash: every connection through it is gone."""
        self._process.kill()
        self._process.wait(30)
        self._start()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)


_server: PostgresServer | None = None


def server() -> PostgresServer:
    """This process's server, started at the first call and stopped when the process ends."""
    global _server
    if _server is None:
        _server = PostgresServer()
        atexit.register(_server.close)
    return _server


if __name__ == "__main__":  # python -m tests.helpers.postgres: to look at one by hand
    one = server()
    print(one.url("postgres"))
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.read()
