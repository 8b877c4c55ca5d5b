"""The engines that the contract suite judges. A new engine is one more entry in ENGINES."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg

from prismq.storage.contract import Store
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.store import PostgresStore
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.store import SqliteStore
from tests.helpers.postgres import server


class Engine(Protocol):
    """One database of a test's own, and the ways in which others than the store reach it."""

    store: Store

    def another(self, *, prepare: bool = True) -> Store:
        """A second store over the same place, as another process has it."""
        ...

    def empty(self) -> Store:
        """A store over a new place where nothing was prepared."""
        ...

    def hand(self, sql: str, params: Sequence[Any] = ()) -> None:
        """What somebody does with a SQL tool: committed at once, without any of our code."""
        ...

    def look(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What somebody sees with a SQL tool."""
        ...

    def callers_connection(self) -> Any:
        """A connection such as a user's own program has, made without our code."""
        ...

    @property
    def refusal(self) -> type[Exception]:
        """What `hand` raises where the database does not take a value."""
        ...


class SqliteEngine:
    """A file in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = folder / "queue.db"
        self._stores: list[SqliteStore] = []
        self._connections: list[sqlite3.Connection] = []
        self.store: SqliteStore = self.another()
        self._tool = self._connect()
        self._tool.isolation_level = None

    def another(self, *, prepare: bool = True) -> SqliteStore:
        """See Engine.another."""
        store = SqliteStore(QueueDatabase(self.path, busy_timeout_s=5))
        self._stores.append(store)
        if prepare:
            store.prepare()
        return store

    def empty(self) -> SqliteStore:
        """See Engine.empty."""
        store = SqliteStore(QueueDatabase(self._folder / f"empty-{len(self._stores)}.db"))
        self._stores.append(store)
        return store

    def hand(self, sql: str, params: Sequence[Any] = ()) -> None:
        """See Engine.hand."""
        self._tool.execute(sql, params)

    def look(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See Engine.look."""
        return self._tool.execute(sql, params).fetchall()

    def callers_connection(self) -> sqlite3.Connection:
        """See Engine.callers_connection."""
        return self._connect()

    @property
    def refusal(self) -> type[Exception]:
        """See Engine.refusal."""
        return sqlite3.Error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=5)
        self._connections.append(connection)
        return connection

    def close(self) -> None:
        """Let go of everything."""
        for connection in self._connections:
            connection.close()
        for store in self._stores:
            store.close()


@contextmanager
def sqlite_engine(folder: Path) -> Iterator[SqliteEngine]:
    """SQLite is its own fake: a real file each."""
    engine = SqliteEngine(folder)
    try:
        yield engine
    finally:
        engine.close()


class PostgresEngine:
    """A database of the test's own on this process's private server. The test's clock rules, not the server's."""

    def __init__(self) -> None:
        self.server = server()
        self.name = self.server.new_queue()
        self.url = self.server.url(self.name)
        self._stores: list[PostgresStore] = []
        self._connections: list[psycopg.Connection[Any]] = []
        self.store: PostgresStore = self.another()
        self._tool = self.callers_connection()
        self._tool.autocommit = True

    def another(self, *, prepare: bool = True) -> PostgresStore:
        """See Engine.another."""
        store = self._store()
        if prepare:
            store.prepare()
        return store

    def empty(self) -> PostgresStore:
        """See Engine.empty."""
        return self._store(schema=f"empty_{len(self._stores)}")

    def _store(self, **options: Any) -> PostgresStore:
        store = PostgresStore(PostgresDatabase(self.url, server_clock=False, **options))
        self._stores.append(store)
        return store

    def hand(self, sql: str, params: Sequence[Any] = ()) -> None:
        """See Engine.hand. Parameters are `?`, as on the other engine."""
        self._run(sql, params)

    def look(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """See Engine.look."""
        return self._run(sql, params).fetchall()

    def _run(self, sql: str, params: Sequence[Any]) -> psycopg.Cursor[tuple[Any, ...]]:
        if not params:
            return self._tool.execute(sql)
        return self._tool.execute(sql.replace("%", "%%").replace("?", "%s"), params)

    def callers_connection(self) -> psycopg.Connection[tuple[Any, ...]]:
        """See Engine.callers_connection."""
        connection = self.server.connect(self.name)
        self._connections.append(connection)
        return connection

    @property
    def refusal(self) -> type[Exception]:
        """See Engine.refusal."""
        return psycopg.Error

    def close(self) -> None:
        """Let go of everything."""
        for connection in self._connections:
            connection.close()
        for store in self._stores:
            store.close()
        self.server.drop(self.name)


@contextmanager
def postgres_engine(folder: Path) -> Iterator[PostgresEngine]:
    """A database each, on one server."""
    engine = PostgresEngine()
    try:
        yield engine
    finally:
        engine.close()


ENGINES: dict[str, Callable[[Path], AbstractContextManager[Engine]]] = {
    "sqlite": sqlite_engine,
    "postgres": postgres_engine,
}
