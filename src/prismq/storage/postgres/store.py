"""The store of several machines: the contract's narrow protocols over one PostgreSQL database."""

from __future__ import annotations

from prismq.clock import SYSTEM_CLOCK
from prismq.storage.alerts import Alerts, Levels
from prismq.storage.contract import Standing
from prismq.storage.duties import Duties
from prismq.storage.postgres.accounts import PostgresAccounts
from prismq.storage.postgres.admin import PostgresTaskAdmin
from prismq.storage.postgres.audit import PostgresAuditLog
from prismq.storage.postgres.database import PostgresDatabase
from prismq.storage.postgres.inbox import PostgresInbox
from prismq.storage.postgres.insight import PostgresInsight
from prismq.storage.postgres.keeping import PostgresKeeping
from prismq.storage.postgres.notify import PostgresWakeups
from prismq.storage.postgres.outlook import ask_ready_routes
from prismq.storage.postgres.planning import planned_by_index
from prismq.storage.postgres.queues import PostgresQueueAdmin
from prismq.storage.postgres.registry import PostgresWorkerRegistry
from prismq.storage.postgres.schedules import PostgresSchedules
from prismq.storage.postgres.schema import applied, migrate, pending
from prismq.storage.postgres.tables import PostgresTables
from prismq.storage.postgres.task_logs import PostgresTaskLogs
from prismq.storage.postgres.transfer import PostgresTransfer
from prismq.storage.postgres.upkeep import PostgresUpkeep
from prismq.storage.postgres.work import PostgresWork
from prismq.storage.remedies import Remedies
from prismq.storage.wakeup import Wakeups

_SCHEMA_KNOWN_S = 30.0  # a health check comes every few seconds, a migration with a deploy


class PostgresStore:
    """The Store protocol on PostgreSQL."""

    def __init__(self, database: PostgresDatabase) -> None:
        self.database = database
        self._schema_due = float("-inf")  # monotonic
        self.inbox = PostgresInbox(database)
        self.work = PostgresWork(database)
        self.tasks = PostgresTaskAdmin(database)
        self.logs = PostgresTaskLogs(database)
        self.workers = PostgresWorkerRegistry(database)
        self.insight = PostgresInsight(database)
        self.queues = PostgresQueueAdmin(database, self.insight)
        self.schedules = PostgresSchedules(database, self.inbox)
        self.upkeep = PostgresUpkeep(database)
        self.transfer = PostgresTransfer(database)
        self.keeping = PostgresKeeping(database)
        self.accounts = PostgresAccounts(database)
        self.audit = PostgresAuditLog(database)
        tables = PostgresTables(database)
        self.duties = Duties(tables)
        self.alerts = Alerts(tables)
        self.levels = Levels(tables)
        self.remedies = Remedies(tables, self.audit)
        self.wakeups: Wakeups = PostgresWakeups(database)

    @property
    def name(self) -> str:
        """See Store.name."""
        return f"PostgreSQL {self.database.name}"

    def initialise(self) -> list[int]:
        """See Store.initialise."""
        return migrate(self.database)

    def pending(self) -> list[int]:
        """See Store.pending."""
        return pending(self.database)

    def prepare(self) -> None:
        """See Store.prepare."""
        if not applied(self.database):
            migrate(self.database)
        self.database.require_schema()

    def standing(self, now: float) -> Standing:
        """See Store.standing. Two exchanges: the second asks for the first task of each route."""
        insight, database = self.insight, self.database
        insight.spare_readers()
        with planned_by_index(database) as connection:
            due, depth = self.work.ask_next_due(connection), insight.ask_depth(connection)
            queues, workers = self.queues.ask_all(connection, now), self.workers.ask_all(connection)
            routes = ask_ready_routes(database, connection, now)
            counted = depth()
            return Standing(now, due(), counted, queues(counted), routes(), workers())

    def change_mark(self) -> None:
        """See Store.change_mark. A look for work costs as little; and NOTIFY tells of it."""

    def check(self) -> None:
        """See Store.check."""
        mono = SYSTEM_CLOCK.monotonic()
        if mono >= self._schema_due:
            self.database.require_schema()
            self._schema_due = mono + _SCHEMA_KNOWN_S
        with self.database.reading() as connection, self.database.pipeline(connection):
            # A write that leaves nothing behind: a standby, a full disk or missing rights show here.
            connection.execute("BEGIN")
            connection.execute("INSERT INTO workers (worker_id, status) VALUES (%s, 'stopped')", (f"check {id(self)}",))
            connection.execute("ROLLBACK")

    def interrupt(self, thread_id: int) -> None:
        """See Store.interrupt."""
        self.database.interrupt(thread_id)

    def close(self) -> None:
        """See Store.close."""
        self.database.close()
