"""The table on the terminal, and docs/performance.md."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
import time
from collections.abc import Sequence

import psutil

from benchmarks.harness import PEERS_PYTHON, Check, Section, Settings, peers_installed
from prismq import PRAGMAS, __version__


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


def page(sections: Sequence[Section], settings: Settings) -> str:
    """docs/performance.md."""
    lines = [
        "# Performance",
        "",
        (
            "Written by `make bench`; do not edit it by hand. Figures of different machines do not compare, ratios do: "
            "every ratio below is the median of ratios of samples that were taken in turn, in one run."
        ),
        "",
        "## Targets",
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


def circumstances(settings: Settings) -> dict[str, str]:
    """What a figure must travel with."""
    memory = psutil.virtual_memory().total / 2**30
    found = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "load of the machine before it began": settings.load,
        "machine": f"{os.cpu_count()} cores ({platform.machine()}), {memory:.0f} GiB, {platform.system()}",
        "versions": f"prismq {__version__}, Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "peers": peers(),
        "PRAGMAs of ours and raw": ", ".join(f"`{name}={value}`" for name, value in PRAGMAS.items()),
        "rounds": f"{settings.rounds}, interleaved; medians",
    }
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if commit.returncode == 0:
        found["commit"] = f"`{commit.stdout.strip()}` or later"
    return found


def peers() -> str:
    """The peers' versions, as their environment has them."""
    if not peers_installed():
        return "not installed (`make bench` installs them)"
    code = (
        "import json, sqlite3, importlib.metadata as m; "
        "print(json.dumps({n: m.version(n) for n in ('huey', 'litequeue', 'persist-queue')}"
        " | {'SQLite': sqlite3.sqlite_version}))"
    )
    done = subprocess.run([str(PEERS_PYTHON), "-c", code], capture_output=True, text=True, check=True)
    return ", ".join(f"{name} {version}" for name, version in json.loads(done.stdout).items())
