"""docs/cli.md says what there is."""

from __future__ import annotations

import re

import pytest

from prismq.cli.exits import Exit
from tests.cli.reference import PAGE, commands, page

ALL = [path for path, _ in commands()]


def test_the_reference_is_what_the_commands_say_of_themselves() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.cli.reference"


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_a_section(path: tuple[str, ...]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert re.search(rf"^### `prismq {' '.join(path)}[ `]", text, re.MULTILINE)


def test_every_option_of_every_command_is_explained() -> None:
    for path, command in commands():
        for parameter in command.params:
            assert parameter.help, f"prismq {' '.join(path)}: {parameter.name}"


def test_the_exit_codes_are_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for code in Exit:
        assert re.search(rf"^\| {code.value} \|", text, re.MULTILINE), code
