"""The documents, cut into their code blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\s*$")
_FILE_NAME = re.compile(r"^# (?P<name>\w+\.py)\b")
RUNS = "<!-- runs -->"  # before a shell block whose commands the test executes
ON_A_SERVER = "<!-- on a PostgreSQL server -->"  # before a block that finds one in PRISMQ_DATABASE_URL


@dataclass(frozen=True)
class Block:
    """A fenced block. `line` is that of its first line of code, counting from 1."""

    page: Path
    line: int
    language: str
    text: str
    runs: bool

    @property
    def file_name(self) -> str | None:
        """The file that a Python block says it is, in its first line: `# tasks.py`."""
        found = _FILE_NAME.match(self.text)
        return found["name"] if found and self.language == "python" else None


def blocks_of(page: Path) -> list[Block]:
    """The page's blocks, in order."""
    blocks: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        number += 1
        if fence is None:
            continue
        start = number
        while lines[number].strip() != "```":
            number += 1
        indent = len(fence["indent"])
        text = "\n".join(line[indent:] for line in lines[start:number]) + "\n"
        before = next((line.strip() for line in reversed(lines[: start - 1]) if line.strip()), "")
        blocks.append(Block(page, start + 1, fence["language"], text, before == RUNS))
        number += 1
    return blocks


def shell_lines(block: Block) -> list[str]:
    """The commands of a shell block, without prompts, comments and what they print."""
    if block.language not in ("sh", "shell", "bash"):
        return []
    joined = block.text.replace("\\\n", " ")
    return [line for line in map(str.strip, joined.splitlines()) if line and not line.startswith("#")]
