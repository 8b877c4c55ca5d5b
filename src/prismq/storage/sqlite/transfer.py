"""A SQLite file's side of a move."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from prismq.domain.times import epoch_to_text, from_text, text_to_epoch
from prismq.storage.contract.transfer import (
    MOVED,
    OWNER,
    Key,
    Kind,
    MoveMark,
    MoveState,
    Progress,
    Row,
    Shape,
    Table,
    Unfit,
)
from prismq.storage.moving import message_of
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.errors import translated
from prismq.storage.sqlite.keeping import SqliteKeeping
from prismq.storage.sqlite.schema import applied, migrate

_CREATE_MARK = (
    "CREATE TABLE IF NOT EXISTS prismq_move (one INTEGER PRIMARY KEY CHECK (one = 1), move_id TEXT NOT NULL,"
    " state TEXT NOT NULL, other TEXT NOT NULL, since_utc TEXT NOT NULL, stops INTEGER NOT NULL,"
    # 1 inside the move's own transactions, and never for anybody else: the guards look at it.
    " open INTEGER NOT NULL DEFAULT 0,"
    " triggers TEXT NOT NULL DEFAULT '[]')"  # JSON: the statements of those that are switched off
)
_CREATE_PROGRESS = (
    "CREATE TABLE IF NOT EXISTS prismq_move_progress (pass TEXT NOT NULL, table_name TEXT NOT NULL,"
    " after_key TEXT, row_count INTEGER NOT NULL, checksum TEXT NOT NULL, PRIMARY KEY (pass, table_name))"
)
_SET_MARK = (
    "INSERT INTO prismq_move (one, move_id, state, other, since_utc, stops) VALUES (1, ?, ?, ?, ?, ?)"
    " ON CONFLICT (one) DO UPDATE SET move_id = excluded.move_id, state = excluded.state, other = excluded.other,"
    " since_utc = excluded.since_utc, stops = excluded.stops"
)
_COLUMNS = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid"
# A flag that is 1 in every row once the books are settled; other engines keep it in another way.
_SETTLED = {"task_stats": "totalled"}
_EVENTS = ("INSERT", "UPDATE", "DELETE")
_GUARD = "prismq_move_"  # the beginning of the guards' names
_EXISTS = " AND EXISTS (SELECT 1 FROM task_queue AS owner WHERE owner.id = t.task_id)"
_DEPTH = (
    "INSERT INTO queue_depth (queue, type, status, band, tasks) SELECT queue, type, status,"
    " CASE WHEN priority < 100 THEN 'high' WHEN priority = 100 THEN 'normal' ELSE 'low' END, count(*)"
    " FROM task_queue GROUP BY 1, 2, 3, 4"
)


class SqliteTransfer:
    """The Transfer protocol on SQLite."""

    def __init__(self, database: QueueDatabase) -> None:
        self._database = database

    def alone(self) -> AbstractContextManager[bool]:
        """See Transfer.alone."""
        return SqliteKeeping(self._database).alone("move")

    # -- what is here

    def tables(self) -> frozenset[str]:
        """See Transfer.tables."""
        rows = self._all("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return frozenset(name for (name,) in rows)

    def columns(self, table: Table) -> Mapping[str, Kind]:
        """See Transfer.columns. A column takes whatever it is given, so that is what is moved to another file."""
        database = self._database
        if not applied(database):  # what it would be can be seen in another place
            database = QueueDatabase(":memory:")
            migrate(database)
        with translated(str(database.db_path)):
            rows = database.get_connection().execute(_COLUMNS, (table.name,)).fetchall()
        if database is not self._database:
            database.close()
        return {name: Kind.ANY for (name,) in rows if name != _SETTLED.get(table.name)}

    def count(self, table: Table) -> int:
        """See Transfer.count."""
        found: int = self._all(f"SELECT count(*) FROM {table.name} AS t WHERE {_readable(table)}")[0][0]
        return found

    def left_out(self, table: Table) -> int:
        """See Transfer.left_out."""
        found: int = self._all(f"SELECT count(*) FROM {table.name} AS t WHERE NOT ({_movable(table)})")[0][0]
        return found

    def read(self, shape: Shape, after: Key | None, *, until: Key | None = None, rows: int, size: int) -> list[Row]:
        """See Transfer.read."""
        table = shape.table
        key = ", ".join(table.key)
        sql = f"SELECT {', '.join(shape.columns)} FROM {table.name} AS t WHERE {_readable(table)}"
        params: list[Any] = []
        for operator, bound in ((">", after), ("<=", until)):
            if bound is not None:
                sql += f" AND ({key}) {operator} ({', '.join(map(_place, bound))})"
                params += map(_bytes, bound)
        connection = self._database.get_connection()
        found: list[Row] = []
        taken = 0
        with translated(str(self._database.db_path)), _any_bytes(connection):
            cursor = connection.execute(f"{sql} ORDER BY {key} LIMIT ?", (*params, rows))
            try:
                for row in cursor:
                    found.append(tuple(row))
                    taken += sum(len(value) for value in row if isinstance(value, (str, bytes)))
                    if taken >= size:
                        break
            finally:
                cursor.close()  # a statement that is not at its end holds up checkpoints
        return found

    def unfit(self, shape: Shape, row: Row) -> list[Unfit]:
        """See Transfer.unfit: times past SQLite's calendar, and a number that SQLite would make NULL of."""
        found = []
        for name, kind, value in zip(shape.columns, shape.kinds, row, strict=True):
            remedy = "mend the row by hand, or delete it, in the database it is in now"
            if kind is Kind.TIME and value is not None and not _is_time(value):
                found.append(Unfit(name, "a time that is not in the years 1 to 9999", remedy))
            elif kind is Kind.NUMBER and value is not None and math.isnan(value):
                found.append(Unfit(name, "not a number (NaN)", remedy))
        return found

    def held(self) -> int:
        """See Transfer.held."""
        found: int = self._all("SELECT count(*) FROM task_queue WHERE status IN ('claimed', 'processing')")[0][0]
        return found

    def counters(self) -> dict[str, int]:
        """See Transfer.counters."""
        names = {table.name for table in MOVED}
        return {name: last for name, last in self._all("SELECT name, seq FROM sqlite_sequence") if name in names}

    def unsettled(self) -> bool:
        """See Transfer.unsettled."""
        sql = (
            "SELECT EXISTS (SELECT 1 FROM ends_by_hand) OR EXISTS (SELECT 1 FROM task_stats WHERE totalled = 0)"
            " OR coalesce((SELECT max(id) FROM task_queue), 0) > (SELECT booked_id FROM books)"
        )
        return bool(self._all(sql)[0][0])

    # -- the mark, and the guards

    def mark(self) -> MoveMark | None:
        """See Transfer.mark."""
        if not self._all("SELECT 1 FROM sqlite_master WHERE name = 'prismq_move'"):
            return None
        rows = self._all("SELECT move_id, state, other, since_utc, stops FROM prismq_move")
        if not rows:
            return None
        move_id, state, other, since, stops = rows[0]
        return MoveMark(move_id, MoveState(state), other, text_to_epoch(since), stops)

    def set_mark(self, mark: MoveMark) -> None:
        """See Transfer.set_mark."""
        with self._database.transaction() as connection:
            self._mark(connection, mark)
            if mark.state is not MoveState.COPYING:
                _unguard(connection)  # their message is part of them
                _guard(connection, mark)

    def stop(self, mark: MoveMark, *, with_leases: bool) -> int:
        """See Transfer.stop."""
        with self._database.transaction() as connection:
            held = 0 if with_leases else self.held()
            if not held:
                self._mark(connection, mark)
                _guard(connection, mark)
        return held

    def reopen(self, mark: MoveMark | None) -> None:
        """See Transfer.reopen."""
        with self._database.transaction() as connection:
            _unguard(connection)
            if mark is not None:
                self._mark(connection, mark)
            else:
                connection.execute("DROP TABLE IF EXISTS prismq_move")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """See Transfer.writing."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE prismq_move SET open = 1")
            yield connection
            connection.execute("UPDATE prismq_move SET open = 0")

    @staticmethod
    def _mark(connection: sqlite3.Connection, mark: MoveMark) -> None:
        connection.execute(_CREATE_MARK)
        since = epoch_to_text(mark.since)
        connection.execute(_SET_MARK, (mark.move_id, mark.state.value, mark.other, since, mark.stops))

    # -- receiving

    def receive(self, mark: MoveMark) -> None:
        """See Transfer.receive."""
        with self._database.transaction() as connection:
            self._mark(connection, mark)
            connection.execute(_CREATE_PROGRESS)
            rows = connection.execute(
                "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name IN (SELECT value FROM"
                " json_each(?)) ORDER BY name",
                (json.dumps([table.name for table in MOVED]),),
            ).fetchall()
            for name, _ in rows:
                connection.execute(f'DROP TRIGGER "{name}"')
            connection.execute("UPDATE prismq_move SET triggers = ?", (json.dumps([sql for _, sql in rows]),))
            _guard(connection, mark)

    def write(self, shape: Shape, new: Sequence[Row], changed: Sequence[Row], gone: Iterable[Key]) -> None:
        """See Transfer.write."""
        table, columns = shape.table, shape.columns
        by_key = " AND ".join(f"{name} = {{}}" for name in table.key)
        connection = self._database.get_connection()
        with translated(str(self._database.db_path)):
            keys = list(gone)
            if table.name != OWNER:
                keys += map(shape.key_of, changed)
                new, changed = [*new, *changed], []
            _write_all(connection, f"DELETE FROM {table.name} WHERE {by_key}", keys)
            if table.unique is not None:
                at = columns.index(table.unique)
                taken = [(row[at],) for row in (*new, *changed) if row[at] is not None]
                free = (
                    f"UPDATE {table.name} SET {table.unique} = NULL"
                    if table.name == OWNER
                    else f"DELETE FROM {table.name}"
                )
                _write_all(connection, f"{free} WHERE {table.unique} = {{}}", taken)
            names, places = list(columns), ["{}"] * len(columns)
            if table.name in _SETTLED:
                names, places = [*names, _SETTLED[table.name]], [*places, "1"]
            _write_all(connection, f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(places)})", new)
            sets = ", ".join(f"{name} = {{}}" for name in columns)
            _write_all(
                connection,
                f"UPDATE {table.name} SET {sets} WHERE {by_key}",
                [(*row, *shape.key_of(row)) for row in changed],
            )

    def missing_tasks(self, task_ids: Iterable[int]) -> set[int]:
        """See Transfer.missing_tasks."""
        wanted = set(task_ids)
        sql = "SELECT id FROM task_queue WHERE id IN (SELECT value FROM json_each(?))"
        return wanted - {task_id for (task_id,) in self._all(sql, (json.dumps(sorted(wanted)),))}

    def progress(self, name: str, table: Table) -> Progress:
        """See Transfer.progress."""
        sql = "SELECT after_key, row_count, checksum FROM prismq_move_progress WHERE pass = ? AND table_name = ?"
        for after, rows, total in self._all(sql, (name, table.name)):
            return Progress(None if after is None else _key_of(after), rows, int(total, 16))
        return Progress(None, 0, 0)

    def remember(self, name: str, table: Table, progress: Progress) -> None:
        """See Transfer.remember."""
        after = None if progress.after is None else json.dumps(progress.after, default=_blob)
        self._database.execute(
            "INSERT OR REPLACE INTO prismq_move_progress VALUES (?, ?, ?, ?, ?)",
            (name, table.name, after, progress.rows, f"{progress.checksum:032x}"),
        )

    def finish(self, mark: MoveMark, counters: Mapping[str, int]) -> None:
        """See Transfer.finish."""
        with self.writing() as connection:
            connection.execute("DELETE FROM queue_depth")
            connection.execute(_DEPTH)
            connection.execute("UPDATE books SET booked_id = (SELECT coalesce(max(id), 0) FROM task_queue)")
            # Statistics that came along are in no hour of task_hours: those of whole hours of its own begin here.
            connection.execute("UPDATE books SET hours_from = strftime('%Y-%m-%d %H:00:00', 'now', '+2 hours')")
            numbered = {name for (name,) in connection.execute("SELECT name FROM sqlite_sequence").fetchall()}
            for name, last in counters.items():
                if name in numbered:
                    connection.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (last, name))
                elif self._counts(connection, name):
                    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, last))
            self._close(connection)
            self._mark(connection, mark)

    @staticmethod
    def _counts(connection: sqlite3.Connection, table: str) -> bool:
        row = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        return row is not None and "AUTOINCREMENT" in row[0]

    def discard(self) -> None:
        """See Transfer.discard."""
        with self._database.transaction() as connection:
            triggers = self._close(connection, restore=False)
            for table in reversed(_present(connection)):
                connection.execute(f"DELETE FROM {table.name}")
                connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (table.name,))
            for sql in triggers:
                connection.execute(sql)
            connection.execute("DROP TABLE prismq_move")

    @staticmethod
    def _close(connection: sqlite3.Connection, *, restore: bool = True) -> list[str]:
        """Guards and progress away; the statements of the triggers, which `restore` has executed."""
        _unguard(connection)
        connection.execute("DROP TABLE IF EXISTS prismq_move_progress")
        [(text,)] = connection.execute("SELECT triggers FROM prismq_move").fetchall()
        triggers: list[str] = json.loads(text)
        if restore:
            for sql in triggers:
                connection.execute(sql)
        return triggers

    def _all(self, sql: str, params: Sequence[Any] = ()) -> list[Any]:
        with translated(str(self._database.db_path)):
            return self._database.get_connection().execute(sql, params).fetchall()


def _present(connection: sqlite3.Connection) -> list[Table]:
    names = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()}
    return [table for table in MOVED if table.name in names]


def _movable(table: Table) -> str:
    """The condition for rows that can be anywhere else. A primary key that is text may be NULL in SQLite."""
    return " AND ".join(f"t.{name} IS NOT NULL" for name in table.key) + (_EXISTS if table.of_task else "")


def _readable(table: Table) -> str:
    return _movable(table) + (f" AND t.{_SETTLED[table.name]} = 1" if table.name in _SETTLED else "")


def _guard(connection: sqlite3.Connection, mark: MoveMark) -> None:
    message = message_of(mark).replace("'", "''")
    for table in _present(connection):
        for event in _EVENTS:
            connection.execute(
                f"CREATE TRIGGER {_GUARD}{table.name}_{event.lower()} BEFORE {event} ON {table.name}"
                f" WHEN (SELECT open FROM prismq_move) = 0 BEGIN SELECT RAISE(ABORT, '{message}'); END"
            )


def _unguard(connection: sqlite3.Connection) -> None:
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND substr(name, 1, ?) = ?", (len(_GUARD), _GUARD)
    ).fetchall()
    for (name,) in rows:
        connection.execute(f'DROP TRIGGER "{name}"')


@contextmanager
def _any_bytes(connection: sqlite3.Connection) -> Iterator[None]:
    """Inside the block, bytes that are no UTF-8 are read as lone surrogates."""
    connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
    try:
        yield
    finally:
        connection.text_factory = str


def _is_broken(value: Any) -> bool:
    return isinstance(value, str) and not value.isascii() and any("\ud800" <= one <= "\udfff" for one in value)


def _place(value: Any) -> str:
    return "CAST(? AS TEXT)" if _is_broken(value) else "?"


def _bytes(value: Any) -> Any:
    return value.encode("utf-8", "surrogateescape") if _is_broken(value) else value


def _blob(value: bytes) -> dict[str, str]:
    return {"hex": value.hex()}


def _key_of(text: str) -> Key:
    return tuple(json.loads(text, object_hook=lambda blob: bytes.fromhex(blob["hex"])))


def _write_all(connection: sqlite3.Connection, sql: str, rows: Sequence[Row]) -> None:
    """`sql` with {} in each place, for every row. Text that is no UTF-8 is bound as its bytes."""
    plain: list[Row] = []
    for row in rows:
        if any(map(_is_broken, row)):
            connection.execute(sql.format(*map(_place, row)), tuple(map(_bytes, row)))
        else:
            plain.append(row)
    if plain:
        connection.executemany(sql.format(*("?" for _ in plain[0])), plain)


def _is_time(text: str) -> bool:
    try:
        from_text(text)
    except (ValueError, OverflowError):
        return False
    return True
