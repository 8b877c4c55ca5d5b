"""Hosts of our own on one machine: network namespaces, each with a cable that can be pulled and a clock of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.helpers.packages import require


class NoHosts(Exception):
    """Namespaces cannot be made here; the text says why."""


class Host:
    """A network namespace with one cable to ours. `around` runs a command in it, on its clock."""

    def __init__(self, number: int, skew_s: float) -> None:
        unique = f"{os.getpid() % 100_000}{number}"
        self.name = f"prismq-{unique}"
        self.skew_s = skew_s
        self._near, self._far = f"pqa{unique}", f"pqb{unique}"
        network = f"10.{200 + os.getpid() // 250 % 50}.{os.getpid() % 250}"
        self.gateway, self._address = f"{network}.{4 * number + 1}", f"{network}.{4 * number + 2}"

    def make(self) -> None:
        """Raises NoHosts."""
        _ip("netns", "add", self.name)
        _ip("link", "add", self._near, "type", "veth", "peer", "name", self._far, "netns", self.name)
        _ip("addr", "add", f"{self.gateway}/30", "dev", self._near)
        _ip("link", "set", self._near, "up")
        inside = ("-n", self.name)
        _ip(*inside, "addr", "add", f"{self._address}/30", "dev", self._far)
        _ip(*inside, "link", "set", self._far, "up")
        _ip(*inside, "link", "set", "lo", "up")

    def remove(self) -> None:
        for words in (("link", "del", self._near), ("netns", "del", self.name)):
            subprocess.run(["ip", *words], capture_output=True, check=False)

    def pull_the_cable(self) -> None:
        """What is sent either way from here on is gone, without a word to anybody."""
        _ip("link", "set", self._near, "down")

    def plug_it_in(self) -> None:
        _ip("link", "set", self._near, "up")

    @property
    def around(self) -> list[str]:
        """The command that runs another one there."""
        command = ["ip", "netns", "exec", self.name]
        if self.skew_s:
            # The wall clock alone is wrong. Not by the command `faketime`: signals would end that, and not the program.
            command += [
                "env", f"PRISMQ_TEST_SKEW_S={self.skew_s:g}", f"LD_PRELOAD={_libfaketime()}",
                f"FAKETIME={self.skew_s:+g}s", "FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1",
            ]  # fmt: skip
        return command


def _libfaketime() -> Path:
    """For programs with threads."""
    places = [place for folder in ("/usr/lib", "/usr/lib64") for place in Path(folder).glob("**/libfaketimeMT.so.1")]
    if not places:
        raise NoHosts("faketime is installed, and its library libfaketimeMT.so.1 was not found")
    return places[0]


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoHosts(f"`ip {' '.join(words)}`: {done.stderr.strip()}")


@contextmanager
def hosts(*skews_s: float) -> Iterator[list[Host]]:
    """As many hosts as there are clocks. Raises NoHosts where this user, or this machine, cannot have namespaces."""
    if not Path("/proc/self/ns/net").exists() or not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise NoHosts("network namespaces need Linux and root")
    require("ip", package="iproute2")
    require("faketime", package="faketime")
    made = [Host(number, skew_s) for number, skew_s in enumerate(skews_s)]
    with ExitStack() as stack:
        for host in made:
            stack.callback(host.remove)
            host.make()
        yield made
