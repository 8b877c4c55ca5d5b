"""The settings of the HTTP server and its dashboard."""

from __future__ import annotations

from ipaddress import ip_network
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from prismq.config.base import Config

_DAY_S = 86_400.0


class ServerConfig(Config):
    """How the HTTP server listens and whom it lets in. Raises ConfigurationError, which names the setting."""

    env_prefix: ClassVar[str] = "PRISMQ_SERVER_"
    called: ClassVar[str] = "HTTP server"
    host: str = Field("127.0.0.1", min_length=1, description="the address to listen on; 0.0.0.0 is every one")
    port: int = Field(8000, ge=1, le=65_535, description="the port to listen on, 1 to 65535")
    root_path: str = Field(
        "", pattern=r"^(/[\w.~-]+)*$", description="the path under which a proxy shows the server, such as /prismq"
    )
    auth: Literal["auto", "required", "off"] = Field(
        "auto",
        description="auto: tokens are asked for as soon as there is one, and always on other addresses than loopback; "
        "required: always; off: never, and only on loopback",
    )
    allowed_hosts: list[str] | None = Field(
        None,
        min_length=1,
        description="the names in the Host header that are answered, such as queue.example.com or *.example.com; none: "
        "any where tokens are asked for, else those of loopback",
    )
    trusted_proxies: list[str] = Field(
        [],
        description="addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed",
    )
    tls_certificate: str | None = Field(None, min_length=1, description="the file of the TLS certificate chain, PEM")
    tls_key: str | None = Field(None, min_length=1, description="the file of the certificate's private key, PEM")
    session_seconds: float = Field(
        _DAY_S / 2, ge=60, le=30 * _DAY_S, description="seconds a browser stays signed in, 60 to 30 days"
    )
    threads: int = Field(
        8, ge=1, le=128, description="requests that use the database at a time, 1 to 128; more wait their turn"
    )
    query_timeout_seconds: float = Field(
        10.0, gt=0, le=300, description="seconds that the database may take for a request, above 0, at most 300"
    )
    max_body_bytes: int = Field(
        8 * 1024 * 1024, ge=1024, le=1024**3, description="bytes that the body of a request may have, 1 KiB to 1 GiB"
    )
    audit_retention_seconds: float = Field(
        365 * _DAY_S, ge=_DAY_S, le=100 * 366 * _DAY_S, description="seconds that the audit log is kept, a day or more"
    )
    dashboard: bool = Field(True, description="true: the dashboard's pages besides the API")

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for one in value:
            try:
                ip_network(one, strict=False)
            except ValueError:
                raise PydanticCustomError(
                    "network", "{one} is neither an address nor a network such as 10.0.0.0/8", {"one": repr(one)}
                ) from None
        return value

    @model_validator(mode="after")
    def _both_files(self) -> ServerConfig:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise PydanticCustomError("tls_key", "TLS wants both, tls_certificate and tls_key")
        return self
