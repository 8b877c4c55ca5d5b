"""`prismq server`: the HTTP API and the dashboard."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prismq.cli import output
from prismq.cli.context import Call, command
from prismq.cli.exits import Exit
from prismq.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from prismq.app import PrismQ
    from prismq.config.server import ServerConfig

_MISSING = "the server wants FastAPI, uvicorn and their like: pip install 'prismq[server]'"
_EXTRA = ("fastapi", "jinja2", "multipart", "python_multipart", "starlette", "uvicorn", "websockets")


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "server")
    def server(
        call: Call,
        reference: Annotated[
            str | None,
            typer.Argument(
                metavar="[APP]",
                help="Your application, module:name or file.py:name: then what is enqueued is checked against it.",
                show_default=False,
            ),
        ] = None,
        host: Annotated[str | None, typer.Option("--host", help="The address to listen on.")] = None,
        port: Annotated[int | None, typer.Option("--port", "-p", min=1, max=65535, help="The port.")] = None,
        root_path: Annotated[
            str | None,
            typer.Option("--root-path", metavar="PATH", help="The path under which a proxy shows it, such as /prismq."),
        ] = None,
        tls_certificate: Annotated[
            str | None, typer.Option("--tls-certificate", metavar="FILE", help="The TLS certificate chain, PEM.")
        ] = None,
        tls_key: Annotated[
            str | None, typer.Option("--tls-key", metavar="FILE", help="The certificate's private key, PEM.")
        ] = None,
        dashboard: Annotated[
            bool | None, typer.Option("--dashboard/--no-dashboard", help="The pages, too, or the API alone.")
        ] = None,
    ) -> int:
        """Serve the HTTP API and the dashboard until Ctrl-C.

        On loopback nobody is asked who they are until there is a token (see `prismq tokens create`); on any other
        address tokens are always asked for, and it does not start without one. The other settings are those of the
        section [server] of the configuration file, and PRISMQ_SERVER_….
        """
        given = {
            "host": host,
            "port": port,
            "root_path": root_path,
            "tls_certificate": tls_certificate,
            "tls_key": tls_key,
            "dashboard": dashboard,
        }
        settings = settings_of(call, {name: value for name, value in given.items() if value is not None})
        if call.as_json:
            output.note("a server prints no document")
        if reference is not None:
            from prismq.cli.application import load_app

            q = load_app(reference, call)
            try:
                return _serve(q, call, settings)
            finally:
                q.close()
        with call.queue() as q:
            return _serve(q, call, settings)


def _serve(q: PrismQ, call: Call, settings: ServerConfig) -> int:
    runner = runner_of()
    q.configure_logging()
    app, listening = runner.prepare(q, settings, call.settings)
    runner.keep_what_is_loaded()
    sys.stderr.write(f"prismq: {runner.address_of(settings)} shows {q.store_as_it_is.name}; Ctrl-C stops it\n")
    with _alerting(q, call, app):
        runner.serve(app, listening, settings)
    return Exit.OK


def _alerting(q: PrismQ, call: Call, app: Any) -> AbstractContextManager[None]:
    from prismq.cli.alerting import alerting
    from prismq.server.sampling import RequestSampler

    sampler = RequestSampler(q.store_as_it_is, q.clock, app.state.services.requests)
    return alerting(q, call.settings, "server", more=[sampler.step])


@contextmanager
def beside(q: PrismQ, call: Call) -> Iterator[None]:
    """A server in a thread of its own, for `prismq worker --with-server`. Raises ConfigurationError."""
    runner = runner_of()
    settings = settings_of(call, {})
    app, listening = runner.prepare(q, settings, call.settings)
    watching = _alerting(q, call, app)
    runner.keep_what_is_loaded()
    sys.stderr.write(f"prismq: {runner.address_of(settings)} shows it\n")
    with watching, runner.Beside(app, listening, settings):
        yield


def settings_of(call: Call, given: dict[str, Any]) -> ServerConfig:
    """The server's settings, with the options over the environment and the file. Raises ConfigurationError."""
    from prismq.config.server import ServerConfig

    base = call.settings.server.model_dump(exclude_unset=True)
    sources = dict.fromkeys(base, "the environment or the configuration file")
    for key, value in given.items():
        base[key] = value
        sources[key] = f"the option --{key.replace('_', '-')}"
    return ServerConfig(_sources=sources, **base)  # type: ignore[call-arg]  # the plugin sees the fields alone


def runner_of() -> Any:
    """prismq.server.runner. Raises ConfigurationError where the extra is missing."""
    try:
        from prismq.server import runner
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise ConfigurationError(_MISSING) from error
    return runner
