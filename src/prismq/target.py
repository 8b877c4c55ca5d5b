"""What the settings say of the queue that is to be opened: which database, how, and what is traced."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prismq.storage.contract import Store
from prismq.storage.open import open_store

if TYPE_CHECKING:
    from prismq.config import Settings
    from prismq.domain.redaction import Redactor
    from prismq.observability.traces import Tracing


@dataclass
class Target:
    """Which database, and how it is opened."""

    scheme: str
    location: str
    source: str
    durability: Any
    busy_timeout_s: float
    redis_url: str | None
    settings: Settings
    _warned: bool = False

    @classmethod
    def of(
        cls,
        database: str | os.PathLike[str] | None,
        durability: str | None,
        busy_timeout_s: float | None,
        redis_url: str | None,
    ) -> Target:
        """What is given before what is set. Raises ConfigurationError for what is neither path nor URL."""
        from prismq.config import load_settings, resolve_database

        target, settings = resolve_database(database), load_settings()
        return cls(
            target.scheme, target.location, target.source, durability or settings.durability,
            settings.busy_timeout_seconds if busy_timeout_s is None else busy_timeout_s,
            redis_url or settings.redis_url, settings,
        )  # fmt: skip

    def open(self, adopt: bool) -> Store:
        """The store, which opens nothing before its first use. `adopt`: in a file that holds other tables."""
        return open_store(
            self.scheme,
            self.location,
            durability=self.durability,
            busy_timeout_s=self.busy_timeout_s,
            redis_url=self.redis_url,
            adopt=adopt,
        )

    def warn_if_temporary(self) -> None:
        """Once, where nobody chose the place and the system clears it."""
        if self.source == "default" and self.location.startswith("/tmp/") and not self._warned:  # noqa: S108 - it asks
            import warnings

            self._warned = True
            warnings.warn(
                f"the queue is kept in {self.location}, and /tmp is cleared at reboot. Choose a place that lasts with "
                f"PrismQ(path), PRISMQ_QUEUE_DB_PATH, or `prismq init`",
                stacklevel=4,
            )


def tracing_of(settings: Settings, redactor: Redactor) -> Tracing:
    """What the settings ask for. Raises ConfigurationError where OpenTelemetry is not installed."""
    from prismq.domain.errors import ConfigurationError

    try:
        from prismq.observability.tracer import TracingOptions
        from prismq.observability.traces import Tracing
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise ConfigurationError(
            "tracing_enabled is on, and OpenTelemetry is not installed: pip install 'prismq[otel]', or switch it off "
            "(PRISMQ_TRACING_ENABLED=false)"
        ) from error
    options = TracingOptions(
        settings.tracing_endpoint, settings.tracing_sample_rate, tuple(settings.exporters), settings.tracing_keep_spans
    )
    return Tracing(options, redactor)
