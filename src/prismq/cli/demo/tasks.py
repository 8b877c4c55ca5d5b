"""The application that the demo's worker processes load. It uses prismq as any application would."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sqlite3
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from prismq.app import PrismQ
from prismq.cli.demo.files import FileFacts, facts_of
from prismq.clock import SYSTEM_CLOCK
from prismq.domain.backoff import Backoff
from prismq.domain.errors import PermanentError, Snooze
from prismq.worker.context import current_task

INDEX = "demo.index_file"
SUMMARY = "demo.running_summary"
SUMMARY_EVERY_S = 3
_READ_MAX = 5_000

# Everything is given here, so that a prismq.toml of the folder it is tried in does not matter. The worker
# processes are told which file to use instead.
q = PrismQ(Path(".demo") / "queue.db", durability="normal", busy_timeout=5.0)

_facts = TypeAdapter(FileFacts)


@dataclass(frozen=True)
class Report:
    """What the index says about the folder."""

    files: int
    bytes: int
    lines: int
    words: int
    kinds: list[tuple[str, int, int]]  # type, files, bytes; the most common first
    largest: list[tuple[str, int]]
    longest_line: tuple[str, int]
    duplicates: list[list[str]]  # paths of equal content
    encodings: dict[str, int]


@q.task(name=INDEX, queue="files")
def index_file(folder: Path, path: str) -> FileFacts:
    """Checksum, type and text statistics of one file."""
    try:
        return facts_of(folder, path)
    except OSError as error:
        # Another attempt cannot help: the task becomes `failed` at once.
        raise PermanentError(f"{path} cannot be read: {error.strerror or error}") from error


@q.task(name="demo.look_up", queue="remote", backoff=Backoff(initial_s=0.5))
def look_up(host: str) -> str:
    """Stands for a remote service that drops the first connection and answers the next."""
    task = current_task()
    if task.attempt == 1:
        raise ConnectionResetError(f"{host} closed the connection")
    task.log.info("answered", host=host)
    return f"{host} answered attempt {task.attempt}"


@q.task(name="demo.wait_async", queue="remote", tags=["group"])
async def wait_async(number: int, seconds: float) -> int:
    """Stands for a slow service: many of these wait at once on one event loop."""
    await asyncio.sleep(seconds)
    return number


@q.task(name="demo.kill_worker_once", max_attempts=3)
def kill_worker_once() -> str:
    """Ends its own worker process on the first attempt, as the kernel's out-of-memory killer would."""
    task = current_task()
    if task.attempt == 1:
        task.log.warning("this attempt ends the worker process with SIGKILL")
        _die()
    return f"attempt {task.attempt} ran on {task.worker_id}"


@q.task(name="demo.poison", max_attempts=3)
def poison() -> None:
    """Ends its worker process on every attempt."""
    current_task().log.warning("this attempt ends the worker process with SIGKILL")
    _die()


@q.task(name="demo.never_ends", executor="process", timeout=1.0, max_attempts=1)
def never_ends() -> str:
    """Computes in C for hours, where no exception reaches it: only ending its process helps."""
    return hashlib.pbkdf2_hmac("sha256", b"demo", b"salt", 2_000_000_000).hex()


@q.task(name="demo.long_walk", max_attempts=1)
def long_walk(steps: int) -> int:
    """Takes minutes, and says how far it is; the demo cancels it on the way."""
    task = current_task()
    nothing = threading.Event()
    for step in range(steps):
        task.progress(step, steps, "walking")
        SYSTEM_CLOCK.wait(nothing, 0.1)
    return steps


@q.periodic(f"*/{SUMMARY_EVERY_S} * * * * *")
@q.task(name=SUMMARY, queue="reports", priority=10)
def running_summary() -> dict[str, int]:
    """Write down how far the index is, in the transaction that completes this task: once, whatever happens."""
    task = current_task()
    facts = _facts_so_far()
    row = {"files": len(facts), "bytes": sum(one.bytes for one in facts), "lines": sum(one.lines for one in facts)}
    with task.transaction() as connection:
        # The demo runs on two engines, whose drivers write a parameter in two ways.
        marks = ", ".join(["?" if isinstance(connection, sqlite3.Connection) else "%s"] * 5)
        connection.execute(
            f"INSERT INTO demo_summary (task_id, slot_utc, files, bytes, lines) VALUES ({marks})",  # noqa: S608
            (task.id, task.headers["prismq.slot"], *row.values()),
        )
    return row


@q.task(name="demo.report", queue="reports", priority=10)
def report() -> Report:
    """What the folder holds; waits for the index without using up attempts."""
    waiting = q.tasks.count(type=INDEX, status=["scheduled", "queued", "claimed", "processing"])
    if waiting:
        raise Snooze(0.5, f"{waiting} files are not indexed yet")
    return _report_of(_facts_so_far())


def _facts_so_far() -> list[FileFacts]:
    done = q.tasks.find(type=INDEX, status="completed", limit=_READ_MAX)
    return [_facts.validate_json(task.result) for task in done if task.result]


def _report_of(facts: list[FileFacts]) -> Report:
    sizes: Counter[str] = Counter()
    for one in facts:
        sizes[one.kind] += one.bytes
    same: dict[str, list[str]] = {}
    for one in facts:
        if one.bytes:
            same.setdefault(one.sha256, []).append(one.path)
    longest = max(facts, key=lambda one: one.longest_line, default=None)
    return Report(
        files=len(facts),
        bytes=sum(one.bytes for one in facts),
        lines=sum(one.lines for one in facts),
        words=sum(one.words for one in facts),
        kinds=[(kind, n, sizes[kind]) for kind, n in Counter(one.kind for one in facts).most_common(8)],
        largest=[(one.path, one.bytes) for one in sorted(facts, key=lambda one: (-one.bytes, one.path))[:5]],
        longest_line=("", 0) if longest is None else (longest.path, longest.longest_line),
        duplicates=sorted(sorted(paths) for paths in same.values() if len(paths) > 1),
        encodings=dict(Counter(one.encoding for one in facts).most_common()),
    )


def _die() -> None:
    # Long enough for the start to be on record, and for those who watch.
    SYSTEM_CLOCK.wait(threading.Event(), 0.3)
    if hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(137)
