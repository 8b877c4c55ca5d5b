"""The settings: names, defaults, ranges, and what must hold between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from prismq.config.alerts import AlertsConfig, SloConfig
from prismq.config.base import Config
from prismq.config.database import DATABASE_VARIABLES, read_database, without_password
from prismq.config.server import ServerConfig
from prismq.domain.errors import ConfigurationError
from prismq.domain.json_values import problem_of
from prismq.domain.limits import ATTEMPTS_MAX, DELAY_S_MAX, NAME_CHARS_MAX, PREFETCH_MAX
from prismq.domain.promise import DEFAULT_TARGET_S, TARGET_S_MAX
from prismq.domain.strategy import SchedulingStrategy, parse_strategy

_DAY_S = 86_400.0
_HEARTBEAT_S = 10.0

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class ShedSetting(BaseModel):
    """How many ready tasks a queue may hold, and which are cancelled beyond that."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_waiting: int = Field(ge=1)
    drop: Literal["oldest", "lowest"] = "oldest"


class WorkerConfig(Config):
    """What a worker is told at its start. Raises ConfigurationError, which names the setting."""

    env_prefix: ClassVar[str] = "PRISMQ_WORKER_"
    called: ClassVar[str] = "worker"
    env_names: ClassVar[Mapping[str, tuple[str, ...]]] = {"worker_id": ("PRISMQ_WORKER_ID",)}

    worker_id: str | None = Field(
        None,
        min_length=1,
        max_length=NAME_CHARS_MAX,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="a name for people; each process has an identity besides; none: the host name",
    )
    capabilities: dict[str, Any] = Field(
        {}, description="what this worker offers to tasks that ask for it, an object such as {'region': 'eu'}"
    )
    scheduling_strategy: SchedulingStrategy = Field(
        SchedulingStrategy.PRIORITY, description="priority, fifo, lifo or weighted_random"
    )
    lease_duration_seconds: float = Field(
        60.0, gt=0, le=_DAY_S, description="seconds a claim holds without a heartbeat, above 0, at most a day"
    )
    poll_interval_seconds: float = Field(
        1.0,
        gt=0,
        le=3600,
        description="seconds between looks for unannounced work, above 0, at most 3600",
    )
    max_retries: int = Field(
        3,
        ge=0,
        lt=ATTEMPTS_MAX,
        description="where set: the most attempts after the first, though a task asks for more; 0 or more",
    )
    processes: int = Field(1, ge=1, le=256, description="worker processes, 1 to 256")
    concurrency: int = Field(8, ge=1, le=1000, description="tasks that one process runs at a time, 1 to 1000")
    min_processes: int = Field(
        1, ge=1, le=256, description="where max_processes is set: the fewest processes that autoscaling keeps, 1 to 256"
    )
    max_processes: int | None = Field(
        None,
        ge=1,
        le=256,
        description="the most processes that autoscaling starts, 1 to 256; none: `processes`, always",
    )
    min_concurrency: int = Field(
        1,
        ge=1,
        le=1000,
        description="where max_concurrency is set: the fewest slots that autoscaling leaves a process, 1 to 1000",
    )
    max_concurrency: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="the most slots that autoscaling gives a process, 1 to 1000; none: `concurrency` as it is",
    )
    target_wait_seconds: float = Field(
        DEFAULT_TARGET_S,
        gt=0,
        le=TARGET_S_MAX,
        description="seconds within which autoscaling wants 95 % of the tasks started, above 0; a queue with a promise "
        "of its own, by [slo].promises or by its name (within_5_minutes), has that one",
    )
    scale_down_after_seconds: float = Field(
        120.0,
        ge=1,
        le=_DAY_S,
        description="seconds in which fewer slots must have been enough before autoscaling takes some away, 1 to a day",
    )
    queues: list[str] | None = Field(
        None, min_length=1, description="the queues to serve, a list of names; none: every queue"
    )
    only_known: bool = Field(
        True, description="true: leave tasks of unknown types to other workers; false: take and fail them"
    )
    prefetch: int | None = Field(
        None,
        ge=0,
        le=PREFETCH_MAX,
        description=f"tasks to hold beyond the free slots, 0 to {PREFETCH_MAX}; none: adaptive",
    )
    heartbeat_interval_seconds: float = Field(
        _HEARTBEAT_S,
        gt=0,
        description="seconds between heartbeats, which report the worker and renew its leases (every third of a lease "
        "at the latest), below half of lease_duration_seconds; where it is not set, a quarter of a short lease",
    )
    shutdown_grace_seconds: float = Field(
        30.0, ge=0, le=_DAY_S, description="seconds that running tasks get to finish at shutdown, 0 to a day"
    )
    max_tasks_per_process: int | None = Field(
        None, ge=1, description="tasks after which a process is replaced, 1 or more; none: never"
    )
    max_memory_mb: int | None = Field(
        None, ge=32, description="resident MiB past which a process is replaced, 32 or more; none: no limit"
    )
    task_log_level: LogLevel = Field(
        "DEBUG", description="the least level kept in task_logs: DEBUG, INFO, WARNING, ERROR or CRITICAL"
    )
    task_log_capture: Literal["OFF", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = Field(
        "INFO",
        description="the least level of what a task logs with the standard logging that is kept in task_logs, too: "
        "DEBUG, INFO, WARNING, ERROR, CRITICAL, or OFF",
    )
    task_log_output: bool = Field(
        False, description="true: what tasks print to stdout and stderr, and warnings, are kept in task_logs, too"
    )
    result_retention_seconds: float = Field(
        7 * _DAY_S,
        ge=0,
        le=DELAY_S_MAX,
        description="seconds that completed and cancelled tasks are kept, 0 or more",
    )
    failure_retention_seconds: float = Field(
        90 * _DAY_S,
        ge=0,
        le=DELAY_S_MAX,
        description="seconds that failed and dead-lettered tasks are kept, 0 or more",
    )
    log_retention_seconds: float = Field(
        30 * _DAY_S, ge=0, le=DELAY_S_MAX, description="seconds that task logs are kept, 0 or more"
    )
    worker_retention_seconds: float = Field(
        7 * _DAY_S,
        ge=0,
        le=DELAY_S_MAX,
        description="seconds that workers which ended stay listed, 0 or more",
    )
    archive_dir: str | None = Field(
        None,
        min_length=1,
        description="a folder to which tasks are written before they are deleted at the end of their retention, "
        "taken from the database's own where it is relative; none: they are deleted",
    )
    backup_interval_seconds: float | None = Field(
        None, ge=60, le=DELAY_S_MAX, description="seconds between backups, 60 or more; none: no scheduled backups"
    )
    backup_keep: int = Field(10, ge=1, le=10_000, description="how many scheduled backups are kept, 1 to 10000")
    backup_dir: str | None = Field(
        None,
        min_length=1,
        description="the folder of the backups, taken from the database's own where it is relative; none: `backups` "
        "beside the database",
    )
    breaker: bool = Field(
        False,
        description="true: a task type whose attempts fail all at once is not claimed for a while, then one of its "
        "tasks is tried",
    )
    breaker_failure_ratio: float = Field(
        0.9,
        gt=0,
        le=1,
        description="the part of a type's attempts that fail where its breaker opens, above 0 to 1",
    )
    breaker_min_attempts: int = Field(
        50, ge=1, description="attempts of a type that must have ended before its breaker may open, 1 or more"
    )
    breaker_window_seconds: float = Field(
        120.0, ge=60, le=3600, description="seconds within which those attempts ended, 60 to 3600"
    )
    breaker_crashes: int = Field(
        5,
        ge=1,
        description="tasks of a type lost with their workers in that time, more than completed, that open its breaker, "
        "too; 1 or more",
    )
    breaker_open_seconds: float = Field(
        60.0,
        ge=1,
        le=_DAY_S,
        description="seconds that a breaker is open before a task is tried, twice as long each time in a row up to "
        "15 minutes, 1 to a day",
    )
    reclaim: bool = Field(
        True,
        description="true: tasks of lost workers go back to their queue; false: no process with this setting returns "
        "any, and they stay `claimed` or `processing`",
    )
    restart_wedged: bool = Field(
        True, description="true: a process that neither reports nor computes is ended, and replaced; false: it is left"
    )
    shed: dict[str, ShedSetting] = Field(
        {},
        description="queues whose backlog is bounded: {'mail': {'max_waiting': 10000, 'drop': 'oldest'}}; beyond it "
        "the `oldest` ready tasks, or those of the `lowest` priority, are cancelled",
    )
    probe_file: str | None = Field(
        None,
        min_length=1,
        description="a file that each process touches every 2 s while it is live, and which says how it is; the second "
        "process of a supervisor appends .1, the third .2; none: no file",
    )
    probe_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="a port on which each process answers /live and /ready over HTTP; the second process of a "
        "supervisor takes the next port, and so on; none: none",
    )
    probe_host: str = Field(
        "127.0.0.1", min_length=1, description="the address of probe_port; 0.0.0.0 for probes from other machines"
    )
    probe_stale_seconds: float = Field(
        30.0,
        gt=0,
        le=_DAY_S,
        description="seconds without a look for work after which a process with free slots is not live; at least three "
        "times poll_interval_seconds count",
    )
    hints: bool = Field(
        True, description="listen for announcements of new tasks (a loopback port); false: polling alone"
    )

    @field_validator("scheduling_strategy", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        if isinstance(value, str):
            try:
                return parse_strategy(value)
            except ConfigurationError as error:
                raise PydanticCustomError("strategy", "{why}", {"why": str(error)}) from None
        return value

    @field_validator("task_log_level", "task_log_capture", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.strip().upper() if isinstance(value, str) else value

    @field_validator("capabilities")
    @classmethod
    def _plain(cls, value: dict[str, Any]) -> dict[str, Any]:
        problem = problem_of(value)
        if problem is not None:
            raise PydanticCustomError("capabilities", "{why}", {"why": problem})
        return value

    @field_validator("queues")
    @classmethod
    def _named(cls, value: list[str] | None) -> list[str] | None:
        for name in value or ():
            if not 0 < len(name.strip()) == len(name) <= NAME_CHARS_MAX:
                raise PydanticCustomError("queue", "{name} is no name for a queue", {"name": repr(name)})
        return value

    @model_validator(mode="after")
    def _related(self) -> WorkerConfig:
        half = self.lease_duration_seconds / 2
        if self.heartbeat_interval_seconds >= half:
            if "heartbeat_interval_seconds" in self.model_fields_set:
                raise PydanticCustomError(
                    "heartbeat_interval_seconds",
                    "it must be below half of lease_duration_seconds ({lease} s), so that one lost heartbeat "
                    "does not cost the lease",
                    {"lease": f"{self.lease_duration_seconds:g}"},
                )
            object.__setattr__(self, "heartbeat_interval_seconds", half / 2)
        return self

    @model_validator(mode="after")
    def _bounded(self) -> WorkerConfig:
        for unit in ("processes", "concurrency"):
            least, most, begin = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}"), getattr(self, unit)
            if most is None:
                if least != type(self).model_fields[f"min_{unit}"].default:
                    raise PydanticCustomError(
                        f"min_{unit}", "it counts with max_{unit} alone, which is not set", {"unit": unit}
                    )
                continue
            if least > most:
                raise PydanticCustomError(
                    f"min_{unit}", "it is above max_{unit} ({most})", {"unit": unit, "most": str(most)}
                )
            if unit in self.model_fields_set and not least <= begin <= most:
                raise PydanticCustomError(
                    unit,
                    "it is what autoscaling begins with, and not from min_{unit} ({least}) to max_{unit} ({most})",
                    {"unit": unit, "least": str(least), "most": str(most)},
                )
        return self

    @classmethod
    def misplaced(cls, key: str) -> str:
        return " It belongs to the top level of the file." if key in Settings.model_fields else ""


class Settings(Config):
    """Everything that can be set. Raises ConfigurationError, which names the setting."""

    env_names: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "database": DATABASE_VARIABLES,
        "tracing_enabled": ("PRISMQ_TRACING_ENABLED", "TRACING_ENABLED"),
        "tracing_endpoint": ("PRISMQ_TRACING_ENDPOINT", "TRACING_ENDPOINT"),
        "tracing_sample_rate": ("PRISMQ_TRACING_SAMPLE_RATE", "TRACING_SAMPLE_RATE"),
        "tracing_exporter": ("PRISMQ_TRACING_EXPORTER", "OTEL_TRACES_EXPORTER"),
    }

    database: str | None = Field(
        None, min_length=1, description="a path, sqlite:///… or postgresql://…; none: see default_db_path()"
    )
    durability: Literal["normal", "full"] = Field(
        "normal",
        description="normal: survives a crash of the process; full: also power loss, an fsync per commit",
    )
    busy_timeout_seconds: float = Field(
        5.0, ge=0, le=600, description="seconds to wait for another program's lock on the file, 0 to 600"
    )
    redis_url: str | None = Field(
        None,
        pattern=r"^(rediss?|unix)://",
        description="redis://[:password@]host[:6379][/0]: Redis tells workers of new tasks; none: the database does",
    )
    log_level: LogLevel = Field(
        "INFO",
        description="the least level of the log lines that programs of prismq write: DEBUG, INFO, WARNING, ERROR or "
        "CRITICAL",
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="console: lines for people; json: an object a line, for programs"
    )
    redact_keys: list[str] | None = Field(
        None,
        description="keys whose values are left out of log lines, task logs and spans: a key counts where the words of "
        "one of these stand in it, so that `api_key` means `X-Api-Key`, too; none: password, secret, token, api_key, "
        "authorization, cookie and their like",
    )
    tracing_enabled: bool = Field(
        False, description="true: OpenTelemetry spans of enqueues, attempts and workers; wants prismq[otel]"
    )
    tracing_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+",
        description="where spans are sent, OTLP over HTTP, such as http://localhost:4318; none: the standard "
        "OTEL_EXPORTER_OTLP_ENDPOINT counts, and else that address",
    )
    tracing_sample_rate: float | None = Field(
        None,
        ge=0,
        le=1,
        description="the part of traces that is recorded, 0 to 1; none: the standard OTEL_TRACES_SAMPLER counts, and "
        "else all are",
    )
    tracing_exporter: str = Field(
        "otlp",
        description="otlp, console, or none: then spans are kept with the tasks alone; more than one with commas",
    )
    tracing_keep_spans: bool = Field(
        True, description="true: keep a copy of each recorded attempt's spans with the task, see q.spans()"
    )
    worker: WorkerConfig = Field(default_factory=WorkerConfig, description="the section of the worker's settings")
    server: ServerConfig = Field(default_factory=ServerConfig, description="the section of the HTTP server's settings")
    alerts: AlertsConfig = Field(default_factory=AlertsConfig, description="the section of alerts")
    slo: SloConfig = Field(default_factory=SloConfig, description="the section of service levels")

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, without_password(value) if isinstance(value, str) else value

    @field_validator("database")
    @classmethod
    def _known_scheme(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                read_database(value)
            except ValueError as error:
                raise PydanticCustomError("database", "{why}", {"why": str(error)}) from None
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.strip().upper() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _known_exporters(self) -> Settings:
        # Not before: OTEL_TRACES_EXPORTER may be meant for others.
        if self.tracing_enabled:
            for name in self.exporters:
                if name not in ("otlp", "console", "none"):
                    raise PydanticCustomError(
                        "tracing_exporter", "{name} is none of otlp, console and none", {"name": repr(name)}
                    )
        return self

    @property
    def exporters(self) -> list[str]:
        """The names in tracing_exporter."""
        return [name.strip().lower() for name in self.tracing_exporter.split(",") if name.strip()]

    @classmethod
    def misplaced(cls, key: str) -> str:
        return next(
            (
                f" It is a setting of the {kind.called}: move it to the section `{section}`."
                for section, kind in SECTIONS.items()
                if key in kind.model_fields
            ),
            "",
        )


# The sections of the file: those who read, write, show and describe the settings go by this table.
SECTIONS: Mapping[str, type[Config]] = {
    "worker": WorkerConfig,
    "server": ServerConfig,
    "alerts": AlertsConfig,
    "slo": SloConfig,
}
