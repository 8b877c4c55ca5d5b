"""What people do about alerts: acknowledge, silence, end a silence. The same for the API, the pages and the CLI."""

from __future__ import annotations

from collections.abc import Mapping

from prismq.config.alerts import AlertsConfig
from prismq.domain.errors import InvalidArgument, PrismqError
from prismq.observability.alerts.matching import check_silence
from prismq.observability.alerts.rules import rules_of
from prismq.storage.contract import Store
from prismq.storage.contract.alerts import AlertRecord, Silence

TEXT_CHARS_MAX = 500


class NoSuchAlert(PrismqError):
    """There is no alert, or no silence, of this number; or it is over."""


def acknowledge(store: Store, alert_id: int, by: str, note: str | None, now: float) -> AlertRecord:
    """Somebody looks after the alert. Raises NoSuchAlert where there is none, or it is over, and InvalidArgument."""
    if note is not None and len(note) > TEXT_CHARS_MAX:
        raise InvalidArgument(f"a note has at most {TEXT_CHARS_MAX} characters")
    if not store.alerts.acknowledge(alert_id, by, note or None, now):
        found = store.alerts.get(alert_id)
        why = "there is none" if found is None else "it is over, and nobody has to look after it any more"
        raise NoSuchAlert(f"alert {alert_id} was not acknowledged: {why}")
    found = store.alerts.get(alert_id)
    if found is None:
        raise NoSuchAlert(f"there is no alert {alert_id}")
    return found


def silence(
    store: Store,
    config: AlertsConfig,
    matchers: Mapping[str, str],
    seconds: float,
    by: str,
    reason: str,
    now: float,
    *,
    starts_at: float | None = None,
) -> Silence:
    """Alerts that match are not told for so long, from now or from `starts_at` on.

    Raises InvalidArgument, also for what can match no rule of `config` and no alert that is open.
    """
    # The one who watches may have rules of its own, with other settings than ours.
    known = {one.rule: tuple(one.labels) for one in store.alerts.open()}
    known.update({rule.name: rule.labels for rule in rules_of(config)})
    check_silence(matchers, seconds, known)
    if len(reason) > TEXT_CHARS_MAX:
        raise InvalidArgument(f"a reason has at most {TEXT_CHARS_MAX} characters")
    starts = now if starts_at is None else starts_at
    new = Silence(0, dict(matchers), starts, starts + seconds, by, now, reason)
    return new._replace(silence_id=store.alerts.silence(new))


def unsilence(store: Store, silence_id: int, now: float) -> None:
    """End a silence now. Raises NoSuchAlert where it is not in force."""
    if not store.alerts.unsilence(silence_id, now):
        raise NoSuchAlert(f"there is no silence {silence_id} that is in force")
