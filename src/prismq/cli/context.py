"""What every command shares: the common options, and opening the queue they name."""

from __future__ import annotations

import functools
import inspect
import sys
import traceback as tracebacks
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, NamedTuple, NoReturn

import typer
from typing_extensions import ParamSpec

from prismq.domain.errors import ConfigurationError, PrismqError, QueueDatabaseError

if TYPE_CHECKING:
    from prismq.app import PrismQ
    from prismq.config import DatabaseTarget, Settings

P = ParamSpec("P")

# Typer has a copy of Click's exceptions of its own and exports the leaves: this is the one without a prefix.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_PANEL = "Common options"
Db = Annotated[
    str | None,
    typer.Option(
        "--db",
        "-d",
        metavar="PATH_OR_URL",
        help="The database; without it the environment, the configuration file, or the default path says.",
        rich_help_panel=_PANEL,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="The configuration file; without it prismq.toml, .yaml or .json of this folder.",
        rich_help_panel=_PANEL,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else.", rich_help_panel=_PANEL)
]
Traceback = Annotated[bool, typer.Option("--traceback", help="Show where an error arose, too.", rich_help_panel=_PANEL)]


class Common(NamedTuple):
    """The common options, as they were given before the command or after it."""

    db: str | None = None
    config: Path | None = None
    as_json: bool = False
    traceback: bool = False

    def over(self, other: Common) -> Common:
        """These where they were given, `other` for the rest."""
        return Common(
            self.db or other.db,
            self.config or other.config,
            self.as_json or other.as_json,
            self.traceback or other.traceback,
        )


@dataclass(frozen=True)
class Call:
    """One call of a command: its common options, and what they name."""

    common: Common

    @property
    def as_json(self) -> bool:
        """Whether a program reads the answer."""
        return self.common.as_json

    @cached_property
    def settings(self) -> Settings:
        """Every setting. Raises ConfigurationError."""
        from prismq.config import load_settings

        return load_settings(self.common.config)

    @cached_property
    def target(self) -> DatabaseTarget:
        """Which database is meant: --db, the environment, the configuration file, or the default path."""
        from prismq.config import DatabaseTarget, default_db_path, resolve_database

        if self.common.db is not None or self.common.config is None:
            return resolve_database(self.common.db)
        if self.settings.database is None:
            return DatabaseTarget("sqlite", str(default_db_path()), "default")
        named = resolve_database(self.settings.database)
        return named._replace(source="environment" if self.file_database is None else "file")

    @cached_property
    def file_database(self) -> str | None:
        """The database that the file given with --config names, the environment left aside."""
        from prismq.config import load_settings

        if self.common.config is None:
            return None
        return load_settings(self.common.config, apply_env_overrides=False).database

    @property
    def override(self) -> str | None:
        """The database to use in place of the application's own: only one that this command line names."""
        if self.common.db is not None or self.file_database is not None:
            return self.target.location
        return None

    def require_database(self) -> DatabaseTarget:
        """The target. Raises QueueDatabaseError where it is a file that does not exist: looking makes none."""
        target = self.target
        if target.scheme != "sqlite":
            return target
        if target.location == ":memory:":
            raise ConfigurationError(
                "a database in memory would end with this command; give the path of a file with --db"
            )
        path = Path(target.location)
        if not path.is_file() or not path.stat().st_size:
            if path.is_dir():
                raise QueueDatabaseError(f"{path} is a folder; give the path of a file in it")
            source = {"argument": "", "default": ", the default path"}.get(
                target.source, f" (from the {target.source})"
            )
            raise QueueDatabaseError(
                f"there is no queue database at {path}{source}. Make one with `{self._init(path)}`, "
                f"or say with --db where it is"
            )
        return target

    def _init(self, path: Path) -> str:
        return f"prismq init {path}" if self.target.source == "argument" else "prismq init"

    @contextmanager
    def queue(self) -> Iterator[PrismQ]:
        """The queue, which must exist. Raises QueueDatabaseError."""
        from prismq.app import PrismQ

        target = self.require_database()
        settings = self.settings
        q = PrismQ(target.location, durability=settings.durability, busy_timeout=settings.busy_timeout_seconds)
        try:
            _say_where_it_went(q)
            yield q
        finally:
            q.close()


def _say_where_it_went(q: PrismQ) -> None:
    from prismq.storage.contract.transfer import MoveState

    mark = q.store.transfer.mark()
    if mark is not None and mark.state is MoveState.MOVED:
        from prismq.cli import output

        output.note(f"this queue has moved to {mark.other}; what is here is as it was then")


def command(
    group: typer.Typer, name: str, **settings: Any
) -> Callable[[Callable[Concatenate[Call, P], int | None]], Callable[Concatenate[Call, P], int | None]]:
    """Register a command: its first parameter is the Call, and the common options are added to its own.

    What it returns is the exit code; None is 0.
    """

    def register(function: Callable[Concatenate[Call, P], int | None]) -> Callable[Concatenate[Call, P], int | None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        @functools.wraps(function)
        def run(
            ctx: typer.Context, db: str | None, config: Path | None, as_json: bool, traceback: bool, **values: Any
        ) -> int | None:
            before = ctx.obj if isinstance(ctx.obj, Common) else Common()
            common = Common(db, config, as_json, traceback).over(before)
            try:
                return function(Call(common), **values)  # type: ignore[call-arg]  # typer reads them off the signature
            except PrismqError:
                if common.traceback:
                    sys.stderr.write(tracebacks.format_exc())
                raise

        parameters = [
            _parameter("ctx", typer.Context, inspect.Parameter.empty),
            *(_parameter(one.name, one.annotation, one.default) for one in own),
            _parameter("db", Db, None),
            _parameter("config", Config, None),
            _parameter("as_json", AsJson, False),
            _parameter("traceback", Traceback, False),
        ]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect and by typer
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        group.command(name, **settings)(run)
        return function

    return register


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def usage(message: str) -> NoReturn:
    """End with a usage error."""
    raise _UsageError(message)


def announce(q: PrismQ) -> None:
    """Hint to the workers that something changed."""
    from prismq.storage.wakeup import LoopbackAnnouncer

    LoopbackAnnouncer(q.store.workers.hint_ports, q.clock).announce()


def pause(q: PrismQ, seconds: float) -> None:
    """Wait a little before looking again."""
    import threading

    q.clock.wait(threading.Event(), seconds)
