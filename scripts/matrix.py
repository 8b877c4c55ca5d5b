"""Run the fast tests on every supported Python that is installed here, beside the default one.

The supported versions are the classifiers in pyproject.toml. Each gets an environment of its own,
`.venv-3.X`, from the same lock. A version that is not installed is named and left out: which Pythons a
machine has is its owner's choice.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
PYPROJECT = ROOT / "pyproject.toml"
FAST = ("tests/unit", "tests/contract", "tests/integration")
# What a store means on PostgreSQL does not depend on the Python above its driver, which tests/unit/test_postgres_* use.
LESS = ("-k", "not postgres or test_postgres")
DEFAULT = f"{sys.version_info.major}.{sys.version_info.minor}"
PIP = ("-m", "pip", "--no-input", "--disable-pip-version-check", "-qq", "install")


def supported() -> list[str]:
    """Versions such as "3.10", oldest first."""
    return re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PYPROJECT.read_text("utf-8"))


def candidates(version: str) -> Iterator[str]:
    """Programs that may be Python `version`: those on PATH, then pyenv's, newest patch first."""
    for folder in os.get_exec_path():
        if found := shutil.which(f"python{version}", path=folder):
            yield found
    if pyenv := os.environ.get("PYENV_ROOT"):
        installed = Path(pyenv, "versions").glob(f"{version}*/bin/python")
        yield from map(str, sorted(installed, key=patch_number, reverse=True))


def patch_number(python: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", python.parent.parent.name)]


def find(version: str) -> str | None:
    """The first candidate that runs, is what its name says, and can make an environment.

    A pyenv shim is on PATH for versions that are not active, and some distributions leave ensurepip out.
    """
    probe = "import sys, venv, ensurepip, sqlite3; print('%d.%d' % sys.version_info[:2])"
    for python in candidates(version):
        try:
            ran = subprocess.run([python, "-c", probe], capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if ran.returncode == 0 and ran.stdout.strip() == version:
            return python
    return None


def environment(version: str, python: str) -> Path:
    """The Python of `.venv-3.X`, made or brought up to date with the lock and pyproject.toml."""
    venv = ROOT / f".venv-{version}"
    inside = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = venv / ".stamp"
    if is_newer(stamp, LOCK) and is_newer(stamp, PYPROJECT):
        return inside
    say(f"{version}: installing into {venv.name}")
    run(python, "-m", "venv", "--clear", venv)
    run(inside, *PIP, "--require-hashes", "-r", LOCK)
    run(inside, *PIP, "--no-deps", "--no-build-isolation", "-e", ROOT)
    stamp.touch()
    return inside


def is_newer(stamp: Path, source: Path) -> bool:
    return stamp.exists() and stamp.stat().st_mtime >= source.stat().st_mtime


def run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True)


def say(line: str) -> None:
    # Flushed, so that it stays above what the next program prints.
    print(f"matrix: {line}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", default="2", help="pytest-xdist workers")
    parser.add_argument("--only", default="", help='versions to use, such as "3.10 3.13", or "none"; empty: all')
    parser.add_argument("--find", nargs="+", metavar="VERSION", help="only print the first of these that is installed")
    options = parser.parse_args()
    if options.find:
        print(next(filter(None, map(find, options.find)), ""))
        return 0

    others = [version for version in supported() if version != DEFAULT]
    wanted = [version for version in others if version in options.only.split()] if options.only else others
    found = {version: python for version in wanted if (python := find(version))}
    missing = [version for version in wanted if version not in found]
    left_out = [version for version in others if version not in wanted]

    say(f"{DEFAULT} is the default Python: {sys.executable}")
    for version, python in found.items():
        say(f"{version} found: {python}")
    if missing:
        say(f"NOT tested, not installed here: {', '.join(missing)}")
    if left_out:
        say(f"NOT tested, left out by MATRIX: {', '.join(left_out)}")

    suites = [suite for suite in FAST if (ROOT / suite).is_dir()]
    if not suites:
        say(f"no tests to run: none of {', '.join(FAST)} exists")
        return 0
    failed = []
    for version, python in found.items():
        inside = environment(version, python)
        say(f"{version}: {' '.join(suites)}")
        pytest = [str(inside), "-m", "pytest", "-q", "-n", options.jobs, *LESS, *suites]
        if subprocess.run(pytest, cwd=ROOT, check=False).returncode:
            failed.append(version)
    if failed:
        say(f"FAILED on {', '.join(failed)}")
        return 1
    if found:
        say(f"passed on {', '.join(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
