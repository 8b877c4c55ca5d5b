"""All of them together, over one database."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from prismq.domain.worker import Worker
from prismq.storage.contract.accounts import AccountStore
from prismq.storage.contract.alerts import AlertStore, LevelStore
from prismq.storage.contract.audit import AuditLog
from prismq.storage.contract.duties import DutyStore
from prismq.storage.contract.inbox import Inbox
from prismq.storage.contract.insight import Depth, Insight, ReadyRoute
from prismq.storage.contract.keeping import Keeping
from prismq.storage.contract.queues import QueueAdmin, QueueInfo
from prismq.storage.contract.remedies import RemedyStore
from prismq.storage.contract.schedules import ScheduleStore
from prismq.storage.contract.task_logs import TaskLogStore
from prismq.storage.contract.tasks import TaskAdmin
from prismq.storage.contract.transfer import Transfer
from prismq.storage.contract.upkeep import Upkeep
from prismq.storage.contract.work import WorkStore
from prismq.storage.contract.workers import WorkerRegistry
from prismq.storage.wakeup import Wakeups


class Standing(NamedTuple):
    """How things stand: what the methods of the same names say, asked together."""

    at: float  # seconds since 1970
    next_due: float | None
    depth: Depth
    queues: list[QueueInfo]
    routes: list[ReadyRoute]
    workers: list[Worker]


class Store(Protocol):
    """A queue's storage: the narrow protocols above, over one database."""

    wakeups: Wakeups  # how workers are told that there is something to do

    @property
    def inbox(self) -> Inbox:
        """Putting work in."""
        ...

    @property
    def work(self) -> WorkStore:
        """What workers need."""
        ...

    @property
    def tasks(self) -> TaskAdmin:
        """Looking at tasks and acting on them."""
        ...

    @property
    def logs(self) -> TaskLogStore:
        """What happened to tasks, and what they said."""
        ...

    @property
    def workers(self) -> WorkerRegistry:
        """Who works here."""
        ...

    @property
    def queues(self) -> QueueAdmin:
        """Pause, resume, limit."""
        ...

    @property
    def schedules(self) -> ScheduleStore:
        """Periodic tasks."""
        ...

    @property
    def accounts(self) -> AccountStore:
        """Who may use the HTTP API."""
        ...

    @property
    def audit(self) -> AuditLog:
        """What operators did."""
        ...

    @property
    def duties(self) -> DutyStore:
        """What one process at a time does for all."""
        ...

    @property
    def alerts(self) -> AlertStore:
        """What is wrong, and who was told."""
        ...

    @property
    def levels(self) -> LevelStore:
        """Samples of service levels."""
        ...

    @property
    def remedies(self) -> RemedyStore:
        """What is put right without anybody's doing."""
        ...

    @property
    def upkeep(self) -> Upkeep:
        """What has to happen anyway."""
        ...

    @property
    def insight(self) -> Insight:
        """Figures."""
        ...

    @property
    def transfer(self) -> Transfer:
        """This database's side of a move to another."""
        ...

    @property
    def keeping(self) -> Keeping:
        """The database itself: copies, files, statistics, faults."""
        ...

    @property
    def name(self) -> str:
        """For people: which engine, where; without credentials."""
        ...

    def initialise(self) -> list[int]:
        """Create or upgrade the schema; the versions applied. Raises QueueSchemaError where it must not."""
        ...

    def pending(self) -> list[int]:
        """The versions that `initialise()` would apply. Raises QueueSchemaError where it must not."""
        ...

    def prepare(self) -> None:
        """Create the schema in a new, empty place. Raises QueueSchemaError where an older one wants migrating."""
        ...

    def standing(self, now: float) -> Standing:
        """What WorkStore.next_due, Insight.depth and ready_routes, QueueAdmin.all and WorkerRegistry.all say, in as few
        exchanges with the database as there can be: who judges asks for all of them."""
        ...

    def change_mark(self) -> int | None:
        """A number that changes when another connection has written, where that is cheap enough to ask often."""
        ...

    def check(self) -> None:
        """Raise QueueDatabaseError unless the store can be read and written now."""
        ...

    def interrupt(self, thread_id: int) -> None:
        """Break off the statement that this thread of the process waits for, if it waits for one: it raises
        QueueBusyError, and its transaction is rolled back."""
        ...

    def close(self) -> None:
        """Let go of every connection of this process."""
        ...
