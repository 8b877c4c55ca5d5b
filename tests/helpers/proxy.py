"""A TCP proxy before a PostgreSQL server that cuts, stops and swallows on demand, where it hurts."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from collections.abc import Callable
from typing import Literal

from tests.helpers.postgres import PostgresServer, free_port

_COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"  # CommandComplete, as the server says it
_READY = b"Z\x00\x00\x00\x05"
_STARTUP_CODES_WITHOUT_TYPE = (80877103, 80877104)  # SSLRequest, GSSENCRequest: the startup is still to come
Cut = Literal["question", "answer", "insert"]


class Proxy:
    """`url(database)` leads through it. Every fault holds until it is taken back.

    `cut_commit(n, which)`: of the next n COMMITs the question is not passed on, or the answer is not passed back, and
    the connection is reset; "insert" loses the answer to an INSERT INTO task_queue, which commits by itself outside a
    transaction. `hole(True)`: bytes are taken from both sides, new connections too, and nothing is passed on, as
    behind a firewall that has forgotten a connection. `refuse(True)`: nobody listens. `cut()`: every connection is
    reset.
    """

    def __init__(self, before: PostgresServer, address: str = "127.0.0.1") -> None:
        self._server = before
        self._address = address
        self.port = free_port(address)
        self._guard = threading.Lock()
        self._connections: set[_Passage] = set()
        self._holed = threading.Event()
        self._cuts: list[Cut] = []
        self.cut_commits: list[Cut] = []  # those that were cut
        self._listener: socket.socket | None = None
        self._listen()

    def url(self, database: str, **options: str) -> str:
        """The URL of a database of the server behind it."""
        return self._server.url(database, **options).replace(
            f"@127.0.0.1:{self._server.port}/", f"@{self._address}:{self.port}/"
        )

    # -- faults

    def cut_commit(self, times: int, which: Cut) -> None:
        with self._guard:
            self._cuts += [which] * times

    def hole(self, on: bool) -> None:
        if on:
            self._holed.set()
        else:
            self._holed.clear()
            self.cut()  # what was swallowed is gone for good

    def refuse(self, on: bool) -> None:
        if not on:
            self._listen()
        elif self._listener is not None:
            # Wakes the thread in accept(), which closes it.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
            self.cut()

    def cut(self) -> int:
        """Reset every connection; how many."""
        with self._guard:
            passages = list(self._connections)
        for passage in passages:
            passage.reset()
        return len(passages)

    def close(self) -> None:
        self.refuse(True)

    # -- inside

    def _listen(self) -> None:
        listener = socket.create_server((self._address, self.port))
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name="proxy", daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server.port), timeout=5)
            except OSError:  # the server is down: as a client sees it without a proxy
                _reset(client)
                continue
            server.settimeout(None)
            passage = _Passage(client, server, self._holed.is_set, self._cut_now, self._forget)
            with self._guard:
                self._connections.add(passage)
            threading.Thread(target=passage.run, name="proxy-passage", daemon=True).start()

    def _cut_now(self, which: Cut) -> bool:
        with self._guard:
            if not self._cuts or self._cuts[0] != which:
                return False
            self.cut_commits.append(self._cuts.pop(0))
            return True

    def _forget(self, passage: _Passage) -> None:
        with self._guard:
            self._connections.discard(passage)


class _Passage:
    """One connection: reads the client's messages well enough to know a COMMIT, prepared or not."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        holed: Callable[[], bool],
        cut_now: Callable[[Cut], bool],
        forget: Callable[[_Passage], None],
    ) -> None:
        self._client, self._server = client, server
        self._holed, self._cut_now, self._forget = holed, cut_now, forget
        self._started = False
        self._rest = b""
        self._prepared: dict[bytes, str] = {}  # name -> what it is, of those that matter

    def reset(self) -> None:
        _reset(self._client)
        _reset(self._server)

    def run(self) -> None:
        ends, losing = [self._client, self._server], False
        try:
            while True:
                for end in select.select(ends, [], [])[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    if self._holed():
                        continue
                    if end is self._client:
                        asked = self._asked_in(data)
                        if "commit" in asked and self._cut_now("question"):
                            return
                        losing = losing or ("insert" in asked and self._cut_now("insert"))
                        self._server.sendall(data)
                    else:
                        if _COMMITTED in data and self._cut_now("answer"):
                            return
                        if losing and _READY in data:
                            return
                        self._client.sendall(data)
        except (OSError, ValueError):  # reset by one of the three
            return
        finally:
            self.reset()
            self._forget(self)

    def _asked_in(self, data: bytes) -> set[str]:
        """Which of `commit` and `insert` the client's next bytes ask for."""
        asked: set[str] = set()
        self._rest += data
        while True:
            head = 1 if self._started else 0
            if len(self._rest) < head + 4:
                return asked
            (length,) = struct.unpack_from("!I", self._rest, head)
            if len(self._rest) < head + length:
                return asked
            message, self._rest = self._rest[: head + length], self._rest[head + length :]
            if not self._started:
                (code,) = struct.unpack_from("!I", message, 4)
                self._started = code not in _STARTUP_CODES_WITHOUT_TYPE
            else:
                asked.add(self._asked(message[:1], message[5:]))

    def _asked(self, kind: bytes, body: bytes) -> str:
        if kind == b"Q":
            return _what(body.rstrip(b"\x00"))
        if kind == b"P":  # Parse: a name, a text
            name, text, _ = body.split(b"\x00", 2)
            self._prepared[name] = _what(text)
        if kind == b"B":  # Bind: a portal, the name
            return self._prepared.get(body.split(b"\x00", 2)[1], "")
        return ""


def _what(text: bytes) -> str:
    if text.strip().upper() == b"COMMIT":
        return "commit"
    return "insert" if b"INSERT INTO task_queue" in text else ""


def _reset(end: socket.socket) -> None:
    """Close with a reset, as a network does that has lost the connection."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for it
    end.close()
