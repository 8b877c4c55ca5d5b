"""From the configuration, which people write, to the options of a worker process."""

from __future__ import annotations

import socket

from prismq.config import WorkerConfig
from prismq.storage.contract import Retention
from prismq.worker.copies import BackupPlan
from prismq.worker.options import CaptureOptions, WorkerOptions
from prismq.worker.probe import ProbeOptions

_MB = 1_048_576


def options_of(config: WorkerConfig) -> WorkerOptions:
    """The options that `config` means."""
    return WorkerOptions(
        name=config.worker_id or socket.gethostname() or "worker",
        slots=config.concurrency,
        queues=None if config.queues is None else tuple(config.queues),
        capabilities=dict(config.capabilities),
        strategy=config.scheduling_strategy,
        only_known=config.only_known,
        prefetch=config.prefetch,
        lease_s=config.lease_duration_seconds,
        poll_s=config.poll_interval_seconds,
        heartbeat_s=config.heartbeat_interval_seconds,
        grace_s=config.shutdown_grace_seconds,
        log_level=config.task_log_level,
        capture=CaptureOptions(
            None if config.task_log_capture == "OFF" else config.task_log_capture, config.task_log_output
        ),
        hints=config.hints,
        # A task says itself how often it may be tried; the worker's number counts only where somebody set it.
        attempts_cap=config.max_retries + 1 if "max_retries" in config.model_fields_set else None,
        max_tasks=config.max_tasks_per_process,
        max_memory_bytes=None if config.max_memory_mb is None else config.max_memory_mb * _MB,
        retention=Retention(
            config.result_retention_seconds,
            config.failure_retention_seconds,
            config.log_retention_seconds,
            config.worker_retention_seconds,
        ),
        archive_dir=config.archive_dir,
        backups=backup_plan(config),
        probe=ProbeOptions(config.probe_file, config.probe_host, config.probe_port, config.probe_stale_seconds),
    )


def backup_plan(config: WorkerConfig) -> BackupPlan | None:
    """The scheduled backups that `config` asks for; None where it asks for none."""
    if config.backup_interval_seconds is None:
        return None
    return BackupPlan(config.backup_interval_seconds, config.backup_keep, config.backup_dir)
