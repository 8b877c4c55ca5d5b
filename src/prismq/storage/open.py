"""The only file that names the engines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from prismq.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from prismq.storage.contract import Store
    from prismq.storage.sqlite.pragmas import Durability
    from prismq.storage.wakeup import Wakeups


def open_store(
    scheme: str,
    location: str,
    *,
    durability: Durability = "normal",
    busy_timeout_s: float | None = None,
    redis_url: str | None = None,
    adopt: bool = False,
) -> Store:
    """The store at `location` (a path for scheme `sqlite`, a URL for `postgresql`). Nothing is opened or written yet.

    `durability` and `adopt` are for SQLite: a PostgreSQL server decides itself, and a schema is shared as it is.
    Raises ConfigurationError for an engine that this version does not have, or whose driver is not installed.
    """
    store: Store = _open(scheme, location, durability, busy_timeout_s, adopt)
    if redis_url is not None:
        store.wakeups = _redis(redis_url, location)
    return store


class RedisInfo(NamedTuple):
    """What a Redis server says of itself."""

    memory_bytes: int
    connected_clients: int
    ops_per_second: int
    commands: int  # since it was started


def redis_info(url: str) -> RedisInfo:
    """Ask the Redis server at `url`. Raises ConfigurationError without its driver, and the driver's errors where it
    does not answer."""
    try:
        from prismq.storage.redis.info import read_info
    except ModuleNotFoundError as error:
        raise ConfigurationError("redis_url is set, and needs: pip install 'prismq[redis]'") from error
    return read_info(url)


class RedisState(NamedTuple):
    """How a Redis server is set up, and how it is off. Sizes in bytes."""

    used_memory: int
    maxmemory: int  # 0: no limit
    policy: str  # maxmemory_policy
    evicted_keys: int  # since it was started
    persists: bool  # it keeps an append-only file, or saves at times
    save_failed: bool  # the last write of one of them


def redis_state(url: str) -> RedisState:
    """How the Redis server at `url` is. Raises as `redis_info` does."""
    try:
        from prismq.storage.redis.info import read_state
    except ImportError as error:
        raise ConfigurationError("redis_url is set, and needs: pip install 'prismq[redis]'") from error
    return read_state(url)


def redis_keys(url: str) -> dict[str, int]:
    """How many keys the Redis server at `url` holds, by type. Raises as `redis_info` does."""
    try:
        from prismq.storage.redis.info import read_keys
    except ModuleNotFoundError as error:
        raise ConfigurationError("redis_url is set, and needs: pip install 'prismq[redis]'") from error
    return read_keys(url)


def _redis(url: str, location: str) -> Wakeups:
    try:
        from prismq.storage.redis.wakeup import RedisWakeups
    except ModuleNotFoundError as error:
        raise ConfigurationError("redis_url is set, and needs: pip install 'prismq[redis]'") from error
    # The same on every host that has this database, by whatever address; two queues on one channel do no harm.
    name = location.rpartition("/")[2].partition("?")[0]
    return RedisWakeups(url, f"prismq:{'' if '@' in name else name}")


def _open(scheme: str, location: str, durability: Durability, busy_timeout_s: float | None, adopt: bool) -> Any:
    if scheme == "sqlite":
        from prismq.storage.sqlite.database import QueueDatabase
        from prismq.storage.sqlite.store import SqliteStore

        database = QueueDatabase(Path(location), durability=durability, busy_timeout_s=busy_timeout_s, adopt=adopt)
        return SqliteStore(database)
    if scheme in ("postgresql", "postgres"):
        return _postgres(location, busy_timeout_s)
    raise ConfigurationError(
        f"there is no storage engine for {scheme!r} in this version of prismq; give a path or sqlite:///…"
    )


def _postgres(url: str, busy_timeout_s: float | None) -> Any:
    try:
        from prismq.storage.postgres.database import PostgresDatabase
        from prismq.storage.postgres.store import PostgresStore
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "psycopg":
            raise
        raise ConfigurationError(
            "a postgresql:// database needs the driver psycopg, which is not installed: pip install 'prismq[postgres]'"
        ) from error
    except ImportError as error:  # psycopg is there, and the library of PostgreSQL's own that it needs is not
        if "libpq" not in str(error) and "pq wrapper" not in str(error):
            raise
        raise ConfigurationError(
            "the driver psycopg finds no libpq, PostgreSQL's client library. Install it (Debian: apt install libpq5), "
            "or the driver with its own: pip install 'psycopg[binary]'"
        ) from error
    return PostgresStore(PostgresDatabase(url, busy_timeout_s=busy_timeout_s))


def store_of(database: Any) -> Store:
    """The store over a QueueDatabase, or a PostgresDatabase, that the caller already has."""
    from prismq.storage.sqlite.database import QueueDatabase
    from prismq.storage.sqlite.store import SqliteStore

    if isinstance(database, QueueDatabase):
        return SqliteStore(database)
    from prismq.storage.postgres.store import PostgresStore

    store: Store = PostgresStore(database)
    return store
