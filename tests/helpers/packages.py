"""Programs of other projects that tests need, installed where this user may."""

from __future__ import annotations

import os
import shutil
import subprocess


def require(program: str, *, package: str) -> str:
    """The path of `program`, from the Debian package `package` where it is missing. Raises RuntimeError."""
    found = shutil.which(program)
    if found is None and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        # Test processes side by side wait for each other.
        apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"]
        for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
            subprocess.run([*apt, *command], env=environment, check=False, stdout=subprocess.DEVNULL)
        found = shutil.which(program)
    if found is None:
        raise RuntimeError(f"the tests need {program!r}. Install it, for example `apt-get install {package}`")
    return found
