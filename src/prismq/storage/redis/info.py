"""What a Redis server says of itself."""

from __future__ import annotations

from typing import Any

from prismq.storage.open import RedisInfo
from prismq.storage.redis.wakeup import connect


def read_info(url: str) -> RedisInfo:
    """Ask it. Raises the driver's errors where it does not answer."""
    client = connect(url)
    try:
        found: dict[str, Any] = client.info()
    finally:
        client.close()
    return RedisInfo(
        int(found["used_memory"]),
        int(found["connected_clients"]),
        int(found["instantaneous_ops_per_sec"]),
        int(found["total_commands_processed"]),
    )
