"""A single log line waits for no disk, and what it is written beside does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from prismq.domain.lease import LogLine
from tests.helpers.builders import a_task
from tests.helpers.engines import PostgresEngine, postgres_engine

NOW = 1_750_000_000.0
# Asks at the commit itself, for that is where the disk is waited for or not.
SPY = """
CREATE TABLE seen (synchronous_commit text);
CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO seen VALUES (current_setting('synchronous_commit'));
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER spy AFTER INSERT ON task_logs DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION spy();
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[PostgresEngine]:
    with postgres_engine(tmp_path) as engine:
        with engine.store.database.reading() as connection:
            connection.execute(SPY)
        yield engine


def seen(engine: PostgresEngine) -> list[str]:
    with engine.store.database.reading() as connection:
        return [found for (found,) in connection.execute("SELECT synchronous_commit FROM seen").fetchall()]


def test_a_line_on_its_own_does_not_wait_for_the_disk(engine: PostgresEngine) -> None:
    task = engine.store.inbox.enqueue(a_task(), NOW)
    assert engine.store.logs.add(LogLine(task.task_id, NOW, "INFO", "a line", None))
    assert not engine.store.logs.add(LogLine(task.task_id + 1, NOW, "INFO", "of no task", None))
    assert seen(engine) == ["off"]
    with engine.store.database.reading() as connection:
        assert connection.execute("SHOW synchronous_commit").fetchall() == [("on",)]


def test_a_line_in_the_callers_transaction_leaves_its_commit_alone(engine: PostgresEngine) -> None:
    with engine.store.database.transaction():
        task = engine.store.inbox.enqueue(a_task(), NOW)
        assert engine.store.logs.add(LogLine(task.task_id, NOW, "INFO", "a line", None))
    assert seen(engine) == ["on"]


@pytest.mark.parametrize("setting", ["off", "local", "remote_apply"])
def test_what_the_caller_chose_for_its_transaction_stays(engine: PostgresEngine, setting: str) -> None:
    with engine.store.database.transaction() as connection:
        connection.execute("SELECT set_config('synchronous_commit', %s, true)", (setting,))
        task = engine.store.inbox.enqueue(a_task(), NOW)
        assert engine.store.logs.add(LogLine(task.task_id, NOW, "INFO", "a line", None))
    assert seen(engine) == [setting]
