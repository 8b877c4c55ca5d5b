"""The table on the terminal, and docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import psycopg

from benchmarks.harness import NEWER_PEERS_PYTHON, PEERS_PYTHON, Check, Section, Settings
from benchmarks.postgres.server import SETTINGS
from prismq import PRAGMAS, __version__
from prismq.cli.demo.server import programs

ON_SQLITE = ("huey", "litequeue", "persist-queue")
ON_POSTGRES = ("pgqueuer", "chancy", "procrastinate", "asyncpg", "psycopg", "uvloop")
NEWER = ("oban", "psycopg", "uvloop")
# Before each part of the page but the first: a part is written when all of its lines were run.
_PARTS = {
    "sqlite": "",
    "postgres": "<!-- PostgreSQL, by the lines whose names begin with pg- -->",
    "http": "<!-- the HTTP server -->",
}


def value(check: Check) -> str:
    return f"{check.value:.2f} {check.unit}" if check.unit != "s" else f"{check.value:.3f} s"


def verdict(check: Check) -> str:
    return "pass" if check.passed else "MISSED"


def table(sections: Sequence[Section]) -> str:
    """Every figure and every target, for a terminal."""
    rows: list[tuple[str, str, str]] = []
    for section in sections:
        rows.append((section.title, "", ""))
        rows += [(f"  {figure.who}", figure.value, figure.note) for figure in section.figures]
        for check in section.checks:
            cpu = f" (by processor time {check.cpu:.2f})" if check.cpu is not None else ""
            mark = "" if check.passed else "  <<< MISSED"
            rows.append((f"  → {check.what}", value(check), f"target {check.target}: {verdict(check)}{cpu}{mark}"))
        rows.append(("", "", ""))
    wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return "\n".join(f"{what:<{wide[0]}}  {figure:>{wide[1]}}  {note}".rstrip() for what, figure, note in rows)


def page(groups: Mapping[str, Sequence[Section]], settings: Settings, before: str = "") -> str:
    """docs/performance.md: a part for each group. One that was not measured now stays as it is in `before`."""
    parts = dict(zip(_PARTS, re.split("|".join(map(re.escape, list(_PARTS.values())[1:])), before), strict=False))
    for name, sections in groups.items():
        parts[name] = _WRITERS[name](sections, settings)
    written = [(mark, parts[name].strip("\n")) for name, mark in _PARTS.items() if parts.get(name, "").strip()]
    return "\n\n".join(f"{mark}\n\n{text}" if mark else text for mark, text in written) + "\n"


def _results(sections: Sequence[Section], title: str) -> list[str]:
    lines = [
        f"## {title}",
        "",
        "| What | Measured | By processor time | Target | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for section in sections:
        for check in section.checks:
            cpu = f"{check.cpu:.2f} ×" if check.cpu is not None else ""
            shown = "pass" if check.passed else "**MISSED**"
            lines.append(f"| {check.what} | {value(check)} | {cpu} | {check.target} | {shown} |")
    lines += [
        "",
        (
            "By processor time: the same ratio of tasks per second of processor time, which a busy machine disturbs "
            "less and which leaves out the waits for the disk."
        ),
    ]
    for section in sections:
        lines += ["", f"## {section.title}", "", section.words, "", "| | | |", "| --- | ---: | --- |"]
        lines += [f"| {figure.who} | {figure.value} | {figure.note} |" for figure in section.figures]
    return lines


def _postgres_part(sections: Sequence[Section], settings: Settings) -> str:
    lines = _results(sections, "PostgreSQL: targets")
    lines += ["", "## PostgreSQL: how it was measured", ""]
    lines += [f"- {name}: {text}" for name, text in postgres_circumstances(settings).items()]
    lines += [
        "",
        "```sh",
        'make bench ARGS="--only postgres"    # all of it, a quarter of an hour; writes this part of the page',
        'make bench ARGS="--only pg-drain"    # one line: ' + ", ".join(section.name for section in sections),
        'make bench ARGS="--quick --only postgres"',
        "```",
        "",
        (
            "The server is a private one, started for each line in a folder for temporary files (`--dir` chooses "
            "another disk), with one database for each sample, vacuumed, analysed and checkpointed before the clock "
            "starts. What is not said above is as PostgreSQL has it by default. Worker and server share the cores."
        ),
        "",
    ]
    return "\n".join(lines)


def _sqlite_part(sections: Sequence[Section], settings: Settings) -> str:
    lines = [
        "# Performance",
        "",
        (
            "Written by `make bench`; do not edit it by hand. Figures of different machines do not compare, ratios do: "
            "every ratio below is the median of ratios of samples that were taken in turn, in one run."
        ),
        "",
        *_results(sections, "Targets"),
    ]
    lines += ["", "## How it was measured", ""]
    lines += [f"- {name}: {text}" for name, text in circumstances(settings).items()]
    lines += [
        "",
        "```sh",
        "make bench                           # all of it, some minutes; writes this page",
        'make bench ARGS="--only drain"       # one line: ' + ", ".join(section.name for section in sections),
        'make bench ARGS="--quick"            # under a minute, to see that it runs',
        "```",
        "",
        (
            "Every database is new, in a folder for temporary files (`--dir` chooses another); waits for the disk are "
            "those of that folder's disk. The peers run in an environment of their own (`.venv-peers`)."
        ),
        "",
    ]
    return "\n".join(lines)


def _http_part(sections: Sequence[Section], settings: Settings) -> str:
    lines = _results(sections, "The HTTP server: targets")
    lines += [
        "",
        "```sh",
        'make bench ARGS="--only http"        # all of it; the ten million tasks of each engine take their time',
        'make bench ARGS="--quick --only http"',
        "```",
        "",
        f"Measured {time.strftime('%Y-%m-%d', time.gmtime())}; load of the machine when it began: {settings.load}.",
    ]
    return "\n".join(lines)


def circumstances(settings: Settings) -> dict[str, str]:
    """What a figure must travel with."""
    return {
        **_machine(settings),
        "versions": f"prismq {__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "peers": peers(),
        "PRAGMAs of ours and raw": ", ".join(f"`{name}={value}`" for name, value in PRAGMAS.items()),
        **_run(settings),
    }


def postgres_circumstances(settings: Settings) -> dict[str, str]:
    """What a figure on PostgreSQL must travel with."""
    server = subprocess.run([programs() / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return {
        **_machine(settings),
        "versions": f"prismq {__version__}, Python {platform.python_version()}, psycopg {psycopg.__version__} "
        f"({psycopg.pq.__impl__}), {server.strip()}",
        "peers": ", ".join(
            filter(None, (_installed(PEERS_PYTHON, ON_POSTGRES), _installed(NEWER_PEERS_PYTHON, NEWER)))
        ),
        "settings of the server": ", ".join(f"`{name}={value}`" for name, value in SETTINGS.items()),
        **_run(settings),
    }


def _machine(settings: Settings) -> dict[str, str]:
    memory = psutil.virtual_memory().total / 2**30
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load of the machine before it began": settings.load,
        "machine": f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, {platform.system()}",
    }


def _run(settings: Settings) -> dict[str, str]:
    found = {"rounds": f"{settings.rounds}, interleaved; medians"}
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if commit.returncode == 0:
        found["commit"] = f"`{commit.stdout.strip()}` or later"
    return found


def peers() -> str:
    """The peers' versions, as their environment has them."""
    return _installed(PEERS_PYTHON, ON_SQLITE) or "not installed (`make bench` installs them)"


def _installed(python: Path, names: Sequence[str]) -> str:
    if not python.exists():
        return ""
    code = (
        "import json, platform, sqlite3, sys, importlib.metadata as m; "
        "print(json.dumps({n: m.version(n) for n in sys.argv[1:]}"
        " | {'SQLite': sqlite3.sqlite_version, 'Python': platform.python_version()}))"
    )
    done = subprocess.run([str(python), "-c", code, *names], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    shown = [*names, "SQLite"] if names is ON_SQLITE else list(names)
    return ", ".join(f"{name} {found[name]}" for name in shown) + f" (Python {found['Python']})"


_WRITERS: dict[str, Callable[[Sequence[Section], Settings], str]] = {
    "sqlite": _sqlite_part,
    "postgres": _postgres_part,
    "http": _http_part,
}
