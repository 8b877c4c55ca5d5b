"""What a store means. One narrow protocol per caller; every sentence here has a test in tests/contract.

Domain values cross this line, never SQL or rows. `now` is seconds since 1970 by the caller's clock; engines
with a clock of their own may prefer theirs. Every method raises QueueDatabaseError (or QueueBusyError) when
the store cannot do it, and has then changed nothing.
"""

from __future__ import annotations

from prismq.storage.contract.accounts import AccountStore
from prismq.storage.contract.audit import AuditLog
from prismq.storage.contract.duties import Duty, DutyStore
from prismq.storage.contract.inbox import Inbox
from prismq.storage.contract.insight import (
    Connections,
    Depth,
    HeldKey,
    HeldTask,
    Insight,
    Outcomes,
    QueryFigures,
    ReadyRoute,
    Space,
    Timings,
)
from prismq.storage.contract.keeping import (
    Checkpoint,
    CheckpointMode,
    DatabaseStats,
    Keeping,
    Restored,
    VerifiedCopy,
)
from prismq.storage.contract.queues import QueueAdmin, QueueInfo
from prismq.storage.contract.remedies import ActTotal, RemedyStore
from prismq.storage.contract.schedules import Schedule, ScheduleStore
from prismq.storage.contract.store import Standing, Store
from prismq.storage.contract.task_logs import TaskLogStore
from prismq.storage.contract.tasks import Cancelled, TaskAdmin, as_ids
from prismq.storage.contract.upkeep import ExpiredLease, Retention, TaskStory, Upkeep
from prismq.storage.contract.work import Batch, ClaimRequest, Exchanged, Progress, RenewedLease, WorkStore
from prismq.storage.contract.workers import WorkerRegistry, WorkerReport

__all__ = [
    "AccountStore",
    "ActTotal",
    "AuditLog",
    "Batch",
    "Cancelled",
    "Checkpoint",
    "CheckpointMode",
    "ClaimRequest",
    "Connections",
    "DatabaseStats",
    "Depth",
    "Duty",
    "DutyStore",
    "Exchanged",
    "ExpiredLease",
    "HeldKey",
    "HeldTask",
    "Inbox",
    "Insight",
    "Keeping",
    "Outcomes",
    "Progress",
    "QueryFigures",
    "QueueAdmin",
    "QueueInfo",
    "ReadyRoute",
    "RemedyStore",
    "RenewedLease",
    "Restored",
    "Retention",
    "Schedule",
    "ScheduleStore",
    "Space",
    "Standing",
    "Store",
    "TaskAdmin",
    "TaskLogStore",
    "TaskStory",
    "Timings",
    "Upkeep",
    "VerifiedCopy",
    "WorkStore",
    "WorkerRegistry",
    "WorkerReport",
    "as_ids",
]
