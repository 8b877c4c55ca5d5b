"""Copies by the server's own programs, pg_dump and pg_restore: of one moment, while everybody works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from io import TextIOWrapper
from pathlib import Path

from prismq.domain.errors import QueueBackupError
from prismq.storage.contract import VerifiedCopy
from prismq.storage.entries import band_of
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.schema import migrations

_LOOK_S = 0.2  # how soon giving up is noticed
_COUNTED = {"prismq_migrations", "task_queue", "queue_depth", "queue_depth_deltas"}


def program(name: str) -> str:
    """The path of one of PostgreSQL's programs. Raises QueueBackupError."""
    found = shutil.which(name)
    if found is None:
        raise QueueBackupError(
            f"a backup of PostgreSQL needs the program {name}, which is not on the PATH. Install PostgreSQL's client "
            f"programs (Debian: postgresql-client) of the server's version or later. Nothing was changed"
        )
    return found


def back_up(database: PostgresDatabase, to: Path, stopped: Callable[[], bool]) -> None:
    """See Keeping.back_up."""
    pg_dump = program("pg_dump")
    try:
        os.close(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise QueueBackupError(f"the backup {to} cannot be written ({error.strerror}). Nothing was changed") from error
    try:
        with database.conninfo() as conninfo:
            command = [
                pg_dump,
                "-Fc",
                f"--schema={database.schema}",
                f"--file={to}",
                f"--dbname={conninfo}",
            ]
            _run(command, stopped, f"{database.name} could not be backed up to {to}")
    except BaseException:
        to.unlink(missing_ok=True)
        raise
    with to.open("rb+") as file:
        os.fsync(file.fileno())


def _run(command: list[str], stopped: Callable[[], bool], failed: str) -> None:
    said: bytes | None = None
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while said is None:
            try:
                _, said = process.communicate(timeout=_LOOK_S)
            except subprocess.TimeoutExpired:
                if stopped():
                    process.kill()
                    raise QueueBackupError("the backup was given up: this process is ending") from None
    if process.returncode:
        raise QueueBackupError(f"PostgreSQL {failed}: {said.decode(errors='replace').strip()[:1000]}")


def verify(path: Path) -> VerifiedCopy:
    """See Keeping.verify. The whole archive is unpacked, and its tasks counted against its books."""
    if not path.is_file():
        raise QueueBackupError(f"backup not found: there is no file {path}. See `prismq backup list`")
    tasks = 0
    versions: dict[int, str] = {}
    missing: Counter[tuple[str, ...]] = Counter()
    for table, columns, values in _rows(path):
        row = dict(zip(columns, values, strict=True))
        if table == "prismq_migrations":
            versions[int(row["version"])] = row["checksum"]
            continue
        new = table == "task_queue"
        tasks += new
        band = band_of(int(row["priority"])) if new else row["band"]
        missing[row["queue"], row["type"], row["status"], band] += 1 if new else -int(row["tasks"])
    ours = {migration.version: migration.checksum for migration in migrations()}
    newest = max(versions, default=0)
    if not versions:
        raise QueueBackupError(f"{path} is PostgreSQL's archive, but no backup of a queue: it has no queue's tables")
    if newest > max(ours):
        raise QueueBackupError(
            f"the backup {path} has schema version {newest}; this prismq knows versions up to {max(ours)}. "
            f"Restore it with the prismq that made it, or a later one"
        )
    return VerifiedCopy(path, path.stat().st_size, newest, tasks, not any(missing.values()))


def _rows(path: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """The rows of the tables that are counted, as COPY writes them: (table, columns, values)."""
    command = [program("pg_restore"), "--data-only", "--file=-", str(path)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with process:
        if process.stdout is None or process.stderr is None:
            raise QueueBackupError(f"{path} could not be read")
        lines = TextIOWrapper(process.stdout, encoding="utf-8", errors="replace", newline="\n")
        table, columns = "", list[str]()
        for line in lines:
            if not columns:
                if line.startswith("COPY "):
                    head, _, rest = line.removeprefix("COPY ").partition(" (")
                    table = head.rpartition(".")[2].strip('"')
                    columns = [name.strip('" ') for name in rest.partition(")")[0].split(",")]
            elif line == "\\.\n":
                columns = []
            elif table in _COUNTED:
                yield table, columns, [_unescaped(value) for value in line.rstrip("\n").split("\t")]
        said = process.stderr.read().decode(errors="replace")
    if process.returncode or said.strip():
        raise QueueBackupError(
            f"the backup {path} is corrupt: {said.strip()[:500]}. Use another backup, and check the disk"
        )


# postgresql.org/docs/current/sql-copy.html, "Text Format". \N, which is NULL, stands in no column that is counted.
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ESCAPED = re.compile(r"\\(.)")


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), value)
