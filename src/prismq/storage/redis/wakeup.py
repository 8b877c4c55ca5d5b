"""Hints by Redis' publish and subscribe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis

from prismq.clock import Clock
from prismq.domain.errors import ConfigurationError
from prismq.storage.remote import NEWS_SPACING_S, RemoteAnnouncer, RemoteEar
from prismq.storage.wakeup import Announcer, Ear, Told, Wakeups

_CONNECT_S = 2.0
_LOOK_S = 1.0  # how long the listening thread waits before it looks whether it is to end


def connect(url: str, **options: Any) -> redis.Redis:
    """A client; nothing is opened yet. Raises ConfigurationError for a URL that Redis' driver does not take."""
    chosen = {"health_check_interval": 15, **options}
    try:
        return redis.Redis.from_url(url, socket_connect_timeout=_CONNECT_S, socket_timeout=_CONNECT_S, **chosen)
    except ValueError as error:
        raise ConfigurationError(f"redis_url: {error}. It looks like redis://[:password@]host[:6379][/0]") from None


class RedisWakeups:
    """One channel for each queue. Other queues on the same channel would only cause looks in vain."""

    def __init__(self, url: str, channel: str) -> None:
        self._url = url
        self._channel = channel

    def announcer(self, clock: Clock) -> Announcer:
        """See Wakeups.announcer."""
        return self._announcer(self._channel, clock)

    def _announcer(self, channel: str, clock: Clock, *spacing_s: float) -> Announcer:
        client = connect(self._url)

        def publish() -> None:
            client.publish(channel, b"")

        return RemoteAnnouncer(publish, clock, *spacing_s)

    def ear(self, clock: Clock, told: Told) -> Ear | None:
        """See Wakeups.ear."""
        return RemoteEar(lambda: self._listen(self._channel), clock, told)

    def news(self) -> Wakeups:
        """See Wakeups.news."""
        return _News(self._url, self._channel)

    @contextmanager
    def _listen(self, *channels: str) -> Iterator[Iterator[bool]]:
        client = connect(self._url)
        subscription = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
        try:
            subscription.subscribe(*channels)
            yield self._looks(subscription)
        finally:
            subscription.close()
            client.close()

    @staticmethod
    def _looks(subscription: redis.client.PubSub) -> Iterator[bool]:
        while True:
            yield subscription.get_message(timeout=_LOOK_S) is not None


class _News(RedisWakeups):
    """What changed since, for those who watch."""

    def announcer(self, clock: Clock) -> Announcer:
        return self._announcer(f"{self._channel}:news", clock, NEWS_SPACING_S)

    def ear(self, clock: Clock, told: Told) -> Ear | None:
        return RemoteEar(lambda: self._listen(self._channel, f"{self._channel}:news"), clock, told)
