"""The table on the terminal, and docs/performance.md with what it is made of: the last results of every line."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import psycopg

from benchmarks.harness import NEWER_PEERS_PYTHON, PEERS_PYTHON, Check, Section, Settings
from benchmarks.postgres.server import SETTINGS
from prismq import PRAGMAS, __version__
from prismq.cli.demo.server import programs

ON_SQLITE = ("huey", "litequeue", "persist-queue")
ON_POSTGRES = ("pgqueuer", "chancy", "procrastinate", "asyncpg", "psycopg", "uvloop")
NEWER = ("oban", "psycopg", "uvloop")

Record = dict[str, Any]  # of one line: what JSON can hold
Records = dict[str, Record]

_HEAD = """# Performance

Written by `make bench` from `benchmarks/results.json`; do not edit either by hand. A line that is run alone is written,
too, and says when it was. Figures of different machines do not compare, ratios do: every ratio below is the median of
ratios of samples that were taken in turn, in one run. By processor time: the same ratio of tasks per second of
processor time, which a busy machine disturbs less and which leaves out the waits for the disk."""
_CHECKS = ("What", "Measured", "By processor time", "Target", "")


class Group(NamedTuple):
    """Lines that are told of together."""

    title: str  # of their targets
    how: str  # the title of what they were measured with
    words: str
    circumstances: Callable[[], dict[str, str]]


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


def record(group: str, section: Section, settings: Settings, circumstances: Mapping[str, str]) -> Record:
    """What is kept of a line that was run, and shown of it."""
    return {
        "group": group,
        "title": section.title,
        "words": section.words,
        "figures": [[figure.who, figure.value, figure.note] for figure in section.figures],
        "checks": [
            [
                check.what,
                value(check),
                f"{check.cpu:.2f} ×" if check.cpu is not None else "",
                check.target,
                "pass" if check.passed else "**MISSED**",
            ]
            for check in section.checks
        ],
        "measured": _measured(settings),
        "circumstances": dict(circumstances),
    }


def _measured(settings: Settings) -> str:
    said = f"{time.strftime('%Y-%m-%d', time.gmtime())}, {settings.rounds} rounds"
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if commit.returncode == 0:
        said += f", commit `{commit.stdout.strip()}` or later"
    return f"{said}; load of the machine before it began: {settings.load}"


def keep(file: Path, found: Records) -> Records:
    """Put these in the place of what the file has of the same lines; all that it has now."""
    records: Records = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    records.update(found)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return records


def page(records: Records, order: Sequence[str]) -> str:
    """docs/performance.md: the targets of each group, then every line, then what it was measured with."""
    parts = [_HEAD]
    for name, group in GROUPS.items():
        lines = [records[line] for line in order if line in records and records[line]["group"] == name]
        if not lines:
            continue
        checks = [check for line in lines for check in line["checks"]]
        parts.append(f"## {group.title}")
        parts.append(
            _rows(
                ["What", "Measured", "By processor time", "Target", ""], ["---", "---:", "---:", "---:", "---"], checks
            )
        )
        for line in lines:
            parts += [f"## {line['title']}", line["words"], f"Measured {line['measured']}."]
            parts.append(_rows(["", "", ""], ["---", "---:", "---"], line["figures"]))
        newest = max(lines, key=lambda line: str(line["measured"]))["circumstances"]
        parts += [f"## {group.how}", "\n".join(f"- {what}: {text}" for what, text in newest.items()), group.words]
    return "\n\n".join(parts) + "\n"


def _rows(head: Sequence[str], alignment: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, alignment, *rows))


def sqlite_circumstances() -> dict[str, str]:
    """What a figure must travel with."""
    return {
        **_machine(),
        "versions": f"prismq {__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "peers": peers(),
        "PRAGMAs of ours and raw": ", ".join(f"`{name}={value}`" for name, value in PRAGMAS.items()),
    }


def postgres_circumstances() -> dict[str, str]:
    """What a figure on PostgreSQL must travel with."""
    server = subprocess.run([programs() / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return {
        **_machine(),
        "versions": f"prismq {__version__}, Python {platform.python_version()}, psycopg {psycopg.__version__} "
        f"({psycopg.pq.__impl__}), {server.strip()}",
        "peers": ", ".join(
            filter(None, (_installed(PEERS_PYTHON, ON_POSTGRES), _installed(NEWER_PEERS_PYTHON, NEWER)))
        ),
        "settings of the server": ", ".join(f"`{name}={value}`" for name, value in SETTINGS.items()),
    }


def _machine() -> dict[str, str]:
    memory = psutil.virtual_memory().total / 2**30
    return {
        "machine": f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, {platform.system()}",
    }


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


def _bench(*names: str) -> str:
    return "\n".join(["```sh", *(f'make bench ARGS="--only {name}"' for name in names), "```"])


GROUPS: dict[str, Group] = {
    "sqlite": Group(
        "Targets",
        "How it was measured",
        _bench("sqlite", "drain")
        + "\n\nEvery database is new, in a folder for temporary files (`--dir` chooses another); waits for the disk "
        "are those of that folder's disk. The peers run in an environment of their own (`.venv-peers`).",
        sqlite_circumstances,
    ),
    "postgres": Group(
        "PostgreSQL: targets",
        "PostgreSQL: how it was measured",
        _bench("postgres", "pg-drain")
        + "\n\nThe server is a private one, started for each line in a folder for temporary files (`--dir` chooses "
        "another disk), with one database for each sample, vacuumed, analysed and checkpointed before the clock "
        "starts. What is not said above is as PostgreSQL has it by default. Worker and server share the cores.",
        postgres_circumstances,
    ),
    "http": Group(
        "The HTTP server: targets",
        "The HTTP server: how it was measured",
        _bench("http", "routes-pg") + "\n\nThe ten million tasks of each engine take their time.",
        postgres_circumstances,
    ),
}
