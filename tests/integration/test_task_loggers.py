"""TaskLogger and QueueLogger: every message and key."""

from __future__ import annotations

import json
import logging
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from prismq import (
    InvalidArgument,
    PrismQ,
    QueueDatabase,
    QueueLogger,
    TaskLog,
    TaskLogger,
)
from prismq.domain.limits import LOG_DETAILS_BYTES_MAX, LOG_MESSAGE_CHARS_MAX
from tests.helpers.by_hand import insert


def test_a_line_is_kept_as_it_was_logged(db: QueueDatabase) -> None:
    task_id, logger = insert(db), TaskLogger(db)
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    logger.log(task_id, "WARNING", "half done → wait", {"done": 5, "when": before, "grüße": "ü"})
    logger.log(task_id=task_id, level="INFO", message="plain")
    newest, line = logger.get_task_logs(task_id)

    assert isinstance(line, TaskLog)
    assert (line.task_id, line.level, line.message) == (task_id, "WARNING", "half done → wait")
    assert line.get_details_dict() == {"done": 5, "when": before.isoformat().replace("+00:00", "Z"), "grüße": "ü"}
    assert line.at_utc is not None
    assert before <= line.at_utc <= datetime.now(timezone.utc)
    assert (newest.message, newest.details) == ("plain", None)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("DEBUG", "DEBUG"),
        ("CRITICAL", "CRITICAL"),
        ("error", "ERROR"),
        ("Warning", "WARNING"),
        ("LOUD", "INFO"),
        ("", "INFO"),
        (None, "INFO"),
    ],
)
def test_a_level_is_one_of_five(db: QueueDatabase, given: Any, kept: str) -> None:
    task_id, logger = insert(db), TaskLogger(db)
    logger.log(task_id, given, "x")
    assert [line.level for line in logger.get_task_logs(task_id)] == [kept]


def test_lines_are_read_newest_first_by_level_and_number(db: QueueDatabase) -> None:
    one, two, logger = insert(db), insert(db), TaskLogger(db)
    for n in range(6):
        logger.log(one if n % 2 else two, "ERROR" if n % 3 == 0 else "INFO", f"{n}")

    def read(lines: list[TaskLog]) -> str:
        return " ".join(line.message or "" for line in lines)

    assert read(logger.get_task_logs(one)) == "5 3 1"
    assert read(logger.get_task_logs(one, limit=2)) == "5 3"
    assert read(logger.get_task_logs(one, level="ERROR")) == "3"
    assert read(logger.get_recent_logs()) == "5 4 3 2 1 0"
    assert read(logger.get_recent_logs(limit=2)) == "5 4"
    assert read(logger.get_recent_logs(level="error")) == "3 0"
    assert logger.get_task_logs(999) == []


def test_old_lines_are_deleted_by_days(db: QueueDatabase) -> None:
    task_id, logger = insert(db), TaskLogger(db)
    for days in (0, 10, 29, 31, 100):
        db.execute(
            "INSERT INTO task_logs (task_id, at_utc, message) VALUES (?, datetime('now', ?), ?)",
            (task_id, f"-{days} days", f"{days}"),
        )
    assert logger.delete_old_logs() == 2
    assert {line.message for line in logger.get_recent_logs()} == {"0", "10", "29"}
    assert logger.delete_old_logs(days=5) == 2
    assert logger.delete_old_logs(days=5) == 0
    with pytest.raises(InvalidArgument, match="days"):
        logger.delete_old_logs(days=-1)


def test_a_line_that_cannot_be_written_warns_once_and_raises_nothing(
    db: QueueDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    logger = TaskLogger(db)
    with caplog.at_level(logging.WARNING, "prismq.queue"):
        for _ in range(3):
            logger.log(123, "INFO", "there is no such task")
        assert [record.getMessage() for record in caplog.records] == [
            "a line for task_logs was not written (there is no task 123); told once, and the task went on"
        ]
        db.execute("DROP TABLE task_logs")
        for _ in range(3):
            logger.log(123, "INFO", "there is no such table")
    assert len(caplog.records) == 2
    assert "no such table" in caplog.records[1].getMessage()


def test_a_locked_database_costs_the_line_and_not_the_task(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with QueueDatabase(tmp_path / "queue.db", busy_timeout_s=0.05) as db:
        db.initialize_schema()
        task_id = insert(db)
        with closing(sqlite3.connect(tmp_path / "queue.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            TaskLogger(db).log(task_id, "INFO", "lost")
            other.execute("ROLLBACK")
        assert "locked" in caplog.text
        assert TaskLogger(db).get_task_logs(task_id) == []


def test_a_database_that_cannot_be_opened_costs_the_line_and_is_asked_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "queue.db").write_text("in the way")
    with PrismQ(tmp_path / "queue.db") as q:
        logger = TaskLogger(q)
        logger.log(1, "INFO", "lost")
        assert "is not a SQLite database" in caplog.text
        (tmp_path / "queue.db").unlink()
        task_id = q.enqueue("job").id
        logger.log(task_id, "INFO", "kept")
        assert [line.message for line in logger.get_task_logs(task_id)] == ["kept"]
    with PrismQ("postgresql://nobody@127.0.0.1:1/queue") as q:
        QueueLogger(q).log_task_event(1, "INFO", "lost")
        assert "nothing listens there" in caplog.text


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("details", [{"x": object()}, {"x": Unprintable()}, {"x": float("nan")}, {1: 2}, ["a list"]])
def test_details_that_json_does_not_have_do_not_cost_the_line(db: QueueDatabase, details: Any) -> None:
    task_id, logger = insert(db), TaskLogger(db)
    logger.log(task_id, "INFO", "kept", details)
    [line] = logger.get_task_logs(task_id)
    assert line.message == "kept"
    assert json.loads(line.details or "null")


def test_a_line_has_bounds(db: QueueDatabase) -> None:
    task_id, logger = insert(db), TaskLogger(db)
    logger.log(task_id, "INFO", "x" * 100_000, {"blob": "y" * 1_000_000})
    [line] = logger.get_task_logs(task_id)
    assert len(line.message or "") == LOG_MESSAGE_CHARS_MAX
    assert len(line.details or "") < LOG_DETAILS_BYTES_MAX
    assert line.get_details_dict()["cut"] is True


@pytest.fixture
def app_log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, "prismq.queue")
    return caplog


def last_line(db: QueueDatabase) -> TaskLog:
    return TaskLogger(db).get_recent_logs(limit=1)[0]


def test_its_loggers_are_there_and_the_second_can_be_chosen(db: QueueDatabase) -> None:
    assert isinstance(QueueLogger(db).task_logger, TaskLogger)
    assert QueueLogger(db).app_logger is logging.getLogger("prismq.queue")
    own = logging.getLogger("of.my.own")
    assert QueueLogger(db, app_logger=own).app_logger is own


def test_an_event_goes_to_both_logs(db: QueueDatabase, app_log: pytest.LogCaptureFixture) -> None:
    task_id = insert(db)
    QueueLogger(db).log_task_event(task_id, "WARNING", "half done", {"done": 5})
    [record] = app_log.records

    assert (record.name, record.levelname, record.getMessage()) == (
        "prismq.queue", "WARNING", f"Task {task_id}: half done",
    )  # fmt: skip
    assert vars(record)["task_id"] == task_id
    assert vars(record)["details"] == {"done": 5}
    line = last_line(db)
    assert (line.level, line.message, line.get_details_dict()) == ("WARNING", "half done", {"done": 5})


def test_an_event_of_no_known_level_is_info_in_both(db: QueueDatabase, app_log: pytest.LogCaptureFixture) -> None:
    QueueLogger(db).log_task_event(insert(db), "LOUD", "hello")
    assert (app_log.records[0].levelname, last_line(db).level) == ("INFO", "INFO")


def test_a_transition_reads_as_an_arrow(db: QueueDatabase, app_log: pytest.LogCaptureFixture) -> None:
    task_id = insert(db)
    QueueLogger(db).log_task_transition(task_id, "queued", "processing", {"worker_id": "w1"})
    line = last_line(db)

    assert (line.level, line.message) == ("DEBUG", "queued → processing")
    assert line.get_details_dict() == {"worker_id": "w1", "from_status": "queued", "to_status": "processing"}
    assert (app_log.records[0].levelname, app_log.records[0].getMessage()) == (
        "DEBUG", f"Task {task_id}: queued → processing",
    )  # fmt: skip


def test_an_error_is_kept_with_what_caused_it(db: QueueDatabase, app_log: pytest.LogCaptureFixture) -> None:
    task_id = insert(db)
    try:
        try:
            json.loads("{")
        except ValueError as cause:
            raise RuntimeError("the settings cannot be read") from cause
    except RuntimeError as error:
        QueueLogger(db).log_task_error(task_id, error, {"file": "a.json"})
    line = last_line(db)
    details = line.get_details_dict()

    assert (line.level, line.message) == ("ERROR", "RuntimeError: the settings cannot be read")
    assert set(details) == {"file", "error_type", "error_message", "stack_trace"}
    assert (details["error_type"], details["error_message"]) == ("RuntimeError", "the settings cannot be read")
    trace = details["stack_trace"]
    assert "JSONDecodeError" in trace
    assert "direct cause" in trace
    assert trace.index("JSONDecodeError") < trace.index("RuntimeError: the settings")
    assert __file__ in trace
    [record] = app_log.records
    assert (record.levelname, record.getMessage()) == (
        "ERROR", f"Task {task_id}: RuntimeError: the settings cannot be read",
    )  # fmt: skip
    assert record.exc_info
    assert record.exc_info[0] is RuntimeError


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        datetime(2026, 1, 2, 3, 4, 5),  # noqa: DTZ001 - a naive one is UTC
        datetime(2026, 1, 2, 5, 4, 5, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc).timestamp(),
    ],
)
def test_a_retry_says_which_and_when(db: QueueDatabase, app_log: pytest.LogCaptureFixture, moment: Any) -> None:
    task_id = insert(db)
    QueueLogger(db).log_task_retry(task_id, 2, 5, moment, {"why": "rate limit"})
    line = last_line(db)

    assert (line.level, line.message) == ("WARNING", "retry: attempt 2/5, not before 2026-01-02 03:04:05.000")
    assert line.get_details_dict() == {
        "why": "rate limit", "attempt": 2, "max_attempts": 5, "next_run_after": "2026-01-02 03:04:05.000",
    }  # fmt: skip
    assert app_log.records[0].levelname == "WARNING"
    assert "attempt 2/5" in app_log.records[0].getMessage()


def test_what_the_database_does_not_take_is_in_the_programs_log_all_the_same(
    db: QueueDatabase, app_log: pytest.LogCaptureFixture
) -> None:
    QueueLogger(db).log_task_event(99, "ERROR", "lost?")
    assert [record.getMessage() for record in app_log.records][-1] == "Task 99: lost?"
