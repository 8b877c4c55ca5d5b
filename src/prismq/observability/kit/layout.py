"""How the files of a kit look: YAML that people read, with a head that says where it comes from."""

from __future__ import annotations

import re
from typing import Any

import yaml

from prismq.version import __version__

_LINE_MAX = 100
_BREAKS = re.compile(r"[()]| (?=(?:and|or|unless) )")


def laid_out(expression: str) -> str:
    """A long expression with a line for each part between its outer operators of sets."""
    if len(expression) <= _LINE_MAX:
        return expression
    depth, at, lines = 0, 0, [""]
    for found in _BREAKS.finditer(expression):
        lines[-1] += expression[at : found.start()]
        at = found.end()
        if found[0] != " ":
            depth += 1 if found[0] == "(" else -1
            lines[-1] += found[0]
        elif depth <= 1:
            lines.append("  " * depth)
        else:
            lines[-1] += " "
    return "\n".join([*lines[:-1], lines[-1] + expression[at:]])


class _Dumper(yaml.SafeDumper):
    """Text of several lines is written as it is."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def document(value: Any, title: str) -> str:
    """A value as YAML."""
    head = f"# {title}\n# Made by `prismq kit` of prismq {__version__}: make it anew after an update.\n"
    return head + yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
