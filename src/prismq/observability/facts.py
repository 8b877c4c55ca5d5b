"""What health is judged by: asked of the store and of Redis within a bounded time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from prismq.clock import SYSTEM_CLOCK, Clock
from prismq.domain.errors import PrismqError
from prismq.observability.window import DAY_S, HOUR_S
from prismq.storage.contract import Connections, Depth, Outcomes, Space, Standing, Store


class RedisFigures(NamedTuple):
    """What Redis says of itself."""

    response_time_ms: float
    memory_mb: float
    connected_clients: int
    ops_per_second: int


RedisProbe = Callable[[], RedisFigures]  # raises where Redis does not answer


@dataclass(frozen=True)
class Facts:
    """What was found; None is what could not be asked in time."""

    at: float  # seconds since 1970
    name: str = ""
    response_ms: float | None = None
    writable: bool | None = None
    standing: Standing | None = None
    last_hour: list[Outcomes] | None = None
    last_day: list[Outcomes] | None = None
    space: Space | None = None
    connections: Connections | None = None
    failure: str | None = None  # why the store could not be asked
    error: PrismqError | None = None  # the same, where the store said so
    redis_asked: bool = False
    redis: RedisFigures | None = None
    redis_failure: str | None = None

    @property
    def known(self) -> Standing:
        """How things stand; nothing does where that could not be asked."""
        return self.standing or Standing(self.at, None, {}, [], [], [])


def gather(
    store: Store,
    clock: Clock,
    *,
    timeout_s: float,
    redis: RedisProbe | None = None,
    only: Sequence[str] | None = None,
    bins: bool = False,
    memory: Memory | None = None,
) -> Facts:
    """Ask one thing after the other until `timeout_s` has passed; what is not known by then stays None.

    `only`: these fields. `bins`: with what percentiles are made of, and all that ended in the last day; a verdict needs
    none of it but the day's dead letters. `memory`: what was asked of the past a moment ago serves again. It is done in
    threads of its own, because a store that hangs hangs whoever asks; such a thread ends when the store answers.
    """
    now = clock.now()
    asked = {name: ask for name, ask in _questions(store, clock, now, bins).items() if only is None or name in only}
    # Side by side: the whole takes as long as the longest of them.
    access, present, past = (
        _Asked({name: ask for name, ask in asked.items() if name in part})
        for part in (asked.keys() - _PRESENT - _PAST, _PRESENT, _PAST)
    )
    cache = _Asked({} if redis is None else {"redis": redis})
    # In real time, whatever the clock is: this is about a store that does not answer.
    deadline = SYSTEM_CLOCK.monotonic() + timeout_s
    recalled = None if memory is None else memory.recall()
    for one in (access, present, cache) if recalled is not None else (access, present, past, cache):
        one.start()
    _wait((access, present, cache), deadline)
    failures = failures_of(present.found.get("standing"))
    if recalled is not None and recalled.failures == failures:
        past.found.update(recalled.found)
        past.done.set()
    else:
        if recalled is not None:
            past.start()
        _wait([past], deadline)
        if memory is not None and past.done.is_set() and past.error is None:
            memory.keep(Recalled(failures, past.found.copy()))
    parts = (access, present, past)
    answered = all(part.done.is_set() for part in parts)
    found = {name: value for part in parts for name, value in part.found.items()}
    error = next((part.error for part in parts if part.error is not None), None)
    failure = None if error is None else str(error).rstrip(".")
    if error is None and not answered:
        failure = f"it did not answer within {timeout_s:g} s"
    facts = Facts(now, store.name, redis_asked=redis is not None)
    if redis is not None:
        why = None if cache.error is None else str(cache.error).rstrip(".") or type(cache.error).__name__
        if why is None and not cache.done.is_set():
            why = f"not within {timeout_s:g} s"
        facts = replace(facts, redis=cache.found.get("redis"), redis_failure=why)
    return replace(facts, **found, failure=failure, error=error if isinstance(error, PrismqError) else None)


def _wait(asked: Iterable[_Asked], deadline: float) -> None:
    for one in asked:
        one.done.wait(max(0.0, deadline - SYSTEM_CLOCK.monotonic()))


_PRESENT = frozenset({"standing"})
_PAST = frozenset({"last_hour", "last_day", "space"})
_RECALLED_S = 15.0


class Recalled(NamedTuple):
    """What was found of the past, and how many tasks lay in each queue as failures then."""

    failures: Depth
    found: dict[str, Any]


class Memory:
    """What was last found of the past, for a server that many ask how it is: of an hour, a moment changes nothing.

    Not where tasks have failed since: that is asked for anew.
    """

    def __init__(self) -> None:
        self._kept: Recalled | None = None
        self._until = float("-inf")  # monotonic

    def recall(self) -> Recalled | None:
        """What was found, unless that was too long ago."""
        return self._kept if SYSTEM_CLOCK.monotonic() < self._until else None

    def keep(self, found: Recalled) -> None:
        """Remember it."""
        self._kept, self._until = found, SYSTEM_CLOCK.monotonic() + _RECALLED_S


def failures_of(standing: Standing | None) -> Depth:
    """Of the depth, what failed."""
    depth = standing.depth if standing is not None else {}
    return {key: tasks for key, tasks in depth.items() if key[2] in ("failed", "dead_letter") and tasks}


def _questions(store: Store, clock: Clock, now: float, bins: bool) -> dict[str, Callable[[], Any]]:
    def response_ms() -> float:
        started = clock.monotonic()
        store.work.next_due()  # one look into an index
        return (clock.monotonic() - started) * 1000

    def writable() -> bool:
        store.check()
        return True

    return {
        "response_ms": response_ms,
        "writable": writable,
        "standing": lambda: store.standing(now),
        "last_hour": lambda: store.insight.outcomes(now - HOUR_S, now, bins=bins),
        "last_day": lambda: store.insight.outcomes(
            now - DAY_S, now, only=None if bins else ("dead_letter",), bins=bins
        ),
        "space": store.insight.space,
        "connections": store.insight.connections,
    }


class _Asked:
    """Questions, asked in a thread; the first that fails ends it."""

    def __init__(self, questions: dict[str, Callable[[], Any]]) -> None:
        self.found: dict[str, Any] = {}
        self.error: Exception | None = None
        self.done = threading.Event()
        self._questions = questions

    def start(self) -> None:
        if self._questions:
            _ask_in_a_thread(self._ask)
        else:
            self.done.set()

    def _ask(self) -> None:
        try:
            for name, ask in self._questions.items():
                self.found[name] = ask()
        except Exception as error:  # noqa: BLE001 - whatever it is, the answer is that the store cannot be used
            self.error = error
        finally:
            self.done.set()


_IDLE_S = 30.0  # a thread that is not asked for so long ends, and with it its connection
_idle: deque[_Asker] = deque()


class _Asker(threading.Thread):
    """Asks one set of questions after the other. A new thread would have to open the database anew each time."""

    def __init__(self) -> None:
        super().__init__(name="prismq-health", daemon=True)
        self.inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def run(self) -> None:
        while True:
            try:
                self.inbox.get(timeout=_IDLE_S)()
            except Empty:
                try:
                    _idle.remove(self)
                except ValueError:  # somebody has just taken it
                    continue
                return
            _idle.append(self)


def _ask_in_a_thread(ask: Callable[[], None]) -> None:
    while True:
        try:
            asker = _idle.pop()
        except IndexError:
            asker = _Asker()
            asker.start()
            break
        if asker.is_alive():  # those of a parent are not
            break
    asker.inbox.put(ask)
