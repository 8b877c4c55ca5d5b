"""Ended tasks with all that belongs to them, for the archive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prismq.domain.span import AttemptSpans
from prismq.storage.contract import TaskStory
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.queries import query
from prismq.storage.postgres.rows import ATTEMPTS, LOGS, TASKS

_SPANS = query("spans_of_task")


def stories_of(database: PostgresDatabase, task_ids: Iterable[int]) -> Iterator[TaskStory]:
    """One task at a time, so that the logs of many are never in memory together; those that are gone are left out."""
    for task_id in task_ids:
        with database.reading() as connection:
            tasks = TASKS.fetch(connection, "WHERE id = %s", (task_id,))
            if not tasks:
                continue
            attempts = ATTEMPTS.fetch(connection, "WHERE task_id = %s ORDER BY fencing_token", (task_id,))
            logs = LOGS.fetch(connection, "WHERE task_id = %s ORDER BY log_id", (task_id,))
            spans = [AttemptSpans(*row) for row in connection.execute(_SPANS, (task_id,)).fetchall()]
        yield TaskStory(
            tasks[0].to_dict(),
            [attempt.to_dict() for attempt in attempts],
            [line.to_dict() for line in logs],
            [one.to_dict() for one in spans],
        )
