"""`prismq worker`: run tasks."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from random import SystemRandom
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prismq.cli import options, output
from prismq.cli.context import Call, command, usage
from prismq.cli.exits import Exit
from prismq.domain.strategy import SchedulingStrategy

if TYPE_CHECKING:
    from prismq.app import PrismQ
    from prismq.config import WorkerConfig

_LOOK_S = 0.2
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
# What a worker process ends with when another try would end the same way (EX_CONFIG of sysexits.h).
_EXIT_MISCONFIGURED = 78

_OURS = {  # our option -> setting; the rest are called alike
    "name": "worker_id",
    "strategy": "scheduling_strategy",
    "lease": "lease_duration_seconds",
    "poll": "poll_interval_seconds",
    "heartbeat": "heartbeat_interval_seconds",
    "grace": "shutdown_grace_seconds",
    "max_tasks": "max_tasks_per_process",
}


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "worker")
    def worker(
        call: Call,
        reference: Annotated[
            str | None,
            typer.Argument(metavar="APP", help="Your application: module:name, or file.py:name.", show_default=False),
        ] = None,
        app_option: Annotated[
            str | None, typer.Option("--app", "-A", metavar="APP", help="The same, as an option.")
        ] = None,
        processes: Annotated[
            int | None,
            typer.Option("--processes", "-n", min=0, max=256, help="Worker processes; 0: this one, unsupervised."),
        ] = None,
        concurrency: Annotated[
            int | None,
            typer.Option("--concurrency", "-j", min=1, max=1000, help="Tasks a process runs at a time."),
        ] = None,
        queues: Annotated[
            list[str] | None,
            typer.Option("--queues", "-q", metavar="QUEUE", help="Serve only these; again, or with commas, for more."),
        ] = None,
        strategy: Annotated[
            SchedulingStrategy | None,
            typer.Option("--strategy", case_sensitive=False, help="Which ready task comes first."),
        ] = None,
        lease: Annotated[
            str | None, typer.Option("--lease", metavar="TIME", help="How long a claim holds without a heartbeat.")
        ] = None,
        heartbeat: Annotated[
            str | None, typer.Option("--heartbeat", metavar="TIME", help="Time between reports and renewals.")
        ] = None,
        poll: Annotated[
            str | None, typer.Option("--poll", metavar="TIME", help="Time between looks for unannounced work.")
        ] = None,
        grace: Annotated[
            str | None, typer.Option("--grace", metavar="TIME", help="Time that running tasks get at shutdown.")
        ] = None,
        prefetch: Annotated[
            int | None, typer.Option("--prefetch", min=0, help="Tasks to hold beyond the free slots; else adaptive.")
        ] = None,
        name: Annotated[str | None, typer.Option("--name", help="A name for people; else the host's.")] = None,
        capabilities: Annotated[
            str | None,
            typer.Option("--capabilities", metavar="JSON", help="What it offers to tasks that ask for it."),
        ] = None,
        only_known: Annotated[
            bool | None,
            typer.Option("--only-known/--all-types", help="Leave tasks of unknown types to others, or fail them."),
        ] = None,
        max_tasks: Annotated[
            int | None, typer.Option("--max-tasks", min=1, help="Replace a process after this many tasks.")
        ] = None,
        max_memory_mb: Annotated[
            int | None, typer.Option("--max-memory-mb", min=32, help="Replace a process past this many MiB.")
        ] = None,
        hints: Annotated[
            bool | None, typer.Option("--hints/--no-hints", help="Listen for announcements of new tasks, or only poll.")
        ] = None,
        with_server: Annotated[
            bool, typer.Option("--with-server", help="Serve the HTTP API and the dashboard, too; see `prismq server`.")
        ] = False,
        log_level: Annotated[
            str | None,
            typer.Option("--log-level", metavar="LEVEL", help="DEBUG, INFO, WARNING, ERROR or CRITICAL; else as set."),
        ] = None,
        log_json: Annotated[
            bool | None, typer.Option("--log-json/--log-console", help="Log lines as JSON, or for people; else as set.")
        ] = None,
    ) -> int:
        """Run a worker: a supervisor with processes that claim tasks and run them.

        Options win over the environment, and that over the configuration file. The first Ctrl-C or SIGTERM stops
        gracefully (see --grace), the second at once.
        """
        chosen = _reference(reference, app_option)
        level = (log_level or call.settings.log_level).upper()
        as_json = call.settings.log_format == "json" if log_json is None else log_json
        if level not in _LEVELS:
            usage(f"there is no log level {log_level!r}; the levels are {', '.join(_LEVELS)}")
        given: dict[str, Any] = {
            "concurrency": concurrency,
            "queues": [part.strip() for one in queues for part in one.split(",") if part.strip()] if queues else None,
            "strategy": strategy,
            "lease": None if lease is None else options.seconds_of(lease, "--lease"),
            "heartbeat": None if heartbeat is None else options.seconds_of(heartbeat, "--heartbeat"),
            "poll": None if poll is None else options.seconds_of(poll, "--poll"),
            "grace": None if grace is None else options.seconds_of(grace, "--grace"),
            "prefetch": prefetch,
            "name": name,
            "capabilities": None if capabilities is None else options.object_of(capabilities, "--capabilities"),
            "only_known": only_known,
            "max_tasks": max_tasks,
            "max_memory_mb": max_memory_mb,
            "hints": hints,
            "processes": processes or None,
        }
        config = config_of(call, {option: value for option, value in given.items() if value is not None})
        if call.as_json:
            output.note("a worker prints no document; its log lines are JSON with --log-json")
        if processes == 0:
            return _run_here(call, chosen, config, level, as_json, with_server=with_server)
        # Loaded here too, so that what is wrong with it is said once, and not by every process.
        from prismq.cli.application import load_app
        from prismq.worker import supervisor

        app = load_app(chosen, call)
        app.configure_logging(level, as_json=as_json)
        with _beside(app, call, with_server):
            code = supervisor.run(
                chosen,
                config,
                database=call.override,
                log_level=level,
                log_json=as_json,
                promises=call.settings.slo.promises,
            )
        return Exit.CONFIGURATION if code == _EXIT_MISCONFIGURED else code


def _reference(argument: str | None, option: str | None) -> str:
    if argument is not None and option is not None and argument != option:
        usage("give the application once, as APP or with --app")
    chosen = argument or option
    if chosen is None:
        here = sorted(path.name for path in Path.cwd().glob("*.py"))[:3]
        hint = f" Python files here: {', '.join(here)}." if here else ""
        usage(f"which application? Give it as module:name or file.py:name, for example prismq worker tasks.py:q.{hint}")
    return chosen


def config_of(call: Call, given: dict[str, Any]) -> WorkerConfig:
    """The worker's settings, with the options over the environment and the file. Raises ConfigurationError."""
    from prismq.config import WorkerConfig, load_worker_config

    base = load_worker_config(call.common.config).model_dump(exclude_unset=True)
    sources = dict.fromkeys(base, "the environment or the configuration file")
    for option, value in given.items():
        key = _OURS.get(option, option)
        base[key] = value
        sources[key] = f"the option --{option.replace('_', '-')}"
    return WorkerConfig(_sources=sources, **base)  # type: ignore[call-arg]  # the plugin sees the fields alone


def _beside(app: PrismQ, call: Call, with_server: bool) -> AbstractContextManager[None]:
    """What runs in this process as long as the workers do: the alerts, and the server where it is wanted."""
    from prismq.cli.alerting import alerting

    if not with_server:
        return alerting(app, call.settings, "worker")
    from prismq.cli.server import beside

    return beside(app, call)


def _run_here(call: Call, reference: str, config: WorkerConfig, level: str, as_json: bool, *, with_server: bool) -> int:
    """Work in this process until a signal, or until it wants to end (drained, its tasks used up)."""
    from prismq.cli.application import load_app
    from prismq.worker.embedded import EmbeddedWorker
    from prismq.worker.settings import options_of

    app = load_app(reference, call)
    choices = options_of(config)
    app.configure_logging(level, as_json=as_json, least=choices.capture.level)
    worker = EmbeddedWorker(app, choices, rng=SystemRandom(), reference=reference, program_log=(level, as_json))
    told = threading.Event()

    def on_signal(number: int, _: FrameType | None) -> None:
        if told.is_set():
            worker.runtime.interrupt()
        told.set()

    before = {number: signal.signal(number, on_signal) for number in _signals()}
    try:
        with _beside(app, call, with_server):
            worker.start()
            sys.stderr.write(f"prismq: {worker.worker_id} works on {app.store.name}; Ctrl-C stops it\n")
            while not told.is_set() and worker.runtime.exit_wanted is None:
                app.clock.wait(told, _LOOK_S)
            worker.stop()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        app.close()
    return Exit.OK


def _signals() -> list[signal.Signals]:
    names = ("SIGINT", "SIGTERM", "SIGBREAK")
    return [signal.Signals[name] for name in names if name in signal.Signals.__members__]
