"""Log lines from outside an attempt, and reading them back."""

from __future__ import annotations

from prismq.domain.lease import LogLine
from prismq.domain.limits import FILTER_CHUNK, LOGS_LOOKED_AT
from prismq.domain.span import AttemptSpans
from prismq.domain.task import LogFilter, LogPage, TaskLog
from prismq.storage.log_pages import levels_from, page_of
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.planning import planned_by_index
from prismq.storage.postgres.queries import query
from prismq.storage.postgres.rows import LOGS

_ADD = query("add_log")
_OLD = query("old_logs")
_SPANS = query("spans_of_task")

_OF_TASK = "WHERE task_id = %(task_id)s ORDER BY at_utc DESC, log_id DESC LIMIT %(limit)s"
_OF_TASK_AND_LEVEL = (
    "WHERE task_id = %(task_id)s AND level = %(level)s ORDER BY at_utc DESC, log_id DESC LIMIT %(limit)s"
)
_NEWEST = "ORDER BY log_id DESC LIMIT %(limit)s"
# The second condition is the index's own, and only then is the index used.
_NEWEST_OF_LEVEL = "WHERE level = %(level)s AND level <> 'DEBUG' ORDER BY level DESC, log_id DESC LIMIT %(limit)s"
# No index has these. Where nobody writes them, a look at all the others would find none of them.
_NEWEST_DEBUG = (
    "WHERE level = 'DEBUG' AND log_id > (SELECT max(log_id) FROM task_logs) - %(looked_at)s"
    " ORDER BY log_id DESC LIMIT %(limit)s"
)
_MATCHING = (
    "level = ANY (%(levels)s::text[])"
    " AND (%(after)s::timestamptz IS NULL OR at_utc >= %(after)s)"
    " AND (%(before)s::timestamptz IS NULL OR at_utc < %(before)s)"
    " AND (%(text)s::text IS NULL OR strpos(lower(message), lower(%(text)s)) > 0"
    " OR strpos(lower(details::text), lower(%(text)s)) > 0)"
)
_FIND = f"WHERE log_id < %(before_id)s AND log_id >= %(from_id)s AND {_MATCHING} ORDER BY log_id DESC LIMIT %(limit)s"
_FIND_OF_TASK = (
    f"WHERE task_id = %(task_id)s AND log_id < %(before_id)s AND {_MATCHING} ORDER BY log_id DESC LIMIT %(limit)s"
)
_SPAN_OF_LOGS = "SELECT (SELECT min(log_id) FROM task_logs), (SELECT max(log_id) FROM task_logs)"
_IS_BEFORE = "SELECT at_utc < %s FROM task_logs WHERE log_id >= %s ORDER BY log_id LIMIT 1"
_ID_MAX = 2**63 - 1


class PostgresTaskLogs:
    """The TaskLogStore protocol on PostgreSQL."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def add(self, line: LogLine) -> bool:
        """See TaskLogStore.add."""
        # Nobody who says something waits for the disk. Should the server crash, the lines of its last half second may
        # be gone; those that a worker writes with the end of an attempt are as safe as that. In a transaction of the
        # caller's it would be the whole of it that the disk is not waited for.
        waits = self._database.in_transaction
        values = {**line._asdict(), "at": self._database.at(line.at), "waits": waits}
        with self._database.reading() as connection:
            return connection.execute(_ADD, values).rowcount > 0

    def newest(self, *, task_id: int | None = None, level: str | None = None, limit: int = 100) -> list[TaskLog]:
        """See TaskLogStore.newest."""
        if task_id is not None:
            rest = _OF_TASK if level is None else _OF_TASK_AND_LEVEL
        elif level is None:
            rest = _NEWEST
        else:
            rest = _NEWEST_DEBUG if level == "DEBUG" else _NEWEST_OF_LEVEL
        values = {"task_id": task_id, "level": level, "limit": max(0, limit), "looked_at": LOGS_LOOKED_AT}
        with planned_by_index(self._database) as connection:
            return LOGS.fetch(connection, rest, values)

    def find(self, which: LogFilter, *, limit: int = 100, before_id: int | None = None) -> LogPage:
        """See TaskLogStore.find."""
        limit = max(1, limit)
        values = {
            "task_id": which.task_id,
            "levels": levels_from(which.level),
            "text": which.text or None,
            "after": None if which.after is None else self._database.at(which.after),
            "before": None if which.before is None else self._database.at(which.before),
            "limit": limit,
        }
        with planned_by_index(self._database) as connection:

            def is_before(log_id: int, at: float) -> bool:
                row = connection.execute(_IS_BEFORE, (self._database.at(at), log_id)).fetchone()
                return row is not None and bool(row[0])

            if which.task_id is not None:
                lines = LOGS.fetch(connection, _FIND_OF_TASK, {**values, "before_id": before_id or _ID_MAX})
                return LogPage(lines, lines[-1].log_id if len(lines) == limit else None)
            first, last = connection.execute(_SPAN_OF_LOGS).fetchall()[0]
            if first is None:
                return LogPage([], None)
            return page_of(
                which, limit=limit, before_id=before_id, first=first, last=last, is_before=is_before,
                found=lambda start, end: LOGS.fetch(connection, _FIND, {**values, "from_id": start, "before_id": end}),
            )  # fmt: skip

    def spans(self, task_id: int) -> list[AttemptSpans]:
        """See TaskLogStore.spans."""
        with self._database.reading() as connection:
            return [AttemptSpans(*row) for row in connection.execute(_SPANS, (task_id,)).fetchall()]

    def delete_before(self, before: float) -> int:
        """See TaskLogStore.delete_before."""
        moment = self._database.at(before)
        last_id = deleted = 0
        while True:
            with planned_by_index(self._database) as connection:
                rows = connection.execute(
                    _OLD, {"last_id": last_id, "before": moment, "limit": FILTER_CHUNK}
                ).fetchall()
            if not rows:
                return deleted
            ids = [log_id for (log_id,) in rows]
            last_id = ids[-1]
            with self._database.transaction() as connection:
                sql = "DELETE FROM task_logs WHERE log_id = ANY (%s::bigint[]) AND at_utc < %s"
                deleted += connection.execute(sql, (ids, moment)).rowcount
