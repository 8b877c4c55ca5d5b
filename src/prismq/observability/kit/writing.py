"""Putting a kit's files into a folder, and nothing else in danger: a list of what was written lies beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from prismq.domain.errors import ConfigurationError
from prismq.domain.words import listed

LIST = "prismq-kit.json"


def write_kit(
    kit: str, files: Mapping[str, str], folder: Path, *, force: bool = False, secrets: Mapping[str, str] | None = None
) -> list[Path]:
    """Write the files (text, by their path in the folder), which is made where it is missing; what was written.

    `secrets` are placeholders that somebody replaces: written only where there is none, for the owner's eyes alone.
    Raises ConfigurationError, with nothing written: the folder holds other files, or some of the kit that were changed
    since it was made, and `force` does not say to write all the same; or it cannot be written.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise ConfigurationError(f"{folder} is a file; give --out a folder")
        if not force:
            _refuse_to_harm(files, secrets or {}, folder)
        folder.mkdir(parents=True, exist_ok=True)
        written = [_write(folder / name, text) for name, text in sorted(files.items())]
        for name, text in (secrets or {}).items():
            place = folder / name
            if not place.exists():
                place.touch(0o600)
                written.append(_write(place, text))
        _write(folder / LIST, _listing(kit, files))
    except (OSError, ValueError) as error:  # ValueError: a path that cannot be
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(
            f"the kit cannot be written to {folder}: {why}. Give --out a folder that you may write"
        ) from error
    return written


def _write(place: Path, text: str) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8", newline="\n")
    return place


def _listing(kit: str, files: Mapping[str, str]) -> str:
    marks = {name: _mark(text.encode()) for name, text in sorted(files.items())}
    return json.dumps({"kit": kit, "files": marks}, indent=2) + "\n"


def _mark(content: bytes) -> str:
    return sha256(content).hexdigest()


def _refuse_to_harm(files: Mapping[str, str], secrets: Mapping[str, str], folder: Path) -> None:
    if not folder.is_dir():
        return
    known = _known(folder)
    there = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
    strange = [name for name in there if name not in known and name not in secrets and name != LIST]
    if strange:
        raise ConfigurationError(
            f"{folder} holds other files ({listed(strange)}). Give --out an empty folder, or --force to write the kit "
            f"among them"
        )
    changed = [
        name for name in there if name in files and name in known and _mark((folder / name).read_bytes()) != known[name]
    ]
    if changed:
        raise ConfigurationError(
            f"{listed(changed)} in {folder} {'has' if len(changed) == 1 else 'have'} been changed since the kit was "
            f"made. Keep a copy and give --force to write it anew, or another folder with --out"
        )


def _known(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / LIST).read_text(encoding="utf-8"))["files"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # none, or not ours
        return {}
    return {str(name): str(mark) for name, mark in found.items()} if isinstance(found, dict) else {}
