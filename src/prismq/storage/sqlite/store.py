"""The embedded store: the contract's narrow protocols over one file."""

from __future__ import annotations

from prismq.domain.errors import QueueDatabaseError
from prismq.storage.alerts import Alerts, Levels
from prismq.storage.contract import Standing
from prismq.storage.duties import Duties
from prismq.storage.remedies import Remedies
from prismq.storage.sqlite.accounts import SqliteAccounts
from prismq.storage.sqlite.admin import SqliteTaskAdmin
from prismq.storage.sqlite.audit import SqliteAuditLog
from prismq.storage.sqlite.database import QueueDatabase
from prismq.storage.sqlite.errors import translated
from prismq.storage.sqlite.inbox import SqliteInbox
from prismq.storage.sqlite.insight import SqliteInsight
from prismq.storage.sqlite.keeping import SqliteKeeping
from prismq.storage.sqlite.queues import SqliteQueueAdmin
from prismq.storage.sqlite.registry import SqliteWorkerRegistry
from prismq.storage.sqlite.schedules import SqliteSchedules
from prismq.storage.sqlite.schema import applied, migrate, pending
from prismq.storage.sqlite.tables import SqliteTables
from prismq.storage.sqlite.task_logs import SqliteTaskLogs
from prismq.storage.sqlite.transfer import SqliteTransfer
from prismq.storage.sqlite.upkeep import SqliteUpkeep
from prismq.storage.sqlite.work import SqliteWork
from prismq.storage.wakeup import LoopbackWakeups, Wakeups


class SqliteStore:
    """The Store protocol on SQLite."""

    def __init__(self, database: QueueDatabase) -> None:
        self.database = database
        self.inbox = SqliteInbox(database)
        self.work = SqliteWork(database)
        self.tasks = SqliteTaskAdmin(database)
        self.logs = SqliteTaskLogs(database)
        self.workers = SqliteWorkerRegistry(database)
        self.insight = SqliteInsight(database)
        self.queues = SqliteQueueAdmin(database, self.insight)
        self.schedules = SqliteSchedules(database, self.inbox)
        self.wakeups: Wakeups = LoopbackWakeups(self.workers.hint_ports)
        self.upkeep = SqliteUpkeep(database)
        self.keeping = SqliteKeeping(database)
        self.transfer = SqliteTransfer(database)
        self.accounts = SqliteAccounts(database)
        self.audit = SqliteAuditLog(database)
        tables = SqliteTables(database)
        self.duties = Duties(tables)
        self.alerts = Alerts(tables)
        self.levels = Levels(tables)
        self.remedies = Remedies(tables, self.audit)

    @property
    def name(self) -> str:
        """See Store.name."""
        return f"SQLite {self.database.db_path}"

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
        """See Store.standing."""
        depth = self.insight.depth()
        queues, routes = self.queues.among(depth, now), self.insight.ready_routes(now)
        return Standing(now, self.work.next_due(), depth, queues, routes, self.workers.all())

    def change_mark(self) -> int:
        """See Store.change_mark. Per connection: ask from one thread."""
        return int(self.database.execute_read("PRAGMA data_version")[0])

    def check(self) -> None:
        """See Store.check."""
        self.database.require_schema()
        with translated(str(self.database.db_path)), self.database.transaction() as connection:
            if connection.execute("SELECT count(*) FROM books").fetchone()[0] != 1:
                raise QueueDatabaseError(f"{self.database.db_path} has no books; restore a backup")

    def interrupt(self, thread_id: int) -> None:
        """See Store.interrupt."""
        self.database.interrupt(thread_id)

    def close(self) -> None:
        """See Store.close."""
        self.database.close()
