"""What is sent: one message for what belongs together, for people and for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prismq.domain.times import from_epoch
from prismq.domain.words import duration, plural
from prismq.storage.contract.alerts import Notice

_SHOWN_MAX = 20
_RANK = {"page": 0, "ticket": 1, "info": 2}
_WORDS = {
    "firing": "FIRING",
    "repeat": "STILL FIRING",
    "escalation": "UNACKNOWLEDGED",
    "resolved": "RESOLVED",
    "test": "TEST",
}
_TIMES = ("since", "fired_at", "resolved_at")


@dataclass(frozen=True)
class Message:
    """Alerts that belong together, of one kind: firing, repeat, escalation, resolved or test."""

    kind: str
    source: str  # which queue: the store's name
    alerts: Sequence[Mapping[str, Any]]
    notice_ids: tuple[int, ...]
    dashboard_url: str | None = None

    @property
    def severity(self) -> str:
        """The gravest of its alerts."""
        return min((str(one.get("severity", "info")) for one in self.alerts), key=lambda word: _RANK.get(word, 3))

    @property
    def title(self) -> str:
        """One line: what is the matter, and how many more there are."""
        first = self.alerts[0].get("summary", "") if self.alerts else ""
        more = f" (and {len(self.alerts) - 1:,} more)" if len(self.alerts) > 1 else ""
        return f"[{_WORDS.get(self.kind, self.kind.upper())}, {self.severity}] {first}{more}"

    @property
    def text(self) -> str:
        """Some lines for each alert."""
        lines: list[str] = []
        for one in self.alerts[:_SHOWN_MAX]:
            lines += [f"{one.get('rule')}: {one.get('summary')}", f"  {one.get('description')}", f"  {_when(one)}"]
            if one.get("runbook") and self.kind != "resolved":
                lines.append(f"  What to do: {one['runbook']}")
            lines.append("")
        if len(self.alerts) > _SHOWN_MAX:
            lines += [f"… and {plural(len(self.alerts) - _SHOWN_MAX, 'more alert')}.", ""]
        where = f", {self.dashboard_url.rstrip('/')}/alerts" if self.dashboard_url else ""
        return "\n".join([*lines, f"PrismQ, {self.source}{where}"])

    def to_json(self) -> dict[str, Any]:
        """For programs; times are ISO 8601 in UTC. `delivery` is the same when a message is sent again."""
        return {
            "version": 1,
            "kind": self.kind,
            "delivery": f"{self.kind}-{'-'.join(map(str, self.notice_ids[:5]))}",
            "severity": self.severity,
            "source": self.source,
            "title": self.title,
            "text": self.text,
            "dashboard_url": self.dashboard_url,
            "alerts": [{**one, **{name: _iso(one.get(name)) for name in _TIMES}} for one in self.alerts],
        }


def messages_of(notices: Sequence[Notice], source: str, dashboard_url: str | None) -> list[Message]:
    """The notices of one channel, gathered: those of one kind and one group of rules go together, the gravest first."""
    groups: dict[tuple[str, str], list[Notice]] = {}
    for one in notices:
        groups.setdefault((one.kind, str(one.content.get("group", ""))), []).append(one)
    return [
        Message(
            kind,
            source,
            sorted((one.content for one in some), key=lambda content: _RANK.get(str(content.get("severity")), 3)),
            tuple(one.notice_id for one in some),
            dashboard_url,
        )
        for (kind, _), some in groups.items()
    ]


def _when(alert: Mapping[str, Any]) -> str:
    since, fired, resolved = (alert.get(name) for name in _TIMES)
    if isinstance(resolved, (int, float)):
        lasted = f" after {duration(resolved - fired)}" if isinstance(fired, (int, float)) else ""
        return f"Over since {_iso(resolved)}{lasted}."
    return f"Since {_iso(since)}." if since is not None else ""


def _iso(epoch_s: Any) -> str | None:
    return from_epoch(epoch_s).strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(epoch_s, (int, float)) else None
