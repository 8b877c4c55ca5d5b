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

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError

from prismq.domain.errors import ConfigurationError, closest
from prismq.domain.json_values import problem_of
from prismq.domain.limits import ATTEMPTS_MAX, DELAY_S_MAX, NAME_CHARS_MAX, PREFETCH_MAX
from prismq.domain.strategy import SchedulingStrategy, parse_strategy

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAMES = ("prismq.toml", "prismq.yaml", "prismq.yml", "prismq.json")
DATABASE_VARIABLES = ("PRISMQ_DATABASE_URL", "PRISMQ_QUEUE_DB_PATH")  # the first that is set counts

_DAY_S = 86_400.0
_HEARTBEAT_S = 10.0

LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
Source = Literal["argument", "environment", "file", "default"]


class _Config(BaseModel):
    """A model whose errors are ConfigurationErrors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # How environment variables are named: the prefix and the setting's name, but for these.
    env_prefix: ClassVar[str] = "PRISMQ_"
    env_names: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self, *, _sources: Mapping[str, str] | None = None, **values: Any) -> None:
        """`_sources` says for messages where each value came from; without it, they are arguments."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _explained(type(self), error, values, _sources or {}) from None

    @classmethod
    def env_variables(cls, key: str) -> tuple[str, ...]:
        """The environment variables for the setting `key`; the first that is set counts."""
        return cls.env_names.get(key, (cls.env_prefix + key.upper(),))


_AnyConfig = TypeVar("_AnyConfig", bound=_Config)


class WorkerConfig(_Config):
    """What a worker is told at its start. Raises ConfigurationError, which names the setting."""

    env_prefix: ClassVar[str] = "PRISMQ_WORKER_"
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
        description="attempts after the first, for tasks whose row and function do not say; 0 or more",
    )
    processes: int = Field(1, ge=1, le=256, description="worker processes, 1 to 256")
    concurrency: int = Field(8, ge=1, le=1000, description="tasks that one process runs at a time, 1 to 1000")
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
        description="seconds between renewals of the leases, below half of lease_duration_seconds; where it "
        "is not set, a quarter of a lease that is short",
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

    @field_validator("task_log_level", mode="before")
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


class Settings(_Config):
    """Everything that can be set. Raises ConfigurationError, which names the setting."""

    env_names: ClassVar[Mapping[str, tuple[str, ...]]] = {"database": DATABASE_VARIABLES}

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
    worker: WorkerConfig = Field(default_factory=WorkerConfig, description="the section of the worker's settings")

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, _without_password(value) if isinstance(value, str) else value

    @field_validator("database")
    @classmethod
    def _known_scheme(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                _read_database(value)
            except ValueError as error:
                raise PydanticCustomError("database", "{why}", {"why": str(error)}) from None
        return value


class DatabaseTarget(NamedTuple):
    """Which database is meant, and who said so. `location` is a path for sqlite, a URL for postgresql."""

    scheme: Literal["sqlite", "postgresql"]
    location: str
    source: Source

    def require_path(self) -> Path:
        """The file. Raises ConfigurationError for a database that is not a file."""
        if self.scheme == "sqlite":
            return Path(self.location)
        raise ConfigurationError(
            f"the database {self} (from the {self.source}) is not a SQLite file, and this needs one. "
            f"Give a path, or use PrismQ, which serves both"
        )

    def __str__(self) -> str:
        """For people: a URL without its password."""
        return _without_password(self.location)


def load_worker_config(
    file_path: str | os.PathLike[str] | None = None,
    apply_env_overrides: bool = True,
    *,
    environ: Mapping[str, str] | None = None,
) -> WorkerConfig:
    """The worker's settings: the environment over a file over the defaults.

    The file's `worker` section counts, or its top level where it has none. Without `file_path`, prismq.toml,
    .yaml or .json of the current folder is read if it is there.
    """
    found = _find_file(file_path)
    values: dict[str, Any] = {}
    if found is not None:
        content = _read_file(found)
        if "worker" in content:
            _refuse_unknown(Settings, content, str(found))
            values = _section(content["worker"], "worker", str(found))
        else:
            values = {key: value for key, value in content.items() if key not in Settings.model_fields}
    return _build(WorkerConfig, values, found, _environment(environ) if apply_env_overrides else {})


def load_settings(
    file_path: str | os.PathLike[str] | None = None,
    apply_env_overrides: bool = True,
    *,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """All settings: the environment over a file over the defaults.

    Without `file_path`, prismq.toml, .yaml or .json of the current folder is read if it is there. A relative
    path to the database is taken from the folder of the file that names it.
    """
    variables = _environment(environ) if apply_env_overrides else {}
    found = _find_file(file_path)
    content: dict[str, Any] = {}
    if found is not None:
        content = _with_database_path(_read_file(found), found)
        _refuse_unknown(Settings, content, str(found))
    section = _section(content.pop("worker", None), "worker", str(found))
    worker = _build(WorkerConfig, section, found, variables)
    return _build(Settings, content, found, variables, worker=worker)


def resolve_database(
    explicit: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] | None = None
) -> DatabaseTarget:
    """Which database to use. Nothing is opened or made.

    The argument, else PRISMQ_DATABASE_URL, else PRISMQ_QUEUE_DB_PATH, else `database` in the configuration
    file of the current folder, else the default path. Raises ConfigurationError for neither path nor URL.
    `sqlite:///queue.db` is relative and `sqlite:////var/queue.db` absolute, as SQLAlchemy has it.
    """
    if explicit is not None:
        return _target(explicit, "argument", "the database given")
    variables = _environment(environ)
    for variable in DATABASE_VARIABLES:
        if variable in variables:
            return _target(variables[variable], "environment", f"the environment variable {variable}")
    found = _find_file(None)
    if found is not None:
        content = _with_database_path(_read_file(found), found)
        # A misspelt `database` must not send the queue to the default path.
        _refuse_unknown(Settings, content, str(found))
        database = content.get("database")
        if isinstance(database, str):
            return _target(database, "file", f"database in {found}")
        if database is not None:
            raise ConfigurationError(
                f"database = {database!r} from {found} is not text. {_about(Settings, 'database')}"
            )
    return DatabaseTarget("sqlite", str(default_db_path()), "default")


def default_db_path(system: str = os.name) -> Path:
    """Where the queue lives when nobody says: `system` is os.name. No folder is made."""
    if system == "nt":
        return Path(r"C:\Data\PrismQ\queue\queue.db")
    return Path("/tmp/prismq/queue/queue.db")  # noqa: S108 - its folder is made for its owner alone


# Reading.


def _environment(environ: Mapping[str, str] | None) -> dict[str, str]:
    source = os.environ if environ is None else environ
    return {name: value.strip() for name, value in source.items() if name.startswith("PRISMQ_") and value.strip()}


def _find_file(file_path: str | os.PathLike[str] | None) -> Path | None:
    if file_path is not None:
        return Path(file_path).expanduser()
    found = [Path(name) for name in FILE_NAMES if Path(name).is_file()]
    if len(found) > 1:
        raise ConfigurationError(
            f"{Path.cwd()} has more than one configuration file: {', '.join(map(str, found))}. Keep one"
        )
    return found[0].absolute() if found else None


def _read_file(path: Path) -> dict[str, Any]:
    suffix = path.suffix.lower()
    if suffix not in (".toml", ".yaml", ".yml", ".json"):
        raise ConfigurationError(
            f"the configuration file {path} has the suffix {suffix!r}; it must be .toml, .yaml, .yml or .json"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")  # Notepad puts a mark before the text
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration file {path}. Check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the configuration file {path} is not UTF-8 text: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"the configuration file {path} cannot be read: {error.strerror}") from None
    try:
        if suffix == ".toml":
            content: Any = tomllib.loads(text)
        elif suffix == ".json":
            content = json.loads(text, object_pairs_hook=_without_duplicates) if text.strip() else {}
        else:
            content = yaml.load(text, Loader=_YamlLoader)  # noqa: S506 - a SafeLoader that also refuses duplicates
    except (ValueError, yaml.YAMLError, RecursionError) as error:  # ValueError: TOML, JSON and duplicates
        raise ConfigurationError(f"the configuration file {path} is not valid {_KINDS[suffix]}: {error}") from None
    return _section(content, "the top level", str(path))


_KINDS = {".toml": "TOML", ".json": "JSON", ".yaml": "YAML", ".yml": "YAML"}


def _section(content: Any, name: str, where: str) -> dict[str, Any]:
    if content is None:  # an empty YAML file or section
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigurationError(
            f"{where}: {name} must hold settings as `name: value`, not {type(content).__name__} {content!r}"
        )
    return content


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is set twice")
    return content


class _YamlLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and names.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is set twice", key.start_mark)
        return super().construct_mapping(node, deep)


def _with_database_path(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The content with a relative database path taken from the file's folder."""
    database = content.get("database")
    if not isinstance(database, str):
        return content
    try:
        scheme, location = _read_database(database)
    except ValueError:  # said where the setting is checked
        return content
    if scheme != "sqlite" or location == ":memory:":
        return content
    return {**content, "database": str(path.absolute().parent / location)}


# Checking.


def _build(
    kind: type[_AnyConfig],
    values: dict[str, Any],
    file: Path | None,
    variables: Mapping[str, str],
    **ready: Any,
) -> _AnyConfig:
    """The model from a file's values and the environment's; errors name the source."""
    if file is not None:
        _refuse_unknown(kind, values, str(file))
    sources = dict.fromkeys(values, str(file))
    names = {key: kind.env_variables(key) for key in kind.model_fields if key not in ready}
    if kind is WorkerConfig:
        known = {name for candidates in names.values() for name in candidates}
        for name in variables:
            if name.startswith(kind.env_prefix) and name not in known:
                raise ConfigurationError(
                    f"the environment variable {name} is no setting of a worker.{closest(name, known)} "
                    f"Correct its name or unset it"
                )
    merged = dict(values)
    for key, candidates in names.items():
        found = next((name for name in candidates if name in variables), None)
        if found is not None:
            merged[key] = _from_text(kind, key, found, variables[found])
            sources[key] = f"the environment variable {found}"
    return kind(_sources=sources, **merged, **ready)


def _from_text(kind: type[_Config], key: str, variable: str, text: str) -> Any:
    """A variable's text as what the setting holds: JSON for lists and objects, for the rest the text."""
    annotation = kind.model_fields[key].annotation
    if type(None) in get_args(annotation) and text.lower() in ("none", "null"):
        return None
    parts = (annotation, *get_args(annotation))
    is_list = any(get_origin(part) is list for part in parts)
    if is_list and not text.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if is_list or any(get_origin(part) is dict for part in parts):
        try:
            return json.loads(text, object_pairs_hook=_without_duplicates)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"{key} = {_shown(text)} from the environment variable {variable} is not JSON: {error}. "
                f"{_about(kind, key)}"
            ) from None
    return text


def _refuse_unknown(kind: type[_Config], values: Mapping[str, Any], source: str) -> None:
    for key, value in values.items():
        if key not in kind.model_fields:
            raise ConfigurationError(_unknown(kind, key, value, source))


def _unknown(kind: type[_Config], key: str, value: Any, source: str) -> str:
    advice = closest(key, kind.model_fields)
    if kind is Settings and key in WorkerConfig.model_fields:
        advice = " It is a setting of the worker: move it to the section `worker`."
    elif kind is WorkerConfig and key in Settings.model_fields:
        advice = " It belongs to the top level of the file."
    return (
        f"there is no setting {key!r}, which {source} sets to {_shown(value)}.{advice} "
        f"The settings are {', '.join(kind.model_fields)}"
    )


def _explained(
    kind: type[_Config], error: ValidationError, values: Mapping[str, Any], sources: Mapping[str, str]
) -> ConfigurationError:
    first = error.errors(include_url=False)[0]
    # A broken relation between settings has no place; its type names the setting to change.
    key = str(first["loc"][0]) if first["loc"] else first["type"]
    source = sources.get(key, "the caller")
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        return ConfigurationError(_unknown(kind, key, first["input"], source))
    where = key + "".join(f"[{part!r}]" for part in first["loc"][1:])
    value = first["input"] if first["loc"] else values.get(key)
    reason = first["msg"].rstrip(".")
    if reason[1:2].islower():
        reason = reason[0].lower() + reason[1:]
    return ConfigurationError(f"{where} = {_shown(value)} from {source}: {reason}. {_about(kind, key)}")


def _about(kind: type[_Config], key: str) -> str:
    described = kind.model_fields[key]
    default = described.get_default(call_default_factory=True)
    if default is None or isinstance(default, bool):
        shown = str(default).lower()
    else:
        shown = f"{default:g}" if isinstance(default, float) else str(default)
    return f"{key}: {described.description} (default {shown})"


def _shown(value: Any) -> str:
    return repr(_without_password(value) if isinstance(value, str) else value)


# Databases.


def _target(database: str | os.PathLike[str], source: Source, where: str) -> DatabaseTarget:
    text = os.fspath(database)
    try:
        return DatabaseTarget(*_read_database(text), source)
    except ValueError as error:
        raise ConfigurationError(f"{where}, {_without_password(text)!r}: {error}") from None


def _read_database(text: str) -> tuple[Literal["sqlite", "postgresql"], str]:
    """Scheme and location. Raises ValueError, which says what is wrong and what would be right."""
    scheme, mark, rest = text.partition("://")
    scheme = scheme.lower()
    if not text.strip() or "\x00" in text:
        raise ValueError("it is no path; give the path of a file, such as queue.db")
    if not mark:
        if scheme.startswith(("sqlite:", "postgres:", "postgresql:")):
            raise ValueError("a URL has :// after its scheme, as in sqlite:///queue.db")
        return "sqlite", text if text == ":memory:" else str(Path(text).expanduser())
    if scheme == "sqlite":
        path = rest.removeprefix("/")
        if not rest.startswith("/") or not path:
            raise ValueError(
                "it takes three slashes and a path: sqlite:///queue.db, or absolute sqlite:////var/queue.db"
            )
        if "?" in path:
            raise ValueError("options after ? are not known here; durability and busy_timeout_seconds are settings")
        return _read_database(path) if "://" not in path else ("sqlite", path)
    if scheme in ("postgresql", "postgres"):
        return "postgresql", f"postgresql://{rest}"
    if scheme.startswith(("postgresql+", "postgres+", "sqlite+")):
        raise ValueError(f"leave out the driver: {scheme.partition('+')[0]}://…")
    near = closest(scheme, ("sqlite", "postgresql"))
    raise ValueError(f"there is no storage for {scheme!r}.{near} Use a path, sqlite:///… or postgresql://…")


def _without_password(location: str) -> str:
    if "://" not in location:
        return location
    scheme, _, rest = location.partition("://")
    login, mark, host = rest.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}:***@{host}" if mark and ":" in login else location
