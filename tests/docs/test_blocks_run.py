"""Every block of code in the documents does what it says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import ON_A_SERVER, PAGES, ROOT, Block, blocks_of, shell_lines
from tests.helpers.postgres import server

pytestmark = pytest.mark.timeout(180)

_LIMIT_S = 60
URL = "PRISMQ_DATABASE_URL"
_PRINTS = re.compile(r"^\s*print\(.*\)\s+# → (?P<shown>.*)$", re.MULTILINE)
_PRISMQ = [sys.executable, "-m", "prismq.cli.main"]


@pytest.fixture
def server_url() -> Iterator[str]:
    """An empty database on a server."""
    name = server().new_database()
    yield server().url(name)
    server().drop(name)


@pytest.fixture(autouse=True)
def _no_server_of_somebody_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(URL, raising=False)


def with_python(page: Path) -> bool:
    return any(block.language == "python" for block in blocks_of(page))


@pytest.mark.parametrize("page", [pytest.param(p, id=p.name) for p in PAGES if with_python(p)])
def test_the_python_of_a_page_runs_in_order_and_prints_what_it_says(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = blocks_of(page)
    if ON_A_SERVER in page.read_text(encoding="utf-8"):
        monkeypatch.setenv(URL, request.getfixturevalue("server_url"))
    for block in blocks:
        if block.file_name:
            (tmp_path / block.file_name).write_text(block.text, encoding="utf-8")

    with ExitStack() as stack:
        for block in blocks:
            if block.file_name:
                check_prints(block.text, run_script(tmp_path, tmp_path / block.file_name))
            elif block.runs:
                for line in shell_lines(block):
                    stack.enter_context(shell(line, tmp_path))
    rest = [block for block in blocks if block.language == "python" and not block.file_name]
    if rest:
        script = tmp_path / f"{page.stem.replace('-', '_')}_page.py"
        script.write_text(in_place(rest), encoding="utf-8")
        check_prints(script.read_text(encoding="utf-8"), run_script(tmp_path, script))


def in_place(blocks: list[Block]) -> str:
    """One script, each block at the lines it has in the page, so that a traceback names the page's lines."""
    script = ""
    for block in blocks:
        script += "\n" * (block.line - 1 - script.count("\n")) + block.text
    return script


def run_script(here: Path, script: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=here, capture_output=True, text=True, encoding="utf-8", timeout=_LIMIT_S, env=environment(),
    )  # fmt: skip
    assert done.returncode == 0, f"{script.name}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PRISMQ_") or name == URL}
    return {**kept, "PYTHONUTF8": "1"}


def check_prints(script: str, printed: str) -> None:
    lines = iter(printed.splitlines())
    for found in _PRINTS.finditer(script):
        assert found["shown"] in lines, f"{found[0].strip()}\nprinted:\n{printed}"


@contextmanager
def shell(line: str, here: Path) -> Iterator[None]:
    """Run a command; a worker runs until the page has ended."""
    words = shlex.split(line, comments=True)
    assert words[0] == "prismq", f"only prismq commands are run: {line}"
    command = [*_PRISMQ, *words[1:]]
    if words[1] != "worker":
        done = subprocess.run(
            command, cwd=here, capture_output=True, text=True, timeout=_LIMIT_S, env=environment(), check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        yield
        return
    with subprocess.Popen(command, cwd=here, stderr=subprocess.DEVNULL, env=environment()) as worker:
        try:
            yield
        finally:
            worker.terminate()
            assert worker.wait(_LIMIT_S) == 0, line


SHELL = [
    pytest.param(line, id=f"{page.name}: {line}")
    for page in PAGES
    for block in blocks_of(page)
    for line in shell_lines(block)
    if line.startswith("prismq ")
]


@pytest.mark.parametrize("line", SHELL)
def test_a_prismq_command_has_the_options_that_the_page_gives_it(line: str) -> None:
    import typer.main

    from prismq.cli.main import app

    words = shlex.split(line, comments=True)[1:]
    words = words[: next((n for n, word in enumerate(words) if word in ("|", ">", "&", "&&")), len(words))]
    command = typer.main.get_command(app)
    context = command.make_context("prismq", words)
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        assert rest, f"{line} names no command"
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context)


@pytest.mark.parametrize("page", [pytest.param(p, id=p.name) for p in PAGES])
def test_a_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    lines = [line for block in blocks_of(page) for line in shell_lines(block)]

    for line in lines:
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets, line
