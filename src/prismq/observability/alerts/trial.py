"""A test of the channels: one message each, at once, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from prismq.clock import Clock
from prismq.config.alerts import AlertsConfig
from prismq.domain.errors import ConfigurationError, InvalidArgument, closest
from prismq.observability.alerts.channels import channel_of
from prismq.observability.alerts.channels.base import NotDelivered
from prismq.observability.alerts.message import Message
from prismq.storage.contract import Store


class Trial(NamedTuple):
    """What became of the message to a channel; `error` is None where it was taken."""

    channel: str
    error: str | None


def try_channels(store: Store, clock: Clock, config: AlertsConfig, names: Sequence[str], by: str) -> list[Trial]:
    """Send a message to these channels; to all where none is named. `by`: who tests.

    Raises InvalidArgument for a channel that the settings of this process do not name.
    """
    for name in names:
        if name not in config.channels:
            known = ", ".join(config.channels) or "none: name one in the section `alerts.channels`"
            raise InvalidArgument(f"there is no channel {name!r}.{closest(name, config.channels)} There are {known}")
    now = clock.now()
    content = {
        "rule": "Test",
        "group": "test",
        "labels": {},
        "severity": "info",
        "state": "firing",
        "summary": "This is a test: alerts arrive here",
        "description": f"{by} asked for it. Nothing is wrong.",
        "since": now,
        "fired_at": now,
    }
    found = []
    for name in names or list(config.channels):
        message = Message("test", store.name, [content], (int(now),), config.dashboard_url)
        error = None
        try:
            channel_of(name, config.channels[name]).send(message, config.send_timeout_seconds, now)
        except (NotDelivered, ConfigurationError) as problem:
            error = str(problem)
        if error is None:
            store.alerts.delivered(name, [], now)
        found.append(Trial(name, error))
    return found
