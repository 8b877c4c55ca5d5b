"""PostgreSQL's errors in the words of the person who has to mend them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from prismq.domain.errors import QueueBusyError, QueueDatabaseError, QueueSchemaError, UnstorableValue
from prismq.storage.contract.transfer import GUARDED

SERVER_VERSION_MIN = 130000

# The first that fits counts. Classes, because the states' numbers say nothing to the reader.
_ADVICE: tuple[tuple[tuple[type[psycopg.Error], ...], type[QueueDatabaseError], str], ...] = (
    (
        (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction, pg.InvalidSchemaName),
        QueueSchemaError,
        "it has no queue, or an older one. Run `prismq init` or `prismq migrate`",
    ),
    (
        (pg.LockNotAvailable, pg.DeadlockDetected, pg.SerializationFailure),
        QueueBusyError,
        (
            "another program held a lock for too long, so nothing was changed; try again. If it persists, "
            "look for its open transaction in pg_stat_activity"
        ),
    ),
    (
        (pg.QueryCanceled,),
        QueueBusyError,
        (
            "a statement took longer than statement_timeout, so nothing was changed; try again. If it persists, look "
            "in pg_stat_activity for what holds it up, or allow more: ?options=-c%20statement_timeout%3D60s in the URL"
        ),
    ),
    (
        (pg.InsufficientPrivilege,),
        QueueDatabaseError,
        (
            "the user has not the rights for this. As the owner, GRANT them on the schema and its tables, or "
            "give the queue a schema of its own with ?schema=NAME in the URL (since PostgreSQL 15, "
            "not everybody may create tables in public)"
        ),
    ),
    (
        (pg.DiskFull,),
        QueueDatabaseError,
        "the server's disk is full, so nothing was written. Free some space; workers go on by themselves",
    ),
    (
        (pg.ReadOnlySqlTransaction,),
        QueueDatabaseError,
        (
            "the server takes no writes (a standby, or default_transaction_read_only). Give the primary's "
            "address, or all of them: postgresql://one,two/database"
        ),
    ),
    (
        (pg.TooManyConnections,),
        QueueBusyError,
        "the server has no connection left. Raise max_connections, lower pool_size in the URL, or use PgBouncer",
    ),
    (
        (pg.CannotConnectNow, pg.AdminShutdown, pg.CrashShutdown),
        QueueDatabaseError,
        "the server is starting or stopping. Try again; workers do by themselves",
    ),
    (
        (pg.UntranslatableCharacter, pg.InvalidTextRepresentation, pg.CharacterNotInRepertoire),
        UnstorableValue,
        (
            "it holds text that PostgreSQL cannot keep: its jsonb knows neither \\u0000 nor half of a surrogate pair. "
            "Nothing was written"
        ),
    ),
    ((pg.IntegrityError,), QueueDatabaseError, "a rule of the schema forbids it"),
)

# What a refused connection says, in lower case; the server gives no code that libpq passes on.
_REFUSED = (
    ("password authentication failed", "the password is wrong, or the user does not exist. Check the URL"),
    ("no password supplied", "the server wants a password. Put it into the URL, PGPASSWORD or ~/.pgpass"),
    ("authentication failed", "the server does not accept this user. Check the URL and the server's pg_hba.conf"),
    ("no pg_hba.conf entry", "the server does not accept this user from here. Check the URL, and its pg_hba.conf"),
    ("role", "the user does not exist. Check the URL, or CREATE ROLE it"),
    ("too many", "the server has no connection left. Raise max_connections, or lower pool_size in the URL"),
    ("remaining connection slots", "the server has no connection left. Raise max_connections, or lower pool_size"),
    (
        "read-only",
        "the server takes no writes. Give the primary's address, or all of them: postgresql://one,two/database",
    ),
    ("hot standby", "the server is a standby and takes no writes. Give the primary's address"),
    ("starting up", "the server is starting. Try again; workers do by themselves"),
    ("shutting down", "the server is stopping. Try again; workers do by themselves"),
    ("could not translate host name", "there is no host of this name. Check the URL"),
    ("name or service not known", "there is no host of this name. Check the URL"),
    ("refused", "nothing listens there. Is the server running, at this host and port?"),
    ("timeout", "the server did not answer in time. Check the host, the port and the firewall between"),
    ("timed out", "the server did not answer in time. Check the host, the port and the firewall between"),
    ("closed the connection", "the server, or something on the way to it, ended the connection. Try again"),
    ("ssl", "no encrypted connection could be made. Check sslmode and the certificates"),
)


def translate(error: psycopg.Error, name: str, *, password: str | None = None) -> QueueDatabaseError:
    """The QueueDatabaseError for an error of the driver or of the server, in the database called `name`."""
    text = told(error, password)
    if isinstance(error, pg.RaiseException) and text.startswith(GUARDED):  # a move's guard has said it all
        return QueueDatabaseError(text)
    for kinds, ours, advice in _ADVICE:
        if isinstance(error, kinds):
            return ours(f"PostgreSQL {name}: {advice} ({text})")
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        advice = "the connection was lost. Try again; workers do by themselves"
    elif isinstance(error, psycopg.DataError):
        return UnstorableValue(
            f"PostgreSQL {name}: it holds a value that PostgreSQL cannot keep. Nothing was written ({text})"
        )
    else:
        advice = "PostgreSQL refused it"
    return QueueDatabaseError(f"PostgreSQL {name}: {advice} ({text})")


def refused(error: psycopg.Error, name: str, *, password: str | None = None) -> QueueDatabaseError:
    """The same for a connection that could not be made."""
    text = told(error, password)
    low = text.lower()
    if "database" in low and "does not exist" in low:
        return QueueDatabaseError(f"PostgreSQL {name}: there is no such database. CREATE DATABASE it ({text})")
    for words, advice in _REFUSED:
        if words in low:
            return QueueDatabaseError(f"cannot connect to PostgreSQL {name}: {advice} ({text})")
    return QueueDatabaseError(f"cannot connect to PostgreSQL {name} ({text})")


def told(error: psycopg.Error, password: str | None = None) -> str:
    """What the driver or the server said, in one line and without the password."""
    text = " ".join((error.diag.message_primary or str(error) or type(error).__name__).split())
    return text.replace(password, "***") if password else text


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn the driver's errors inside the block into ours."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, name) from error
