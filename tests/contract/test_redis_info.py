"""What Redis says of itself, asked of a real one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from prismq.storage.open import redis_info, redis_keys
from prismq.storage.redis.info import KEY_TYPES, KEYS_COUNTED_MAX
from tests.helpers.redis import RedisServer, redis_server


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as found:
        yield found


def test_memory_clients_and_commands_are_those_of_the_server(server: RedisServer) -> None:
    with redis.Redis.from_url(server.url) as client:
        before = redis_info(server.url)
        client.set("big", b"x" * 5_000_000)
        for _ in range(100):
            client.ping()
        after = redis_info(server.url)
        client.delete("big")
    assert after.memory_bytes - before.memory_bytes > 4_500_000
    assert after.connected_clients >= 2  # that of the test, and the one that asks
    assert 101 <= after.commands - before.commands < 150
    assert after.ops_per_second >= 0


def test_keys_are_counted_by_type(server: RedisServer) -> None:
    server.flush()
    assert redis_keys(server.url) == dict.fromkeys(KEY_TYPES, 0)
    with redis.Redis.from_url(server.url) as client:
        for number in range(5):
            client.set(f"text {number}", "x")
        client.rpush("list", "a")
        client.hset("hash", "a", "b")
        client.sadd("set", "a")
        client.zadd("sorted", {"a": 1})
        client.xadd("stream", {"a": "b"})
    found = redis_keys(server.url)
    assert found == {"string": 5, "list": 1, "hash": 1, "set": 1, "zset": 1, "stream": 1}


def test_many_keys_are_estimated_from_a_sample(server: RedisServer) -> None:
    server.flush()
    many = KEYS_COUNTED_MAX * 5
    with redis.Redis.from_url(server.url) as client:
        pipe = client.pipeline(transaction=False)
        for number in range(many):
            if number % 5 == 0:
                pipe.rpush(f"list {number}", "a")
            else:
                pipe.set(f"text {number}", "a")
        pipe.execute()
    found = redis_keys(server.url)
    server.flush()
    assert sum(found.values()) == pytest.approx(many, rel=0.01)
    assert found["list"] == pytest.approx(many / 5, rel=0.35)  # of 1,000 drawn: six standard deviations
    assert found["string"] == pytest.approx(many * 4 / 5, rel=0.09)


def test_one_that_is_away_is_an_error_of_the_driver(server: RedisServer) -> None:
    away = server.url.replace(str(server.port), "1")
    for ask in (redis_info, redis_keys):
        with pytest.raises(redis.ConnectionError):
            ask(away)
