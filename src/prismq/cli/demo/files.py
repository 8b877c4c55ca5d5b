"""What the demo looks at: which files of a folder, and what there is to know about one."""

from __future__ import annotations

import hashlib
import mimetypes
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Enough for a real folder, few enough that the demo ends within a minute.
FILES_MAX = 2_000
FILE_BYTES_MAX = 32 * 1_048_576

_SKIPPED = frozenset(
    {
        ".cache", ".demo", ".git", ".hg", ".hypothesis", ".idea", ".import_linter_cache", ".mypy_cache", ".nox",
        ".pytest_cache", ".ruff_cache", ".svn", ".tox", ".venv", "__pycache__", "build", "dist", "htmlcov",
        "node_modules", "venv",
    }
)  # fmt: skip
_SKIPPED_BEGINNINGS = (".venv-", ".stamp")
_SKIPPED_ENDINGS = (".egg-info", ".pyc", ".db", ".db-wal", ".db-shm")

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
    (b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (b"\x7fELF", "application/x-elf"),
)
# Types that are text although their name does not begin with `text/`.
_ALSO_TEXT = frozenset(
    {"application/javascript", "application/json", "application/toml", "application/x-sh", "application/xml",
     "application/yaml", "application/x-yaml", "image/svg+xml"}
)  # fmt: skip
# Python's table differs between systems and versions; these are common in the folders that people try it on.
_BY_SUFFIX = {
    ".cfg": "text/plain",
    ".ini": "text/plain",
    ".lock": "text/plain",
    ".md": "text/markdown",
    ".py": "text/x-python",
    ".rst": "text/x-rst",
    ".sql": "application/sql",
    ".toml": "application/toml",
    ".ts": "text/x-typescript",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}


@dataclass(frozen=True)
class FileFacts:
    """What indexing a file finds. Text statistics are 0 for what is not text; `longest_line` is in characters."""

    path: str
    bytes: int
    sha256: str
    kind: str
    encoding: str
    lines: int = 0
    words: int = 0
    longest_line: int = 0


@dataclass(frozen=True)
class Found:
    """The files to index, as paths relative to the folder, and how many were left out for a bound of the demo."""

    paths: list[str]
    too_many: int
    too_large: int


def find_files(folder: Path) -> Found:
    """The regular files below `folder`, in order of their paths; caches, environments and version control left out."""
    paths: list[str] = []
    too_many = too_large = 0
    for path, size in _walk(folder):
        if size > FILE_BYTES_MAX:
            too_large += 1
        elif len(paths) >= FILES_MAX:
            too_many += 1
        else:
            paths.append(path.relative_to(folder).as_posix())
    return Found(paths, too_many, too_large)


def _walk(folder: Path) -> Iterator[tuple[Path, int]]:
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_skipped(name))
        for name in sorted(names):
            path = Path(root, name)
            if _is_skipped(name) or not _is_text_that_can_be_kept(str(path)):
                continue
            try:
                info = path.lstat()
            except OSError:  # gone since it was listed
                continue
            if stat.S_ISREG(info.st_mode):
                yield path, info.st_size


def _is_skipped(name: str) -> bool:
    return name in _SKIPPED or name.startswith(_SKIPPED_BEGINNINGS) or name.endswith(_SKIPPED_ENDINGS)


def _is_text_that_can_be_kept(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:  # a name that is not UTF-8 has no place in JSON
        return False
    return True


def facts_of(folder: Path, path: str) -> FileFacts:
    """Read the file and say what it is. Raises OSError where it cannot be read."""
    content = (folder / path).read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    encoding, text = _read_text(content)
    kind = _kind_of(path, content, is_text=text is not None)
    if text is None:
        return FileFacts(path, len(content), checksum, kind, encoding)
    lines = text.splitlines()
    return FileFacts(
        path,
        len(content),
        checksum,
        kind,
        encoding,
        lines=len(lines),
        words=sum(len(line.split()) for line in lines),
        longest_line=max(map(len, lines), default=0),
    )


def _read_text(content: bytes) -> tuple[str, str | None]:
    """A guess at the encoding, and the text; `binary` and None where it is not text."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return "utf-16", content.decode("utf-16")
        except UnicodeDecodeError:
            return "binary", None
    if b"\x00" in content:
        return "binary", None
    if content.isascii():
        return "ascii", content.decode("ascii")
    try:
        return ("utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else "utf-8"), content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Every byte means something in Latin-1; with many control characters it is no text all the same.
        text = content.decode("latin-1")
        strange = sum(not (character.isprintable() or character.isspace()) for character in text)
        return ("binary", None) if strange > len(text) / 20 else ("latin-1, perhaps", text)


def _kind_of(path: str, content: bytes, *, is_text: bool) -> str:
    for magic, kind in _MAGIC:
        if content.startswith(magic):
            return kind
    suffix = Path(path).suffix.lower()
    guess = _BY_SUFFIX.get(suffix) or mimetypes.guess_type(path)[0]
    if not is_text:
        is_plausible = guess is not None and not guess.startswith("text/") and guess not in _ALSO_TEXT
        return guess if guess is not None and is_plausible else "application/octet-stream"
    if content.startswith(b"#!") and not suffix:
        return "text/x-script"
    if guess is not None and (guess.startswith("text/") or guess in _ALSO_TEXT or guess in _BY_SUFFIX.values()):
        return guess
    return "text/plain"
