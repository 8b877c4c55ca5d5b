"""Configuration files: which one counts, and what it holds. TOML, YAML and JSON; a name set twice is an error."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from prismq.config.database import read_database
from prismq.domain.errors import ConfigurationError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_NAMES = ("prismq.toml", "prismq.yaml", "prismq.yml", "prismq.json")

_KINDS = {".toml": "TOML", ".json": "JSON", ".yaml": "YAML", ".yml": "YAML"}


def find_file(file_path: str | os.PathLike[str] | None) -> Path | None:
    """The file named, else the one in the current folder; two there are an error."""
    if file_path is not None:
        return Path(file_path).expanduser()
    found = [Path(name) for name in FILE_NAMES if Path(name).is_file()]
    if len(found) > 1:
        raise ConfigurationError(
            f"{Path.cwd()} has more than one configuration file: {', '.join(map(str, found))}. Keep one"
        )
    return found[0].absolute() if found else None


def read_file(path: Path) -> dict[str, Any]:
    """What the file holds. Raises ConfigurationError unless it is an object of settings."""
    suffix = path.suffix.lower()
    if suffix not in (".toml", ".yaml", ".yml", ".json"):
        raise ConfigurationError(
            f"the configuration file {path} has the suffix {suffix!r}; it must be .toml, .yaml, .yml or .json"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")  # Notepad puts a mark before the text
    except FileNotFoundError:
        raise ConfigurationError(f"there is no configuration file {path}. Check the path") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"the configuration file {path} is not UTF-8 text: {error}") from None
    except OSError as error:
        raise ConfigurationError(f"the configuration file {path} cannot be read: {error.strerror}") from None
    try:
        if suffix == ".toml":
            content: Any = tomllib.loads(text)
        elif suffix == ".json":
            content = json.loads(text, object_pairs_hook=without_duplicates) if text.strip() else {}
        else:
            content = yaml.load(text, Loader=_YamlLoader)  # noqa: S506 - a SafeLoader that also refuses duplicates
    except (ValueError, yaml.YAMLError, RecursionError) as error:  # ValueError: TOML, JSON and duplicates
        raise ConfigurationError(f"the configuration file {path} is not valid {_KINDS[suffix]}: {error}") from None
    return section_of(content, "the top level", str(path))


def section_of(content: Any, name: str, where: str) -> dict[str, Any]:
    """`content` if it is an object. Raises ConfigurationError, which says that `name` in `where` is none."""
    if content is None:  # an empty YAML file or section
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise ConfigurationError(
            f"{where}: {name} must hold settings as `name: value`, not {type(content).__name__} {content!r}"
        )
    return content


def with_database_path(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """The content with a relative database path taken from the file's folder."""
    database = content.get("database")
    if not isinstance(database, str):
        return content
    try:
        scheme, location = read_database(database)
    except ValueError:  # said where the setting is checked
        return content
    if scheme != "sqlite" or location == ":memory:":
        return content
    return {**content, "database": str(path.absolute().parent / location)}


def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For json.loads: it keeps the last of two equal names without a word; this raises ValueError."""
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is set twice")
    return content


class _YamlLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and names.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is set twice", key.start_mark)
        return super().construct_mapping(node, deep)
