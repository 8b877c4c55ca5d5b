"""What a channel is: something that takes a message, within a time, or says why it did not."""

from __future__ import annotations

from typing import Protocol

from prismq.domain.errors import PrismqError
from prismq.observability.alerts.message import Message


class NotDelivered(PrismqError):
    """The channel did not take the message. The text holds no secret: it is shown, stored and logged."""


class Channel(Protocol):
    """One way out."""

    def send(self, message: Message, timeout_s: float, now: float) -> None:
        """Deliver it, or raise NotDelivered. `now`: seconds since 1970. May be called from any thread."""
        ...
