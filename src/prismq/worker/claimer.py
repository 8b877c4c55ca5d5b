"""How much to claim, and of what."""

from __future__ import annotations

import json
from collections.abc import Collection
from random import Random

from prismq.domain.compatibility import matches
from prismq.domain.limits import CLAIM_BATCH_MAX
from prismq.storage.contract import ClaimRequest
from prismq.worker.options import WorkerOptions

# Short tasks are claimed ahead, as many as will have run in this time; long ones are not, so that another
# worker can have them.
PREFETCH_AHEAD_S = 0.05
# And no fewer than will have run in so many exchanges: over a network, or to a slow disk, a commit takes its time,
# and each should bring enough to be worth it.
_AHEAD_EXCHANGES = 4
_ROUTES_KEPT_MAX = 10_000
_PACE_S = 0.01  # how often the pace is taken


class Claimer:
    """Decides the size of each claim from what is in hand and how fast it goes."""

    def __init__(self, worker_id: str, options: WorkerOptions, known: Collection[str], rng: Random) -> None:
        self._worker_id = worker_id
        self._options = options
        self._known = frozenset(known)
        self._rng = rng
        self._servable: dict[tuple[str, str], bool] = {}
        self._rate = 0.0  # tasks a second, smoothed
        self._counted, self._since = 0, 0.0
        self.exchange_s = 0.0  # what an exchange takes, smoothed

    def exchanged(self, took_s: float) -> None:
        """Learn what an exchange takes that wrote or claimed something."""
        self.exchange_s = 0.75 * self.exchange_s + 0.25 * took_s

    def finished(self, count: int, mono: float) -> None:
        """Learn the pace: `count` tasks have ended by now."""
        self._counted += count
        elapsed = mono - self._since
        if elapsed >= _PACE_S:
            self._rate = 0.5 * self._rate + 0.5 * self._counted / elapsed if elapsed < 1.0 else 0.0
            self._counted, self._since = 0, mono

    def prefetch(self) -> int:
        """How many to hold beyond the slots, given the pace."""
        ahead_s = max(PREFETCH_AHEAD_S, _AHEAD_EXCHANGES * self.exchange_s)
        return min(self._options.prefetch_max, int(self._rate * ahead_s))

    def request(self, *, slots: int, busy: int, waiting: int) -> ClaimRequest | None:
        """What to ask the store for; None where enough is in hand."""
        prefetch = self.prefetch()
        limit = min(slots + prefetch - busy - waiting, CLAIM_BATCH_MAX)
        # Half full is full enough: many small claims would cost more than they bring.
        if limit <= 0 or (busy + waiting >= slots and waiting > prefetch // 2):
            return None
        options = self._options
        return ClaimRequest(
            self._worker_id,
            limit,
            options.lease_s,
            options.strategy,
            options.queues,
            self.can_serve,
            self._rng,
        )

    def can_serve(self, type_: str, compatibility: str) -> bool:
        """Whether this worker knows the type and offers what is asked; the answers are kept."""
        key = (type_, compatibility)
        answer = self._servable.get(key)
        if answer is None:
            answer = self._judge(type_, compatibility)
            if len(self._servable) < _ROUTES_KEPT_MAX:
                self._servable[key] = answer
        return answer

    def _judge(self, type_: str, compatibility: str) -> bool:
        if self._options.only_known and type_ not in self._known:
            return False
        if compatibility in ("{}", ""):
            return True
        try:
            required = json.loads(compatibility)
        except ValueError:
            return False
        return isinstance(required, dict) and matches(required, self._options.capabilities)
