"""What the models of settings share: the names of their variables, and errors that say what would be right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from prismq.config.database import without_password
from prismq.domain.errors import ConfigurationError, closest


class Config(BaseModel):
    """A model whose errors are ConfigurationErrors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # How environment variables are named: the prefix and the setting's name, but for these.
    env_prefix: ClassVar[str] = "PRISMQ_"
    called: ClassVar[str] = "program"  # whose settings these are
    env_names: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    secrets: ClassVar[frozenset[str]] = frozenset()  # settings whose values no message shows

    def __init__(self, *, _sources: Mapping[str, str] | None = None, **values: Any) -> None:
        """`_sources` says for messages where each value came from; without it, they are arguments."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _explained(type(self), error, values, _sources or {}) from None

    @classmethod
    def env_variables(cls, key: str) -> tuple[str, ...]:
        """The environment variables for the setting `key`; the first that is set counts."""
        return cls.env_names.get(key, (cls.env_prefix + key.upper(),))

    @classmethod
    def misplaced(cls, key: str) -> str:
        """Where `key` belongs, for a message, if it is a setting but not one of this model; else nothing."""
        return ""


AnyConfig = TypeVar("AnyConfig", bound=Config)


def refuse_unknown(kind: type[Config], values: Mapping[str, Any], source: str) -> None:
    """Raises ConfigurationError for the first name that is no setting of this model."""
    for key, value in values.items():
        if key not in kind.model_fields:
            raise ConfigurationError(_unknown(kind, key, value, source))


def about(kind: type[Config], key: str) -> str:
    """What would be right for the setting `key`, and its default."""
    described = kind.model_fields[key]
    default = described.get_default(call_default_factory=True)
    if default is None or isinstance(default, bool):
        text = str(default).lower()
    else:
        text = f"{default:g}" if isinstance(default, float) else str(default)
    return f"{key}: {described.description} (default {text})"


def shown(value: Any) -> str:
    """The value for a message: a URL without its password."""
    return repr(without_password(value) if isinstance(value, str) else value)


def _unknown(kind: type[Config], key: str, value: Any, source: str) -> str:
    advice = kind.misplaced(key) or closest(key, kind.model_fields)
    return (
        f"there is no setting {key!r}, which {source} sets to {shown(value)}.{advice} "
        f"The settings are {', '.join(kind.model_fields)}"
    )


def _explained(
    kind: type[Config], error: ValidationError, values: Mapping[str, Any], sources: Mapping[str, str]
) -> ConfigurationError:
    first = error.errors(include_url=False)[0]
    # A broken relation between settings has no place; its type names the setting to change.
    key = str(first["loc"][0]) if first["loc"] else first["type"]
    source = sources.get(key, "the caller")
    if first["type"] == "extra_forbidden" and len(first["loc"]) == 1:
        return ConfigurationError(_unknown(kind, key, first["input"], source))
    where = key + "".join(f"[{part!r}]" for part in first["loc"][1:])
    value = first["input"] if first["loc"] else values.get(key)
    reason = first["msg"].rstrip(".")
    if reason[1:2].islower():
        reason = reason[0].lower() + reason[1:]
    if key in kind.secrets:
        return ConfigurationError(f"{where} from {source}: {reason}. {about(kind, key)}")
    return ConfigurationError(f"{where} = {shown(value)} from {source}: {reason}. {about(kind, key)}")
