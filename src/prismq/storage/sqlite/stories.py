"""Ended tasks with all that belongs to them, for the archive. Rows spoilt by hand are handed over as they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any

from prismq.domain.span import AttemptSpans
from prismq.domain.task import Task, TaskAttempt, TaskLog
from prismq.storage.contract import TaskStory
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.queries import query

_SPANS = query("spans_of_task")

_Kind = type[Task] | type[TaskAttempt] | type[TaskLog]


def stories_of(database: QueueDatabase, task_ids: Iterable[int]) -> Iterator[TaskStory]:
    """One task at a time, so that the logs of many are never in memory together; those that are gone are left out."""
    for task_id in task_ids:
        with database.lenient_text():
            row = database.execute("SELECT * FROM task_queue WHERE id = ?", (task_id,)).fetchone()
            if row is None:
                continue
            attempts = database.execute(
                "SELECT * FROM task_attempts WHERE task_id = ? ORDER BY fencing_token", (task_id,)
            ).fetchall()
            logs = database.execute("SELECT * FROM task_logs WHERE task_id = ? ORDER BY log_id", (task_id,)).fetchall()
            spans = database.execute(_SPANS, (task_id,)).fetchall()
        yield TaskStory(
            _plain(Task, row),
            [_plain(TaskAttempt, one) for one in attempts],
            [_plain(TaskLog, one) for one in logs],
            [AttemptSpans(*one).to_dict() for one in spans],
        )


def _plain(kind: _Kind, row: sqlite3.Row) -> dict[str, Any]:
    values = dict(row)
    try:
        return kind.from_dict(values).to_dict()
    except ValueError:  # a time written by hand that is none: the archive keeps the text
        return values
