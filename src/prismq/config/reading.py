"""Puts the sources together: what the caller says, over the environment, over a file, over the defaults.

The environment is read here and nowhere else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from prismq.config.base import AnyConfig, Config, about, refuse_unknown, shown
from prismq.config.database import DATABASE_VARIABLES, DatabaseTarget, default_db_path, target_of
from prismq.config.files import find_file, read_file, section_of, with_database_path, without_duplicates
from prismq.config.models import SECTIONS, Settings, WorkerConfig
from prismq.domain.errors import ConfigurationError, closest

# Two of the reference, and of OpenTelemetry, besides our own.
_OURS = ("PRISMQ_", "TRACING_", "OTEL_")


def load_worker_config(
    file_path: str | os.PathLike[str] | None = None,
    apply_env_overrides: bool = True,
    *,
    environ: Mapping[str, str] | None = None,
) -> WorkerConfig:
    """The worker's settings: the environment over a file over the defaults.

    The file's `worker` section counts, or its top level where it has none. Without `file_path`, prismq.toml,
    .yaml or .json of the current folder is read if it is there.
    """
    found = find_file(file_path)
    values: dict[str, Any] = {}
    if found is not None:
        content = read_file(found)
        if "worker" in content:
            refuse_unknown(Settings, content, str(found))
            values = section_of(content["worker"], "worker", str(found))
        else:
            values = {key: value for key, value in content.items() if key not in Settings.model_fields}
    return _build(WorkerConfig, values, found, _environment(environ) if apply_env_overrides else {})


def load_settings(
    file_path: str | os.PathLike[str] | None = None,
    apply_env_overrides: bool = True,
    *,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """All settings: the environment over a file over the defaults.

    Without `file_path`, prismq.toml, .yaml or .json of the current folder is read if it is there. A relative
    path to the database is taken from the folder of the file that names it.
    """
    variables = _environment(environ) if apply_env_overrides else {}
    found = find_file(file_path)
    content: dict[str, Any] = {}
    if found is not None:
        content = with_database_path(read_file(found), found)
        refuse_unknown(Settings, content, str(found))
    sections = {
        name: _build(kind, section_of(content.pop(name, None), name, str(found)), found, variables)
        for name, kind in SECTIONS.items()
    }
    return _build(Settings, content, found, variables, **sections)


def resolve_database(
    explicit: str | os.PathLike[str] | None = None, *, environ: Mapping[str, str] | None = None
) -> DatabaseTarget:
    """Which database to use. Nothing is opened or made.

    The argument, else PRISMQ_DATABASE_URL, else PRISMQ_QUEUE_DB_PATH, else `database` in the configuration
    file of the current folder, else the default path. Raises ConfigurationError for neither path nor URL.
    `sqlite:///queue.db` is relative and `sqlite:////var/queue.db` absolute, as SQLAlchemy has it.
    """
    if explicit is not None:
        return target_of(explicit, "argument", "the database given")
    variables = _environment(environ)
    for variable in DATABASE_VARIABLES:
        if variable in variables:
            return target_of(variables[variable], "environment", f"the environment variable {variable}")
    found = find_file(None)
    if found is not None:
        content = with_database_path(read_file(found), found)
        # A misspelt `database` must not send the queue to the default path.
        refuse_unknown(Settings, content, str(found))
        database = content.get("database")
        if isinstance(database, str):
            return target_of(database, "file", f"database in {found}")
        if database is not None:
            raise ConfigurationError(f"database = {database!r} from {found} is not text. {about(Settings, 'database')}")
    return DatabaseTarget("sqlite", str(default_db_path()), "default")


def _environment(environ: Mapping[str, str] | None) -> dict[str, str]:
    source = os.environ if environ is None else environ
    return {name: value.strip() for name, value in source.items() if name.startswith(_OURS) and value.strip()}


def _build(
    kind: type[AnyConfig],
    values: dict[str, Any],
    file: Path | None,
    variables: Mapping[str, str],
    **ready: Any,
) -> AnyConfig:
    """The model from a file's values and the environment's; errors name the source."""
    if file is not None:
        refuse_unknown(kind, values, str(file))
    sources = dict.fromkeys(values, str(file))
    names = {key: kind.env_variables(key) for key in kind.model_fields if key not in ready}
    if kind is not Settings:  # which shares its prefix with the others
        known = {name for candidates in names.values() for name in candidates}
        for name in variables:
            if name.startswith(kind.env_prefix) and name not in known:
                raise ConfigurationError(
                    f"the environment variable {name} is no setting of a {kind.called}.{closest(name, known)} "
                    f"Correct its name or unset it"
                )
    merged = dict(values)
    for key, candidates in names.items():
        found = next((name for name in candidates if name in variables), None)
        if found is not None:
            merged[key] = _from_text(kind, key, found, variables[found])
            sources[key] = f"the environment variable {found}"
    return kind(_sources=sources, **merged, **ready)


def _from_text(kind: type[Config], key: str, variable: str, text: str) -> Any:
    """A variable's text as what the setting holds: JSON for lists and objects, for the rest the text."""
    annotation = kind.model_fields[key].annotation
    if type(None) in get_args(annotation) and text.lower() in ("none", "null"):
        return None
    parts = (annotation, *get_args(annotation))
    is_list = any(get_origin(part) is list for part in parts)
    if is_list and not text.startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    if is_list or any(get_origin(part) is dict for part in parts):
        try:
            return json.loads(text, object_pairs_hook=without_duplicates)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"{key} = {shown(text)} from the environment variable {variable} is not JSON: {error}. "
                f"{about(kind, key)}"
            ) from None
    return text
