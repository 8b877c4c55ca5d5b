"""From the configuration, which people write, to the options of a worker process."""

from __future__ import annotations

import socket

from prismq.config import WorkerConfig
from prismq.domain.breaker import BreakerRule
from prismq.domain.promise import NONE_GIVEN, Promise, Promises
from prismq.storage.contract import Retention
from prismq.worker.autoscaler import Bounds, Layout
from prismq.worker.copies import BackupPlan
from prismq.worker.options import CaptureOptions, WorkerOptions
from prismq.worker.probe import ProbeOptions
from prismq.worker.remedy import RemedyPlan, ShedRule

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
        remedies=remedy_plan(config),
        restart_wedged=config.restart_wedged,
        probe=ProbeOptions(config.probe_file, config.probe_host, config.probe_port, config.probe_stale_seconds),
    )


def backup_plan(config: WorkerConfig) -> BackupPlan | None:
    """The scheduled backups that `config` asks for; None where it asks for none."""
    if config.backup_interval_seconds is None:
        return None
    return BackupPlan(config.backup_interval_seconds, config.backup_keep, config.backup_dir)


def remedy_plan(config: WorkerConfig) -> RemedyPlan:
    """What `config` wants put right."""
    rule = BreakerRule(
        failure_ratio=config.breaker_failure_ratio,
        attempts_min=config.breaker_min_attempts,
        window_s=config.breaker_window_seconds,
        crashes=config.breaker_crashes,
        open_s=config.breaker_open_seconds,
        open_s_max=max(BreakerRule.open_s_max, config.breaker_open_seconds),
    )
    shed = {queue: ShedRule(one.max_waiting, one.drop) for queue, one in config.shed.items()}
    return RemedyPlan(rule if config.breaker else None, shed, config.reclaim)


def bounds_of(config: WorkerConfig, promises: Promises = NONE_GIVEN) -> Bounds:
    """Between what autoscaling may choose; with the same number at both ends where it may not. `promises`: what
    the settings say of single queues."""
    return Bounds(
        config.processes if config.max_processes is None else config.min_processes,
        config.processes if config.max_processes is None else config.max_processes,
        config.concurrency if config.max_concurrency is None else config.min_concurrency,
        config.concurrency if config.max_concurrency is None else config.max_concurrency,
        Promise(config.target_wait_seconds),
        config.scale_down_after_seconds,
        promises,
    )


def first_layout(config: WorkerConfig) -> Layout:
    """What a supervisor begins with: what is set, within its bounds; of processes the fewest where only those are."""
    processes = config.processes
    if config.max_processes is not None and "processes" not in config.model_fields_set:
        processes = config.min_processes
    return bounds_of(config).clip(Layout(processes, config.concurrency))
