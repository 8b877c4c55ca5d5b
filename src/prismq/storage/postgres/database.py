"""The database and its connections, transactions bound to the code that is inside them, and the server's clock."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.types.datetime import TimestamptzLoader
from psycopg.types.string import TextLoader

from prismq.clock import SYSTEM_CLOCK
from prismq.domain.errors import QueueBusyError, QueueDatabaseError
from prismq.domain.times import UTC, from_epoch, to_epoch
from prismq.storage.measuring import Meter
from prismq.storage.postgres.connection import Connection
from prismq.storage.postgres.errors import SERVER_VERSION_MIN, refused, told, translate
from prismq.storage.postgres.location import read_url
from prismq.storage.postgres.measured import measured
from prismq.storage.postgres.pool import Pool

__all__ = ["Connection", "PostgresDatabase"]

# What the driver is told where the URL does not say otherwise. A peer that is gone is noticed within some 25 s, and
# one that takes no more bytes within 20.
_CONNINFO: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # milliseconds
    "target_session_attrs": "read-write",  # of several hosts, the one that is the primary now
    "fallback_application_name": "prismq",
}
# Prepared from the second use on: most statements of ours run thousands of times on a connection.
_PREPARE_AFTER = 2
_ANSWER_S = 5.0  # how much later than its statement_timeout the server may say that a statement took too long
_SKEW_KEPT_S = 60.0
_STEP_S = 0.05  # a wall clock that gained this on the monotonic one was set

_GREETING = "SELECT pg_backend_pid(), extract(epoch FROM clock_timestamp())::float8"
_STATEMENT_TIMEOUT = "SELECT extract(epoch FROM current_setting('statement_timeout')::interval)::float8"


class _UtcLoader(TimestamptzLoader):
    """Times as aware datetimes in UTC, whatever the session's time zone."""

    def load(self, data: Any) -> datetime:
        return super().load(data).astimezone(UTC)


@contextmanager
def _pipeline(connection: Connection) -> Iterator[None]:
    try:
        with connection.pipeline():
            yield
    except psycopg.Error:
        # The server skips what was sent behind the failure, and the driver takes statements for prepared whose
        # preparation was skipped: it would fail with them for as long as the connection lives.
        connection.spoiled = True
        raise


class _Open:
    """A transaction that the running code may be inside of."""

    __slots__ = ("connection", "database", "outer", "over", "thread")

    def __init__(self, database: PostgresDatabase, connection: Connection, outer: _Open | None) -> None:
        self.database, self.connection, self.outer = database, connection, outer
        self.thread = threading.get_ident()
        self.over = False  # a coroutine may outlive the transaction it was started in


# Coroutines of one thread are not all inside.
_inside: ContextVar[_Open | None] = ContextVar("prismq_inside_postgres_transaction", default=None)


class PostgresDatabase:
    """The PostgreSQL database of a queue. Safe to share between threads and across a fork.

    `url`, `schema` and `pool_size`: see location.read_url. `busy_timeout_s`: how long to wait for another's lock, and
    for a connection where this process has pool_size of them in use. `statement_timeout_s`: how long one statement may
    take. `server_clock`: times are the server's, so that hosts whose clocks differ agree on when a lease is over;
    False leaves them to the caller, who then has to be the only one (tests, simulations).

    Nothing is opened before the first use. Raises QueueDatabaseError where it cannot be.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str | None = None,
        pool_size: int | None = None,
        busy_timeout_s: float | None = None,
        statement_timeout_s: float = 30.0,
        server_clock: bool = True,
    ) -> None:
        location = read_url(url, schema=schema, pool_size=pool_size)
        self.schema = location.schema
        self.name = location.name
        self._conninfo = {**_CONNINFO, **location.conninfo}
        wait_s = 5.0 if busy_timeout_s is None else busy_timeout_s
        # `options` in the URL are the user's word on the session, and win.
        said = str(self._conninfo.get("options", ""))
        self._session = {
            key: value
            for key, value in {
                "statement_timeout": f"{int(statement_timeout_s * 1000)}",
                "lock_timeout": f"{max(1, int(wait_s * 1000))}",
                # Compiling a statement costs more than any of ours takes; a wrong guess of its rows would cause it.
                "jit": "off",
            }.items()
            if key not in said
        }
        # The schema alone: what is not in it must not be found in another, where another queue may be.
        self._session["search_path"] = self.schema
        self._answer_s: float | None = statement_timeout_s + _ANSWER_S
        self.server_clock = server_clock
        self._skew: tuple[float, float, float] | None = None  # seconds, measured at (monotonic), wall - monotonic then
        self._pooler = False
        self.pool_size = location.pool_size
        self.meter: Meter | None = None  # what connections opened from then on tell what they do
        self._pool = Pool(self._connect, location.pool_size, wait_s, self.name)

    def __repr__(self) -> str:
        return f"PostgresDatabase({self.name})"

    # -- connections

    def _connect(self) -> Connection:
        try:
            connection = Connection.connect(**self._conninfo, autocommit=True)
        except psycopg.Error as error:
            raise refused(error, self.name, password=self._conninfo.get("password")) from None
        try:
            version = connection.info.server_version
            if version < SERVER_VERSION_MIN:
                raise QueueDatabaseError(
                    f"PostgreSQL {self.name} is version {version // 10000}.{version % 10000}; prismq needs "
                    f"{SERVER_VERSION_MIN // 10000} or later"
                )
            connection.adapters.register_loader("timestamptz", _UtcLoader)
            for kind in ("json", "jsonb"):
                connection.adapters.register_loader(kind, TextLoader)
            self._greet(connection)
        except psycopg.Error as error:
            connection.close()
            raise translate(error, self.name) from error
        except BaseException:
            connection.close()
            raise
        return connection

    def _greet(self, connection: Connection) -> None:
        connection.answer_s = self._answer_s
        before = SYSTEM_CLOCK.now()
        [(pid, server_now)] = connection.execute(_GREETING, prepare=False).fetchall()
        self._note_skew(server_now - (before + SYSTEM_CLOCK.now()) / 2)
        # A pooler between gives out a number of its own, and a session that is another's after each transaction:
        # what is set or prepared in it would not be there, or be somebody else's.
        self._pooler = pid != connection.info.backend_pid
        if self._pooler:
            connection.prepare_threshold = None
            return
        connection.prepare_threshold = _PREPARE_AFTER
        calls = ", ".join(f"set_config('{key}', '{value}', false)" for key, value in self._session.items())
        connection.execute(f"SELECT {calls}", prepare=False)
        if "statement_timeout" not in self._session:
            [(timeout_s,)] = connection.execute(_STATEMENT_TIMEOUT, prepare=False).fetchall()
            self._answer_s = connection.answer_s = timeout_s + _ANSWER_S if timeout_s else None

    def close(self) -> None:
        """Close every connection of this process. The object can be used again; it then opens anew."""
        self._pool.close()

    def interrupt(self, thread_id: int) -> None:
        """Break off what that thread's connections do: the statement raises QueueBusyError."""
        for connection in self._pool.taken_by(thread_id):
            with suppress(psycopg.Error):  # one that is gone has nothing to break off
                connection.cancel()

    def connection_counts(self) -> tuple[int, int]:
        """How many connections of this process are in use, and how many there are."""
        return self._pool.counts()

    # -- statements

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for single statements, each a transaction of its own; inside `transaction()`, its.

        Rows are tuples. JSON comes as text and times as aware datetimes in UTC. Raises QueueBusyError,
        QueueSchemaError or another QueueDatabaseError for the driver's errors.
        """
        found = self._found()
        if found is not None:
            try:
                yield found.connection
            except psycopg.Error as error:
                raise self._ours(error) from error
            return
        connection = self._take()
        try:
            if self._pooler:
                connection.execute(self._begin())
            yield connection
            if self._pooler:
                connection.execute("COMMIT")
        except psycopg.Error as error:
            if connection.closed and error.sqlstate is None:
                raise QueueDatabaseError(
                    f"PostgreSQL {self.name}: the connection was lost before the answer came. If something was being "
                    f"written, nobody knows whether it was. Look, or repeat it: an enqueue with an idempotency key is "
                    f"safe to repeat; workers try again by themselves ({told(error)})"
                ) from error
            raise self._ours(error) from error
        finally:
            self._pool.give(connection)

    @contextmanager
    def transaction(
        self, *, keep_integrity_errors: bool = False, pipeline: bool = False, looks: bool = False
    ) -> Iterator[Connection]:
        """BEGIN; commits at the end, rolls back on any exception. Nested, it is a savepoint of the outer one.

        `pipeline`: statements are sent without waiting for the answers of those before; fetch, or sync, to wait.
        `looks`: nothing is written, and what is set inside for the rest of the transaction ends with the inner one.
        Errors as `reading()` has them; `keep_integrity_errors` lets psycopg.IntegrityError through for a caller that
        knows what to do.
        """
        found = self._found()
        if found is not None:
            try:
                with found.connection.transaction(force_rollback=looks), self.pipeline(found.connection, pipeline):
                    yield found.connection
            except psycopg.Error as error:
                if keep_integrity_errors and isinstance(error, psycopg.IntegrityError):
                    raise
                raise self._ours(error) from error
            return
        connection = self._take()
        opened = _Open(self, connection, _inside.get())
        token = _inside.set(opened)
        committing = committed = False
        meter = self.meter
        began = 0.0 if meter is None else SYSTEM_CLOCK.monotonic()
        try:
            if self._pooler:
                connection.execute(self._begin())
            with self.pipeline(connection, pipeline):
                if not self._pooler:
                    connection.execute("BEGIN")
                yield connection
                committing = True
                connection.execute("COMMIT")
            committed = True
        except psycopg.Error as error:
            if keep_integrity_errors and isinstance(error, psycopg.IntegrityError):
                raise
            if committing and connection.closed:
                raise QueueDatabaseError(
                    f"PostgreSQL {self.name}: the connection was lost during the commit, so nobody knows whether it "
                    f"was written. Look, or repeat it: an enqueue with an idempotency key is safe to repeat "
                    f"({told(error)})"
                ) from error
            raise self._ours(error) from error
        finally:
            opened.over = True
            _inside.reset(token)
            connection.answer_s = self._answer_s  # whoever lifted the statement_timeout in it lifted this as well
            self._pool.give(connection)  # which rolls back what is still open
            if meter is not None:
                meter.transaction(SYSTEM_CLOCK.monotonic() - began, committed=committed)

    def _take(self) -> Connection:
        meter = self.meter
        if meter is None:
            return self._pool.take()
        began = SYSTEM_CLOCK.monotonic()
        try:
            connection = self._pool.take()
            connection.cursor_factory = measured(meter)
            return connection
        except QueueBusyError:
            meter.busy()
            raise
        finally:
            meter.waited(SYSTEM_CLOCK.monotonic() - began)

    def _ours(self, error: psycopg.Error) -> QueueDatabaseError:
        found = translate(error, self.name)
        if self.meter is not None and isinstance(found, QueueBusyError):
            self.meter.busy()
        return found

    def _begin(self) -> str:
        # Behind a pooler nothing can be set for longer than a transaction.
        local = "".join(f"; SET LOCAL {key} = '{value}'" for key, value in self._session.items())
        return f"BEGIN{local}"

    @staticmethod
    def pipeline(connection: Connection, wanted: bool = True) -> AbstractContextManager[Any]:
        """Inside, statements are sent without waiting for the answers of those before; to fetch is to wait."""
        return _pipeline(connection) if wanted and psycopg.Pipeline.is_supported() else nullcontext()

    def _found(self) -> _Open | None:
        opened = _inside.get()
        while opened is not None and opened.database is not self:
            opened = opened.outer
        if opened is None or opened.over or opened.thread != threading.get_ident():
            return None
        return opened

    @property
    def in_transaction(self) -> bool:
        """Whether the running code is inside `transaction()`."""
        return self._found() is not None

    def refuse_strangers(self) -> None:
        """Nothing to refuse: whoever is not inside a transaction has another connection."""

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """A connection that is not of the pool, for as long as it is wanted. The driver's errors stay as they are."""
        connection = self._connect()
        try:
            yield connection
        finally:
            connection.close()

    @property
    def behind_pooler(self) -> bool:
        """Whether the last connection led to a pooler that gives each transaction another session."""
        return self._pooler

    @contextmanager
    def conninfo(self) -> Iterator[str]:
        """A connection string for PostgreSQL's own programs; the password lies in a file beside, until the end."""
        said = {key: value for key, value in self._conninfo.items() if key != "password"}
        password = self._conninfo.get("password")
        if not password:
            yield make_conninfo("", **said)
            return
        with TemporaryDirectory(prefix="prismq-") as folder:  # which its owner alone may enter
            passfile = Path(folder) / "pgpass"
            escaped = str(password).replace("\\", "\\\\").replace(":", "\\:")
            passfile.touch(0o600)
            passfile.write_text(f"*:*:*:*:{escaped}\n", encoding="utf-8")
            yield make_conninfo("", **said, passfile=str(passfile))

    @property
    def channel(self) -> str:
        """Where NOTIFY tells of new work."""
        return self._channel("prismq")

    @property
    def news_channel(self) -> str:
        """Where NOTIFY tells those who watch that tasks changed."""
        return self._channel("prismq_news")

    def _channel(self, prefix: str) -> str:
        name = f"{prefix}_{self.schema}"
        return name if len(name.encode()) < 64 else f"{prefix}_{sha256(name.encode()).hexdigest()[:32]}"

    def lock_key(self, purpose: str) -> int:
        """The number of this queue's advisory lock for `purpose`."""
        digest = sha256(f"prismq {self.schema} {purpose}".encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)

    # -- the server's clock

    def at(self, epoch_s: float) -> datetime:
        """The server's time at `epoch_s` of this host's clock."""
        return from_epoch(epoch_s + self.skew_s())

    def back(self, moment: datetime) -> float:
        """Seconds since 1970 by this host's clock, of a time by the server's."""
        return to_epoch(moment) - self.skew_s()

    def skew_s(self) -> float:
        """How far the server's clock is ahead of this host's, in seconds; 0 where the caller's clock rules.

        Measured with each connection, once a minute, and whenever this host's clock was set.
        """
        if not self.server_clock:
            return 0.0
        known = self._skew
        if known is not None:
            now, offset = SYSTEM_CLOCK.monotonic(), SYSTEM_CLOCK.now() - SYSTEM_CLOCK.monotonic()
            if now - known[1] < _SKEW_KEPT_S and abs(offset - known[2]) < _STEP_S:
                return known[0]
        with self.reading() as connection:
            before = SYSTEM_CLOCK.now()
            [(_, server_now)] = connection.execute(_GREETING).fetchall()
            skew = float(server_now - (before + SYSTEM_CLOCK.now()) / 2)
        self._note_skew(skew)
        return skew

    def _note_skew(self, skew_s: float) -> None:
        monotonic = SYSTEM_CLOCK.monotonic()
        self._skew = (skew_s, monotonic, SYSTEM_CLOCK.now() - monotonic)

    # -- schema

    def initialize_schema(self) -> None:
        """Create the tables, or upgrade them. Safe when several processes do it at once. Raises QueueSchemaError."""
        from prismq.storage.postgres.schema import migrate

        migrate(self)

    def require_schema(self) -> None:
        """Raise QueueSchemaError unless the database holds the schema of this version."""
        from prismq.domain.errors import QueueSchemaError
        from prismq.storage.postgres.schema import pending

        waiting = pending(self)
        if waiting:
            raise QueueSchemaError(
                f"PostgreSQL {self.name} has no queue, or an older one (missing migrations: "
                f"{', '.join(map(str, waiting))}). Run `prismq init` for a new queue or `prismq migrate` for an old one"
            )
