"""The one writer of a worker process: settles what has ended and claims more, in one transaction at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from prismq.clock import Clock
from prismq.domain import events as ev
from prismq.domain.errors import QueueDatabaseError, UnknownTask
from prismq.domain.handler import Handler
from prismq.domain.lease import Lease
from prismq.domain.outcome import describe
from prismq.domain.status import TaskStatus
from prismq.storage.contract import Batch, WorkStore
from prismq.worker.attempt import Attempt, Ending
from prismq.worker.caution import Caution, wants_caution
from prismq.worker.claimer import Claimer
from prismq.worker.journal import Journal
from prismq.worker.options import WorkerOptions
from prismq.worker.reports import event_of
from prismq.worker.slots import Slots

START_DELAY_S = 0.05  # a start is written within 100 ms; a task that ends sooner costs one update less
_QUIET = 2.0  # while hints come, a server is polled so much more rarely: what comes without a hint is rare
_RETRY_MIN_S, _RETRY_MAX_S = 0.05, 5.0


class Pump:
    """`step()` exchanges with the store once and says in how many seconds it wants to be called again.

    What the store would not take is kept and given again: an ended attempt is never forgotten.
    """

    def __init__(
        self,
        store: WorkStore,
        handlers: Mapping[str, Handler],
        *,
        worker_id: str,
        options: WorkerOptions,
        clock: Clock,
        rng: Random,
        emit: ev.Emit,
        journal: Journal,
        claimer: Claimer,
        slots: Slots,
    ) -> None:
        self._store = store
        self._handlers = handlers
        self._worker_id = worker_id
        self._options = options
        self._clock = clock
        self._rng = rng
        self._emit = emit
        self._journal = journal
        self._claimer = claimer
        self._slots = slots
        self.attempts: dict[tuple[int, int], Attempt] = {}
        self.claiming = True
        self.starved = False  # nothing waits, and the last step found no free slot to claim for
        self.completed = self.failed = self.retried = 0
        self.run_s = 0.0
        self.total = 0
        self.last_claim_at: float | None = None
        self.last_look_at: float | None = None
        self.down_since: float | None = None  # monotonic
        self._unsent = Batch()
        self._unsent_endings: list[Ending] = []
        self._announce_first: list[Attempt] = []
        self._caution = Caution()
        self._give_back_reason: str | None = None
        self._failures = 0
        self._due_at: float | None = None
        self.quiet: Callable[[], bool] = lambda: False  # whether hints tell of nearly all that comes
        self.on_dispatch: Callable[[list[Attempt]], None] = slots.put
        self.on_change: Callable[[], None] = lambda: None  # tasks changed: for those who watch

    @property
    def idle(self) -> bool:
        """Nothing runs, waits, or is still to be written."""
        return not self.attempts and not self._unsent and not self._journal.pending

    def step(self) -> float:
        """Settle and claim once; the seconds until there may be more to do."""
        mono = self._clock.monotonic()
        reason, self._give_back_reason = self._give_back_reason, None
        if reason is not None:
            self._give_back(reason)
        self._gather(mono)
        if self.claiming:
            self._announce_next()
        request = None
        if self.claiming:
            slots = self._slots
            request = self._claimer.request(
                slots=slots.size,
                busy=slots.busy,
                waiting=slots.waiting + len(self._announce_first) + self._caution.waiting(slots.size),
            )
        self.starved = self.claiming and request is None and not self._slots.waiting
        batch, endings = self._unsent, self._unsent_endings
        if not batch and not endings and request is None:
            return self._next_wait(mono, claimed=0, limit=0)
        try:
            answer = self._store.exchange(batch, request, self._clock.now())
        except QueueDatabaseError as error:
            return self._wait_for_store(error, mono)
        if self.down_since is not None:
            self._emit(ev.StoreRecovered(self._worker_id, mono - self.down_since))
            self.down_since, self._failures = None, 0
        now = self._clock.now()
        if request is not None:
            self.last_look_at = now
        if batch or answer.leases:
            self._claimer.exchanged(self._clock.monotonic() - mono)
        self._unsent, self._unsent_endings = Batch(), []
        self._settled(batch, endings, answer.lost, mono)
        announced, self._announce_first = self._announce_first, []
        ready = [attempt for attempt in announced if not self._lost_before_start(attempt, answer.lost)]
        if answer.leases:
            self.last_claim_at = now
            ready += self._take_in(answer.leases, mono)
        if ready:
            self.on_dispatch(ready)
        if batch or answer.leases:
            self.on_change()  # after the tasks: who watches can wait
        return self._next_wait(mono, len(answer.leases), request.limit if request else 0, answer.next_due)

    # -- before the exchange

    def _gather(self, mono: float) -> None:
        batch, endings = self._journal.take(mono, START_DELAY_S)
        unsent = self._unsent
        # The ending of an attempt that lost its lease writes nothing, and is to be told of all the same.
        if not unsent and not self._unsent_endings:
            self._unsent, self._unsent_endings = batch, endings
        else:
            unsent.settlements += batch.settlements
            unsent.logs += batch.logs
            unsent.progress.update(batch.progress)
            unsent.results += batch.results
            unsent.spans += batch.spans
            self._unsent_endings += endings

    # -- after it

    def _settled(self, batch: Batch, endings: list[Ending], lost: frozenset[tuple[int, int]], mono: float) -> None:
        for entry in batch.settlements:
            if entry.to is TaskStatus.PROCESSING and entry.lease[:2] not in lost:
                self._emit(ev.TaskStarted(entry.lease, entry.at))
        told: list[ev.Event] = []
        tell_start = ev.wanted(self._emit, ev.TaskStarted)
        tell_completion = ev.wanted(self._emit, ev.TaskCompleted)
        for ending in endings:
            attempt = ending.attempt
            self.attempts.pop(attempt.key, None)
            if attempt.key in lost or attempt.stop_why == "lost":
                told.append(ev.LeaseLostEvent(attempt.lease))
                continue
            if tell_start and attempt.was is TaskStatus.CLAIMED and attempt.started_at is not None:
                told.append(ev.TaskStarted(attempt.lease, attempt.started_at))
            self._count(ending.to, ending.counts)
            if attempt.started_at is not None:
                self.run_s += max(0.0, ending.at - attempt.started_at)
            if tell_completion or ending.to is not TaskStatus.COMPLETED:
                told.append(event_of(ending))
        if told:
            ev.emit_all(self._emit, told)
        if endings:
            self._claimer.finished(len(endings), mono)
            self.total += len(endings)

    def _lost_before_start(self, attempt: Attempt, lost: frozenset[tuple[int, int]]) -> bool:
        if attempt.key not in lost:
            return False
        attempt.ended = True
        self.attempts.pop(attempt.key, None)
        self._emit(ev.LeaseLostEvent(attempt.lease))
        return True

    def _count(self, to: TaskStatus, counts: bool) -> None:
        if to is TaskStatus.COMPLETED:
            self.completed += 1
        elif to in (TaskStatus.FAILED, TaskStatus.DEAD_LETTER):
            self.failed += 1
        elif to is TaskStatus.SCHEDULED and counts:
            self.retried += 1

    def _take_in(self, leases: list[Lease], mono: float) -> list[Attempt]:
        ready = []
        tell = ev.wanted(self._emit, ev.TaskClaimed)
        for lease in leases:
            attempt = Attempt(lease, self._handlers.get(lease.type), mono)
            self.attempts[attempt.key] = attempt
            if tell:
                self._emit(ev.TaskClaimed(lease))
            if attempt.handler is None:
                self._refuse(attempt)
            elif wants_caution(lease):
                self._caution.put(attempt)
            else:
                ready.append(attempt)
        return ready

    @property
    def _free(self) -> int:
        slots = self._slots
        return max(0, slots.size - slots.busy - slots.waiting - len(self._announce_first))

    def _announce_next(self) -> None:
        for attempt in self._caution.next(self._free):
            self._journal.write_start(self._unsent, attempt, self._clock.now())
            self._announce_first.append(attempt)

    def _refuse(self, attempt: Attempt) -> None:
        error = UnknownTask(attempt.lease.type, self._handlers)
        attempt.ended = True
        ending = Ending(attempt, TaskStatus.FAILED, self._clock.now(), error=describe(error), reason=str(error))
        self._journal.finish(ending)

    def pause(self, reason: str) -> None:
        """Claim no more; the next step gives back what has not started. From any thread."""
        self.claiming = False
        self._give_back_reason = reason

    def resume(self) -> None:
        """Claim again. From any thread."""
        self._give_back_reason = None
        self.claiming = True

    def _give_back(self, reason: str) -> None:
        at = self._clock.now()
        attempts = [*self._slots.withdraw(), *self._announce_first, *self._caution.withdraw()]
        self._announce_first.clear()
        for attempt in attempts:
            # One that was told to stop before is out of the runners' sight now as well, so it ends here too.
            attempt.tell_to_stop("shutdown", self._clock.monotonic())
            if attempt.stop_why == "cancel":
                ending = Ending(attempt, TaskStatus.CANCELLED, at, reason="cancelled before it began")
            else:
                ending = Ending(attempt, TaskStatus.QUEUED, at, counts=False, reason=reason)
            self._journal.finish(ending)

    # -- when to come again

    def _wait_for_store(self, error: QueueDatabaseError, mono: float) -> float:
        if self.down_since is None:
            self.down_since = mono
        self._failures += 1
        wait_s = min(_RETRY_MAX_S, _RETRY_MIN_S * 2.0 ** min(self._failures, 10)) * self._rng.uniform(0.5, 1.0)
        self._emit(ev.StoreUnavailable(self._worker_id, str(error), mono - self.down_since, wait_s))
        return wait_s

    def _next_wait(self, mono: float, claimed: int, limit: int, next_due: float | None = None) -> float:
        if (
            self._unsent
            or (self.claiming and self._caution.can_go(self._free))
            or (self.starved and self._free)
            or (claimed and claimed == limit and self.claiming and not self._slots.busy and not self._slots.waiting)
        ):
            return 0.0
        wait_s = self._options.poll_s * (_QUIET if self.quiet() else 1.0)
        start_due = self._journal.next_start_due(START_DELAY_S)
        if start_due is not None:
            wait_s = min(wait_s, max(0.0, start_due - mono))
        if self.claiming and limit and not claimed:
            wait_s = min(wait_s, self._until_due(next_due))
        return wait_s

    def _until_due(self, due: float | None) -> float:
        try:
            due = self._store.next_due() if due is None else due
        except QueueDatabaseError:  # the next exchange meets it again, and says so
            return self._options.poll_s
        return self._options.poll_s if due is None else max(0.001, due - self._clock.now())
