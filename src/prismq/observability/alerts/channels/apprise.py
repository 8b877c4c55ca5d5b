"""Everything that the library apprise knows: Slack, e-mail, Teams, PagerDuty, ntfy, Telegram and a hundred more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prismq.domain.errors import ConfigurationError
from prismq.observability.alerts.channels.base import NotDelivered
from prismq.observability.alerts.message import Message

_quiet = threading.local()
_TYPES = {"page": "failure", "ticket": "warning", "info": "info"}


class AppriseChannel:
    """The Channel protocol over apprise. Its URLs are secrets: none of them is ever part of a message or an error."""

    def __init__(self, name: str, urls: Sequence[str]) -> None:
        try:
            import apprise
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"the channel {name!r} of alerts uses apprise, and needs: pip install 'prismq[alerts]'"
            ) from error
        self._services: list[tuple[str, apprise.NotifyBase]] = []
        for number, url in enumerate(urls, 1):
            with _discreet():
                service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
            scheme = url.partition("://")[0][:40]
            if not isinstance(service, apprise.NotifyBase):
                raise ConfigurationError(
                    f"channels[{name!r}]: URL {number} ({scheme}://…) means nothing to apprise. Its documentation has "
                    f"the form for each service; as an example, ntfy://TOPIC or slack://TOKEN_A/TOKEN_B/TOKEN_C/#channel"
                )
            self._services.append((scheme, service))

    def send(self, message: Message, timeout_s: float, now: float) -> None:
        """See Channel.send. All URLs of the channel have to take it; one that did may get it again with the others."""
        import apprise

        kind = "success" if message.kind == "resolved" else _TYPES.get(message.severity, "info")
        failed = []
        for scheme, service in self._services:
            service.socket_connect_timeout = service.socket_read_timeout = timeout_s
            try:
                with _discreet():
                    taken = service.notify(body=message.text, title=message.title, notify_type=apprise.NotifyType(kind))
            except Exception as error:  # noqa: BLE001 - a hundred services, each with its own
                failed.append(f"{scheme}: {type(error).__name__}")
                continue
            if not taken:
                failed.append(f"{scheme}: the service did not take it")
        if failed:
            raise NotDelivered("; ".join(failed))


def _is_loud(record: logging.LogRecord) -> bool:
    return not getattr(_quiet, "inside", False)


@contextmanager
def _discreet() -> Iterator[None]:
    """What the library logs holds addresses and tokens: inside, this thread of it is not heard."""
    logger = logging.getLogger("apprise")
    if _is_loud not in logger.filters:
        logger.addFilter(_is_loud)
    _quiet.inside = True
    try:
        yield
    finally:
        _quiet.inside = False
