"""Secrets do not belong in logs: what stands under a telling name is left out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

DEFAULT_SECRET_KEYS = (
    "password", "passwords", "passwd", "pwd", "passphrase", "secret", "secrets", "token", "authorization", "api_key",
    "apikey", "access_key", "private_key", "secret_key", "credential", "credentials", "cookie", "cookies", "session_id",
    "sessionid", "jwt", "otp", "cvv", "card_number",
)  # fmt: skip
REDACTED = "[redacted]"

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_DEPTH_MAX = 32  # deeper than anybody reads, and shallower than the interpreter's stack
_KNOWN_MAX = 10_000  # keys can be data


class Redactor:
    """Replaces the values of keys that name a secret, at any depth, by `[redacted]`.

    A key names a secret where the words of one of `keys` stand in it in a row, whatever its case and spelling:
    `api_key` is in `X-Api-Key` and in `stripeApiKey`, and `token` is in `auth_token` but not in `max_tokens`.
    """

    def __init__(self, keys: Iterable[str] = DEFAULT_SECRET_KEYS) -> None:
        self.keys = tuple(keys)
        self._names = {words for key in self.keys if (words := _words(key))}
        self._longest = max((len(name) for name in self._names), default=0)
        self._known: dict[str, bool] = {}

    def __reduce__(self) -> tuple[type[Redactor], tuple[tuple[str, ...]]]:
        return Redactor, (self.keys,)

    def is_secret(self, key: str) -> bool:
        """Whether this key names a secret."""
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            known = self._known[key] = self._look(_words(key))
        return known

    def _look(self, words: tuple[str, ...]) -> bool:
        return any(
            words[start : start + length] in self._names
            for start in range(len(words))
            for length in range(1, self._longest + 1)
        )

    def redact(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """A copy without secrets. Mappings, lists and tuples are looked into; other objects are taken as they are."""
        return {key: self._value(key, value, _DEPTH_MAX) for key, value in values.items()}

    def _value(self, key: object, value: Any, depth: int) -> Any:
        # `token: false` says that there is none, and that is worth knowing.
        if isinstance(key, str) and value is not None and not isinstance(value, bool) and self.is_secret(key):
            return REDACTED
        return self._inside(value, depth)

    def _inside(self, value: Any, depth: int) -> Any:
        if isinstance(value, str) or not isinstance(value, (Mapping, list, tuple)):
            return value
        if depth == 0:
            return "[too deep]"
        if isinstance(value, Mapping):
            return {key: self._value(key, inner, depth - 1) for key, inner in value.items()}
        return [self._inside(inner, depth - 1) for inner in value]


def _words(key: str) -> tuple[str, ...]:
    return tuple(word.lower() for word in _WORD.findall(key[:200]))
