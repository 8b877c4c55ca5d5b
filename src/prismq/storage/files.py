"""What is written must be on the disk before something else relies on it."""

from __future__ import annotations

import os
from pathlib import Path


def flush_folder(folder: Path) -> None:
    """Write the folder's own entries to the disk, where the system lets a folder be opened."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows
        return
    try:
        os.fsync(handle)
    except OSError:  # some file systems flush folders by themselves and say no
        return
    finally:
        os.close(handle)
