"""`prismq config`: what is set, and where."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from prismq.cli import output
from prismq.cli.context import Call, command, usage

if TYPE_CHECKING:
    from prismq.config import Settings


group = typer.Typer(no_args_is_help=True, help="Check and show the settings.")

File = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="The file; without it prismq.toml, .yaml or .json of this folder."),
]


class Setting(NamedTuple):
    """A setting as it is in effect."""

    name: str
    value: Any
    source: str  # default, file, environment
    where: str | None  # the file's path, the variable's name


@command(group, "check")
def check(call: Call, file: File = None) -> None:
    """Check the settings, and list each with its value and its source.

    A wrong one is named with the reason, and the command ends with code 4.
    """
    from prismq.observability.alerts.checking import check_alerts

    call = _with_file(call, file)
    found = settings_of(call)
    for missing in check_alerts(call.settings.alerts):
        output.note(f"warning: {missing}")
    if call.as_json:
        output.print_json([one._asdict() for one in found])
        return
    output.print_table(
        [output.Column("SETTING", whole=True), output.Column("VALUE", fold=True), output.Column("FROM", whole=True)],
        [(one.name, _shown(one.value), _from(one)) for one in found],
    )
    output.say(f"\nThe settings are valid ({_file_words(call)}).")


@command(group, "show")
def show(call: Call, file: File = None) -> None:
    """Print the settings in effect as a configuration file (TOML), or as JSON."""
    call = _with_file(call, file)
    found = settings_of(call)
    top = {one.name: one.value for one in found if "." not in one.name}
    from prismq.config.models import SECTIONS

    sections = {
        section: {
            one.name.removeprefix(f"{section}."): one.value for one in found if one.name.startswith(f"{section}.")
        }
        for section in SECTIONS
    }
    if call.as_json:
        output.print_json({**top, **sections})
        return
    lines = [_toml_line(name, value) for name, value in top.items()]
    for section, values in sections.items():
        lines += ["", f"[{section}]", *(_toml_line(name, value) for name, value in values.items())]
    output.say("\n".join(lines))


def _with_file(call: Call, file: Path | None) -> Call:
    if file is not None and call.common.config is not None and file != call.common.config:
        usage("give the file once, as an argument or with --config")
    return call if file is None else Call(call.common._replace(config=file))


def settings_of(call: Call) -> list[Setting]:
    """Every setting in effect and its source. Raises ConfigurationError for the first that is wrong."""
    from prismq.config import Settings
    from prismq.config.models import SECTIONS

    settings = call.settings
    plain = _without_environment(call)
    path = call.common.config or _found_file()
    source = call.target.source
    return [
        Setting("database", str(call.target), source, _place(source, Settings, "database", path)),
        *(
            _setting("", key, Settings, settings, plain, path)
            for key in Settings.model_fields
            if key not in ("database", *SECTIONS)
        ),
        *(
            _setting(f"{section}.", key, kind, getattr(settings, section), plain and getattr(plain, section), path)
            for section, kind in SECTIONS.items()
            for key in kind.model_fields
        ),
    ]


def _without_environment(call: Call) -> Settings | None:
    from prismq.config import load_settings
    from prismq.domain.errors import ConfigurationError

    try:
        return load_settings(call.common.config, apply_env_overrides=False)
    except ConfigurationError as error:
        # The environment mends what the file has wrong: the settings are valid, and the file is not.
        output.note(f"only the environment makes the settings valid; without it, {error}")
        return None


def _setting(prefix: str, key: str, kind: Any, merged: Any, plain: Any, path: Path | None) -> Setting:
    value = getattr(merged, key)
    source = "default"
    if key in merged.model_fields_set:
        by_file = plain is not None and key in plain.model_fields_set and getattr(plain, key) == value
        source = "file" if by_file else "environment"
    # Parts of a setting as a file has them; what is secret in them stays so.
    plain_value = merged.model_dump(mode="json", exclude_none=True, include={key}).get(key)
    return Setting(prefix + key, plain_value, source, _place(source, kind, key, path))


def _place(source: str, kind: Any, key: str, path: Path | None) -> str | None:
    if source == "file":
        return None if path is None else str(path)
    return " or ".join(kind.env_variables(key)) if source == "environment" else None


def _found_file() -> Path | None:
    from prismq.config import FILE_NAMES

    return next((Path(name).absolute() for name in FILE_NAMES if Path(name).is_file()), None)


def _file_words(call: Call) -> str:
    path = call.common.config or _found_file()
    return f"file {path}" if path else "no file: none in this folder, none given"


def _from(one: Setting) -> str:
    if one.source == "file":
        return Path(one.where).name if one.where else "file"
    # The database may come from either of two variables, and only prismq.config knows which.
    return one.where if one.source == "environment" and one.where and " or " not in one.where else one.source


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value)


def _toml_line(name: str, value: Any) -> str:
    return f"# {name} =" if value is None else f"{name} = {toml_value(value)}"


def toml_value(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(key)} = {toml_value(one)}" for key, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(toml_value(one) for one in value)}]"
    # A JSON string is a TOML string but for the delete character, which JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f") if isinstance(value, str) else repr(value)
