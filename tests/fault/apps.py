"""The tasks that fault tests run in real worker processes. Named by hand: a worker imports this file by its path."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from prismq import Backoff, PrismQ, current_task

# A worker imports this file by its path, and the helpers are packages of the repository's root.
sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.helpers.history import record

HISTORY = os.environ.get("PRISMQ_TEST_HISTORY", "")
QUICK = Backoff(initial_s=0.05, cap_s=0.2)
q = PrismQ(os.environ.get("PRISMQ_TEST_DATABASE", ":memory:"))


def _note(kind: str) -> None:
    if HISTORY:
        task = current_task()
        record(HISTORY, kind, task.id, task.attempt, task.worker_id)


@q.task(name="noop", max_attempts=100)
def noop() -> None:
    _note("start")
    _note("end")


@q.task(name="nap", max_attempts=100)
def nap(seconds: float) -> float:
    _note("start")
    time.sleep(seconds)
    _note("end")
    return seconds


@q.task(name="anap", max_attempts=100)
async def anap(seconds: float) -> float:
    _note("start")
    await asyncio.sleep(seconds)
    _note("end")
    return seconds


@q.task(name="add")
def add(a: int, b: int) -> int:
    _note("start")
    _note("end")
    return a + b


@q.task(name="fail_slowly", max_attempts=5, backoff=QUICK)
def fail_slowly(seconds: float) -> None:
    time.sleep(seconds)
    raise ConnectionError("the provider is down")


@q.task(name="poison", max_attempts=5)
def poison() -> None:
    _note("start")
    os.kill(os.getpid(), signal.SIGKILL)


@q.task(name="quit", max_attempts=2)
def quit_quietly() -> None:
    """Ends its process with the exit code of an orderly end."""
    _note("start")
    os._exit(0)


@q.task(name="hold_the_gil", max_attempts=3)
def hold_the_gil(seconds: int) -> None:
    """Keeps the interpreter's lock in one C call, and the processor busy: no other thread of the process runs."""
    _note("start")
    libc = ctypes.PyDLL(None)
    libc.clock.restype = ctypes.c_long
    # One call into C that computes: qsort over a big buffer with a C comparator, under the lock of PyDLL.
    deadline = time.monotonic() + seconds
    size = 4_000_000
    buffer = (ctypes.c_int * size)()
    compare = ctypes.cast(ctypes.PyDLL(None).strcmp, ctypes.c_void_p)
    while time.monotonic() < deadline:
        libc.srand(1)
        libc.qsort(ctypes.byref(buffer), ctypes.c_size_t(size), ctypes.c_size_t(4), compare)
    _note("end")


@q.task(name="power", max_attempts=3)
def power(digits: int) -> int:
    """One long computation on big numbers, in C, with the interpreter's lock held."""
    _note("start")
    found = len(str(7**digits)) if digits < 100 else (7**digits).bit_length()
    _note("end")
    return found


@q.task(name="block", max_attempts=3)
def block(seconds: float) -> None:
    """Waits in C, where no interrupt reaches it."""
    _note("start")
    time.sleep(seconds)
    _note("end")


@q.task(name="grow", max_attempts=3)
def grow(megabytes: int) -> int:
    _kept.append(b"x" * (megabytes * 1_048_576))
    return len(_kept)


@q.task(name="pid_of")
def pid_of() -> int:
    return os.getpid()


@q.task(name="mark", max_attempts=3)
def mark(path: str, seconds: float) -> None:
    """Leaves a line in a file at its start, then waits where an interrupt reaches it."""
    _note("start")
    with Path(path).open("a") as file:
        file.write(f"{current_task().attempt}\n")
    for _ in range(int(seconds / 0.02)):
        time.sleep(0.02)
    _note("end")


_kept: list[bytes] = []
