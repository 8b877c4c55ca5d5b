"""The server's settings, and what must hold before it listens."""

from __future__ import annotations

from ipaddress import ip_address

from prismq.config.server import ServerConfig as ServerSettings
from prismq.domain.errors import ConfigurationError

__all__ = ["LOOPBACK_HOSTS", "ServerSettings", "check_exposure", "is_loopback"]

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name, which may lead anywhere
        return False


def check_exposure(settings: ServerSettings, *, has_tokens: bool) -> None:
    """Raise ConfigurationError where strangers could reach a server that asks nobody who they are."""
    if is_loopback(settings.host):
        return
    if settings.auth == "off":
        raise ConfigurationError(
            f"auth = 'off' is for loopback alone, and host = {settings.host!r} can be reached from other machines. "
            f"Listen on 127.0.0.1, or set auth to 'auto'"
        )
    if not has_tokens:
        raise ConfigurationError(
            f"host = {settings.host!r} can be reached from other machines, and there is no token that would let anyone "
            f"in. Make one with `prismq tokens create NAME --role admin`, then start the server again; or listen on "
            f"127.0.0.1"
        )
