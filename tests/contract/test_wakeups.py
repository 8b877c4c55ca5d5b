"""Hints: whoever announces is heard by every ear of the same queue, and a lost way comes back by itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from prismq.clock import SYSTEM_CLOCK
from prismq.storage.redis.wakeup import RedisWakeups
from prismq.storage.wakeup import Ear, Wakeups
from prismq.worker.bell import Bell
from tests.helpers.builders import a_worker
from tests.helpers.engines import Engine, PostgresEngine
from tests.helpers.processes import wait_until
from tests.helpers.redis import RedisServer, redis_server

WAIT_S = 20.0


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=["own", "redis"])
def wakeups(request: pytest.FixtureRequest, engine: Engine) -> Wakeups:
    """The engine's own way, and Redis' beside it."""
    if request.param == "own":
        return engine.store.wakeups
    return RedisWakeups(request.getfixturevalue("redis").url, f"test:{id(engine)}")


@contextmanager
def listening(engine: Engine, wakeups: Wakeups, name: str = "w1") -> Iterator[Bell]:
    """A bell with an ear that is known to the store, as a worker's is, and that has begun to listen."""
    with ExitStack() as stack:
        ear = wakeups.ear(SYSTEM_CLOCK, lambda lost: None)
        assert ear is not None
        stack.callback(ear.close)
        bell = Bell()
        stack.callback(bell.close)
        bell.add(ear)
        engine.store.workers.register(a_worker(name, hint_port=ear.port), SYSTEM_CLOCK.now())
        if ear.port is None:
            assert bell.wait(WAIT_S)  # a remote ear gives a hint once it listens: it may have missed one before
        yield bell


def test_every_worker_hears_an_announcement(engine: Engine, wakeups: Wakeups) -> None:
    announcer = wakeups.announcer(SYSTEM_CLOCK)
    with listening(engine, wakeups, "w1") as one, listening(engine, wakeups, "w2") as other:
        announcer.announce()
        assert one.wait(WAIT_S)
        assert other.wait(WAIT_S)
    announcer.close()


def test_silence_is_no_hint(engine: Engine, wakeups: Wakeups) -> None:
    with listening(engine, wakeups) as bell:
        assert bell.wait(0.05) is False


def test_many_announcements_are_few_hints_and_never_none(engine: Engine, wakeups: Wakeups) -> None:
    announcer = wakeups.announcer(SYSTEM_CLOCK)
    with listening(engine, wakeups) as bell:
        for _ in range(20):
            for _ in range(50):
                announcer.announce()
            assert bell.wait(WAIT_S)
    announcer.close()


def test_an_announcer_can_be_used_again_after_close(engine: Engine, wakeups: Wakeups) -> None:
    announcer = wakeups.announcer(SYSTEM_CLOCK)
    with listening(engine, wakeups) as bell:
        announcer.announce()
        announcer.close()
        assert bell.wait(WAIT_S)
        announcer.announce()
        assert bell.wait(WAIT_S)
    announcer.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_child_of_fork_announces_too(engine: Engine, wakeups: Wakeups) -> None:
    announcer = wakeups.announcer(SYSTEM_CLOCK)
    with listening(engine, wakeups) as bell:
        announcer.announce()
        assert bell.wait(WAIT_S)
        child = os.fork()
        if child == 0:
            announcer.announce()
            announcer.close()
            os._exit(0)
        assert bell.wait(WAIT_S)
        os.waitpid(child, 0)
    announcer.close()


class Word:
    """What an ear tells of its way."""

    def __init__(self) -> None:
        self.losses: list[str] = []
        self.back = threading.Event()

    def __call__(self, lost: str | None) -> None:
        if lost is None:
            self.back.set()
        else:
            self.losses.append(lost)


def _hears(ear: Ear, announcer_of: Wakeups) -> bool:
    bell, announcer = Bell(), announcer_of.announcer(SYSTEM_CLOCK)
    bell.add(ear)
    try:
        announcer.announce()
        return bell.wait(WAIT_S)
    finally:
        announcer.close()
        bell.close()


def test_redis_may_die_and_come_back(redis: RedisServer) -> None:
    word, wakeups = Word(), RedisWakeups(redis.url, "dies")
    ear = wakeups.ear(SYSTEM_CLOCK, word)
    assert ear is not None
    assert _hears(ear, wakeups)
    redis.kill()
    wait_until(lambda: word.losses, "the loss of Redis", WAIT_S)
    wakeups.announcer(SYSTEM_CLOCK).announce()  # into the void: no error, and nobody waits
    redis.start()
    assert word.back.wait(WAIT_S)
    assert _hears(ear, wakeups)
    assert len(word.losses) == 1
    ear.close()


def test_a_listening_session_may_be_ended_and_comes_back(engine: Engine) -> None:
    if not isinstance(engine, PostgresEngine):
        return  # a datagram has no session
    word, wakeups = Word(), engine.store.wakeups
    ear = wakeups.ear(SYSTEM_CLOCK, word)
    assert ear is not None
    assert _hears(ear, wakeups)
    engine.hand("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
    wait_until(lambda: word.losses, "the end of the session", WAIT_S)
    assert word.back.wait(WAIT_S)
    assert _hears(ear, wakeups)
    ear.close()
