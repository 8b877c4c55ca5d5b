"""`prismq init`: a project's configuration and its database."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from prismq.cli import output
from prismq.cli.context import Call, command, usage
from prismq.domain.errors import ConfigurationError

DEFAULT_PLACE = ".prismq/queue.db"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(app, "init")
    def init(
        call: Call,
        path: Annotated[
            str | None,
            typer.Argument(
                metavar="[PATH_OR_URL]", help=f"Where the database shall be; {DEFAULT_PLACE} if you do not say."
            ),
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Write the configuration file anew.")] = False,
        no_config: Annotated[bool, typer.Option("--no-config", help="Make the database only.")] = False,
        adopt: Annotated[
            bool, typer.Option("--adopt", help="Keep the queue in a file that holds other tables already.")
        ] = False,
    ) -> None:
        """Set a project up: create the database, or the queue's tables on a PostgreSQL server, and write prismq.toml.

        A configuration file that exists is left as it is, and its database is created where it is missing. A password
        in a URL is not written down.
        """
        if path is not None and call.common.db is not None and path != call.common.db:
            usage("give the database once, as PATH or with --db")
        place = path or call.common.db
        file = call.common.config or Path("prismq.toml")
        if no_config:
            wanted, database = False, place or call.target.location
        else:
            wanted, database = _plan(file, place, force=force)
        versions = _create(call, database, adopt=adopt)
        if wanted:  # only now: one that names a database that cannot be had would be in the way
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(configuration_text(_inside(file, database)), encoding="utf-8")
        _tell(call, file if not no_config else None, database, wanted, versions)


def _plan(file: Path, place: str | None, *, force: bool) -> tuple[bool, str]:
    """Whether the file is to be written, and the database to create."""
    from prismq.config import FILE_NAMES, load_settings, resolve_database

    if file.suffix.lower() != ".toml":
        usage(f"init writes TOML; give a file that ends in .toml, not {file}")
    names = FILE_NAMES if file.name in FILE_NAMES else (file.name,)
    there = next((file.parent / name for name in names if (file.parent / name).exists()), None)
    if there is not None and there != file and force:
        raise ConfigurationError(f"{there} exists, and a folder has one configuration file. Remove it, or edit it")
    wanted = _location(file, place)
    if there is None or force:
        return True, wanted
    named = load_settings(there, apply_env_overrides=False).database
    if named is None:
        return False, wanted if place is not None else resolve_database(None).location
    target = resolve_database(named)
    if place is not None and not _is_same(target.location, wanted):
        raise ConfigurationError(
            f"{there} exists and keeps the queue in {target}, not in {resolve_database(place)}. Edit it, write it "
            f"anew with --force, or leave it alone and make the database only, with --no-config"
        )
    # The file's URL has no password where the one that was given has.
    return False, target.location if target.scheme == "sqlite" or place is None else wanted


def _is_same(one: str, other: str) -> bool:
    if "://" in one or "://" in other:
        return _without_login_secret(one) == _without_login_secret(other)
    return Path(one).absolute() == Path(other).absolute()


def _location(file: Path, place: str | None) -> str:
    from prismq.config import resolve_database

    if place is None:
        given = resolve_database(None)
        # A server that the environment names is meant; a file that it names may be another project's.
        on_server = given.source == "environment" and given.scheme == "postgresql"
        return given.location if on_server else str(file.parent / DEFAULT_PLACE)
    target = resolve_database(place)
    return target.location if target.scheme == "postgresql" else target.require_path().as_posix()


def _without_login_secret(url: str) -> str:
    """A URL as it may lie in a file that others read: the password is gone, not hidden."""
    from prismq.config.database import without_password

    return without_password(url).replace(":***@", "@", 1)


def _inside(file: Path, location: str) -> str:
    """The database as the file names it: a path relative to the file's folder where it lies in there, or a URL."""
    if "://" in location:
        return _without_login_secret(location)
    folder = file.absolute().parent
    path = Path(os.path.normpath(Path(location).absolute()))
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _create(call: Call, database: str, *, adopt: bool) -> list[int]:
    from prismq.config import load_settings, resolve_database
    from prismq.storage.open import open_store

    # Not the settings of `call`: its file may have been written a moment ago.
    settings = load_settings(call.common.config if call.common.config and call.common.config.exists() else None)
    target = resolve_database(database)
    store = open_store(
        target.scheme,
        target.location,
        durability=settings.durability,
        busy_timeout_s=settings.busy_timeout_seconds,
        adopt=adopt,
    )
    try:
        return store.initialise()
    finally:
        store.close()


def _tell(call: Call, file: Path | None, database: str, written: bool, versions: list[int]) -> None:
    from prismq.config import resolve_database
    from prismq.config.database import without_password

    shown = without_password(database)
    if call.as_json:
        output.print_json(
            {
                "config": None if file is None else str(file),
                "config_written": written,
                "database": shown,
                "migrations": versions,
            }
        )
    else:
        if file is not None:
            output.say(f"{file}: written" if written else f"{file}: there already, left as it is")
        output.say(f"{shown}: {'created' if versions else 'there already, up to date'}")
    if written and shown != database:
        output.note(
            f"the password was not written into {file}. Keep it in ~/.pgpass, PGPASSWORD or PRISMQ_DATABASE_URL"
        )
    used = resolve_database(None)
    if file is not None and used.source == "environment" and used.location != database:
        output.note(f"the environment names another database, {used}, and it wins over {file}")
    elif file is not None and not written and call.common.config is None and not _is_same(used.location, database):
        output.note(
            f"{file} names no database, so that other commands look at {used}. Put the line `database = "
            f'"{shown}"` at its top, or give them --db {shown}'
        )


def configuration_text(database: str) -> str:
    """A configuration file in which every setting is explained, at its default, and the database is named."""
    from prismq.cli.configuration import toml_value
    from prismq.config import Settings
    from prismq.config.models import SECTIONS

    lines = [
        "# PrismQ's settings. Environment variables win over this file: PRISMQ_DATABASE_URL, PRISMQ_DURABILITY,",
        "# PRISMQ_WORKER_CONCURRENCY … `prismq config check` lists what is in effect and where it comes from.",
        "",
        "# Where the queue is kept: a path, taken from this file's folder, sqlite:///… or postgresql://…",
        f"database = {toml_value(database)}",
        "",
    ]
    for key, field in Settings.model_fields.items():
        if key not in ("database", *SECTIONS):
            lines += [*_comment(field.description), _default_line(key, field.default), ""]
    for section, kind in SECTIONS.items():
        lines += [f"[{section}]"]
        for key, field in kind.model_fields.items():
            default = field.get_default(call_default_factory=True)
            lines += [*_comment(field.description), _default_line(key, default), ""]
    return "\n".join(lines).rstrip() + "\n"


def _comment(description: str | None) -> list[str]:
    import textwrap

    text = (description or "").replace("none:", "without it:")
    return [f"# {line}" for line in textwrap.wrap(f"{text[:1].upper()}{text[1:]}.", 100)]


def _default_line(key: str, default: object) -> str:
    from prismq.cli.configuration import toml_value

    return f"# {key} =" if default is None else f"# {key} = {toml_value(default)}"
