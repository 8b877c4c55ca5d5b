"""Finding a user's application in another process: `package.module:name` or `path/to/file.py:name`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from prismq.domain.errors import ConfigurationError, closest
from prismq.worker.application import Application


def load(reference: str, database: str | None = None) -> Application:
    """Import the application, and have it use `database` where one is given.

    Raises ConfigurationError that says what was not found, and where it was sought."""
    app = _find(reference)
    if database is not None:
        app.connect(database)
    return app


def _find(reference: str) -> Application:
    target, _, name = reference.rpartition(":") if ":" in _without_drive(reference) else (reference, "", "")
    module = _import(target)
    if name:
        if not hasattr(module, name):
            known = [key for key, value in vars(module).items() if _is_app(value)]
            raise ConfigurationError(
                f"module {target!r} has no {name!r}.{closest(name, vars(module))} "
                f"PrismQ objects in it: {', '.join(known) or 'none'}"
            )
        found = getattr(module, name)
        if not _is_app(found):
            raise ConfigurationError(f"{reference!r} is a {type(found).__name__}, not a PrismQ object")
        return found  # type: ignore[no-any-return]
    apps = {id(value): (key, value) for key, value in vars(module).items() if _is_app(value)}
    if len(apps) != 1:
        names = ", ".join(f"{target}:{key}" for key, _ in apps.values())
        found_words = f"several PrismQ objects; name one: {names}" if apps else "no PrismQ object"
        raise ConfigurationError(f"module {target!r} has {found_words}. Give it as module:name, for example tasks:q")
    return next(iter(apps.values()))[1]  # type: ignore[no-any-return]


def _without_drive(reference: str) -> str:
    return reference[2:] if len(reference) > 1 and reference[1] == ":" else reference


def _is_app(value: object) -> bool:
    return type(value).__name__ == "PrismQ" and hasattr(value, "handlers") and not isinstance(value, type)


def _import(target: str) -> ModuleType:
    if target.endswith(".py"):
        return _import_file(Path(target))
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(target)
    except ModuleNotFoundError as error:
        if error.name is None or not (target == error.name or target.startswith(f"{error.name}.")):
            raise
        raise ConfigurationError(
            f"there is no module {target!r} (looked in {here} and on Python's path). Run the command in the folder "
            f"that holds it, or give a file: path/to/tasks.py:q"
        ) from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path} to load the tasks from")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = path.stem
    loaded = sys.modules.get(name)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path.resolve()):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
