"""The settings of alerts and of service levels."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_core import PydanticCustomError

from prismq.config.base import Config
from prismq.domain.errors import closest

_DAY_S = 86_400.0
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,99}")

SeverityName = Literal["page", "ticket", "info"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChannelConfig(_Part):
    """Where alerts go: one of `apprise`, `webhook` and `command`, and which alerts."""

    apprise: list[SecretStr] = Field([], description="URLs of the library apprise, such as slack://… or mailtos://…")
    webhook: SecretStr | None = Field(None, description="a URL that gets each message as JSON, by POST")
    secret: SecretStr | None = Field(
        None, description="what the webhook's messages are signed with; 16 or more letters"
    )
    command: list[str] = Field([], description="a program and its arguments; it gets each message as JSON on its input")
    severities: list[SeverityName] = Field(["page", "ticket"], min_length=1, description="which alerts go there")
    queues: list[str] | None = Field(
        None, min_length=1, description="only alerts of these queues, and those of no queue; none: of all"
    )
    escalation: bool = Field(False, description="true: only what nobody has acknowledged for a while goes there")
    resolved: bool = Field(True, description="true: the channel is told when it is over, too")

    @field_validator("apprise", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("webhook")
    @classmethod
    def _http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"https?://[^\s/]+", value.get_secret_value()):
            raise PydanticCustomError("webhook", "a webhook is a URL that begins with https:// or http://")
        return value

    @field_validator("secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise PydanticCustomError("secret", "a secret has 16 or more characters")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> ChannelConfig:
        ways = [name for name in ("apprise", "webhook", "command") if getattr(self, name)]
        if len(ways) != 1:
            said = " and ".join(ways) or "none"
            raise PydanticCustomError(
                "channel", "a channel has exactly one of apprise, webhook and command, not {said}", {"said": said}
            )
        if self.secret is not None and self.webhook is None:
            raise PydanticCustomError("channel", "a secret signs what a webhook gets; this channel has no webhook")
        return self

    @property
    def kind(self) -> str:
        """`apprise`, `webhook` or `command`."""
        return "apprise" if self.apprise else "webhook" if self.webhook else "command"


class RuleConfig(_Part):
    """What is different from a built-in alert; what is not given stays as it is."""

    enabled: bool = True
    threshold: float | None = None
    clear: float | None = None
    for_seconds: float | None = Field(None, ge=0, le=_DAY_S)
    resolve_after_seconds: float | None = Field(None, ge=0, le=_DAY_S)
    severity: SeverityName | None = None
    queues: dict[str, float] = Field({}, description="thresholds of single queues")
    params: dict[str, float] = Field({}, description="what else the rule depends on")


class OwnRuleConfig(_Part):
    """A rule on any figure of /metrics: each of its series that matches is compared for itself."""

    metric: str
    labels: dict[str, str] = {}
    comparison: Literal[">", "<"] = ">"
    threshold: float
    clear: float | None = None
    for_seconds: float = Field(60.0, ge=0, le=_DAY_S)
    resolve_after_seconds: float = Field(60.0, ge=0, le=_DAY_S)
    severity: SeverityName = "ticket"
    summary: str | None = Field(None, max_length=500)

    @model_validator(mode="after")
    def _right_side(self) -> OwnRuleConfig:
        if self.clear is not None and (
            self.clear > self.threshold if self.comparison == ">" else self.clear < self.threshold
        ):
            raise PydanticCustomError("clear", "clear must be on the good side of the threshold")
        return self


class AlertsConfig(Config):
    """What is watched, and who is told. Raises ConfigurationError, which names the setting."""

    env_prefix: ClassVar[str] = "PRISMQ_ALERTS_"
    called: ClassVar[str] = "system of alerts"
    secrets: ClassVar[frozenset[str]] = frozenset({"channels"})

    enabled: bool = Field(True, description="false: this process does not watch; others may")
    interval_seconds: float = Field(15.0, ge=1, le=600, description="seconds between two looks, 1 to 600")
    channels: dict[str, ChannelConfig] = Field({}, description="who is told, by a name of yours; see docs/alerts.md")
    rules: dict[str, RuleConfig] = Field({}, description="changes to the built-in alerts, by their names")
    own_rules: dict[str, OwnRuleConfig] = Field(
        {}, description="alerts of your own on the figures of /metrics, by name"
    )
    group_wait_seconds: float = Field(
        10.0, ge=0, le=600, description="seconds to gather what belongs together into one message, 0 to 600"
    )
    repeat_seconds: float = Field(
        4 * 3600.0, ge=60, le=30 * _DAY_S, description="seconds after which what still fires is told again, 60 or more"
    )
    escalate_after_seconds: float = Field(
        900.0,
        ge=0,
        le=_DAY_S,
        description="seconds after which what nobody has acknowledged goes to the channels with escalation = true",
    )
    send_timeout_seconds: float = Field(
        15.0, gt=0, le=120, description="seconds that a channel may take for a message, above 0, at most 120"
    )
    give_up_seconds: float = Field(
        _DAY_S, ge=60, le=30 * _DAY_S, description="seconds for which a message is tried again, 60 or more"
    )
    retention_seconds: float = Field(
        90 * _DAY_S, ge=_DAY_S, le=100 * 366 * _DAY_S, description="seconds that the history is kept, a day or more"
    )
    dashboard_url: str | None = Field(
        None, pattern=r"^https?://[^\s]+$", description="where people find the dashboard, for links in messages"
    )
    runbooks_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/#][^\s#]*$",
        description="where docs/runbooks.md is published, for links in messages, the alert's name after a #; none: the "
        "dashboard's own page where dashboard_url is set",
    )
    canary_queues: list[str] = Field(
        [], description="queues into which a canary task is enqueued again and again; empty: none"
    )
    canary_interval_seconds: float = Field(
        60.0, ge=5, le=_DAY_S, description="seconds between two canary tasks of a queue, 5 or more"
    )

    @field_validator("channels", "own_rules")
    @classmethod
    def _named(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if not _NAME.fullmatch(name):
                raise PydanticCustomError(
                    "name", "{name} is no name: a letter, then letters, digits, _ . and -", {"name": repr(name[:100])}
                )
        return value

    @field_validator("rules")
    @classmethod
    def _known(cls, value: dict[str, RuleConfig]) -> dict[str, RuleConfig]:
        unknown = next((name for name in value if not _NAME.fullmatch(name)), None)
        if unknown is not None:
            raise PydanticCustomError("rule", "{name} is the name of no alert", {"name": repr(unknown[:100])})
        return value


class QueuePromise(_Part):
    """By when tasks of a queue are promised to start."""

    target_seconds: float = Field(gt=0, le=30 * _DAY_S)
    objective: float | None = Field(None, gt=0, lt=1)


class SloConfig(Config):
    """What is promised. Objectives are parts of 1, above 0 and below 1. Raises ConfigurationError."""

    env_prefix: ClassVar[str] = "PRISMQ_SLO_"
    called: ClassVar[str] = "system of service levels"

    window_days: int = Field(30, ge=1, le=365, description="days over which a promise is kept, 1 to 365")
    success_objective: float | None = Field(
        0.99, gt=0, lt=1, description="the part of ended tasks that complete; none: not promised"
    )
    processing_objective: float | None = Field(
        0.99, gt=0, lt=1, description="the part of completed tasks that run no longer than processing_target_seconds"
    )
    processing_target_seconds: float = Field(
        30.0, gt=0, le=30 * _DAY_S, description="seconds that a task may run; 0.99 of them is a p99"
    )
    api_objective: float | None = Field(
        0.999, gt=0, lt=1, description="the part of requests that the server does not fail; none: not promised"
    )
    workers_objective: float | None = Field(
        0.95, gt=0, lt=1, description="the part of workers that are healthy; none: not promised"
    )
    queue_objective: float = Field(
        0.99, gt=0, lt=1, description="the part of attempts of a queue with a promise that start in time"
    )
    promises: dict[str, QueuePromise] = Field(
        {}, description="promises of queues whose names do not say them: target_seconds, objective"
    )

    @field_validator("promises", mode="before")
    @classmethod
    def _seconds_alone(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                queue: {"target_seconds": promise} if isinstance(promise, (int, float)) else promise
                for queue, promise in value.items()
            }
        return value


def unknown_rule(name: str, known: list[str]) -> str:
    """What to say of a rule that is none."""
    return f"there is no alert {name!r}.{closest(name, known)} The alerts are {', '.join(known)}"
