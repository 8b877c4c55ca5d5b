"""A private PostgreSQL server in a temporary folder: for the demo, and for the tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from typing_extensions import Self

USER = "prismq"
_WAIT_S = 60
# A server for one machine and a short life; everything else is as it is by default, durability included.
_SETTINGS = "listen_addresses = '127.0.0.1'\n"
_TRUST = "local all all trust\nhost all all 127.0.0.1/32 trust\n"


class ServerUnavailable(Exception):
    """No private server can be had here; the text says why and what to do."""


def programs() -> Path:
    """The folder of the newest server's programs; installed from the system's packages where this user may.

    Raises ServerUnavailable.
    """
    found = _find_programs()
    if found is None:
        install("postgresql")
        found = _find_programs()
    if found is None:
        raise ServerUnavailable(
            "the programs of a PostgreSQL server (initdb, postgres) were not found. Install them, for example "
            "`apt-get install postgresql`, or put their folder into PATH"
        )
    return found


def install(package: str) -> None:
    """A package of the system's own, where this user may; whether it is there now is for the caller to see."""
    if not is_root() or not shutil.which("apt-get"):
        return
    # Programs that install side by side wait for each other, and none asks a question.
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"]
    for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
        subprocess.run([*apt, *command], check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def is_root() -> bool:
    """Whether this is the user who may do everything; PostgreSQL refuses to run as that one."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _find_programs() -> Path | None:
    places = [place for place in Path("/usr/lib/postgresql").glob("*/bin") if place.parent.name.isdigit()]
    places.sort(key=lambda place: int(place.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    for place in [*places, *([Path(on_path).resolve().parent] if on_path else [])]:
        if shutil.which("initdb", path=str(place)) and shutil.which("postgres", path=str(place)):
            return place
    return None


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind((address, 0))
        port: int = listener.getsockname()[1]
        return port


class PrivateServer:
    """A server of our own, in a folder of its own below `parent`. `stop()` ends it, `start()` starts it again.

    `settings` are lines of postgresql.conf, `access` those of pg_hba.conf. Its user is `prismq`, without a password.
    Raises ServerUnavailable where it cannot be made.
    """

    def __init__(self, settings: str = "", access: str = _TRUST, parent: Path | None = None) -> None:
        self.bin = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="prismq-pg-", dir=parent))
        self.run_as: dict[str, Any] = {}
        if is_root():
            self.run_as = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(self.folder, "postgres", "postgres")
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.port = free_port()
        self._owner = os.getpid()
        try:
            self._make(settings, access)
            self.start()
        except BaseException:
            self.close()
            raise

    def _make(self, settings: str, access: str) -> None:
        self.run("initdb", "-D", self.data, "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        self.configure(settings, access)

    def configure(self, settings: str, access: str) -> None:
        """Write the server's settings after those that are there, and who may come in."""
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"{_SETTINGS}port = {self.port}\nunix_socket_directories = '{self.folder}'\n{settings}")
        (self.data / "pg_hba.conf").write_text(access, encoding="utf-8")

    def run(self, program: str, *arguments: object) -> None:
        """One of the server's programs, as the server's user. Raises ServerUnavailable where it fails."""
        done = subprocess.run(
            [self.bin / program, *map(str, arguments)],
            capture_output=True, text=True, check=False, cwd=self.folder, stdin=subprocess.DEVNULL, **self.run_as,
        )  # fmt: skip
        if done.returncode:
            told = self.log.read_text(encoding="utf-8", errors="replace")[-500:] if self.log.exists() else ""
            raise ServerUnavailable(f"{program} failed: {done.stdout.strip()} {done.stderr.strip()} {told}".strip())

    def _control(self, *words: object) -> None:
        self.run("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", _WAIT_S, *words)

    def start(self) -> None:
        """Start it, and return once it takes connections."""
        self._control("start")

    def stop(self, mode: str = "fast") -> None:
        """End it: `fast` as an operator does, `immediate` as a crash does."""
        self._control("-m", mode, "stop")

    def restart(self, mode: str = "fast") -> None:
        """Stop and start."""
        self._control("-m", mode, "restart")

    def url(self, database: str, *, user: str = USER, password: str | None = None, **options: str) -> str:
        """The URL of a database on this server."""
        login = user if password is None else f"{user}:{password}"
        query = "&".join(f"{key}={value}" for key, value in options.items())
        return f"postgresql://{login}@127.0.0.1:{self.port}/{database}" + (f"?{query}" if query else "")

    def close(self) -> None:
        """Stop it and remove its folder. In a child that inherited it, nothing."""
        if os.getpid() != self._owner:
            return
        pid_file = self.data / "postmaster.pid"
        if pid_file.exists():
            with suppress(ServerUnavailable):
                self.stop("immediate")
        if pid_file.exists():  # it did not listen to pg_ctl
            with suppress(ValueError, IndexError, OSError):
                pid = int(pid_file.read_text(encoding="utf-8").split()[0])
                os.kill(pid, getattr(signal, "SIGQUIT", signal.SIGTERM))
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
