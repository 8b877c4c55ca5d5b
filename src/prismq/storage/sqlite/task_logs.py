"""Log lines from outside an attempt, and reading them back."""

from __future__ import annotations

import json
from typing import Any

from prismq.domain.lease import LogLine
from prismq.domain.limits import FILTER_CHUNK, LOGS_LOOKED_AT
from prismq.domain.span import AttemptSpans
from prismq.domain.task import LogFilter, LogPage, TaskLog
from prismq.domain.times import epoch_to_text
from prismq.storage.log_pages import levels_from, page_of
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.queries import query
from prismq.storage.sqlite.rows import built

_ADD = query("add_log_if_task")
_OF_TASK = query("logs_of_task")
_NEWEST = query("newest_logs")
_NEWEST_OF_LEVEL = query("newest_logs_of_level")
_NEWEST_DEBUG = query("newest_debug_logs")
_FIND = query("find_logs")
_FIND_OF_TASK = query("find_logs_of_task")
_LOG_AT = query("log_at")
_SPAN_OF_LOGS = query("span_of_logs")
_SPANS = query("spans_of_task")
_OLD = query("old_logs")
_DELETE_OLD = query("delete_old_logs")


_ID_MAX = 2**63 - 1


class SqliteTaskLogs:
    """The TaskLogStore protocol on SQLite."""

    def __init__(self, database: QueueDatabase) -> None:
        self._database = database

    def add(self, line: LogLine) -> bool:
        """See TaskLogStore.add."""
        cursor = self._database.execute(
            _ADD, (line.task_id, epoch_to_text(line.at), line.level, line.message, line.details, line.attempt)
        )
        return cursor.rowcount > 0

    def newest(self, *, task_id: int | None = None, level: str | None = None, limit: int = 100) -> list[TaskLog]:
        """See TaskLogStore.newest."""
        limit = max(0, limit)  # SQLite takes a negative LIMIT for none
        with self._database.lenient_text():
            if task_id is not None:
                cursor = self._database.execute(_OF_TASK, (task_id, level, limit))
            elif level is None:
                cursor = self._database.execute(_NEWEST, (limit,))
            elif level == "DEBUG":
                cursor = self._database.execute(_NEWEST_DEBUG, (LOGS_LOOKED_AT, limit))
            else:
                cursor = self._database.execute(_NEWEST_OF_LEVEL, (level, limit))
            rows = cursor.fetchall()
        return [built(TaskLog.from_dict, dict(row)) for row in rows]

    def find(self, which: LogFilter, *, limit: int = 100, before_id: int | None = None) -> LogPage:
        """See TaskLogStore.find."""
        limit = max(1, limit)
        params = {
            "task_id": which.task_id,
            "levels": json.dumps(levels_from(which.level)),
            "text": which.text or None,
            "after": None if which.after is None else epoch_to_text(which.after),
            "before": None if which.before is None else epoch_to_text(which.before),
            "limit": limit,
        }
        if which.task_id is not None:
            lines = self._found(_FIND_OF_TASK, {**params, "before_id": before_id or _ID_MAX})
            return LogPage(lines, lines[-1].log_id if len(lines) == limit else None)
        first, last = self._database.execute(_SPAN_OF_LOGS).fetchone()
        if first is None:
            return LogPage([], None)
        return page_of(
            which, limit=limit, before_id=before_id, first=first, last=last, is_before=self._is_before,
            found=lambda start, end: self._found(_FIND, {**params, "from_id": start, "before_id": end}),
        )  # fmt: skip

    def _found(self, sql: str, params: dict[str, Any]) -> list[TaskLog]:
        with self._database.lenient_text():
            rows = self._database.execute(sql, params).fetchall()
        return [built(TaskLog.from_dict, dict(row)) for row in rows]

    def _is_before(self, log_id: int, at: float) -> bool:
        row = self._database.execute(_LOG_AT, (log_id,)).fetchone()
        return row is not None and str(row["at_utc"]) < epoch_to_text(at)

    def spans(self, task_id: int) -> list[AttemptSpans]:
        """See TaskLogStore.spans."""
        return [AttemptSpans(*row) for row in self._database.execute(_SPANS, (task_id,)).fetchall()]

    def delete_before(self, before: float) -> int:
        """See TaskLogStore.delete_before."""
        text = epoch_to_text(before)
        last_id = deleted = 0
        while True:
            # Looked for without the writer's lock.
            rows = self._database.execute(_OLD, (last_id, text, FILTER_CHUNK)).fetchall()
            if not rows:
                return deleted
            last_id = rows[-1][0]
            ids = json.dumps([log_id for (log_id,) in rows])
            deleted += self._database.execute(_DELETE_OLD, (ids, text)).rowcount
