"""The real steps of several workers, housekeepers and operators on one real file, in an order that a seed decides.

No threads and no waiting: the clock is moved by hand, handlers are simulated, and everything between two steps
can be a crash, a stop, a jump of the clock, or a store that is busy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from prismq import Backoff, PermanentError, PrismQ, Retry, Snooze
from prismq.domain import events as ev
from prismq.domain.errors import LeaseLost, QueueBusyError, TaskCancelled
from prismq.domain.lease import Lease
from prismq.domain.status import TERMINAL, TaskStatus
from prismq.domain.task import NewTask, TaskFilter
from prismq.domain.worker import Worker, WorkerCommand
from prismq.storage.contract import Batch, ClaimRequest, Exchanged, Retention, Schedule, WorkerReport
from prismq.storage.wakeup import LoopbackWakeups
from prismq.worker.attempt import Attempt, Why
from prismq.worker.claimer import Claimer
from prismq.worker.housekeeper import Housekeeper
from prismq.worker.journal import Journal
from prismq.worker.keeper import Keeper
from prismq.worker.options import WorkerOptions
from prismq.worker.pump import Pump
from prismq.worker.runners.base import Surroundings, completed, completion_of, failed
from prismq.worker.slots import Slots
from tests.helpers.builders import a_report
from tests.helpers.clock import FakeClock

LEASE_S = 30.0
OPTIONS = WorkerOptions(slots=2, lease_s=LEASE_S, heartbeat_s=7.0, stop_grace_s=2.0, poll_s=1.0)
RETENTION = Retention(completed_s=1e9, failed_s=1e9, logs_s=1e9, workers_s=1e9)
ENDED = tuple(status.value for status in TERMINAL)


class Broken(AssertionError):
    """Something that must always hold did not."""


class FaultyWork:
    """The WorkStore of one worker. `fault`: the next call is refused, or done and its answer lost."""

    def __init__(self, work: Any) -> None:
        self._work = work
        self.fault = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._work, name)

    def exchange(self, batch: Batch, claim: ClaimRequest | None, now: float) -> Exchanged:
        fault, self.fault = self.fault, ""
        if fault == "refused":
            raise QueueBusyError("simulated")
        # An answer can be lost only where nothing was claimed: a commit that failed has claimed nothing.
        answer: Exchanged = self._work.exchange(batch, claim if fault != "unanswered" else None, now)
        if fault == "unanswered":
            raise QueueBusyError("simulated, after the commit")
        return answer

    def renew(self, *args: Any, **options: Any) -> Any:
        if self.fault == "no renewal":
            self.fault = ""
            raise QueueBusyError("simulated")
        return self._work.renew(*args, **options)


class Holding:
    """A store whose `work` is a FaultyWork."""

    def __init__(self, store: Any, work: FaultyWork) -> None:
        self._store, self.work = store, work

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class SimulatedWorker:
    """Pump, journal, slots and keeper of one worker process, without its threads."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.worker_id = f"w{number}"
        self.frozen_until = 0  # a step of the world
        clock, q = world.clock, world.q
        self.work = FaultyWork(q.store.work)
        store: Any = Holding(q.store, self.work)
        self.journal = Journal(log_level="DEBUG")
        self.slots = Slots(OPTIONS.slots)
        options = replace(OPTIONS, prefetch=world.rng.choice([0, 3, None]))
        rng = Random(world.rng.random())
        self.pump = Pump(
            self.work, q.handlers, worker_id=self.worker_id, options=options, clock=clock, rng=rng,
            emit=world.emit, journal=self.journal, claimer=Claimer(self.worker_id, options, q.handlers, rng),
            slots=self.slots,
        )  # fmt: skip
        self.surroundings = Surroundings(self.work, self.journal, clock, rng)
        self.running: list[Attempt] = []
        self.keeper = Keeper(self, store, options, clock, world.emit, lambda reason: None, lambda attempt: None)
        self.register()

    # -- what the keeper asks

    def held(self) -> list[Attempt]:
        return list(self.pump.attempts.values())

    def report(self) -> WorkerReport:
        return a_report(self.worker_id, busy=self.slots.busy, held=len(self.pump.attempts))

    def report_written(self, *_: Any) -> None:
        """Its counts are not looked at here."""

    def renewed(self, attempt: Attempt, at: float, until: float) -> None:
        self.journal.renewed(attempt, at, until)

    def obey(self, command: WorkerCommand, argument: int | None, by: str) -> None:
        if command is WorkerCommand.PAUSE:
            self.pump.pause("paused")
        elif command is WorkerCommand.RESUME:
            self.pump.resume()

    def register(self) -> None:
        self.world.q.store.workers.register(Worker(worker_id=self.worker_id), self.world.clock.now())

    # -- handlers

    def begin(self) -> None:
        """A free slot takes the next task."""
        attempt = self.slots.next_for_loop()
        if attempt is None:
            return
        clock = self.world.clock

        def interrupt(why: Why) -> bool:
            return True

        if not attempt.open_gate(interrupt, clock.now(), clock.monotonic()):
            self._finish(attempt, failed(attempt, TaskCancelled("before it began"), self.surroundings))
            return
        self.world.on_begin(self, attempt)
        self.journal.started(attempt)
        self.running.append(attempt)

    def end(self, rng: Random) -> None:
        """One running handler ends, somehow."""
        if not self.running:
            return
        attempt = self.running.pop(rng.randrange(len(self.running)))
        kind = attempt.lease.type
        if kind == "transaction" and attempt.stop_why is None:
            self._within(attempt)
        error: BaseException | None = None
        luck = rng.random()
        if attempt.stop_why is not None and luck < 0.8:
            error = TaskCancelled("told to stop")
        elif kind != "sure" and luck < 0.15:
            error = ValueError("bad luck")
        elif kind != "sure" and luck < 0.2:
            error = Snooze(rng.uniform(0, 40))
        elif kind != "sure" and luck < 0.25:
            error = Retry(delay=rng.uniform(0, 5))
        elif kind != "sure" and luck < 0.28:
            error = PermanentError("no way")
        attempt.close_gate()
        if error is None:
            self._finish(attempt, completed(attempt, attempt.lease.task_id, self.surroundings))
        else:
            self._finish(attempt, failed(attempt, error, self.surroundings))

    def _within(self, attempt: Attempt) -> None:
        try:
            with self.work.own_transaction() as connection:
                connection.execute(f"INSERT INTO effects VALUES ({attempt.lease.task_id})")
                self.work.complete_within(connection, completion_of(attempt, self.world.clock.now()))
        except LeaseLost:
            return
        attempt.completed_within = True

    def _finish(self, attempt: Attempt, ending: Any) -> None:
        self.slots.give_back()
        self.journal.finish(ending)


class World:
    """Everything in one simulation; `run()` plays it, then lets it calm down and looks at what must hold."""

    def __init__(self, place: Path | str, seed: int) -> None:
        """`place`: a file, or the URL of a database on a server."""
        self.seed = seed
        self.rng = Random(seed)
        self.clock = FakeClock()
        self.q = PrismQ(place, clock=self.clock)
        self._database: Any = self.q.store.database  # type: ignore[attr-defined]
        self._on_server = isinstance(place, str)
        if self._on_server:
            self._database.server_clock = False  # ours rules
            self.q.store.wakeups = LoopbackWakeups(list)  # nobody listens, and no thread may move the clock
        self.steps = 0
        self._latest = self.clock.now()
        self.story: list[str] = []
        self.known: dict[int, str] = {}  # id → the status seen last
        self.acknowledged: set[int] = set()
        self.excused: set[int] = set()  # an operator queued or deleted them
        self.completions: Counter[tuple[int, int]] = Counter()
        self.emit: Callable[[ev.Event], None] = self._on_event
        for name in ("plain", "sure", "transaction", "deadly"):

            async def handler() -> None: ...

            self.q.task(name=name, max_attempts=3, backoff=Backoff(initial_s=1, cap_s=20), timeout=25)(handler)
        store = self.q.store
        store.prepare()
        self._sql("CREATE TABLE effects (task_id INTEGER)")
        self._keyed = 0
        store.schedules.declare(
            Schedule("tick", "*/1 * * * *", "UTC", self.rng.choice(["latest", "all", "skip"]), NewTask("sure")),
            self.clock.now(),
        )
        self._workers_made = 0
        self.workers: list[SimulatedWorker] = []
        for _ in range(self.rng.choice([1, 2, 3])):
            self._another()
        self.housekeepers = [
            Housekeeper(store, self.clock, Random(self.rng.random()), self.emit, lease_s=LEASE_S, retention=RETENTION)
            for _ in range(self.rng.choice([1, 2]))
        ]

    def _sql(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """A statement by hand, committed at once."""
        if not self._on_server:
            return [tuple(row) for row in self._database.execute(sql, params).fetchall()]
        with self._database.reading() as connection:
            done = connection.execute(sql.replace("?", "%s"), params) if params else connection.execute(sql)
            return done.fetchall() if done.description else []

    def _another(self) -> None:
        self._workers_made += 1
        self.workers.append(SimulatedWorker(self, self._workers_made))

    def _on_event(self, event: ev.Event) -> None:
        if isinstance(event, ev.TaskCompleted):
            self.completions[event.lease.task_id, event.lease.fencing_token] += 1

    def on_begin(self, worker: SimulatedWorker, attempt: Attempt) -> None:
        """A handler begins: it is the only one, or its lease, or the other's, was declared lost."""
        lease: Lease = attempt.lease
        for other in self.workers:
            for held in other.running:
                if held.lease.task_id != lease.task_id or not self._is_current(held.lease):
                    continue
                if held.key == attempt.key or not self._was_lost(lease):
                    raise Broken(f"task {lease.task_id} runs at {other.worker_id} and begins at {worker.worker_id}")
        if lease.type == "deadly":
            raise WorkerDies(worker)

    def _was_lost(self, lease: Lease) -> bool:
        lost = "SELECT 1 FROM task_attempts WHERE task_id = ? AND fencing_token = ? AND outcome = 'lost'"
        return self._sql(lost, lease[:2]) != []

    def _is_current(self, lease: Lease) -> bool:
        task = self.q.store.tasks.get(lease.task_id)
        return (
            task is not None and task.fencing_token == lease.fencing_token and task.status in ("claimed", "processing")
        )

    # -- playing

    def run(self, steps: int) -> None:
        """Trouble, then calm, then the questions."""
        try:
            for self.steps in range(steps):
                self._one(self.rng.choices(*_ACTIONS)[0])
                if self.steps % 10 == 0:
                    self.look()
            self._calm()
            self.look()
            self._final()
        except AssertionError as error:
            raise Broken(f"seed {self.seed}, step {self.steps}: {error}\n  " + "\n  ".join(self.story[-40:])) from error
        finally:
            self.q.close()

    def _one(self, action: str) -> None:
        self.story.append(f"{self.steps} {self.clock.now() - 2_000_000_000:.3f} {action}")
        getattr(self, f"_{action}")()

    def _awake(self) -> SimulatedWorker | None:
        awake = [worker for worker in self.workers if worker.frozen_until <= self.steps]
        return self.rng.choice(awake) if awake else None

    def _pump(self) -> None:
        if (worker := self._awake()) is not None:
            worker.pump.step()

    def _keep(self) -> None:
        if (worker := self._awake()) is not None:
            worker.keeper.step()

    def _begin(self) -> None:
        if (worker := self._awake()) is not None:
            try:
                worker.begin()
            except WorkerDies as death:
                self._die(death.worker)

    def _end(self) -> None:
        if (worker := self._awake()) is not None:
            worker.end(self.rng)

    def _house(self) -> None:
        self.rng.choice(self.housekeepers).step()

    def _crash(self) -> None:
        if self.workers:
            self._die(self.rng.choice(self.workers))

    def _die(self, worker: SimulatedWorker) -> None:
        self.workers.remove(worker)
        self.story.append(f"  {worker.worker_id} is dead")
        if self.rng.random() < 0.6:
            self.rng.choice(self.housekeepers).reaper.bury([worker.worker_id], "simulated death")
        self._another()

    def _freeze(self) -> None:
        if (worker := self._awake()) is not None:
            worker.frozen_until = self.steps + self.rng.randint(5, 60)

    def _fault(self) -> None:
        if (worker := self._awake()) is not None:
            worker.work.fault = self.rng.choice(["refused", "unanswered", "no renewal"])

    def _command(self) -> None:
        if (worker := self._awake()) is not None:
            command = self.rng.choice([WorkerCommand.PAUSE, WorkerCommand.RESUME, WorkerCommand.RESUME])
            self.q.store.workers.ask(worker.worker_id, command, None, "sim", self.clock.now())

    def _enqueue(self) -> None:
        rng = self.rng
        kind = rng.choices(["plain", "sure", "transaction", "deadly"], [6, 3, 3, 1])[0]
        options: dict[str, Any] = {"priority": rng.choice([50, 100, 100, 150])}
        if rng.random() < 0.3:
            options["delay"] = rng.uniform(0, 90)
        if rng.random() < 0.2:
            options["unique_key"], options["unique_for"] = f"u{rng.randint(1, 3)}", rng.choice(["pending", 20])
        elif rng.random() < 0.2:
            options["idempotency_key"] = f"k{rng.randint(1, 10)}"
        self.acknowledged.add(self.q.enqueue(kind, {}, **options).id)

    def _enqueue_many(self) -> None:
        news = [NewTask(self.rng.choice(["plain", "sure"]), max_attempts=3) for _ in range(self.rng.randint(1, 6))]
        self.acknowledged |= {handle.id for handle in self.q.enqueue_many(news)}

    def _by_hand(self) -> None:
        execute = self._sql
        if self.rng.random() < 0.5:
            execute("INSERT INTO task_queue (type, payload) VALUES ('plain', '{}')")
        else:
            execute("UPDATE task_queue SET priority = ? WHERE id = ?", (self.rng.randint(1, 200), self._some_id()))

    def _some_id(self) -> int:
        return self.rng.choice(sorted(self.acknowledged)) if self.acknowledged else 1

    def _operate(self) -> None:
        tasks, now = self.q.store.tasks, self.clock.now()
        one = TaskFilter(ids=(self._some_id(),))
        act = self.rng.choice(["cancel", "cancel", "retry", "run_now", "delete", "reprioritise"])
        self.story.append(f"  {act} {one.ids}")
        if act in ("retry", "delete"):
            self.excused |= set(one.ids)
        if act == "delete":
            tasks.delete(one)
        elif act == "reprioritise":
            tasks.reprioritise(one, self.rng.choice([1, 100, 200]), now)
        else:
            getattr(tasks, act)(one, now)

    def _queue(self) -> None:
        if self.rng.random() < 0.5:
            self.q.tasks.pause("default", "sim")
        else:
            self.q.tasks.resume("default")

    def _tick(self) -> None:
        self.clock.advance(self.rng.choice([0.001, 0.06, 0.5, 3.0]))

    def _while(self) -> None:
        self.clock.advance(self.rng.choice([5.0, 12.0, 40.0, 70.0]))

    def _jump(self) -> None:
        self._latest = max(self._latest, self.clock.now())
        self.clock.jump(self.rng.choice([-3600.0, -20.0, 20.0, 3600.0]))

    # -- afterwards

    def _calm(self) -> None:
        """No more trouble: everybody works until nothing is left."""
        # Ready tasks wait for a clock that was set back: its hour comes again before anything else is asked.
        self.clock.jump(max(0.0, self._latest - self.clock.now()))
        self.q.tasks.resume("default")
        self.q.store.schedules.pause("tick", True, self.clock.now())
        for worker in self.workers:
            worker.frozen_until = 0
            worker.work.fault = ""
            worker.pump.resume()
        for _ in range(1500):
            for worker in list(self.workers):
                worker.keeper.step()
                worker.pump.resume()  # a pause that was asked for before may arrive only now
                worker.pump.step()
                for _ in range(4):
                    try:
                        worker.begin()
                    except WorkerDies as death:
                        self._die(death.worker)
                        break
                while worker.running:
                    worker.end(self.rng)
                worker.pump.step()
            for housekeeper in self.housekeepers:
                housekeeper.step()
            if not self._unfinished(1) and all(worker.pump.idle for worker in self.workers):
                return
            self.clock.advance(self.rng.choice([0.1, 1.0, 5.0]))
        left = [(task.id, task.type, task.status, task.attempts, task.locked_by) for task in self._unfinished(10)]
        held = {worker.worker_id: [a.lease.task_id for a in worker.held()] for worker in self.workers}
        raise Broken(f"not everything ends: {left}; held: {held}")

    def _unfinished(self, limit: int) -> Any:
        return self.q.store.tasks.find(
            TaskFilter(statuses=("scheduled", "queued", "claimed", "processing")), limit=limit
        )

    def look(self) -> None:
        """What must hold at every moment."""
        rows = self._sql("SELECT id, status, attempts, max_attempts, locked_by, lease_until_utc FROM task_queue")
        now: dict[int, str] = {}
        for task_id, status, attempts, most, locked_by, lease_until in rows:
            now[task_id] = status
            before = self.known.get(task_id)
            assert 0 <= attempts <= most, f"task {task_id} has {attempts} attempts of {most}"
            if before in ENDED and task_id not in self.excused:
                assert status == before, f"task {task_id} went from {before} to {status} by itself"
            if status in ("claimed", "processing"):
                assert locked_by, f"task {task_id} is {status} by nobody"
                assert lease_until, f"task {task_id} is {status} for ever"
            if status in ("queued", "scheduled"):
                assert locked_by is None, f"task {task_id} is {status} with the name of {locked_by}"
        missing = self.acknowledged - set(now) - self.excused
        assert not missing, f"acknowledged tasks are gone: {missing}"
        self.known = now

    def _final(self) -> None:
        insight = self.q.store.insight
        assert insight.depth() == insight.recount(), f"the books: {insight.depth()}, the table: {insight.recount()}"
        twice = [key for key, count in self.completions.items() if count > 1]
        assert not twice, f"completed twice: {twice}"
        execute = self._sql
        again = execute("SELECT task_id, count(*) FROM effects GROUP BY 1 HAVING count(*) > 1")
        assert all(row[0] in self.excused for row in again), f"effects more than once: {[tuple(row) for row in again]}"
        wrong = execute(
            "SELECT id, status FROM task_queue WHERE type = 'transaction' AND status <> 'completed'"
            " AND id IN (SELECT task_id FROM effects)"
        )
        assert all(row[0] in self.excused for row in wrong), (
            f"effects without completion: {[tuple(row) for row in wrong]}"
        )
        slot = "headers->>'prismq.slot'" if self._on_server else "json_extract(headers, '$.\"prismq.slot\"')"
        slots = execute(
            f"SELECT {slot}, count(*) FROM task_queue WHERE schedule IS NOT NULL GROUP BY 1 HAVING count(*) > 1"
        )
        assert not slots, f"slots fired twice: {[tuple(row) for row in slots]}"
        status = TaskStatus.COMPLETED.value
        unfair = execute(f"SELECT id, status FROM task_queue WHERE type = 'deadly' AND status = '{status}'")
        assert not unfair, f"a deadly task completed: {unfair}"


class WorkerDies(Exception):
    """A deadly task has begun."""

    def __init__(self, worker: SimulatedWorker) -> None:
        self.worker = worker


_WEIGHTS = {
    "pump": 30, "keep": 10, "begin": 20, "end": 15, "house": 8, "enqueue": 10, "enqueue_many": 2, "tick": 25,
    "while": 3, "crash": 1, "freeze": 2, "fault": 4, "operate": 4, "queue": 1, "jump": 1, "by_hand": 1, "command": 1,
}  # fmt: skip
_ACTIONS = (list(_WEIGHTS), list(_WEIGHTS.values()))
