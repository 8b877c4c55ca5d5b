"""The mark of a move in a schema, and what keeps everybody else from writing while there is one."""

from __future__ import annotations

import json
from collections.abc import Iterable

from prismq.domain.times import epoch_to_text, text_to_epoch
from prismq.storage.contract.transfer import MoveMark, MoveState, Table
from prismq.storage.moving import message_of
from prismq.storage.postgres.database import Connection

_CREATE_MARK = (
    "CREATE TABLE IF NOT EXISTS prismq_move (one INTEGER PRIMARY KEY CHECK (one = 1), move_id TEXT NOT NULL,"
    " state TEXT NOT NULL, other TEXT NOT NULL, since_utc TEXT NOT NULL, stops INTEGER NOT NULL,"
    " message TEXT NOT NULL,"
    # True inside the move's own transactions, and never for anybody else: the guards look at it.
    " open BOOLEAN NOT NULL DEFAULT false,"
    " triggers TEXT NOT NULL DEFAULT '[]')"  # JSON: table, name and kind of those that are switched off
)
_SET_MARK = (
    "INSERT INTO prismq_move (one, move_id, state, other, since_utc, stops, message)"
    " VALUES (1, %s, %s, %s, %s, %s, %s) ON CONFLICT (one) DO UPDATE SET move_id = excluded.move_id,"
    " state = excluded.state, other = excluded.other, since_utc = excluded.since_utc, stops = excluded.stops,"
    " message = excluded.message"
)
_TRIGGERS = (
    "SELECT c.relname, g.tgname, g.tgenabled::text FROM pg_trigger AS g JOIN pg_class AS c ON c.oid = g.tgrelid"
    " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
    " WHERE n.nspname = %s AND c.relname = ANY (%s) AND NOT g.tgisinternal AND g.tgenabled <> 'D'"
)
_ENABLE = {"O": "ENABLE TRIGGER", "A": "ENABLE ALWAYS TRIGGER", "R": "ENABLE REPLICA TRIGGER"}
_GUARD = "prismq_move_guard"


def has_mark(connection: Connection, schema: str) -> bool:
    """Whether there ever was a mark."""
    [(found,)] = connection.execute("SELECT to_regclass(%s)", (f"{schema}.prismq_move",)).fetchall()
    return found is not None


def read_mark(connection: Connection) -> MoveMark | None:
    """The mark, from its table."""
    rows = connection.execute("SELECT move_id, state, other, since_utc, stops FROM prismq_move").fetchall()
    if not rows:
        return None
    [(move_id, state, other, since, stops)] = rows
    return MoveMark(move_id, MoveState(state), other, text_to_epoch(since), stops)


def write_mark(connection: Connection, mark: MoveMark) -> None:
    """Put the mark in the place of the one before."""
    connection.execute(_CREATE_MARK)
    since = epoch_to_text(mark.since)
    values = (mark.move_id, mark.state.value, mark.other, since, mark.stops, message_of(mark))
    connection.execute(_SET_MARK, values)


def guard(connection: Connection, schema: str, tables: Iterable[Table]) -> None:
    """From now on whoever writes is told of the mark."""
    connection.execute(
        f"CREATE OR REPLACE FUNCTION {_GUARD}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NOT (SELECT open FROM {schema}.prismq_move) THEN"
        f" RAISE EXCEPTION '%', (SELECT message FROM {schema}.prismq_move); END IF; RETURN NULL; END $$"
    )
    for table in tables:
        connection.execute(
            f"CREATE TRIGGER {_GUARD} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table.name}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {_GUARD}()"
        )


def unguard(connection: Connection) -> None:
    """Everybody may write again."""
    connection.execute(f"DROP FUNCTION IF EXISTS {_GUARD}() CASCADE")


def switch_off_triggers(connection: Connection, schema: str, tables: Iterable[Table]) -> None:
    """What rows bring about has been brought about where they come from. The mark remembers which were on."""
    names = [table.name for table in tables]
    triggers = connection.execute(_TRIGGERS, (schema, names)).fetchall()
    for table, name, _ in triggers:
        connection.execute(f'ALTER TABLE {table} DISABLE TRIGGER "{name}"')
    connection.execute("UPDATE prismq_move SET triggers = %s", (json.dumps(triggers),))


def switch_on_triggers(connection: Connection) -> None:
    """Those that were on before."""
    [(text,)] = connection.execute("SELECT triggers FROM prismq_move").fetchall()
    for table, name, kind in json.loads(text):
        connection.execute(f'ALTER TABLE {table} {_ENABLE[kind]} "{name}"')
