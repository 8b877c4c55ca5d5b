"""A webhook: JSON by POST, signed, so that the receiver knows who sent it and that it is not an old one.

The header `X-PrismQ-Signature` is `v1=` and the HMAC-SHA256, in hex, of the text `TIMESTAMP.BODY` under the secret,
where TIMESTAMP is the header `X-PrismQ-Timestamp` (seconds since 1970) and BODY is the body, byte by byte.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import ssl
from urllib.parse import urlsplit

from prismq.observability.alerts.channels.base import NotDelivered
from prismq.observability.alerts.message import Message
from prismq.version import __version__

_ANSWER_BYTES_MAX = 64 * 1024


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """What `X-PrismQ-Signature` holds."""
    return "v1=" + hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def verify(secret: str, timestamp: str, body: bytes, given: str, now: float, tolerance_s: float = 300.0) -> bool:
    """Whether a message is ours, and no older than `tolerance_s`: for the receiver, in Python.

    `timestamp` and `given` are the two headers as they came; whatever they hold, the answer is True or False.
    """
    if not timestamp.isascii() or not timestamp.isdecimal() or len(timestamp) > 20:
        return False
    expected = signature(secret, int(timestamp), body)
    fresh = abs(now - int(timestamp)) <= tolerance_s
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace")) and fresh


class WebhookChannel:
    """The Channel protocol over HTTP. Redirects are not followed: a signed message goes where it was meant to go."""

    def __init__(self, url: str, secret: str | None) -> None:
        self._url = urlsplit(url)
        self._secret = secret

    def send(self, message: Message, timeout_s: float, now: float) -> None:
        """See Channel.send. Any answer of 2xx is an acknowledgement."""
        body = json.dumps(message.to_json(), ensure_ascii=False).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"prismq/{__version__}",
            "X-PrismQ-Timestamp": str(int(now)),
        }
        if self._secret is not None:
            headers["X-PrismQ-Signature"] = signature(self._secret, int(now), body)
        try:
            connection = self._connection(timeout_s)
            try:
                path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                answer.read(_ANSWER_BYTES_MAX)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Not its text: an address may be a secret, and some errors hold it.
            reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise NotDelivered(f"{self._host} cannot be reached: {reason}") from None
        if not 200 <= answer.status < 300:
            raise NotDelivered(f"{self._host} answered {answer.status} {answer.reason}")

    @property
    def _host(self) -> str:
        return self._url.hostname or "the webhook"

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._url.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=timeout_s)
