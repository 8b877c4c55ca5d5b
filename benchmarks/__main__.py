"""`python -m benchmarks`: measure, print one table, write docs/performance.md."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.harness import ROOT, Settings, peers_installed, progress
from benchmarks.lines import LINES
from benchmarks.report import circumstances, page, table


def main() -> int:
    """Run what the command line asks for. A missed target is told, and is no error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=list(LINES), help="this line only; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a smoke run: small numbers that mean little")
    parser.add_argument("--rounds", type=int, default=None, help="repetitions of each measure (default 3)")
    parser.add_argument("--dir", type=Path, default=None, help="where to make the databases")
    parser.add_argument("--out", type=Path, default=None, help="write the page here, whatever was run")
    arguments = parser.parse_args()
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    settings = Settings(quick=arguments.quick, rounds=rounds, folder=arguments.dir, load=_load())
    if not peers_installed():
        progress("the peers are not installed: only PrismQ and raw SQLite are measured (make bench installs them)")
    sections = []
    for name in arguments.only or LINES:
        progress(f"{name} …")
        sections.append(LINES[name](settings))
    print(table(sections))
    for key, text in circumstances(settings).items():
        print(f"{key}: {text}")
    missed = [check for section in sections for check in section.checks if not check.passed]
    out = arguments.out
    if out is None and not arguments.quick and not arguments.only:
        out = ROOT / "docs" / "performance.md"
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(page(sections, settings), encoding="utf-8")
        progress(f"written: {out}")
    if missed:
        print(f"\nMISSED {len(missed)} of the targets:" if not arguments.quick else "\nMISSED (quick: means little):")
        for check in missed:
            print(f"  MISSED  {check.what}: {check.value:.2f}, target {check.target}")
    return 0


def _load() -> str:
    if not hasattr(os, "getloadavg"):
        return "unknown on this system"
    return f"{os.getloadavg()[0]:.1f} on {os.cpu_count()} cores (a busy machine disturbs waits and two processes most)"


if __name__ == "__main__":
    sys.exit(main())
