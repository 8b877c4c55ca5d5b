"""What a Redis server says of itself."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import redis

from prismq.storage.open import RedisInfo, RedisState
from prismq.storage.redis.wakeup import connect

KEY_TYPES = ("string", "list", "set", "zset", "hash", "stream")
KEYS_COUNTED_MAX = 2_000  # a look at each takes some 10 µs, and somebody asks every few seconds
KEYS_SAMPLED = 1_000


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


def read_state(url: str) -> RedisState:
    """How it is set up and off. Raises as read_info does."""
    client: Any = connect(url, health_check_interval=0)  # one that cannot save answers no ping
    try:
        found: dict[str, Any] = client.info()
        try:
            saves = bool(client.config_get("save").get("save"))
        except redis.RedisError:  # where servers are rented, their settings are often out of reach
            saves = False
    finally:
        client.close()
    failed = found.get("rdb_last_bgsave_status") != "ok" or found.get("aof_last_write_status", "ok") != "ok"
    return RedisState(
        int(found["used_memory"]),
        int(found.get("maxmemory", 0)),
        str(found.get("maxmemory_policy", "noeviction")),
        int(found.get("evicted_keys", 0)),
        bool(found.get("aof_enabled")) or saves,
        failed,
    )


def read_keys(url: str) -> dict[str, int]:
    """How many keys its database holds, by type; every type is there. Raises as read_info does.

    Of more than KEYS_COUNTED_MAX the shares are those of KEYS_SAMPLED, taken in the order of SCAN, which is that of
    their hashes: as good as chance.
    """
    client: Any = connect(url)
    try:
        size = int(client.dbsize())
        wanted = size if size <= KEYS_COUNTED_MAX else KEYS_SAMPLED
        keys = list(islice(client.scan_iter(count=500), wanted))
        asked = client.pipeline(transaction=False)
        for key in keys:
            asked.type(key)
        found = Counter(kind.decode() if isinstance(kind, bytes) else str(kind) for kind in asked.execute())
    finally:
        client.close()
    del found["none"]  # gone meanwhile
    scale = size / len(keys) if size > KEYS_COUNTED_MAX and keys else 1
    return {kind: round(found[kind] * scale) for kind in dict.fromkeys((*KEY_TYPES, *found))}
