"""What tasks say with `logging`, `print` and `warnings`, kept with the task; and what they bind to their lines."""

from __future__ import annotations

import asyncio
import io
import logging
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from prismq import Backoff, PrismQ, TaskFailed, TaskLog, bind_log, current_task
from prismq.domain import events as ev
from prismq.domain.limits import LOG_MESSAGE_CHARS_MAX, LOG_UNIT_CHARS, LOGS_PER_ATTEMPT_MAX, RENEWAL_LINES_MAX
from prismq.worker.attempt import Attempt
from prismq.worker.capture import told_by
from prismq.worker.journal import Journal
from tests.helpers.builders import a_task, claim_one
from tests.helpers.clock import FakeClock
from tests.helpers.engines import sqlite_engine
from tests.helpers.processes import wait_until
from tests.integration.support import WAIT_S, Gate, Seen, a_worker

SOON = Backoff(initial_s=0.01, cap_s=0.02)


@pytest.fixture(autouse=True)
def _own_levels() -> Iterator[None]:
    """pytest's handlers are on the root logger, so its level is the test's business."""
    root = logging.getLogger()
    before = root.level
    root.setLevel("DEBUG")
    logging.getLogger("prismq").setLevel("INFO")
    yield
    root.setLevel(before)
    logging.getLogger("prismq").setLevel(logging.NOTSET)


def said(q: PrismQ, task_id: int) -> list[TaskLog]:
    """The task's own lines, without those of its transitions."""
    lines = q.tasks.logs(task_id, limit=10_000)
    return [line for line in lines if "→" not in (line.message or "") and "failed, retry" not in (line.message or "")]


def test_what_a_task_logs_is_kept_with_level_extras_and_logger(q: PrismQ) -> None:
    @q.task
    def talk() -> None:
        log = logging.getLogger("shop.orders")
        log.debug("too fine")
        log.info("order %d of %s", 7, "ann", extra={"size": 3, "api_key": "k", "who": object})
        log.log(25, "between info and warning")
        log.warning("careful")
        log.critical("broken: 100%")

    with a_worker(q):
        handle = talk.enqueue()
        handle.result(WAIT_S)
    lines = said(q, handle.id)
    assert [(line.level, line.message) for line in lines[:4]] == [
        ("INFO", "order 7 of ann"),
        ("INFO", "between info and warning"),
        ("WARNING", "careful"),
        ("CRITICAL", "broken: 100%"),
    ]
    details = lines[0].get_details_dict()
    assert details.pop("who").startswith("<class")
    assert details == {"logger": "shop.orders", "size": 3, "api_key": "[redacted]"}
    assert all(line.attempt == 1 for line in lines)


def test_a_record_whose_arguments_do_not_fit_is_kept_as_it_is() -> None:
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, "%d arguments", ("wrong",), None)
    message, details = told_by(record)
    assert message.startswith("'%d arguments' (with ('wrong',), which do not fit: TypeError(")
    assert details == {"logger": "shop"}


def test_an_event_of_structlog_is_taken_apart() -> None:
    event = {"event": "order_paid", "level": "info", "logger": "shop", "timestamp": "now", "order": 7}
    record = logging.LogRecord("shop", logging.INFO, __file__, 1, event, (), None)
    record.__dict__.update(_logger=object(), _name="info")
    assert told_by(record) == ("order_paid", {"order": 7, "logger": "shop"})


def test_a_logged_exception_comes_with_its_causes(q: PrismQ) -> None:
    @q.task
    def fail_inside() -> None:
        try:
            try:
                {}["missing"]
            except KeyError as error:
                raise ValueError("no such order") from error
        except ValueError:
            logging.getLogger("shop").exception("it went on")

    with a_worker(q):
        handle = fail_inside.enqueue()
        handle.result(WAIT_S)
    [line] = said(q, handle.id)
    details = line.get_details_dict()
    assert (line.level, line.message, details["error_type"]) == ("ERROR", "it went on", "ValueError")
    trace = details["stack_trace"]
    assert trace.index("KeyError: 'missing'") < trace.index("direct cause") < trace.index("ValueError: no such order")


@pytest.mark.parametrize(("level", "kept"), [("OFF", []), ("DEBUG", ["d", "i", "e"]), ("error", ["e"])])
def test_a_setting_says_what_is_kept(q: PrismQ, level: str, kept: list[str]) -> None:
    @q.task
    def talk() -> None:
        log = logging.getLogger("shop")
        log.debug("d")
        log.info("i")
        log.error("e")
        print("not asked for")

    with a_worker(q, task_log_capture=level):
        handle = talk.enqueue()
        handle.result(WAIT_S)
    assert [line.message for line in said(q, handle.id)] == kept


def test_nothing_is_kept_of_what_others_say_or_prismq_itself(q: PrismQ, caplog: pytest.LogCaptureFixture) -> None:
    gate = Gate()

    @q.task
    def wait() -> None:
        logging.getLogger("prismq.worker").warning("of prismq")
        logging.getLogger("prismqueue").warning("of the task")
        gate.pass_through()

    with a_worker(q):
        handle = wait.enqueue()
        gate.wait_entered()
        logging.getLogger("shop").warning("of the main thread")
        thread = threading.Thread(target=logging.getLogger("shop").warning, args=("of a thread",))
        thread.start()
        thread.join()
        gate.open()
        handle.result(WAIT_S)
    assert [line.message for line in said(q, handle.id)] == ["of the task"]
    assert {"of the main thread", "of a thread", "of prismq", "of the task"} <= set(caplog.messages)


def test_coroutines_keep_their_lines_apart(q: PrismQ) -> None:
    @q.task
    async def talk(n: int) -> None:
        bind_log(number=n)
        for step in range(3):
            await asyncio.sleep(0.001)
            logging.getLogger("shop").info("%d.%d", n, step)
            await asyncio.gather(asyncio.create_task(_say_inside(n)))

    async def _say_inside(n: int) -> None:
        logging.getLogger("shop").info("inside %d", n)

    with a_worker(q, concurrency=8):
        handles = [talk.enqueue(n) for n in range(8)]
        for handle in handles:
            handle.result(WAIT_S)
    for n, handle in enumerate(handles):
        lines = said(q, handle.id)
        assert [line.message for line in lines] == [x for step in range(3) for x in (f"{n}.{step}", f"inside {n}")]
        assert all(line.get_details_dict()["number"] == n for line in lines)


def test_a_value_whose_repr_logs_or_breaks_does_no_harm(q: PrismQ) -> None:
    class Chatty:
        def __repr__(self) -> str:
            logging.getLogger("shop").warning("from my own repr")
            return "chatty"

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    @q.task
    def talk() -> str:
        log = logging.getLogger("shop")
        log.info("first %r", Chatty(), extra={"value": Chatty()})
        log.info("second", extra={"value": Broken()})
        current_task().log.info("third", value=Broken())
        return "done"

    with a_worker(q):
        handle = talk.enqueue()
        assert handle.result(WAIT_S) == "done"
    # What else asks for the repr, pytest's own handler for one, has the task say that; but no line of ours does.
    lines = [line for line in said(q, handle.id) if line.message != "from my own repr"]
    assert [line.message for line in lines] == ["first chatty", "second", "third"]
    assert lines[0].get_details_dict()["value"] == "chatty"
    assert "no repr" in str(lines[-1].get_details_dict()["unprintable"])


def test_the_program_keeps_its_own_logging(q: PrismQ) -> None:
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    logging.getLogger("shop").addHandler(handler)
    before = list(logging.getLogger().handlers)

    @q.task
    def talk() -> None:
        logging.getLogger("shop").info("hello")

    with a_worker(q), a_worker(q):
        handle = talk.enqueue()
        handle.result(WAIT_S)
        assert len(logging.getLogger().handlers) == len(before) + 1
    logging.getLogger("shop").removeHandler(handler)
    assert logging.getLogger().handlers == before
    assert heard.getvalue() == "hello\n"
    assert [line.message for line in said(q, handle.id)] == ["hello"]


_NO_LOGGING = """
import logging, sys, warnings
from prismq import PrismQ
q = PrismQ(sys.argv[1])

@q.task
def talk() -> None:
    logging.getLogger("shop").info("kept, not shown")
    logging.getLogger("shop").warning("kept and shown")
    warnings.showwarning("shown", UserWarning, "tasks.py", 7)

with q.worker(task_log_output=True):
    handle = talk.enqueue()
    handle.result(15)
    logging.getLogger("shop").warning("from outside")
print([line.message for line in q.tasks.logs(handle.id)][:3], logging.getLogger().level, logging.getLogger().handlers)
"""


def test_a_program_without_logging_sees_what_it_saw_before(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NO_LOGGING, str(tmp_path / "q.db")], capture_output=True, text=True, check=True
    )
    assert done.stderr == "kept and shown\ntasks.py:7: UserWarning: shown\nfrom outside\n"
    assert done.stdout == "['kept, not shown', 'kept and shown', 'UserWarning: shown'] 30 []\n"


# -- print, stderr, warnings


def test_what_is_printed_is_kept_where_that_is_asked_for(q: PrismQ, capsys: pytest.CaptureFixture[str]) -> None:
    @q.task
    def talk() -> None:
        bind_log(order=7)
        print("one", 2)
        print("in ", end="")
        print("pieces")
        sys.stdout.write("a\n\n  \nb\n")
        print("10 %\r20 %\r30 %")
        print("to stderr", file=sys.stderr)
        warnings.warn("old ways", stacklevel=1)
        print("without an end", end="")

    print("before")
    with a_worker(q, task_log_output=True):
        handle = talk.enqueue()
        handle.result(WAIT_S)
        print("outside")
    lines = said(q, handle.id)
    shown = [(line.level, line.message, line.get_details_dict().get("stream")) for line in lines]
    assert shown == [
        ("INFO", "one 2", "stdout"),
        ("INFO", "in pieces", "stdout"),
        ("INFO", "a", "stdout"),
        ("INFO", "b", "stdout"),
        ("INFO", "30 %", "stdout"),
        ("WARNING", "to stderr", "stderr"),
        ("WARNING", "UserWarning: old ways", None),
        ("INFO", "without an end", "stdout"),
    ]
    assert all(line.get_details_dict()["order"] == 7 for line in lines)
    seen = capsys.readouterr()
    assert "in pieces\n" in seen.out
    assert "outside\n" in seen.out
    assert "to stderr\n" in seen.err


def test_the_streams_are_given_back(q: PrismQ) -> None:
    before = (sys.stdout, sys.stderr, warnings.showwarning)
    with a_worker(q, task_log_output=True), a_worker(q, task_log_output=True):
        assert sys.stdout is not before[0]
        assert sys.stdout.encoding == before[0].encoding
        sys.stdout.flush()
    assert (sys.stdout, sys.stderr, warnings.showwarning) == before


def test_a_record_that_is_written_to_stderr_is_kept_once(q: PrismQ) -> None:
    @q.task
    def talk() -> None:
        handler = logging.StreamHandler()  # to what sys.stderr is now
        log = logging.getLogger("shop.direct")
        log.addHandler(handler)
        log.warning("only once")
        log.removeHandler(handler)

    with a_worker(q, task_log_output=True):
        handle = talk.enqueue()
        handle.result(WAIT_S)
    assert [line.message for line in said(q, handle.id)] == ["only once"]


def test_a_line_without_end_does_not_fill_the_memory(q: PrismQ) -> None:
    @q.task
    def pour() -> None:
        for _ in range(50):
            sys.stdout.write("x" * 1000)

    with a_worker(q, task_log_output=True):
        handle = pour.enqueue()
        handle.result(WAIT_S)
    lines = said(q, handle.id)
    assert len(lines) == 6
    assert all(len(line.message or "") <= LOG_MESSAGE_CHARS_MAX for line in lines)


# -- tasks in processes of their own


def test_a_task_in_a_process_of_its_own_is_heard_too(module_q: PrismQ) -> None:
    seen = Seen(module_q)
    with a_worker(module_q, task_log_output=True, task_log_capture="INFO"):
        handle = module_q.enqueue("say_much", {"n": 7})
        handle.result(30)
    lines = said(module_q, handle.id)
    assert [(line.level, line.message) for line in lines] == [
        ("INFO", "hello 7"),
        ("INFO", "printed 7"),
        ("WARNING", "UserWarning: careful 7"),
        ("INFO", "own line"),
    ]
    assert lines[0].get_details_dict() == {"logger": "shop", "order": 7, "password": "[redacted]", "size": 3}
    assert all(line.get_details_dict()["order"] == 7 for line in lines)
    assert dict(seen.wait(ev.TaskCompleted).extra or {}) == {"order": 7, "password": "[redacted]"}


# -- bounds


def test_long_messages_are_cut_with_a_mark_and_count_for_many(q: PrismQ) -> None:
    @q.task
    def shout() -> None:
        logging.getLogger("shop").info("y" * 1_000_000)
        for _ in range(LOGS_PER_ATTEMPT_MAX):
            current_task().log.info("z" * (LOG_UNIT_CHARS * 2 - 1))

    with a_worker(q):
        handle = shout.enqueue()
        handle.result(WAIT_S)
    lines = said(q, handle.id)
    message = lines[0].message or ""
    assert len(message) <= LOG_MESSAGE_CHARS_MAX
    assert message.endswith(" … 991,848 characters cut")
    assert len(lines) == 1 + (LOGS_PER_ATTEMPT_MAX - 3) // 2 + 1
    assert "log cut here" in (lines[-1].message or "")


def test_lines_are_there_while_the_task_runs(q: PrismQ) -> None:
    gate = Gate()

    @q.task
    def talk() -> None:
        logging.getLogger("shop").info("on my way")
        gate.pass_through()

    with a_worker(q):
        handle = talk.enqueue()
        gate.wait_entered()
        wait_until(lambda: said(q, handle.id), "the line is there", 5.0)
        assert handle.status in ("claimed", "processing")
        gate.open()
        handle.result(WAIT_S)


def test_a_task_that_runs_long_says_when_its_lease_was_renewed(q: PrismQ) -> None:
    gate = Gate()

    @q.task
    def wait() -> None:
        gate.pass_through()

    @q.task
    def short() -> None:
        pass

    with a_worker(q, lease_duration_seconds=1.0, heartbeat_interval_seconds=0.1):
        handle, brief = wait.enqueue(), short.enqueue()
        gate.wait_entered()
        lines = wait_until(
            lambda: [line for line in q.tasks.logs(handle.id) if "lease renewed until" in (line.message or "")],
            "a renewal is logged",
        )
        gate.open()
        handle.result(WAIT_S)
        brief.result(WAIT_S)
    assert (lines[0].level, lines[0].attempt) == ("DEBUG", 1)
    assert not [line for line in q.tasks.logs(brief.id) if "renewed" in (line.message or "")]


def test_renewals_are_logged_a_bounded_number_of_times(tmp_path: Path, clock: FakeClock) -> None:
    with sqlite_engine(tmp_path) as engine:
        engine.store.inbox.enqueue(a_task(), clock.now())
        attempt = Attempt(claim_one(engine.store, clock), None)
        journal = Journal(log_level="DEBUG")
        for _ in range(RENEWAL_LINES_MAX + 5):
            journal.renewed(attempt, clock.now(), clock.now() + 30)
        batch, _ = journal.take(0.0, 0.0)
        assert len(batch.logs) == RENEWAL_LINES_MAX
        assert "without a line" in batch.logs[-1].message
        quiet = Journal(log_level="INFO")
        quiet.renewed(attempt, clock.now(), clock.now() + 30)
        assert not quiet.take(0.0, 0.0)[0].logs


def test_a_task_that_is_told_to_stop_while_it_logs_stops(q: PrismQ) -> None:
    @q.task(timeout=0.3, max_attempts=1)
    def talk() -> None:
        while True:
            logging.getLogger("shop").info("again", extra={"values": list(range(50))})

    with a_worker(q):
        handle = talk.enqueue()
        with pytest.raises(TaskFailed, match="timeout"):
            handle.result(WAIT_S)
    assert len(said(q, handle.id)) > 5


# -- binding


def test_what_is_bound_is_on_every_line_from_then_on(q: PrismQ) -> None:
    seen = Seen(q)

    @q.task(max_attempts=2, backoff=SOON)
    def talk() -> None:
        task = current_task()
        task.log.info("before")
        task.bind(order=7, token="t")
        task.log.info("own", order=8)
        logging.getLogger("shop").info("standard")
        bind_log(order=9, step="b")
        task.log.info("last")
        if task.attempt == 1:
            raise ValueError("once more")

    with a_worker(q):
        handle = talk.enqueue()
        handle.result(WAIT_S)
    lines = [line for line in said(q, handle.id) if line.attempt == 1]
    found: list[dict[str, Any]] = [line.get_details_dict() for line in lines]
    assert found == [
        {},
        {"order": 8, "token": "[redacted]"},
        {"order": 7, "token": "[redacted]", "logger": "shop"},
        {"order": 9, "token": "[redacted]", "step": "b"},
    ]
    assert seen.wait(ev.TaskRetried).extra == {"order": 9, "token": "[redacted]", "step": "b"}
    assert seen.wait(ev.TaskCompleted).extra == {"order": 9, "token": "[redacted]", "step": "b"}


def test_outside_of_a_task_structlog_takes_what_is_bound() -> None:
    structlog.contextvars.clear_contextvars()
    bind_log(request_id="r1")
    assert structlog.contextvars.get_contextvars() == {"request_id": "r1"}
    structlog.contextvars.clear_contextvars()
