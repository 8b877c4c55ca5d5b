"""The benchmarks run: one line of them, with numbers too small to mean anything."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_quick_line_measures_prints_its_table_and_writes_its_page(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"

    done = run("--only", "claim", "--dir", str(tmp_path), "--out", str(page))

    assert done.returncode == 0, done.stderr
    for strategy in ("fifo", "lifo", "priority", "weighted_random"):
        assert f"claim by {strategy}" in done.stdout
    assert "target ≤ 1.3" in done.stdout
    written = page.read_text(encoding="utf-8")
    assert "| claim by priority, worst of the four, against 1,000 |" in written
    assert str(tmp_path) not in written
    assert str(ROOT) not in written


def test_a_line_that_is_run_alone_is_put_beside_what_was_measured_before(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    results = page.with_suffix(".json")
    before = {
        name: {
            "group": "sqlite", "title": f"Title of {name}", "words": "Words.", "figures": [["who", "1/s", "a note"]],
            "checks": [[f"check of {name}", "1.00 ×", "", "≥ 0.5 ×", "pass"]], "measured": "2020-01-01",
            "circumstances": {"machine": "an old one"},
        }
        for name in ("enqueue", "claim")
    }  # fmt: skip
    results.write_text(json.dumps(before), encoding="utf-8")

    for _ in range(2):  # the second time it is there already
        done = run("--only", "pg-enqueue", "--out", str(page))
        assert done.returncode == 0, done.stderr

    written = page.read_text(encoding="utf-8")
    lines = ["| check of enqueue |", "## Title of enqueue", "## Title of claim", "an old one", "## PostgreSQL: targets"]
    assert [text for text in lines if written.count(text) == 1] == lines
    assert written.index("## Title of enqueue") < written.index("## Title of claim")
    assert written.count("| PostgreSQL: enqueue one by one against raw |") == 1
    assert "`synchronous_commit=on`" in written
    assert str(ROOT) not in written
    assert json.loads(results.read_text(encoding="utf-8"))["claim"] == before["claim"]


def test_a_line_that_does_not_exist_is_refused_with_the_list_of_those_that_do() -> None:
    done = run("--only", "nonsense")

    assert done.returncode == 2
    assert "drain" in done.stderr
