"""The archive: ended tasks as lines of JSON in compressed files, written before they are deleted.

A file is a row of gzip members, one a batch, each flushed to the disk before its tasks are deleted. A process that
dies leaves at most a torn last member, whose tasks are still in the queue; nobody writes to that file again, and the
tasks go into the next. So no task is lost, and one may be written twice: readers take the last line of each id.
"""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from prismq.clock import Clock
from prismq.domain.errors import QueueMaintenanceError
from prismq.domain.times import from_epoch
from prismq.storage.contract import TaskStory
from prismq.storage.files import flush_folder

SEGMENT_BYTES_MAX = 64 * 1_048_576
_LEVEL = 6  # 9 takes three times as long for a few per cent
_DAY_S = 86_400.0
_SUFFIX = ".jsonl.gz"
_PREFIX = "tasks-"

Line = dict[str, Any]


class ArchiveWriter:
    """Writes to a folder, one process at a time (see Keeping.alone)."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._file: BinaryIO | None = None
        self._path: Path | None = None
        self._opened_at = 0.0

    def append(self, stories: Iterator[TaskStory]) -> None:
        """Write the tasks; when this returns, they are on the disk.

        Raises QueueMaintenanceError, and the tasks may then be there or not.
        """
        try:
            file = self._segment()
            start = file.tell()
            try:
                self._write(file, stories)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                self._tear_off(file, start)
                raise
        except OSError as error:
            raise QueueMaintenanceError(
                f"the archive in {self._folder} cannot be written ({error.strerror or error}). The tasks stay in the "
                f"queue past their retention until it can; free some space, or correct archive_dir"
            ) from error

    def close(self) -> None:
        """Let go of the file; the next append begins another."""
        if self._file is not None:
            with suppress(OSError):  # what it could not write was not acknowledged
                self._file.close()
            self._file = self._path = None

    def _write(self, file: BinaryIO, stories: Iterator[TaskStory]) -> None:
        now = self._clock.now()
        at = from_epoch(now).isoformat()
        with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=file, mtime=now) as member:
            for story in stories:
                # The id first: a reader that looks for one task need not parse the others.
                line = {"id": story.task["id"], "archived_at_utc": at, **story._asdict()}
                member.write(json.dumps(line, separators=(",", ":"), default=_as_text).encode() + b"\n")

    def _tear_off(self, file: BinaryIO, start: int) -> None:
        try:
            file.truncate(start)
            file.seek(start)
        except OSError:  # then nobody writes behind the torn member
            self.close()

    def _segment(self) -> BinaryIO:
        """The file to write to: this process's own as long as nobody has begun a later one."""
        now = self._clock.now()
        if self._file is not None:
            spent = self._file.tell() >= SEGMENT_BYTES_MAX or not 0 <= now - self._opened_at < _DAY_S
            if not spent and segments(self._folder)[-1:] == [self._path]:
                return self._file
            self.close()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._free_path(now)
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600)
        self._file, self._path, self._opened_at = os.fdopen(handle, "wb"), path, now
        flush_folder(self._folder)
        return self._file

    def _free_path(self, now: float) -> Path:
        # A number rather than the time alone keeps the order where the clock is set back.
        there = segments(self._folder)
        last = int(there[-1].name.removeprefix(_PREFIX).partition("-")[0]) if there else 0
        return self._folder / f"{_PREFIX}{last + 1:08d}-{from_epoch(now):%Y%m%dT%H%M%SZ}{_SUFFIX}"


class ArchiveReader:
    """Reads a folder, also while it is written to. `torn` tells of files that could not be read to their end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.torn: list[tuple[Path, str]] = []

    def find(self, task_id: int) -> Line | None:
        """The last line of a task; None where there is none. It reads the files from the newest on."""
        start = f'{{"id":{task_id},'.encode()
        for path in reversed(segments(self._folder)):
            found = None
            for text in self._lines(path):
                if text.startswith(start):
                    found = text
            if found is not None:
                line: Line = json.loads(found)
                return line
        return None

    def newest(self, limit: int, *, type_: str | None = None, status: tuple[str, ...] = ()) -> list[Line]:
        """At most `limit` tasks, those archived last first, each once."""
        found: dict[int, Line] = {}
        for path in reversed(segments(self._folder)):
            here: dict[int, Line] = {}
            for text in self._lines(path):
                line: Line = json.loads(text)
                # A later line of the same id counts, and counts as later.
                here.pop(line["id"], None)
                here[line["id"]] = line
                if len(here) > 2 * limit + 1_000 and not type_ and not status:
                    here.pop(next(iter(here)))
            for task_id, line in reversed(here.items()):
                task = line["task"]
                if task_id in found:
                    continue
                if (type_ is None or task["type"] == type_) and (not status or task["status"] in status):
                    found[task_id] = line
                    if len(found) == limit:
                        return list(found.values())
        return list(found.values())

    def _lines(self, path: Path) -> Iterator[bytes]:
        try:
            with gzip.open(path, "rb") as lines:
                for text in lines:
                    if text.endswith(b"\n"):
                        yield text
        except EOFError:
            self.torn.append((path, "its last batch is not whole: the process that wrote it was killed"))
        except (OSError, zlib.error) as error:
            self.torn.append((path, str(error)))


def segments(folder: Path) -> list[Path]:
    """The files of an archive, oldest first."""
    return sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}"))


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
