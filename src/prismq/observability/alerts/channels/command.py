"""A command of one's own: it gets the message as JSON on its standard input, and ends with 0 when it took it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import PurePath

from prismq.observability.alerts.channels.base import NotDelivered
from prismq.observability.alerts.message import Message


class CommandChannel:
    """The Channel protocol over a program. No shell is involved."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = list(command)

    def send(self, message: Message, timeout_s: float, now: float) -> None:
        """See Channel.send. What the program says is not kept: it may hold secrets."""
        name = PurePath(self._command[0]).name
        try:
            done = subprocess.run(
                self._command,
                input=json.dumps(message.to_json(), ensure_ascii=False).encode(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise NotDelivered(f"{name} did not end within {timeout_s:g} s and was killed") from None
        except OSError as error:
            raise NotDelivered(f"{name} cannot be started: {error.strerror or type(error).__name__}") from None
        if done.returncode:
            raise NotDelivered(f"{name} ended with code {done.returncode}")
