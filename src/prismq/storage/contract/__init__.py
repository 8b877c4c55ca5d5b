"""What a store means. One narrow protocol per caller; every sentence here has a test in tests/contract.

Domain values cross this line, never SQL or rows. `now` is seconds since 1970 by the caller's clock; engines
with a clock of their own may prefer theirs. Every method raises QueueDatabaseError (or QueueBusyError) when
the store cannot do it, and has then changed nothing.
"""

from __future__ import annotations

from prismq.storage.contract.inbox import Inbox
from prismq.storage.contract.insight import Insight, Outcomes
from prismq.storage.contract.queues import QueueAdmin, QueueInfo
from prismq.storage.contract.schedules import Schedule, ScheduleStore
from prismq.storage.contract.store import Store
from prismq.storage.contract.tasks import Cancelled, TaskAdmin, as_ids
from prismq.storage.contract.upkeep import ExpiredLease, Retention, Upkeep
from prismq.storage.contract.work import Batch, ClaimRequest, Exchanged, Progress, RenewedLease, WorkStore
from prismq.storage.contract.workers import WorkerRegistry, WorkerReport

__all__ = [
    "Batch",
    "Cancelled",
    "ClaimRequest",
    "Exchanged",
    "ExpiredLease",
    "Inbox",
    "Insight",
    "Outcomes",
    "Progress",
    "QueueAdmin",
    "QueueInfo",
    "RenewedLease",
    "Retention",
    "Schedule",
    "ScheduleStore",
    "Store",
    "TaskAdmin",
    "Upkeep",
    "WorkStore",
    "WorkerRegistry",
    "WorkerReport",
    "as_ids",
]
