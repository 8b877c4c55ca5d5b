"""Interrupts of a thread: raised between two bytecodes, but not inside code of ours, and raised again where lost."""

from __future__ import annotations

import ctypes
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

from prismq.domain.errors import TaskCancelled, TaskTimeout
from prismq.storage import shield
from prismq.worker.attempt import Attempt, Why

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_EXCEPTIONS: dict[Why, type[BaseException]] = {
    "cancel": TaskCancelled,
    "timeout": TaskTimeout,
    "lost": TaskCancelled,
    "shutdown": TaskCancelled,
}
_CALLER = "prismq.worker.runners.threads"  # calls the handler; what lies above its frame is the handler's

_interrupted: dict[int, Attempt] = {}  # by thread
_asked = threading.local()


class Interrupter:
    """Interrupts the attempt that runs in the thread which made this."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._thread_id = threading.get_ident()

    def interrupt(self, why: Why) -> bool:
        """Raise into the thread. False where it is in code of ours: then it is raised on the way out, or ask again."""
        attempt, thread_id, kind = self._attempt, self._thread_id, _EXCEPTIONS[why]
        if attempt.transport and not attempt.astray and not shield.waits(thread_id):
            return True  # the thread has met the word that was left for it
        attempt.transport = "its thread was interrupted"
        attempt.astray = False
        _interrupted[thread_id] = attempt
        if _inside_the_queue(thread_id):
            shield.leave_word(thread_id, kind)
            return False
        shield.take_back(thread_id)
        _raise_in(thread_id, kind)
        if _inside_the_queue(thread_id):  # it went on between the look and the word
            _raise_in(thread_id, None)
            shield.leave_word(thread_id, kind)
            return False
        return True

    def take_back(self) -> None:
        """Forget an interrupt that has not been raised yet; the thread itself calls this."""
        _interrupted.pop(self._thread_id, None)
        shield.take_back(self._thread_id)
        _raise_in(self._thread_id, None)


def watch_for_lost_interrupts() -> None:
    """Notice an interrupt that struck inside a `__del__` or a weak reference's callback.

    Python cannot let an exception out of these: it passes it to `sys.unraisablehook` and goes on, and the task would
    go on with it (docs.python.org/3/library/sys.html, sys.unraisablehook). The hook that was there is called for all
    else.
    """
    if not isinstance(sys.unraisablehook, _Watch):
        sys.unraisablehook = _Watch()


class _Watch:
    def __init__(self) -> None:
        self._before = sys.unraisablehook

    def __call__(self, unraisable: UnraisableHookArgs) -> None:
        attempt = _interrupted.get(threading.get_ident())
        if attempt is not None and unraisable.exc_type in (TaskCancelled, TaskTimeout):
            attempt.astray = True
        elif getattr(_asked, "now", False):  # a hook between two of ours called this one again
            sys.__unraisablehook__(unraisable)
        else:
            _asked.now = True
            try:
                self._before(unraisable)
            finally:
                _asked.now = False


def _inside_the_queue(thread_id: int) -> bool:
    """Whether a thread is in code of ours that must not be left half-way: it may hold the writer's lock."""
    frame: FrameType | None = sys._current_frames().get(thread_id)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith("prismq.storage.") or name == "prismq.client.sender":
            return True
        if name == _CALLER:
            return False
        frame = frame.f_back
    return False


def _raise_in(thread_id: int, kind: type[BaseException] | None) -> None:
    """Have `kind` raised in a thread at its next bytecode; None takes back one that has not been raised yet.

    docs.python.org/3/c-api/init.html, PyThreadState_SetAsyncExc. A thread that waits in C is not reached.
    """
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread_id), ctypes.py_object(kind) if kind is not None else None
    )
