"""How many processes and slots a supervisor should run, between what it was told at least and at most.

Up at once, because tasks wait; down late and by half at most, because a lull may end in the next minute. Both as in
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/ (a stabilisation window before scaling down).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from prismq.clock import Clock
from prismq.domain.promise import NONE_GIVEN, Promise, Promises, promise_of, strictest
from prismq.domain.sizing import Demand, size_for, together
from prismq.domain.times import to_epoch
from prismq.domain.worker import Worker, WorkerStatus
from prismq.storage.contract import Store
from prismq.storage.demand import demands

EVERY_S = 5.0
UP_AFTER_S = 10.0  # since the last change: new slots are given a moment to show in the figures
DOWN_AFTER_S = 120.0
SPARE_PART = 0.7  # slots are taken away where no more than this part of them was wanted
CPU_BOUND_PERCENT = 85.0  # of one processor: Python runs one thread at a time, so more slots would not help
_SILENT_S = 60.0


class Layout(NamedTuple):
    """So many processes of so many slots."""

    processes: int
    slots: int

    @property
    def total(self) -> int:
        """Slots of all of them."""
        return self.processes * self.slots


@dataclass(frozen=True)
class Bounds:
    """Between what a supervisor may choose. `promises`: what the settings say of single queues; `promise`: that of
    all others whose name says none. `down_after_s`: so long fewer slots must have been enough before some are taken
    away."""

    min_processes: int
    max_processes: int
    min_slots: int
    max_slots: int
    promise: Promise
    down_after_s: float = DOWN_AFTER_S
    promises: Promises = field(default_factory=lambda: NONE_GIVEN)

    @property
    def is_open(self) -> bool:
        """Whether there is anything to choose."""
        return self.min_processes < self.max_processes or self.min_slots < self.max_slots

    def clip(self, layout: Layout) -> Layout:
        """The nearest that is allowed."""
        return Layout(
            min(self.max_processes, max(self.min_processes, layout.processes)),
            min(self.max_slots, max(self.min_slots, layout.slots)),
        )


def layout_for(wanted: int, present: Layout, bounds: Bounds, *, cpu_bound: bool) -> Layout:
    """The layout with at least `wanted` slots, as far as the bounds allow it, that changes the least.

    Growing, processes get more slots first, because that costs nothing, unless their processors are busy; shrinking,
    processes go first. Neither ever takes away of one to give to the other.
    """
    processes, slots = present
    if wanted > present.total:
        if not cpu_bound:
            slots = min(bounds.max_slots, max(slots, math.ceil(wanted / processes)))
        processes = max(processes, math.ceil(wanted / slots))
        if processes > bounds.max_processes:
            slots = max(slots, math.ceil(wanted / bounds.max_processes))
    elif wanted < present.total:
        processes = min(processes, max(bounds.min_processes, math.ceil(wanted / slots)))
        slots = min(slots, max(bounds.min_slots, math.ceil(wanted / processes)))
    return bounds.clip(Layout(processes, slots))


class Steadier:
    """Hysteresis and cooldown: what to have of what is wanted. Times are monotonic seconds."""

    def __init__(self, down_after_s: float = DOWN_AFTER_S) -> None:
        self._down_after_s = down_after_s
        self._changed_at = -math.inf
        self._seen: deque[tuple[float, int]] = deque()

    def decide(self, present: int, wanted: int, mono: float) -> int:
        """How many slots to have now, where there are `present`; the same number for no change."""
        self._seen.append((mono, wanted))
        while len(self._seen) > 1 and self._seen[1][0] <= mono - self._down_after_s:
            self._seen.popleft()
        if wanted > present:
            return min(wanted, max(present + 1, 2 * present)) if mono - self._changed_at >= UP_AFTER_S else present
        peak = max(one for _, one in self._seen)
        watched_s = mono - max(self._seen[0][0], self._changed_at)
        if watched_s < self._down_after_s or peak > present * SPARE_PART:
            return present
        return max(peak, present // 2)

    def changed(self, mono: float) -> None:
        """The number was changed."""
        self._changed_at = mono


class Decision(NamedTuple):
    """What a look led to."""

    layout: Layout
    why: str


class Autoscaler:
    """`step()` looks at the demand, and leaves in `decision` what its supervisor should run; None for no change.

    `present` says what the supervisor has. Several supervisors need no agreement: each provides of what all of them
    should have the part that it provides now. One that has reached its bound leaves the rest to the others.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        bounds: Bounds,
        *,
        supervisor_id: str,
        queues: tuple[str, ...] | None,
        present: Callable[[], Layout],
    ) -> None:
        self._store = store
        self._clock = clock
        self._bounds = bounds
        self._supervisor_id = supervisor_id
        self._queues = queues
        self._present = present
        self._steadier = Steadier(bounds.down_after_s)
        self.decision: Decision | None = None

    def step(self) -> float:
        """Look once; the seconds until the next look. Raises QueueDatabaseError."""
        if self.decision is not None:  # not carried out yet
            return EVERY_S
        now, mono = self._clock.now(), self._clock.monotonic()
        present = self._present()
        found = demands(self._store, now, queues=self._queues)
        crew = [one for one in self._store.workers.all() if _counts(one, self._queues, now)]
        wanted = math.ceil(_slots_for(found, self._bounds.promise, self._bounds.promises) * self._share(crew) - 1e-9)
        target = self._steadier.decide(present.total, wanted, mono)
        layout = layout_for(target, present, self._bounds, cpu_bound=self._is_cpu_bound(crew))
        if layout != present:
            self.decision = Decision(layout, _why(found.values(), wanted))
        return EVERY_S

    def done(self) -> None:
        """The decision was carried out."""
        self.decision = None
        self._steadier.changed(self._clock.monotonic())

    def _share(self, crew: list[Worker]) -> float:
        everybody = sum(one.slots for one in crew)
        mine = sum(one.slots for one in crew if one.supervisor_id == self._supervisor_id)
        # None of mine has reported yet, or they have none: those that are there will count as the others.
        return mine / everybody if mine else 1.0

    def _is_cpu_bound(self, crew: list[Worker]) -> bool:
        used = [
            one.cpu_percent for one in crew if one.supervisor_id == self._supervisor_id and one.cpu_percent is not None
        ]
        return bool(used) and sum(used) / len(used) >= CPU_BOUND_PERCENT


def _slots_for(found: dict[str, Demand], default: Promise, promises: Promises) -> int:
    """Slots that hold every queue's promise: those of all together with the strictest, or of the greediest alone."""
    if not found:
        return 1
    by_queue = {name: promise_of(name, default, promises) for name in found}
    busy = {name: one for name, one in found.items() if one.load or one.waiting}
    if not busy:
        return 1
    loosest = max((by_queue[name] for name in busy), key=lambda one: one.target_s)
    # What the strict queue needs goes to it first; the backlog of a patient one may take its own time.
    steady = size_for(together(found.values()), strictest(by_queue[name] for name in busy)).steady
    alone = max(size_for(one, by_queue[name]).slots for name, one in busy.items())
    return max(steady, alone, size_for(together(found.values()), loosest).slots)


def _counts(worker: Worker, queues: tuple[str, ...] | None, now: float) -> bool:
    if worker.status != WorkerStatus.ACTIVE.value or worker.heartbeat_utc is None:
        return False
    if now - to_epoch(worker.heartbeat_utc) > _SILENT_S:
        return False
    if queues is None or worker.queues is None:
        return True
    return any(f'"{name}"' in worker.queues for name in queues)


def _why(found: Iterable[Demand], wanted: int) -> str:
    whole = together(found)
    return (
        f"{whole.arrivals_per_s:.3g} tasks/s keep {whole.load:.3g} slots busy, {whole.waiting:,} wait: "
        f"{wanted:,} slots are wanted here"
    )
