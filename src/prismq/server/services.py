"""What routes and pages are given: the queue, the threads that may ask it, the accounts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from prismq.app import PrismQ
from prismq.config import Settings, load_settings
from prismq.domain.errors import QueueDatabaseError
from prismq.observability.exposition import render_metrics
from prismq.observability.facts import Memory
from prismq.observability.scaling.known import named_in
from prismq.observability.slo.report import Days
from prismq.server.accounts import Accounts
from prismq.server.live import Hub, look_at
from prismq.server.pool import Pool
from prismq.server.redis import redis_of
from prismq.server.requests import RequestCounter
from prismq.server.settings import ServerSettings
from prismq.server.views.history import History
from prismq.storage.wakeup import Ear

R = TypeVar("R")

_PRUNE_EVERY_S = 3600.0
_ACTING_THREADS = 2  # what changes many tasks takes as long as it takes, and must not keep readers waiting


class Services:
    """One for each server application, at `app.state.services`."""

    def __init__(self, q: PrismQ, settings: ServerSettings, configured: Settings | None = None) -> None:
        """`configured`: the settings beside the server's own; None reads them."""
        self.q = q
        self.settings = settings
        self._questions = Pool(settings.threads, self._interrupt)
        self._actions = Pool(_ACTING_THREADS, self._interrupt, name="prismq-act")
        self.accounts = Accounts(self)
        self.history = History()
        self.hub = Hub(lambda: self.ask(look_at), listen=self._ear)
        self.redis_probe, self.redis_reader = redis_of(q)
        self.requests = RequestCounter()
        self.past = Memory()
        self.prepared = False  # the database has been set up for a health check
        configured = load_settings() if configured is None else configured
        self._backup_dir = configured.worker.backup_dir
        self.alerts, self.slo = configured.alerts, configured.slo
        self.queues_named = named_in(configured)
        self.slo_days: Days = {}
        self._prune_at = q.clock.monotonic()
        self.started_at = q.clock.monotonic()

    async def ask(self, question: Callable[[PrismQ], R], *, timeout_s: float | None = None) -> R:
        """Run `question` with the queue in a thread of the pool. Raises Problem 503 where it takes longer than
        `timeout_s` (None: the setting query_timeout_seconds), and what the queue raises, which becomes a problem
        document by itself."""
        limit_s = self.settings.query_timeout_seconds if timeout_s is None else timeout_s
        return await self._questions.run(lambda: question(self.q), limit_s)

    async def act(self, action: Callable[[], R]) -> R:
        """Run what changes something, without a time limit: half a bulk action is nobody's wish."""

        def run() -> R:
            done = action()
            self._prune()
            return done

        return await self._actions.run(run, None)

    async def metrics(self, accept: str | None) -> tuple[bytes, str]:
        """The page of metrics and its content type; see render_metrics. Raises as `ask` does."""
        return await self.ask(
            lambda q: render_metrics(
                q.store,
                q.clock,
                accept,
                redis=self.redis_reader,
                backup_dir=self._backup_dir,
                slots=self._questions.slots,
                more=(self.requests.samples,),
                promises=self.slo.promises,
            )
        )

    def _prune(self) -> None:
        """Now and then, what the audit log has kept for long enough."""
        mono = self.q.clock.monotonic()
        if mono < self._prune_at:
            return
        self._prune_at = mono + _PRUNE_EVERY_S
        with suppress(QueueDatabaseError):  # the action is done, and this can wait
            self.q.store.audit.delete_before(self.q.clock.now() - self.settings.audit_retention_seconds)

    @property
    def uptime_s(self) -> float:
        """Seconds since this application was made."""
        return self.q.clock.monotonic() - self.started_at

    def close(self) -> None:
        """Let go of the threads."""
        self._questions.close()
        self._actions.close()

    def _ear(self) -> Ear | None:
        news = self.q.store_as_it_is.wakeups.news()
        return None if news is None else news.ear(self.q.clock, lambda why: None)

    def _interrupt(self, thread_id: int) -> None:
        self.q.store.interrupt(thread_id)
