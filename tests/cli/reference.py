"""The commands as a document: `python -m tests.cli.reference` writes the second half of docs/cli.md."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from prismq.cli.main import app

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
MARK = "<!-- From here on written by `python -m tests.cli.reference`, from the commands themselves. -->\n"
_COMMON = {"db", "config", "as_json", "traceback"}


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with its words."""
    command = typer.main.get_command(app) if command is None else command
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield path, command


def reference() -> str:
    """A section for each command; the demo has its own, by hand."""
    sections = [section(path, command) for path, command in commands() if path != ("demo",)]
    return "\n".join(sections)


def section(path: tuple[str, ...], command: Any) -> str:
    """Heading, what it does, its arguments and options."""
    own = [one for one in command.params if one.name not in _COMMON and one.name != "help"]
    arguments = [one for one in own if one.param_type_name == "argument"]
    words = " ".join(["prismq", *path, *(_metavar(one) for one in arguments)])
    lines = [f"### `{words}`", "", inspect.cleandoc(command.help or ""), ""]
    rows = [(f"`{_metavar(one)}`", one) for one in arguments]
    rows += [(_options(one), one) for one in own if one.param_type_name == "option"]
    if rows:
        lines += ["| | |", "|---|---|"]
        lines += [f"| {name} | {_cell(one.help or '')} |" for name, one in rows]
        lines.append("")
    return "\n".join(lines)


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _options(parameter: Any) -> str:
    names = sorted(parameter.opts, key=len, reverse=True) + sorted(parameter.secondary_opts)
    shown = ", ".join(f"`{name}`" for name in names)
    return f"{shown} {parameter.metavar.replace('|', chr(92) + '|')}" if parameter.metavar else shown


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def page() -> str:
    """The document with its second half written anew."""
    return PAGE.read_text(encoding="utf-8").partition(MARK)[0] + MARK + "\n" + reference()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
