"""Tasks at module level: processes that run one task each import this file by its path."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import warnings
from pathlib import Path

from prismq import Backoff, PrismQ, Retry, Snooze, TaskCancelled, bind_log, current_task

q = PrismQ(os.environ.get("PRISMQ_TEST_DATABASE", ":memory:"))
SOON = Backoff(initial_s=0.01, cap_s=0.02)


@q.task(name="square", executor="process")
def square(n: int) -> int:
    return n * n


@q.task(name="pid", executor="process")
def pid() -> int:
    return os.getpid()


@q.task(name="spin", executor="process", timeout=0.5, max_attempts=1)
def spin() -> None:
    while True:
        pass


@q.task(name="sleep_in_c", executor="process", timeout=0.5, max_attempts=1)
def sleep_in_c() -> None:
    time.sleep(600)


@q.task(name="deaf", executor="process", max_attempts=1)
def deaf(path: str) -> None:
    """Swallows every interrupt."""
    Path(path).write_text(str(os.getpid()))
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(0.01)


@q.task(name="chatty", executor="process", timeout=0.5, max_attempts=1)
def chatty() -> None:
    """Talks without a pause, and swallows every interrupt."""
    while True:
        with contextlib.suppress(BaseException):
            current_task().log.info("still here")
            time.sleep(0.02)


@q.task(name="eat_memory", executor="process", memory_limit_mb=150, max_attempts=1)
def eat_memory() -> int:
    kept = []
    for _ in range(100):
        kept.append(bytearray(10 * 1_048_576))
        time.sleep(0.05)
    return len(kept)


@q.task(name="eat_memory_and_talk", executor="process", memory_limit_mb=150, max_attempts=1)
def eat_memory_and_talk() -> int:
    kept = []
    for number in range(200):
        kept.append(bytearray(10 * 1_048_576))
        current_task().progress(number, 200)
        time.sleep(0.03)
    return len(kept)


@q.task(name="say", executor="process")
def say(count: int) -> str:
    task = current_task()
    for number in range(count):
        task.log.info(f"line {number}", number=number)  # noqa: G004 - no logging logger
    task.progress(count, count, "said")
    return f"{task.id}.{task.attempt}"


@q.task(name="stumble", executor="process", max_attempts=3, backoff=SOON)
def stumble() -> int:
    if current_task().attempt < 3:
        raise ValueError(f"attempt {current_task().attempt}")
    return current_task().attempt


@q.task(name="die", executor="process", max_attempts=2, backoff=SOON)
def die() -> None:
    os._exit(3)


@q.task(name="mind", executor="process", max_attempts=1)
def mind(path: str) -> None:
    """Cleans up when it is cancelled."""
    Path(path).write_text("started")
    try:
        while True:
            time.sleep(0.01)
    except TaskCancelled:
        Path(path).write_text("cleaned up")
        raise


@q.task(name="nap_once", executor="process")
def nap_once(path: str) -> int:
    if not Path(path).exists():
        Path(path).touch()
        raise Snooze(0.05)
    return current_task().attempt


@q.task(name="again", executor="process", max_attempts=3)
def again() -> int:
    if current_task().attempt == 1:
        raise Retry(delay=0.01)
    return current_task().attempt


@q.task(name="write_once", executor="process", max_attempts=3, backoff=SOON)
def write_once(value: str, fail: bool = False) -> str:
    with current_task().transaction() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS effects (value TEXT)")
        connection.execute("INSERT INTO effects VALUES (?)", (value,))
        if fail:
            raise ValueError("after the write")
    return value.upper()


@q.task(name="child_of")
def child_of(parent: int) -> int:
    return parent


@q.task(name="parent", executor="process")
def parent() -> int:
    return child_of.enqueue(current_task().id).id


@q.task(name="which_argv", executor="process")
def which_argv() -> str:
    return sys.argv[0]


@q.task(name="say_much", executor="process")
def say_much(n: int) -> None:
    bind_log(order=n, password="hunter2")
    logging.getLogger("shop").info("hello %d", n, extra={"size": 3})
    print("printed", n)
    warnings.warn(f"careful {n}", stacklevel=1)
    current_task().log.info("own line")
