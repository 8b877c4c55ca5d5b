"""What Redis says of itself, where one is configured."""

from __future__ import annotations

from prismq.app import PrismQ
from prismq.observability.exposition import RedisMetrics, RedisReader
from prismq.observability.facts import RedisFigures, RedisProbe
from prismq.storage.open import RedisInfo, redis_info, redis_keys

_MIB = 1024 * 1024


def redis_of(q: PrismQ) -> tuple[RedisProbe | None, RedisReader | None]:
    """For health and for metrics; None where there is no Redis."""
    url = q.redis_url
    if url is None:
        return None, None

    def ask() -> tuple[RedisInfo, float]:
        started = q.clock.monotonic()
        found = redis_info(url)
        return found, q.clock.monotonic() - started

    def probe() -> RedisFigures:
        found, seconds = ask()
        return RedisFigures(
            seconds * 1000, round(found.memory_bytes / _MIB, 3), found.connected_clients, found.ops_per_second
        )

    def reader() -> RedisMetrics:
        found, seconds = ask()
        return RedisMetrics(seconds, found.connected_clients, found.memory_bytes, found.commands, redis_keys(url))

    return probe, reader
