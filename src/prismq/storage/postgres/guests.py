"""The caller's own connection: psycopg's, or one of SQLAlchemy over it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from prismq.domain.errors import QueueDatabaseError
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.errors import translate

_IDLE = psycopg.pq.TransactionStatus.IDLE
# Whether the names of our tables mean our tables to this connection.
_LOOK = "SELECT to_regclass('task_queue') = to_regclass(%s), to_regclass(%s) IS NULL, current_setting('search_path')"


class Guest:
    """Runs our statements on the caller's connection, inside the caller's transaction."""

    def __init__(self, connection: Any, database: PostgresDatabase) -> None:
        self.given = connection
        self._connection = _unwrapped(connection)
        self._database = database
        self._search_path: str | None = None  # the caller's, where our tables are not in it
        with self.translated():
            self._refuse_autocommit()
            table = f"{database.schema}.task_queue"
            ours, missing, path = self.execute(_LOOK, (table, table)).fetchone()
        if missing:
            raise QueueDatabaseError(
                f"the connection given to transaction() has no queue in it (schema {database.schema!r}); connect to "
                f"PostgreSQL {database.name}, or run `prismq init` there"
            )
        self._search_path = None if ours else path

    def execute(self, query: Any, params: Any = None) -> Any:
        """As psycopg's connections do; rows are tuples."""
        if isinstance(self._connection, psycopg.Connection):
            return psycopg.Cursor(self._connection, row_factory=tuple_row).execute(query, params)
        return self._connection.exec_driver_sql(query, params)

    def _refuse_autocommit(self) -> None:
        connection = self._connection
        if not isinstance(connection, psycopg.Connection):
            return
        if connection.autocommit and connection.info.transaction_status == _IDLE:
            raise QueueDatabaseError(
                "the connection given to transaction() is in autocommit mode and inside no transaction, so nothing "
                "would hold your writes and the task together. Use it inside `with connection.transaction():`"
            )

    @contextmanager
    def single(self) -> Iterator[Guest]:
        """For one statement, which is written or not by itself; errors are ours."""
        if self._search_path is not None:
            with self.savepoint():
                yield self
            return
        with self.translated():
            self._refuse_autocommit()
            yield self

    @contextmanager
    def savepoint(self) -> Iterator[Guest]:
        """All of the block or none of it; errors are ours. The connection is then as it was before."""
        with self.translated():
            self._refuse_autocommit()
            self.execute("SAVEPOINT prismq")
            try:
                if self._search_path is not None:
                    self.execute("SELECT set_config('search_path', %s, true)", (self._database.schema,))
                yield self
                if self._search_path is not None:
                    self.execute("SELECT set_config('search_path', %s, true)", (self._search_path,))
            except BaseException:
                self._undo()
                raise
            self.execute("RELEASE SAVEPOINT prismq")

    def _undo(self) -> None:
        if getattr(self._connection, "closed", False):
            return
        try:
            self.execute("ROLLBACK TO SAVEPOINT prismq")
            self.execute("RELEASE SAVEPOINT prismq")
        except psycopg.Error:  # the connection broke: the server rolls back all of it
            return

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the driver's errors inside the block into ours; SQLAlchemy wraps them."""
        try:
            yield
        except psycopg.Error as error:
            raise translate(error, self._database.name) from error
        except Exception as error:
            original = getattr(error, "orig", None)
            if isinstance(original, psycopg.Error):
                raise translate(original, self._database.name) from error
            raise


class _Borrowed(psycopg.Connection[Any]):
    """The session of an AsyncConnection, for a call that does not wait for the event loop.

    Both speak through one libpq connection, and only one at a time: between two awaits nobody else does.
    """

    _pool = None  # it is not ours to close, and nobody is to be warned that it was not

    def __init__(self, owner: psycopg.AsyncConnection[Any]) -> None:
        pgconn = owner.pgconn
        before = pgconn.notice_handler, pgconn.notify_handler
        super().__init__(pgconn)
        pgconn.notice_handler, pgconn.notify_handler = before
        self._autocommit = owner.autocommit
        self.prepare_threshold = None  # names of prepared statements belong to the session


def _unwrapped(connection: Any) -> Any:
    if isinstance(connection, psycopg.Connection):
        return connection
    if isinstance(connection, psycopg.AsyncConnection):
        return _Borrowed(connection)
    # By the name of its module: SQLAlchemy itself is imported only where the caller has done so.
    if type(connection).__module__.partition(".")[0] == "sqlalchemy":
        bind = _bind_of(connection)
        if hasattr(bind, "exec_driver_sql") and bind.dialect.driver.startswith("psycopg"):
            driver = bind.connection.driver_connection
            return _Borrowed(driver) if isinstance(driver, psycopg.AsyncConnection) else bind
    raise QueueDatabaseError(
        f"transaction() on this queue takes a connection of psycopg, or a session or connection of SQLAlchemy with "
        f"postgresql+psycopg://, sync or async, not {type(connection).__module__}.{type(connection).__name__}"
    )


def _bind_of(connection: Any) -> Any:
    """SQLAlchemy's Connection behind its sessions and its async ones."""
    plain = getattr(connection, "sync_session", None) or getattr(connection, "sync_connection", None) or connection
    if not hasattr(plain, "get_bind"):
        return plain
    if plain is not connection and not plain.in_transaction():
        raise QueueDatabaseError(
            "the AsyncSession given to transaction() has no connection yet, and getting one would have to wait. Begin "
            "with `await session.connection()`, or with any statement of yours"
        )
    return plain.connection()
