"""Delivers what is written down to be said. A channel that fails is tried again; one that hangs holds nobody up."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from random import Random

from prismq.clock import Clock
from prismq.domain.backoff import Backoff
from prismq.domain.errors import QueueDatabaseError
from prismq.observability.alerts.channels.base import Channel, NotDelivered
from prismq.observability.alerts.message import Message, messages_of
from prismq.storage.contract import Store
from prismq.storage.contract.alerts import Notice

RETRY = Backoff(initial_s=5.0, multiplier=2.0, cap_s=600.0)
_HANGING_MAX = 3  # threads of one channel that never came back; past this it gets no more
_SLACK_S = 5.0  # beyond the channel's own timeout


class _Round:
    """One thread that tells one channel what is due."""

    def __init__(self, began: float, notice_ids: Sequence[int]) -> None:
        self.began = began  # monotonic
        self.waiting = list(notice_ids)  # not delivered yet
        self.given_up = self.over = False
        self.guard = threading.Lock()


class Deliverer:
    """`step()` hands what is due to the channels, each in a thread of its own, and does not wait for them.

    At least once: a message whose acknowledgement was lost, or came too late, is sent again.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        rng: Random,
        channels: Mapping[str, Channel],
        *,
        timeout_s: float,
        give_up_s: float,
        dashboard_url: str | None = None,
    ) -> None:
        self._store, self._clock, self._rng = store, clock, rng
        self._channels = dict(channels)
        self._timeout_s, self._give_up_s = timeout_s, give_up_s
        self._dashboard_url = dashboard_url
        self._rounds: dict[str, _Round] = {}
        self._hanging: defaultdict[str, int] = defaultdict(int)
        self._threads: list[threading.Thread] = []

    def step(self) -> None:
        """Look once. Raises QueueDatabaseError where the store cannot be asked."""
        mono = self._clock.monotonic()
        for name, running in list(self._rounds.items()):
            if mono - running.began > (self._timeout_s + _SLACK_S) * max(1, len(running.waiting)):
                self._abandon(name, running)
        due: defaultdict[str, list[Notice]] = defaultdict(list)
        for notice in self._store.alerts.due_notices(self._clock.now()):
            due[notice.channel].append(notice)
        for name, notices in due.items():
            if name in self._channels and name not in self._rounds and self._hanging[name] < _HANGING_MAX:
                self._start(name, notices)

    def wait(self, timeout_s: float) -> None:
        """Wait until what was begun is over, at most `timeout_s` seconds; for a shutdown, and for tests."""
        deadline = self._clock.monotonic() + timeout_s
        for thread in list(self._threads):
            thread.join(max(0.0, deadline - self._clock.monotonic()))

    def _start(self, name: str, notices: Sequence[Notice]) -> None:
        running = _Round(self._clock.monotonic(), [one.notice_id for one in notices])
        self._rounds[name] = running
        thread = threading.Thread(
            target=self._tell, args=(name, running, notices), name=f"prismq-alert-{name}", daemon=True
        )
        self._threads = [one for one in self._threads if one.is_alive()] + [thread]
        thread.start()

    def _tell(self, name: str, running: _Round, notices: Sequence[Notice]) -> None:
        try:
            by_id = {one.notice_id: one for one in notices}
            for message in messages_of(notices, self._store.name, self._dashboard_url):
                error = self._send(name, message)
                with running.guard:
                    if running.given_up:  # it came back after all, and what it had to say was put off
                        return
                    running.waiting = [one for one in running.waiting if one not in message.notice_ids]
                    # Where the store does not take it, the message is sent again.
                    with suppress(QueueDatabaseError):
                        self._note(name, [by_id[one] for one in message.notice_ids], error)
        finally:
            with running.guard:
                running.over = True
                if running.given_up:
                    self._hanging[name] -= 1
                else:
                    self._rounds.pop(name, None)

    def _send(self, name: str, message: Message) -> str | None:
        try:
            self._channels[name].send(message, self._timeout_s, self._clock.now())
        except NotDelivered as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - whatever a channel does, the others are told
            return f"{type(error).__name__} in the channel"
        return None

    def _note(self, name: str, notices: Sequence[Notice], error: str | None) -> None:
        now = self._clock.now()
        if error is None:
            self._store.alerts.delivered(name, [one.notice_id for one in notices], now)
            return
        for one in notices:
            over = now - one.created_at >= self._give_up_s
            retry_at = None if over else now + RETRY.delay_s(one.tries + 1, self._rng)
            self._store.alerts.not_delivered(name, [one.notice_id], error, now, retry_at=retry_at)

    def _abandon(self, name: str, running: _Round) -> None:
        with running.guard:
            if running.over:  # it has just come back
                return
            running.given_up = True
            self._hanging[name] += 1
            del self._rounds[name]
            left = running.waiting
        now = self._clock.now()
        error = f"it did not come back within {self._timeout_s + _SLACK_S:g} s"
        retry_at = now + RETRY.delay_s(self._hanging[name], self._rng)
        self._store.alerts.not_delivered(name, left, error, now, retry_at=retry_at)
