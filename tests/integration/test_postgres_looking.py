"""To look while a transaction of one's own is open must not change how the rest of it is planned or kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from prismq.domain.task import LogFilter, TaskFilter
from prismq.storage.postgres.database import Connection
from tests.helpers.builders import a_task
from tests.helpers.engines import PostgresEngine, postgres_engine

NOW = 1_750_000_000.0
SETTINGS = "SELECT name, setting FROM pg_settings ORDER BY name"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[PostgresEngine]:
    with postgres_engine(tmp_path) as engine:
        yield engine


def test_a_look_leaves_the_callers_transaction_as_it_was(engine: PostgresEngine) -> None:
    store = engine.store

    def settings(connection: Connection) -> dict[str, str]:
        return dict(connection.execute(SETTINGS).fetchall())

    with store.database.transaction() as connection:
        before = settings(connection)
        added = store.inbox.enqueue(a_task(), NOW)
        assert store.standing(NOW).depth
        assert len(store.tasks.find(TaskFilter(statuses=("queued",)))) == 1
        assert len(store.tasks.find(TaskFilter(type="none such"))) == 0
        store.logs.find(LogFilter())
        store.logs.newest(limit=5)
        store.tasks.newest_failures()
        store.insight.outcomes(NOW - 60, NOW)
        store.insight.ready_routes(NOW)
        store.queues.all(NOW)
        assert settings(connection) == before
    assert store.tasks.get(added.task_id) is not None
