"""A look at the settings of alerts before anybody relies on them: what cannot be, and what cannot be here."""

from __future__ import annotations

import importlib.util
import shutil

from prismq.config.alerts import AlertsConfig
from prismq.observability.alerts.channels import channel_of
from prismq.observability.alerts.rules import rules_of


def check_alerts(config: AlertsConfig) -> list[str]:
    """What this machine lacks for the channels of the settings, which may be meant for others: a sentence each.

    Raises ConfigurationError for rules and channels that cannot be anywhere.
    """
    rules_of(config)
    missing = [one for name in config.channels if (one := missing_here(name, config)) is not None]
    for name, channel in config.channels.items():
        if not channel.apprise or _has_apprise():
            channel_of(name, channel)
    return missing


def missing_here(name: str, config: AlertsConfig) -> str | None:
    """What this machine lacks for the channel; None for nothing."""
    channel = config.channels[name]
    if channel.apprise and not _has_apprise():
        return (
            f"the channel {name!r} of alerts uses apprise, which is not installed here, so that its URLs were not "
            f"checked: pip install 'prismq[alerts]'"
        )
    if channel.command and shutil.which(channel.command[0]) is None:
        return (
            f"the channel {name!r} of alerts runs {channel.command[0]!r}, and there is no such program on this machine "
            f"that can be started: install it, or correct the path in `command`; while this process watches, the "
            f"channel tells nobody"
        )
    return None


def _has_apprise() -> bool:
    return importlib.util.find_spec("apprise") is not None
