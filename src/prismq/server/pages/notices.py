"""What a page says once about what was just done: codes and numbers in the link, the words are here."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from prismq.domain.words import plural

_UNDO_S = 600.0
_UNDOS_MAX = 200
_NAMES = ("done", "n", "m", "undo")


@dataclass(frozen=True)
class Notice:
    """The words, and a key of an Undo where there is one."""

    text: str
    undo: str = ""
    undo_label: str = ""


class Undo(NamedTuple):
    """What takes an action back: another action, on these tasks."""

    action: str
    ids: tuple[int, ...]
    label: str
    until: float


class Undos:
    """The last actions that can be taken back, for ten minutes, in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Undo] = OrderedDict()

    def keep(self, action: str, ids: Iterable[int], label: str, now: float) -> str:
        """A key that `take` knows."""
        key = secrets.token_urlsafe(12)
        with self._lock:
            self._kept[key] = Undo(action, tuple(ids), label, now + _UNDO_S)
            while len(self._kept) > _UNDOS_MAX:
                self._kept.popitem(last=False)
        return key

    def look(self, key: str, now: float) -> Undo | None:
        """What the key stands for; None where that is too long ago."""
        with self._lock:
            found = self._kept.get(key)
        return found if found is not None and now < found.until else None

    def take(self, key: str, now: float) -> Undo | None:
        """The same, once."""
        found = self.look(key, now)
        with self._lock:
            self._kept.pop(key, None)
        return found


def _tasks(n: int, m: int, what: str) -> str:
    said = f"{plural(n, 'task')} {what}." if n or not m else ""
    asked = f"{plural(m, 'running task')} asked to stop." if m else ""
    return f"{said} {asked}".strip()


_WORDS: Mapping[str, Callable[[int, int], str]] = {
    "retry": lambda n, m: _tasks(n, m, "queued again"),
    "run-now": lambda n, m: _tasks(n, m, "made ready"),
    "cancel": lambda n, m: _tasks(n, m, "cancelled"),
    "delete": lambda n, m: _tasks(n, m, "deleted"),
    "reprioritise": lambda n, m: _tasks(n, m, "given the priority"),
    "enqueue": lambda n, _: f"Task {n} was enqueued.",
    "found": lambda n, _: f"Task {n} holds this key already: nothing was enqueued.",
    "pause": lambda *_: "Paused: what runs is finished, and nothing more is claimed.",
    "resume": lambda *_: "Resumed.",
    "limit": lambda *_: "The limit was set.",
    "purge": lambda n, _: f"{plural(n, 'waiting task')} deleted.",
    "worker": lambda *_: "The worker was asked; it obeys with its next heartbeat.",
    "schedule": lambda *_: "The schedule was changed.",
    "breaker": lambda *_: "The breaker was changed.",
    "revoke": lambda *_: "The token was revoked; who used it is let in no more.",
    "acknowledge": lambda *_: "Acknowledged: it is neither repeated nor escalated.",
    "silence": lambda n, _: f"Silence {n} is in force.",
    "unsilence": lambda *_: "The silence is over; what fires is told.",
    "tested": lambda *_: "The channel took the message.",
    "late": lambda *_: "That can no longer be taken back here.",
}


def notice_of(query: Mapping[str, str], undos: Undos, now: float) -> Notice | None:
    """What the link says was done; None where it says nothing that is known."""
    words = _WORDS.get(query.get("done", ""))
    if words is None:
        return None
    key = query.get("undo", "")
    undo = undos.look(key, now) if key else None
    text = words(_number(query.get("n")), _number(query.get("m")))
    return Notice(text, key if undo else "", undo.label if undo else "")


def without_notice(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The fields of a query but for those of a notice."""
    return [(name, value) for name, value in pairs if name not in _NAMES]


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 16 else 0
