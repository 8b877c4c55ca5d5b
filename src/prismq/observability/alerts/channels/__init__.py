"""The ways in which a message leaves: apprise, a signed webhook, a command. One file each."""

from __future__ import annotations

from prismq.config.alerts import ChannelConfig
from prismq.observability.alerts.channels.base import Channel


def channel_of(name: str, config: ChannelConfig) -> Channel:
    """The channel that the settings describe. Raises ConfigurationError where its library is not installed, or where
    a URL of apprise means nothing to it."""
    if config.apprise:
        from prismq.observability.alerts.channels.apprise import AppriseChannel

        return AppriseChannel(name, [url.get_secret_value() for url in config.apprise])
    if config.webhook is not None:
        from prismq.observability.alerts.channels.webhook import WebhookChannel

        secret = None if config.secret is None else config.secret.get_secret_value()
        return WebhookChannel(config.webhook.get_secret_value(), secret)
    from prismq.observability.alerts.channels.command import CommandChannel

    return CommandChannel(config.command)
