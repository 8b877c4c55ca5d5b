"""What every line shares: samples, medians, children that measure, and the verdict against a target."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
# Some peers want a newer Python than ours: they have an environment of their own where one is installed.
NEWER_PEERS_PYTHON = ROOT / ".venv-peers-newer" / "bin" / "python"


@dataclass(frozen=True)
class Settings:
    """How much to measure. `quick` proves that a line works; its figures mean little."""

    quick: bool = False
    rounds: int = 3
    folder: Path | None = None  # where the databases are made; None: the system's temporary folder
    load: str = ""  # how busy the machine was with other things when it began, for the reader

    def size(self, full: int, quick: int) -> int:
        """How many of something: less in a quick run."""
        return quick if self.quick else full


@dataclass(frozen=True)
class Sample:
    """`n` things took this long by the wall clock, and this much processor time."""

    n: int
    wall_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        return self.n / self.wall_s

    @property
    def cpu_rate(self) -> float:
        return self.n / self.cpu_s if self.cpu_s else 0.0


def sample(n: int, work: Callable[[], object]) -> Sample:
    """Do `n` things here and now, by `work`, and say what they took."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Sample(n, time.perf_counter() - wall, time.process_time() - cpu)


@dataclass(frozen=True)
class Check:
    """A figure beside its target."""

    what: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "×"
    cpu: float | None = None  # the same ratio by processor time: what a busy machine disturbs less

    @property
    def passed(self) -> bool:
        if self.at_least is not None and self.value < self.at_least:
            return False
        return self.at_most is None or self.value <= self.at_most

    @property
    def target(self) -> str:
        sign, bound = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return f"{sign} {bound:g} {self.unit}"


@dataclass(frozen=True)
class Figure:
    """A row of the table: who, and how much."""

    who: str
    value: str
    note: str = ""


@dataclass
class Section:
    """One line of the benchmark: its figures, its checks and plain words on what it means."""

    name: str
    title: str
    words: str
    figures: list[Figure] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


def rate(sample: Sample) -> str:
    return f"{sample.rate:,.0f}/s"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that the fraction `q` of them does not exceed."""
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


def middle(samples: Sequence[Sample]) -> Sample:
    """The sample with the median rate."""
    return sorted(samples, key=lambda sample: sample.rate)[len(samples) // 2]


def ratio(ours: Sequence[Sample], theirs: Sequence[Sample]) -> tuple[float, float]:
    """Median of the ratios of samples taken side by side: by the wall clock, and by processor time."""
    pairs = list(zip(ours, theirs, strict=True))
    wall = median([a.rate / b.rate for a, b in pairs])
    cpu = median([a.cpu_rate / b.cpu_rate for a, b in pairs if b.cpu_rate])
    return wall, cpu


def interleaved(settings: Settings, variants: Mapping[str, Callable[[], Sample]]) -> dict[str, list[Sample]]:
    """Each variant once a round, one after another, so that a noisy minute hits all of them."""
    taken: dict[str, list[Sample]] = {name: [] for name in variants}
    for number in range(settings.rounds):
        for name, measure in variants.items():
            progress(f"round {number + 1}/{settings.rounds}: {name}")
            taken[name].append(measure())
    return taken


def progress(text: str) -> None:
    """Say what is being measured, on stderr: the table alone goes to stdout."""
    print(f"  {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def workplace(settings: Settings) -> Iterator[Path]:
    """An empty folder, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="prismq-bench-", dir=settings.folder))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def child(role: str, **arguments: Any) -> list[str]:
    """The command of a fresh process that plays `role` (see children.py)."""
    return [sys.executable, "-m", "benchmarks.children", role, json.dumps(arguments, default=str)]


def run_child(role: str, **arguments: Any) -> Any:
    """Run a child to its end; what it measured."""
    return _json_of(child(role, **arguments))


def peer_sample(script: str, *, python: Path = PEERS_PYTHON, **arguments: Any) -> Sample:
    """Run a peer's script in the peers' environment; what it measured."""
    command = [str(python), str(ROOT / "benchmarks" / "peers" / script), json.dumps(arguments, default=str)]
    return Sample(**_json_of(command))


def peers_installed() -> bool:
    return PEERS_PYTHON.exists()


def _json_of(command: list[str]) -> Any:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"a measuring process failed ({done.returncode}):\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


class Companion:
    """A child that says `ready`, works from `go()` on, and tells what it measured at `stop()`."""

    def __init__(self, role: str, **arguments: Any) -> None:
        self.process = subprocess.Popen(
            child(role, **arguments), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._expect_line()

    def _expect_line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a measuring process ended early ({self.process.wait()})")
        return line

    def _say(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def go(self) -> None:
        self._say("go")

    def stop(self) -> Any:
        self._say("stop")
        answer = json.loads(self._expect_line())
        self.process.communicate(timeout=60)
        return answer

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
