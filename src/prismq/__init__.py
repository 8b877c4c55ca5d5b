"""PrismQ: a durable task queue for Python that you can see into.

Names are bound when they are first used: importing prismq loads no driver, no framework and no validation.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prismq.version import __version__

if TYPE_CHECKING:
    from prismq.app import PrismQ as PrismQ
    from prismq.client.handle import TaskHandle as TaskHandle
    from prismq.client.task import TaskFunction as TaskFunction
    from prismq.config import Settings as Settings
    from prismq.config import WorkerConfig as WorkerConfig
    from prismq.config import load_settings as load_settings
    from prismq.config import load_worker_config as load_worker_config
    from prismq.domain.backoff import Backoff as Backoff
    from prismq.domain.errors import ConfigurationError as ConfigurationError
    from prismq.domain.errors import InvalidArgument as InvalidArgument
    from prismq.domain.errors import LeaseLost as LeaseLost
    from prismq.domain.errors import PayloadTooLarge as PayloadTooLarge
    from prismq.domain.errors import PermanentError as PermanentError
    from prismq.domain.errors import PrismqError as PrismqError
    from prismq.domain.errors import QueueBackupError as QueueBackupError
    from prismq.domain.errors import QueueBusyError as QueueBusyError
    from prismq.domain.errors import QueueDatabaseError as QueueDatabaseError
    from prismq.domain.errors import QueueMaintenanceError as QueueMaintenanceError
    from prismq.domain.errors import QueueSchemaError as QueueSchemaError
    from prismq.domain.errors import ResultTimeout as ResultTimeout
    from prismq.domain.errors import Retry as Retry
    from prismq.domain.errors import Snooze as Snooze
    from prismq.domain.errors import TaskCancelled as TaskCancelled
    from prismq.domain.errors import TaskFailed as TaskFailed
    from prismq.domain.errors import TaskNotFound as TaskNotFound
    from prismq.domain.errors import TaskTimeout as TaskTimeout
    from prismq.domain.errors import UnknownStatus as UnknownStatus
    from prismq.domain.errors import UnknownTask as UnknownTask
    from prismq.domain.status import TaskStatus as TaskStatus
    from prismq.domain.strategy import SchedulingStrategy as SchedulingStrategy
    from prismq.domain.task import NewTask as NewTask
    from prismq.domain.task import Task as Task
    from prismq.domain.task import TaskFilter as TaskFilter
    from prismq.domain.task import TaskLog as TaskLog
    from prismq.domain.worker import Worker as Worker
    from prismq.observability.backup import BackupInfo as BackupInfo
    from prismq.observability.backup import QueueBackup as QueueBackup
    from prismq.observability.heartbeat import WorkerHeartbeat as WorkerHeartbeat
    from prismq.observability.maintenance import QueueMaintenance as QueueMaintenance
    from prismq.observability.metrics import QueueMetrics as QueueMetrics
    from prismq.observability.monitoring import QueueMonitoring as QueueMonitoring
    from prismq.observability.task_logs import QueueLogger as QueueLogger
    from prismq.observability.task_logs import TaskLogger as TaskLogger
    from prismq.storage.sqlite.database import QueueDatabase as QueueDatabase
    from prismq.storage.sqlite.pragmas import PRAGMAS as PRAGMAS
    from prismq.worker.context import TaskContext as TaskContext
    from prismq.worker.context import bind_log as bind_log
    from prismq.worker.context import current_task as current_task

_HOMES = {
    "prismq.app": ("PrismQ",),
    "prismq.client.handle": ("TaskHandle",),
    "prismq.client.task": ("TaskFunction",),
    "prismq.config": ("Settings", "WorkerConfig", "load_settings", "load_worker_config"),
    "prismq.domain.backoff": ("Backoff",),
    "prismq.domain.errors": (
        "ConfigurationError", "InvalidArgument", "LeaseLost", "PayloadTooLarge", "PermanentError", "PrismqError",
        "QueueBackupError", "QueueBusyError", "QueueDatabaseError", "QueueMaintenanceError", "QueueSchemaError",
        "ResultTimeout", "Retry", "Snooze", "TaskCancelled", "TaskFailed", "TaskNotFound", "TaskTimeout",
        "UnknownStatus",
        "UnknownTask",
    ),
    "prismq.domain.status": ("TaskStatus",),
    "prismq.domain.strategy": ("SchedulingStrategy",),
    "prismq.domain.task": ("NewTask", "Task", "TaskFilter", "TaskLog"),
    "prismq.domain.worker": ("Worker",),
    "prismq.observability.backup": ("BackupInfo", "QueueBackup"),
    "prismq.observability.maintenance": ("QueueMaintenance",),
    "prismq.observability.heartbeat": ("WorkerHeartbeat",),
    "prismq.observability.metrics": ("QueueMetrics",),
    "prismq.observability.monitoring": ("QueueMonitoring",),
    "prismq.observability.task_logs": ("QueueLogger", "TaskLogger"),
    "prismq.storage.sqlite.database": ("QueueDatabase",),
    "prismq.storage.sqlite.pragmas": ("PRAGMAS",),
    "prismq.worker.context": ("TaskContext", "bind_log", "current_task"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "PRAGMAS", "Backoff", "BackupInfo", "ConfigurationError", "InvalidArgument", "LeaseLost", "NewTask",
    "PayloadTooLarge", "PermanentError", "PrismQ", "PrismqError", "QueueBackup", "QueueBackupError", "QueueBusyError",
    "QueueDatabase", "QueueDatabaseError", "QueueLogger", "QueueMaintenance", "QueueMaintenanceError", "QueueMetrics",
    "QueueMonitoring", "QueueSchemaError", "ResultTimeout", "Retry", "SchedulingStrategy", "Settings", "Snooze",
    "Task", "TaskCancelled", "TaskContext", "TaskFailed", "TaskFilter", "TaskFunction", "TaskHandle", "TaskLog",
    "TaskLogger", "TaskNotFound", "TaskStatus", "TaskTimeout", "UnknownStatus", "UnknownTask", "Worker",
    "WorkerConfig", "WorkerHeartbeat", "__version__", "bind_log", "current_task", "load_settings",
    "load_worker_config",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'prismq' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
