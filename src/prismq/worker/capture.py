"""What tasks say in the ways of the standard library: `logging`, and where it is asked for `print` and warnings.

It goes where `current_task().log` goes. Outside of a task nothing changes.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from prismq.domain.errors import TaskCancelled, TaskTimeout
from prismq.domain.limits import LOG_MESSAGE_CHARS_MAX
from prismq.domain.outcome import describe
from prismq.worker.context import TaskContext, captured_of, keep_line, running_task
from prismq.worker.lines import RANKS
from prismq.worker.options import CaptureOptions

# What every record has; the rest came with `extra`. `taskName` is new in Python 3.12.
_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# structlog's own: in a record that it hands over to be formatted later, the message is the whole event.
_STRUCTLOG = frozenset({"_logger", "_name", "_from_structlog", "_record"})
_IN_EVENT = frozenset({"event", "level", "logger", "timestamp", "exc_info", "stack_info"})

_here = threading.local()


@contextmanager
def _alone() -> Iterator[bool]:
    """False inside of itself: what is said while a line is made (by somebody's __repr__) is not a line."""
    if getattr(_here, "busy", False):
        yield False
        return
    _here.busy = True
    try:
        yield True
    finally:
        _here.busy = False


class TaskLogHandler(logging.Handler):
    """Keeps the records of a running task with the task. One for the process, on the root logger."""

    def handle(self, record: logging.LogRecord) -> bool:
        """Keep the record, if it is a task's."""
        # Without the lock that a handler usually takes: tasks in many threads must not wait for each other.
        context = running_task()
        if context is not None and record.name.partition(".")[0] != "prismq":
            self._keep(context, record)
        last = logging.lastResort
        if last is not None and record.levelno >= last.level and self._is_alone(record.name):
            # A program that has set up no logging sees its warnings on stderr. It must not be this that ends it.
            last.handle(record)
        return True

    def _keep(self, context: TaskContext, record: logging.LogRecord) -> None:
        least = captured_of(context).level
        if least is None or record.levelno < RANKS[least]:
            return
        with _alone() as alone:
            if not alone:
                return
            try:
                keep_line(context, level_of(record.levelno), *told_by(record))
            except (TaskCancelled, TaskTimeout):  # an interrupt that struck just here is the task's
                raise
            except Exception:  # noqa: BLE001 - a line that cannot be made must not fail the task
                self.handleError(record)

    def _is_alone(self, name: str) -> bool:
        if logging.root.handlers != [self]:
            return False
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None and logger is not logging.root:
            if logger.handlers:
                return False
            logger = logger.parent
        return True


def level_of(number: int) -> str:
    """The level of the task's log for a level of `logging`, those between the usual ones included."""
    return next((name for name, rank in reversed(RANKS.items()) if number >= rank), "DEBUG")


def told_by(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """Message and details of a record: the logger, what came with `extra`, and the exception with its causes."""
    details = {key: value for key, value in vars(record).items() if key not in _ORDINARY and key not in _STRUCTLOG}
    error: Any = record.exc_info
    if isinstance(record.msg, Mapping) and "event" in record.msg:  # structlog's, to be formatted by a handler
        message = str(record.msg["event"])
        details |= {key: value for key, value in record.msg.items() if key not in _IN_EVENT and key not in _STRUCTLOG}
        error = error or record.msg.get("exc_info")
    else:
        try:
            message = record.getMessage()
        except (TaskCancelled, TaskTimeout):
            raise
        except Exception as fault:  # noqa: BLE001 - arguments that do not fit the message
            message = f"{record.msg!r} (with {record.args!r}, which do not fit: {fault!r})"
    details["logger"] = record.name
    error = _exception_in(error)
    if error is not None:
        info = describe(error)
        details |= {"error_type": info.type, "error_message": info.message, "stack_trace": info.traceback}
    if record.stack_info:
        details["stack"] = record.stack_info
    return message, details


def _exception_in(exc_info: Any) -> BaseException | None:
    if exc_info is True:
        return sys.exc_info()[1]
    if isinstance(exc_info, tuple):
        exc_info = exc_info[1] if len(exc_info) > 1 else None
    return exc_info if isinstance(exc_info, BaseException) else None


class _Tee:
    """A standard stream that also keeps what a task writes to it, by lines."""

    def __init__(self, stream: TextIO | None, name: str, level: str) -> None:
        self._stream = stream
        self._name_of_it = name
        self._level = level

    def write(self, text: str) -> int:
        """Write to the stream itself; in a task, keep its whole lines."""
        if self._stream is not None:
            self._stream.write(text)
        context = running_task()
        # A record that a handler writes out here has been kept as a record.
        if (
            context is not None
            and captured_of(context).output
            and sys._getframe(1).f_globals.get("__name__") != "logging"
        ):
            with _alone() as alone:
                if alone:
                    self._keep(context, str(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        """As the stream's own."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """As the stream's own."""
        if self._stream is not None:
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _keep(self, context: TaskContext, text: str) -> None:
        before = _unfinished.get(context, {}).get(self._name_of_it, "")
        *lines, rest = (before + text).split("\n")
        if len(rest) > LOG_MESSAGE_CHARS_MAX:
            lines, rest = [*lines, rest], ""
        for line in lines:
            _keep_line(context, self._name_of_it, self._level, line)
        if rest or before:
            _unfinished.setdefault(context, {})[self._name_of_it] = rest


def _from_logging() -> bool:
    """Whether a handler of `logging` writes out a record, which has been kept as a record."""
    return sys._getframe(2).f_globals.get("__name__") == "logging"


# The line that is not over yet, by task and stream; a task's runner ends it, see finish_output.
_unfinished: dict[TaskContext, dict[str, str]] = {}


def finish_output(context: TaskContext) -> None:
    """Keep the last lines of a task that did not end them."""
    for name, line in _unfinished.pop(context, {}).items():
        _keep_line(context, name, _LEVELS[name], line)


_LEVELS = {"stdout": "INFO", "stderr": "WARNING"}


def _keep_line(context: TaskContext, name: str, level: str, line: str) -> None:
    line = line.rstrip().rpartition("\r")[2]  # a progress bar: what it showed last
    if line.strip():
        keep_line(context, level, line, {"stream": name})


class _Warnings:
    """In the place of `warnings.showwarning`: in a task the warning is kept, and shown as before."""

    def __init__(self) -> None:
        self.before = warnings.showwarning

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        context = running_task()
        if context is None or not captured_of(context).output:
            self.before(message, category, filename, lineno, file, line)
            return
        with _alone() as alone:
            if alone:
                keep_line(
                    context,
                    "WARNING",
                    f"{category.__name__}: {message}",
                    {"warning": category.__name__, "where": f"{filename}:{lineno}"},
                )
            # Inside: whatever it does to show it, a record or a line on stderr, has been kept.
            self.before(message, category, filename, lineno, file, line)


class _Installed:
    """What is in place in this process, and for how many workers."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._logging = self._output = 0
        self._handler = TaskLogHandler()
        self._levels: list[tuple[logging.Logger, int, int]] = []  # before, and as it was set here
        self._streams: dict[str, _Tee] = {}
        self._warnings: _Warnings | None = None

    def add(self, *, least: str | None, output: bool) -> None:
        logs = least is not None
        with self._guard:
            self._logging += logs
            self._output += output
            if least is not None and self._logging == 1:
                self._lower(least)
                logging.getLogger().addHandler(self._handler)
            if output and self._output == 1:
                for name, level in _LEVELS.items():
                    self._streams[name] = tee = _Tee(getattr(sys, name), name, level)
                    setattr(sys, name, tee)
                self._warnings = shown = _Warnings()
                warnings.showwarning = shown

    def take_away(self, *, least: str | None, output: bool) -> None:
        logs = least is not None
        with self._guard:
            self._logging -= logs
            self._output -= output
            if logs and not self._logging:
                logging.getLogger().removeHandler(self._handler)
                for logger, before, ours in self._levels:
                    if logger.level == ours:
                        logger.setLevel(before)
                self._levels.clear()
            if output and not self._output:
                for name, tee in self._streams.items():
                    if getattr(sys, name) is tee:  # else somebody has put another in its place, and undoes that
                        setattr(sys, name, tee._stream)
                if self._warnings is not None and warnings.showwarning is self._warnings:
                    warnings.showwarning = self._warnings.before

    def _lower(self, least: str) -> None:
        """Where nobody has set logging up, let records come about that nobody but this asks for."""
        root, ours = logging.getLogger(), logging.getLogger("prismq")
        if root.handlers or root.level != logging.WARNING:
            return
        # Not prismq's own: what happens to each task is not put together for nobody.
        for logger, level in ((ours, ours.getEffectiveLevel()), (root, min(RANKS[least], logging.WARNING))):
            self._levels.append((logger, logger.level, level))
            logger.setLevel(level)


_installed = _Installed()


class Capture:
    """One worker's wish to keep what its tasks say; see CaptureOptions. In place between `start` and `stop`."""

    def __init__(self, wish: CaptureOptions) -> None:
        self._wish = wish
        self._started = False

    def start(self) -> None:
        """Have it in place in this process."""
        if not self._started:
            self._started = True
            _installed.add(least=self._wish.level, output=self._wish.output)

    def stop(self) -> None:
        """Take it away again, where no other worker of this process wants it."""
        if self._started:
            self._started = False
            _installed.take_away(least=self._wish.level, output=self._wish.output)
