"""Is this a place where a queue's file may live?"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePath

from prismq.domain.errors import QueueDatabaseError, QueueSchemaError

_SQLITE_HEADER = b"SQLite format 3\x00"
# SQLite's locks are not kept by these (sqlite.org/faq.html, question 5), and WAL needs shared memory.
_NETWORK_FILE_SYSTEMS = frozenset(
    [
        "nfs",
        "nfs3",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "afs",
        "ncpfs",
        "webdav",
        "davfs",
        "fuse.sshfs",
        "fuse.s3fs",
        "fuse.rclone",
        "fuse.davfs2",
        "ceph",
        "fuse.ceph",
        "glusterfs",
        "fuse.glusterfs",
        "lustre",
        "beegfs",
        "gpfs",
        "ocfs2",
        "gfs2",
    ]
)


def check_location(path: Path) -> None:
    """Raise QueueDatabaseError where a queue's file must not lie, before SQLite touches anything.

    A missing folder is made, for its owner alone.
    """
    check_folder(path)
    check_header(path)


def check_folder(path: Path) -> None:
    """The same without a look into the file, which this process may have open."""
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise QueueDatabaseError(
            f"the folder {folder} for the queue database cannot be made ({error.strerror}). Give another path"
        ) from error
    if path.is_dir():
        raise QueueDatabaseError(f"{path} is a folder; give the path of a file in it, for example {path / 'queue.db'}")
    kind = network_file_system(folder, _mounts())
    if kind is not None:
        raise QueueDatabaseError(
            f"{path} lies on a network file system ({kind}), where SQLite's locks cannot be trusted and tasks would "
            f"be lost. Put the file on a local disk, or use PostgreSQL for a queue shared by several machines"
        )


def check_header(path: Path) -> None:
    """Raise QueueSchemaError where `path` is a file of another kind than SQLite's.

    Only a file that no connection of this process can have open may be read: closing it would drop
    SQLite's locks. A file without SQLite's header is such a file, and a real one is read before it is opened.
    """
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("rb") as file:
        header = file.read(len(_SQLITE_HEADER))
    if header != _SQLITE_HEADER:
        raise QueueSchemaError(
            f"{path} is not a SQLite database (it begins with {header[:12]!r}). Give another path; it was not touched"
        )


def network_file_system(folder: Path, mounts: Iterable[tuple[str, str, str]]) -> str | None:
    """The kind of network file system `folder` lies on, or None. `mounts`: (mount point, kind, options)."""
    resolved = folder.resolve()
    if str(resolved).startswith("\\\\"):
        return "a UNC path"
    best, found = -1, None
    for point, kind, options in mounts:
        mount = PurePath(point)
        if mount != resolved and mount not in resolved.parents:
            continue
        if len(mount.parts) > best:
            best = len(mount.parts)
            found = kind if kind.lower() in _NETWORK_FILE_SYSTEMS or "remote" in options.split(",") else None
    return found


def _mounts() -> list[tuple[str, str, str]]:
    import psutil

    try:
        return [(part.mountpoint, part.fstype, part.opts) for part in psutil.disk_partitions(all=True)]
    except OSError:  # no list of mounts here (a sandbox without /proc): nothing is known against the place
        return []


def is_temporary(path: Path) -> bool:
    """Whether the file lies where the system clears up at reboot."""
    return os.name != "nt" and str(path).startswith("/tmp/")  # noqa: S108 - it asks, it does not write
