"""Hints by NOTIFY and LISTEN, on connections of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import sql

from prismq.clock import Clock
from prismq.domain.errors import QueueDatabaseError
from prismq.storage.postgres.database import Connection, PostgresDatabase
from prismq.storage.remote import NEWS_SPACING_S, RemoteAnnouncer, RemoteEar
from prismq.storage.wakeup import Announcer, Ear, Told, Wakeups

_NOTIFY = "SELECT set_config('synchronous_commit', 'off', true), pg_notify(%s, '')"
_LOOK_S = 1.0  # how long the listening thread waits before it looks whether it is to end
_PING_EVERY = 15  # looks: a connection that was cut in silence shows when something is asked


class PostgresWakeups:
    """One channel for each schema of a database.

    A NOTIFY inside the transaction of each enqueue would make all commits of the database wait for one lock, so it is
    sent afterwards, at most once in two milliseconds and process; on a caller's own connection it goes with the
    caller's commit (see `inbox.py`).
    """

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def announcer(self, clock: Clock) -> Announcer:
        """See Wakeups.announcer."""
        return RemoteAnnouncer(lambda: self._notify(self._database.channel), clock)

    def _notify(self, channel: str) -> None:
        # A hint need not survive a crash: its commit does not wait for the disk, and so nobody waits for it.
        with self._database.reading() as connection:
            connection.execute(_NOTIFY, (channel,))

    def ear(self, clock: Clock, told: Told) -> Ear | None:
        """See Wakeups.ear."""
        return RemoteEar(lambda: self._listen(self._database.channel), clock, told)

    def news(self) -> Wakeups:
        """See Wakeups.news."""
        return _News(self._database)

    @contextmanager
    def _listen(self, *channels: str) -> Iterator[Iterator[bool]]:
        with self._database.alone() as connection:
            if self._database.behind_pooler:
                raise QueueDatabaseError(
                    f"PostgreSQL {self._database.name} is behind a pooler in transaction mode, where LISTEN hears "
                    f"nothing. Set redis_url, or give workers a URL that leads past the pooler"
                )
            for channel in channels:
                connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            yield self._looks(connection)

    def _looks(self, connection: Connection) -> Iterator[bool]:
        quiet = 0
        while True:
            heard = False
            for _ in connection.notifies(timeout=_LOOK_S, stop_after=1):
                heard = True
            quiet = 0 if heard else quiet + 1
            if quiet >= _PING_EVERY:
                connection.execute("SELECT 1")
                quiet = 0
            yield heard


class _News(PostgresWakeups):
    """What changed since, for those who watch."""

    def announcer(self, clock: Clock) -> Announcer:
        return RemoteAnnouncer(lambda: self._notify(self._database.news_channel), clock, NEWS_SPACING_S)

    def ear(self, clock: Clock, told: Told) -> Ear | None:
        return RemoteEar(lambda: self._listen(self._database.channel, self._database.news_channel), clock, told)
