"""How every connection to the file is set up."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Durability = Literal["normal", "full"]

PRAGMAS: Mapping[str, str | int] = MappingProxyType(
    {
        "journal_mode": "WAL",  # readers and the writer do not wait for each other
        # In WAL mode a process crash loses nothing; power loss may take the last commits. See durability.
        "synchronous": "NORMAL",
        "busy_timeout": 5000,  # milliseconds
        "wal_autocheckpoint": 1000,  # pages
        "foreign_keys": "ON",
        "temp_store": "MEMORY",
        "mmap_size": 134_217_728,  # bytes: 128 MiB
        "page_size": 4096,
        "cache_size": -20_000,  # KiB when negative: about 20 MB
    }
)

# Marks the file as ours in its header: the letters PrmQ.
APPLICATION_ID = 0x50726D51
# RETURNING and generated columns; 3.35 came out in March 2021.
SQLITE_VERSION_MIN = (3, 35, 0)
