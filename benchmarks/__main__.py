"""`python -m benchmarks`: measure, print one table, write docs/performance.md."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.harness import ROOT, Settings, peers_installed, progress
from benchmarks.lines import LINES as ON_SQLITE
from benchmarks.painting import LINES as ON_PAINTING
from benchmarks.postgres.lines import LINES as ON_POSTGRES
from benchmarks.report import GROUPS as TOLD
from benchmarks.report import keep, page, record, table
from benchmarks.routes import LINES as ON_ROUTES
from benchmarks.server import LINES as ON_SERVER
from benchmarks.watching import LINES as ON_WATCHING

ON_HTTP = {**ON_SERVER, **ON_WATCHING, **ON_PAINTING, **ON_ROUTES}
LINES = {**ON_SQLITE, **ON_POSTGRES, **ON_HTTP}
GROUPS = {"sqlite": list(ON_SQLITE), "postgres": list(ON_POSTGRES), "http": list(ON_HTTP)}


def main() -> int:
    """Run what the command line asks for. A missed target is told, and is no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only",
        action="extend",
        type=_lines,
        metavar="LINE,…",
        help=f"only these of {', '.join(LINES)}; `sqlite`, `postgres` and `http` are all of a kind; may be repeated",
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run: small numbers that mean little")
    parser.add_argument("--rounds", type=int, default=None, help="repetitions of each measure (default 3)")
    parser.add_argument("--dir", type=Path, default=None, help="where to make the databases")
    parser.add_argument("--out", type=Path, default=None, help="write the page here, and its results beside it")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    settings = Settings(quick=arguments.quick, rounds=rounds, folder=arguments.dir, load=_load())
    if not peers_installed():
        progress("the peers are not installed: only PrismQ and raw SQLite are measured (make bench installs them)")
    sections = []
    names = list(dict.fromkeys(arguments.only or LINES))
    for name in names:
        progress(f"{name} …")
        sections.append(LINES[name](settings))
    print(table(sections))
    found = {}
    for group, lines in GROUPS.items():
        of_group = [section for section in sections if section.name in lines]
        circumstances = TOLD[group].circumstances() if of_group else {}
        for key, text in circumstances.items():
            print(f"{key}: {text}")
        found |= {section.name: record(group, section, settings, circumstances) for section in of_group}
    missed = [check for section in sections for check in section.checks if not check.passed]
    out = arguments.out
    if out is not None or not arguments.quick:
        results = ROOT / "benchmarks" / "results.json" if out is None else out.with_suffix(".json")
        out = out or ROOT / "docs" / "performance.md"
        out.write_text(page(keep(results, found), list(LINES)), encoding="utf-8")
        progress(f"written: {out}")
    if missed:
        print(f"\nMISSED {len(missed)} of the targets:" if not arguments.quick else "\nMISSED (quick: means little):")
        for check in missed:
            print(f"  MISSED  {check.what}: {check.value:.2f}, target {check.target}")
    return 0


def _lines(text: str) -> list[str]:
    names = [name for word in text.split(",") for name in GROUPS.get(word, [word])]
    for name in names:
        if name not in LINES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join([*LINES, *GROUPS])}")
    return names


def _load() -> str:
    if not hasattr(os, "getloadavg"):
        return "unknown on this system"
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores (a busy machine disturbs waits and two processes most)"


if __name__ == "__main__":
    sys.exit(main())
