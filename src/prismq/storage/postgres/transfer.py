"""A PostgreSQL schema's side of a move."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import psycopg

from prismq.domain.errors import QueueDatabaseError
from prismq.domain.times import from_text
from prismq.storage.contract.transfer import (
    MOVED,
    OWNER,
    Key,
    Kind,
    MoveMark,
    Progress,
    Row,
    Shape,
    Table,
    Unfit,
)
from prismq.storage.postgres import fitting, guarding
from prismq.storage.postgres.database import Connection, PostgresDatabase
from prismq.storage.postgres.errors import translate
from prismq.storage.postgres.schema import applied, migrate

_CREATE_PROGRESS = (
    "CREATE TABLE IF NOT EXISTS prismq_move_progress (pass TEXT NOT NULL, table_name TEXT NOT NULL,"
    " after_key TEXT, row_count BIGINT NOT NULL, checksum TEXT NOT NULL, PRIMARY KEY (pass, table_name))"
)
_REMEMBER = (
    "INSERT INTO prismq_move_progress VALUES (%s, %s, %s, %s, %s) ON CONFLICT (pass, table_name) DO UPDATE"
    " SET after_key = excluded.after_key, row_count = excluded.row_count, checksum = excluded.checksum"
)
# No statement of a move's is short, and what it reads as text has to be in one form.
_SESSION = (
    "SELECT set_config('statement_timeout', '0', true), set_config('TimeZone', 'UTC', true),"
    " set_config('DateStyle', 'ISO, YMD', true)"
)
_LOCK_TIMEOUT = "SELECT set_config('lock_timeout', '2s', true)"  # while we wait, those behind us do
_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
_COLUMNS = (
    "SELECT column_name, data_type FROM information_schema.columns"
    " WHERE table_schema = %s AND table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position"
)
_SEQUENCE = "SELECT pg_get_serial_sequence(%s, %s)"
_DEPTH = (
    "INSERT INTO queue_depth (queue, type, status, band, tasks)"
    " SELECT queue, type, status, prismq_band(priority), count(*) FROM task_queue GROUP BY 1, 2, 3, 4"
)
_HOURS_FROM = (
    "UPDATE books SET hours_from = coalesce((SELECT date_trunc('hour', max(slot_utc), 'UTC') + interval '1 hour'"
    " FROM task_stats), '-infinity')"
)
_DELTAS = ("queue_depth_deltas", "task_stats_deltas")

_KINDS = {
    "bigint": Kind.WHOLE,
    "integer": Kind.SMALL,
    "smallint": Kind.SMALL,
    "double precision": Kind.NUMBER,
    "text": Kind.TEXT,
    "jsonb": Kind.JSON,
    "timestamp with time zone": Kind.TIME,
    "boolean": Kind.FLAG,
}
_READ = {Kind.JSON: "{}::text", Kind.TIME: "({} AT TIME ZONE 'UTC')::text", Kind.FLAG: "{}::int"}
_KEY = {Kind.TEXT: '{} COLLATE "C"'}  # as SQLite orders text
_GIVEN = {
    Kind.WHOLE: "%s::bigint",
    Kind.SMALL: "%s::int",
    Kind.TEXT: '%s::text COLLATE "C"',
    Kind.TIME: "%s::timestamptz",
    Kind.FLAG: "%s::int::boolean",
}


class PostgresTransfer:
    """The Transfer protocol on PostgreSQL."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """See Transfer.alone. The lock is the session's: it goes with the connection."""
        key = (self._database.lock_key("move"),)
        with self._database.reading() as connection:
            mine = bool(connection.execute("SELECT pg_try_advisory_lock(%s)", key).fetchall()[0][0])
            try:
                yield mine
            finally:
                if mine and not connection.closed:
                    connection.execute("SELECT pg_advisory_unlock(%s)", key)

    @contextmanager
    def _session(self, *, pipeline: bool = False) -> Iterator[Connection]:
        with self._database.transaction(pipeline=pipeline) as connection:
            connection.answer_s = None
            connection.execute(_SESSION)
            yield connection

    # -- what is here

    def tables(self) -> frozenset[str]:
        """See Transfer.tables."""
        return frozenset(name for (name,) in self._all(_TABLES, (self._database.schema,)))

    def columns(self, table: Table) -> Mapping[str, Kind]:
        """See Transfer.columns."""
        with self._session() as connection:
            there = applied(self._database)
            if not there:
                connection.execute("SAVEPOINT prismq_look")
                migrate(self._database)
            rows = connection.execute(_COLUMNS, (self._database.schema, table.name)).fetchall()
            if not there:  # nothing of it stays
                connection.execute("ROLLBACK TO SAVEPOINT prismq_look")
        return {name: _KINDS.get(data_type, Kind.ANY) for name, data_type in rows}

    def count(self, table: Table) -> int:
        """See Transfer.count."""
        found: int = self._all(f"SELECT count(*) FROM {table.name}")[0][0]
        return found

    def left_out(self, table: Table) -> int:
        """See Transfer.left_out. Its rules keep such rows out."""
        return 0

    def read(self, shape: Shape, after: Key | None, *, until: Key | None = None, rows: int, size: int) -> list[Row]:
        """See Transfer.read."""
        kinds = dict(zip(shape.columns, shape.kinds, strict=True))
        selected = ", ".join(_READ.get(kind, "{}").format(name) for name, kind in kinds.items())
        names = [(name, kinds[name]) for name in shape.table.key]
        key = ", ".join(_KEY.get(kind, "{}").format(name) for name, kind in names)
        given = ", ".join(_GIVEN.get(kind, "%s") for _, kind in names)
        conditions = [f"({key}) > ({given})"] if after is not None else []
        conditions += [f"({key}) <= ({given})"] if until is not None else []
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        sql = f"SELECT {selected} FROM {shape.table.name}{where} ORDER BY {key} LIMIT %s"
        times = [
            (at, name == "slot_utc") for at, (name, kind) in enumerate(kinds.items()) if kind is Kind.TIME
        ]  # a slot of the statistics is a whole second, and written as one
        found: list[Row] = []
        taken = 0
        with self._session() as connection, connection.cursor(name="prismq_move") as cursor:
            cursor.itersize = 200
            for row in cursor.execute(sql, (*(after or ()), *(until or ()), rows)):
                values = list(row)
                for at, whole in times:
                    values[at] = _time_text(values[at], whole)
                found.append(tuple(values))
                taken += sum(len(value) for value in values if isinstance(value, str))
                if taken >= size:
                    break
        return found

    def unfit(self, shape: Shape, row: Row) -> list[Unfit]:
        """See Transfer.unfit."""
        return fitting.unfit(shape, row)

    def held(self) -> int:
        """See Transfer.held."""
        found: int = self._all("SELECT count(*) FROM task_queue WHERE status IN ('claimed', 'processing')")[0][0]
        return found

    def counters(self) -> dict[str, int]:
        """See Transfer.counters."""
        found = {}
        with self._session() as connection:
            for table, sequence in list(self._sequences(connection)):
                rows = connection.execute(f"SELECT last_value, is_called FROM {sequence}").fetchall()
                last, called = rows[0]
                if called:
                    found[table.name] = int(last)
        return found

    def unsettled(self) -> bool:
        """See Transfer.unsettled."""
        any_left = " OR ".join(f"EXISTS (SELECT 1 FROM {name})" for name in _DELTAS)
        return bool(self._all(f"SELECT {any_left}")[0][0])

    def _present(self, connection: Connection) -> list[Table]:
        names = {name for (name,) in connection.execute(_TABLES, (self._database.schema,)).fetchall()}
        return [table for table in MOVED if table.name in names]

    def _sequences(self, connection: Connection) -> Iterator[tuple[Table, str]]:
        for table in self._present(connection):
            if table.counter is not None:
                named = (f"{self._database.schema}.{table.name}", table.counter)
                yield table, connection.execute(_SEQUENCE, named).fetchall()[0][0]

    # -- the mark, and the guards

    def mark(self) -> MoveMark | None:
        """See Transfer.mark."""
        with self._database.reading() as connection:  # asked by every command, and nearly always there is none
            if not guarding.has_mark(connection, self._database.schema):
                return None
        with self._session() as connection:
            return guarding.read_mark(connection)

    def set_mark(self, mark: MoveMark) -> None:
        """See Transfer.set_mark."""
        with self._session() as connection:
            guarding.write_mark(connection, mark)

    def stop(self, mark: MoveMark, *, with_leases: bool) -> int:
        """See Transfer.stop."""
        if not with_leases and (held := self.held()):  # before anybody has to wait for the lock
            return held
        with self._session() as connection:
            connection.execute(_LOCK_TIMEOUT)
            names = ", ".join(table.name for table in self._present(connection))
            connection.execute(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE")
            held = 0 if with_leases else self.held()
            if not held:
                guarding.write_mark(connection, mark)
                guarding.guard(connection, self._database.schema, self._present(connection))
        return held

    def reopen(self, mark: MoveMark | None) -> None:
        """See Transfer.reopen."""
        with self._session() as connection:
            guarding.unguard(connection)
            if mark is not None:
                guarding.write_mark(connection, mark)
            else:
                connection.execute("DROP TABLE IF EXISTS prismq_move")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """See Transfer.writing."""
        with self._session() as connection:
            connection.execute("UPDATE prismq_move SET open = true")
            yield connection
            connection.execute("UPDATE prismq_move SET open = false")

    # -- receiving

    def receive(self, mark: MoveMark) -> None:
        """See Transfer.receive."""
        with self._session() as connection:
            connection.execute(_LOCK_TIMEOUT)
            guarding.write_mark(connection, mark)
            connection.execute(_CREATE_PROGRESS)
            guarding.switch_off_triggers(connection, self._database.schema, MOVED)
            guarding.guard(connection, self._database.schema, self._present(connection))

    def write(self, shape: Shape, new: Sequence[Row], changed: Sequence[Row], gone: Iterable[Key]) -> None:
        """See Transfer.write."""
        table, columns = shape.table, shape.columns
        kinds = dict(zip(columns, shape.kinds, strict=True))
        by_key = " AND ".join(f"{name} = {_GIVEN.get(kinds[name], '%s')}" for name in table.key)
        with self._session() as connection:
            keys = list(gone)
            if table.name != OWNER:  # nothing depends on its rows, and a number that is given out cannot be updated
                keys += [shape.key_of(row) for row in changed]
                new, changed = [*new, *changed], []
            if keys:
                connection.cursor().executemany(f"DELETE FROM {table.name} WHERE {by_key}", keys)
            if table.unique is not None:
                at = columns.index(table.unique)
                taken = [row[at] for row in (*new, *changed) if row[at] is not None]
                if taken:
                    free = (
                        f"UPDATE {table.name} SET {table.unique} = NULL"
                        if table.name == OWNER
                        else f"DELETE FROM {table.name}"
                    )
                    connection.execute(f"{free} WHERE {table.unique} = ANY (%s)", (taken,))
            given = [_WRITE.get(kind, _as_it_is) for kind in shape.kinds]
            self._insert(connection, shape, [_converted(given, row) for row in new])
            if changed:
                sets = ", ".join(f"{name} = %s" for name in columns)
                rows = [(*_converted(given, row), *shape.key_of(row)) for row in changed]
                connection.cursor().executemany(f"UPDATE {table.name} SET {sets} WHERE {by_key}", rows)

    def _insert(self, connection: Connection, shape: Shape, rows: Sequence[Row]) -> None:
        if not rows:
            return
        names = ", ".join(shape.columns)
        try:
            with connection.transaction(), connection.cursor() as cursor:
                with cursor.copy(f"COPY {shape.table.name} ({names}) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
                return
        except psycopg.Error as error:
            if connection.closed:
                raise
            problem = error
        # Which one was it? One by one they say so.
        places = ", ".join(["%s"] * len(shape.columns))
        for row in rows:
            try:
                with connection.transaction():
                    connection.execute(
                        f"INSERT INTO {shape.table.name} ({names}) OVERRIDING SYSTEM VALUE VALUES ({places})", row
                    )
            except psycopg.Error as error:
                key = ", ".join(
                    f"{name} {value}" for name, value in zip(shape.table.key, shape.key_of(row), strict=True)
                )
                raise QueueDatabaseError(
                    f"the row of {shape.table.name} with {key} cannot be written as it is; mend or delete it where it "
                    f"is now, and move again. {translate(error, self._database.name)}"
                ) from problem

    def missing_tasks(self, task_ids: Iterable[int]) -> set[int]:
        """See Transfer.missing_tasks."""
        wanted = set(task_ids)
        return wanted - {one for (one,) in self._all("SELECT id FROM task_queue WHERE id = ANY (%s)", (list(wanted),))}

    def progress(self, name: str, table: Table) -> Progress:
        """See Transfer.progress."""
        sql = "SELECT after_key, row_count, checksum FROM prismq_move_progress WHERE pass = %s AND table_name = %s"
        for after, rows, total in self._all(sql, (name, table.name)):
            return Progress(None if after is None else tuple(json.loads(after)), rows, int(total, 16))
        return Progress(None, 0, 0)

    def remember(self, name: str, table: Table, progress: Progress) -> None:
        """See Transfer.remember."""
        after = None if progress.after is None else json.dumps(progress.after)
        with self._session() as connection:
            connection.execute(_REMEMBER, (name, table.name, after, progress.rows, f"{progress.checksum:032x}"))

    def finish(self, mark: MoveMark, counters: Mapping[str, int]) -> None:
        """See Transfer.finish. The planner's statistics are taken, too: after a bulk load its guesses are wild."""
        with self.writing() as connection:
            connection.execute("DELETE FROM queue_depth")
            connection.execute(_DEPTH)
            # Statistics that came along are in no hour of task_hours: those of whole hours of its own begin here.
            connection.execute(_HOURS_FROM)
            for table, sequence in list(self._sequences(connection)):
                newest = f"SELECT coalesce(max({table.counter}), 0) FROM {table.name}"
                last = max(connection.execute(newest).fetchall()[0][0], counters.get(table.name, 0))
                if last > 0:
                    connection.execute("SELECT setval(%s, %s)", (sequence, last))
            self._close(connection)
            guarding.write_mark(connection, mark)
            for table in self._present(connection):
                connection.execute(f"ANALYZE {table.name}")

    def discard(self) -> None:
        """See Transfer.discard."""
        with self._session() as connection:
            guarding.unguard(connection)
            # Those of the books are still off.
            names = ", ".join(table.name for table in self._present(connection))
            connection.execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
            self._close(connection)
            connection.execute("DROP TABLE prismq_move")

    def _close(self, connection: Connection) -> None:
        guarding.unguard(connection)
        connection.execute("DROP TABLE IF EXISTS prismq_move_progress")
        guarding.switch_on_triggers(connection)

    def _all(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._session() as connection:
            return connection.execute(sql, params).fetchall()


def _time_text(text: str | None, whole: bool) -> str | None:
    """PostgreSQL's text of a time as SQLite has it: milliseconds, and microseconds only where there are some."""
    if text is None:
        return None
    head, dot, fraction = text.partition(".")
    if not dot:
        return head if whole or not head[-1:].isdigit() else f"{head}.000"  # `infinity`, and the years BC
    return f"{head}.{fraction.ljust(3 if len(fraction) <= 3 else 6, '0')}" if fraction.isdigit() else text


def _as_it_is(value: Any) -> Any:
    return value


@lru_cache(maxsize=16_384)  # many rows have the same
def _moment(text: str) -> str:
    try:
        return from_text(text).isoformat(" ")
    except ValueError:  # `infinity`, from another PostgreSQL
        return text


_WRITE: dict[Kind, Callable[[Any], Any]] = {Kind.TIME: _moment, Kind.FLAG: bool, Kind.NUMBER: float}


def _converted(given: Sequence[Callable[[Any], Any]], row: Row) -> Row:
    return tuple(None if value is None else form(value) for form, value in zip(given, row, strict=True))
