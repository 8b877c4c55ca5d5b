"""Settings: from the caller, the environment, a file or the defaults, in this order; read nowhere else.

    [worker]                        prismq.toml, prismq.yaml or prismq.json in the current folder, or a path
    concurrency = 16                given to load_settings() or load_worker_config()

    PRISMQ_WORKER_CONCURRENCY=32    the environment wins over the file

Environment variables are PRISMQ_ or PRISMQ_WORKER_ and the setting's name; an empty one counts as unset.
Objects are JSON there, lists JSON or words with commas, and `none` is None.

Nothing is read at import. Every error is a ConfigurationError that names the setting, its value, where it
came from and what would be right.
"""

from __future__ import annotations

from prismq.config.database import DatabaseTarget, default_db_path
from prismq.config.files import FILE_NAMES
from prismq.config.models import Settings, WorkerConfig
from prismq.config.reading import load_settings, load_worker_config, resolve_database

__all__ = [
    "FILE_NAMES",
    "DatabaseTarget",
    "Settings",
    "WorkerConfig",
    "default_db_path",
    "load_settings",
    "load_worker_config",
    "resolve_database",
]
