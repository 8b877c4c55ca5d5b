"""`prismq kit`: configurations for Prometheus, Alertmanager and Grafana."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from prismq.cli import output
from prismq.cli.context import Call, command, usage

group = typer.Typer(no_args_is_help=True, help="Make configurations for Prometheus, Alertmanager and Grafana.")

Out = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="The folder to write to; it is made.", show_default=False)
]
Force = Annotated[
    bool, typer.Option("--force", help="Write although the folder holds other files, or files of the kit were changed.")
]
Interval = Annotated[
    int, typer.Option("--interval", metavar="SECONDS", min=1, max=3600, help="How often Prometheus looks.")
]
Dashboard = Annotated[
    str | None,
    typer.Option(
        "--dashboard", metavar="URL", help="Where people find the queue's own dashboard. [default: the first target]"
    ),
]


@command(group, "prometheus")
def prometheus(
    call: Call,
    out: Out,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="HOST:PORT",
            help="A server of the queue; may be given again. [default: that of the settings]",
            show_default=False,
        ),
    ] = None,
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="The queue's name, where a Prometheus has several.")
    ] = "prismq",
    token_file: Annotated[
        str, typer.Option("--token-file", metavar="FILE", help="Where Prometheus finds a viewer's token.")
    ] = "prismq.token",  # noqa: S107 - a path
    no_token: Annotated[
        bool, typer.Option("--no-token", help="Send no token: for a server on loopback that asks for none.")
    ] = False,
    interval: Interval = 15,
    listen: Annotated[
        str, typer.Option("--listen", metavar="HOST:PORT", help="Where this Prometheus is: it looks at itself, too.")
    ] = "127.0.0.1:9090",
    alertmanager: Annotated[
        list[str] | None,
        typer.Option(
            "--alertmanager", metavar="HOST:PORT", help="Alertmanager; may be given again.", show_default=False
        ),
    ] = None,
    webhook: Annotated[
        str | None, typer.Option("--webhook", metavar="URL", help="Where Alertmanager sends notifications.")
    ] = None,
    slack_file: Annotated[
        str | None,
        typer.Option("--slack-file", metavar="FILE", help="A file with the URL of a Slack webhook; sends there, too."),
    ] = None,
    slack_channel: Annotated[str, typer.Option("--slack-channel", metavar="NAME", help="The channel.")] = "#alerts",
    dashboard: Dashboard = None,
    runbooks: Annotated[
        str, typer.Option("--runbooks", metavar="URL", help="Where docs/runbooks.md is published; alerts link to it.")
    ] = "docs/runbooks.md",
    force: Force = False,
) -> None:
    """Write prometheus.yml, recording rules, alert rules, and a configuration of Alertmanager.

    They are made from the tables of metrics and alerts of this version: make them anew after an update. See
    docs/prometheus.md.
    """
    from prismq.observability.kit.options import KitOptions, alerts_in_force
    from prismq.observability.kit.prometheus import TOKEN_PLACEHOLDER, prometheus_kit

    settings = call.settings
    scheme, targets = _targets(call, target)
    for one in alertmanager or ():
        _check_address(one, "--alertmanager")
    _check_address(listen, "--listen")
    options = KitOptions(
        targets=targets,
        scheme=scheme,
        metrics_path=f"{settings.server.root_path}/metrics",
        service=service,
        token_file=None if no_token else token_file,
        scrape_interval_s=interval,
        alertmanagers=tuple(alertmanager or KitOptions.alertmanagers),
        dashboard=_url(dashboard, "--dashboard") or f"{scheme}://{targets[0]}{settings.server.root_path}/",
        runbooks=runbooks,
        backup_interval_s=settings.worker.backup_interval_seconds or KitOptions.backup_interval_s,
        webhook=_url(webhook, "--webhook"),
        prometheus=f"http://{listen}",
        slack_file=slack_file,
        slack_channel=slack_channel,
        alerts=alerts_in_force(settings.alerts),
        slo=settings.slo,
    )
    secrets = {}
    if options.token_file is not None and not Path(options.token_file).is_absolute():
        secrets[options.token_file] = TOKEN_PLACEHOLDER
    placed = not secrets or (out / next(iter(secrets))).exists()
    _write(call, "prometheus", prometheus_kit(options), out, force, secrets)
    if not placed:
        output.note(f"put a token there: prismq tokens create prometheus > {out / next(iter(secrets))}")
    if webhook is None and slack_file is None:
        output.note("Alertmanager tells nobody yet: give --webhook or --slack-file, or write receivers of your own")


@command(group, "grafana")
def grafana(
    call: Call,
    out: Out,
    prometheus_url: Annotated[
        str, typer.Option("--prometheus", metavar="URL", help="Where Grafana finds Prometheus.")
    ] = "http://127.0.0.1:9090",
    interval: Interval = 15,
    dashboard: Dashboard = None,
    force: Force = False,
) -> None:
    """Write the dashboards, and files that provision them and their data source.

    They show what the recording rules of `prismq kit prometheus` make. See docs/grafana.md.
    """
    from prismq.observability.kit.grafana import grafana_kit
    from prismq.observability.kit.options import KitOptions

    scheme, targets = _targets(call, None)
    options = KitOptions(
        scrape_interval_s=interval,
        prometheus=_url(prometheus_url, "--prometheus") or "",
        dashboard=_url(dashboard, "--dashboard") or f"{scheme}://{targets[0]}{call.settings.server.root_path}/",
    )
    _write(call, "grafana", grafana_kit(options), out, force, {})


def _write(call: Call, kit: str, files: Mapping[str, str], out: Path, force: bool, secrets: Mapping[str, str]) -> None:
    from prismq.observability.kit.writing import write_kit

    written = write_kit(kit, files, out, force=force, secrets=secrets)
    if call.as_json:
        output.print_json({"kit": kit, "folder": str(out), "files": [str(one) for one in written]})
        return
    for one in written:
        output.say(str(one))


def _targets(call: Call, given: list[str] | None) -> tuple[str, tuple[str, ...]]:
    server = call.settings.server
    scheme = "https" if server.tls_certificate else "http"
    for one in given or ():
        _check_address(one, "--target")
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(server.host, server.host)  # noqa: S104 - named, not bound
    return scheme, tuple(given or (f"{host}:{server.port}",))


def _check_address(text: str, option: str) -> None:
    host, _, port = text.rpartition(":")
    if not host or "/" in text or not port.isdigit() or not 0 < int(port) < 65_536:
        usage(f"{option} is HOST:PORT, such as queue.example.com:8000, not {text!r}")


def _url(text: str | None, option: str) -> str | None:
    if text is None:
        return None
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc:
        usage(f"{option} is a URL such as https://queue.example.com/, not {text!r}")
    return text
