"""What the exit codes mean, and which error has which."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """The exit codes of `prismq`; `prismq --help` and docs/cli.md list them."""

    OK = 0
    FAILED = 1  # unhealthy, the task failed, not found, refused
    USAGE = 2
    UNHEALTHY = 2  # of `prismq health` alone, as those who ask for it again and again expect
    DATABASE = 3
    CONFIGURATION = 4
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.FAILED: "not healthy, the task failed, what was named does not exist, or the confirmation was refused",
    Exit.USAGE: "wrong usage: an unknown command or option, or a value that cannot be; of `prismq health`: unhealthy",
    Exit.DATABASE: "the database is missing or cannot be used",
    Exit.CONFIGURATION: "a wrong setting, or an application that cannot be loaded",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
}


def exit_for(error: Exception) -> Exit:
    """The exit code of an error of ours."""
    from prismq.domain.errors import ConfigurationError, InvalidArgument, QueueDatabaseError, UnknownStatus

    if isinstance(error, QueueDatabaseError):
        return Exit.DATABASE
    if isinstance(error, ConfigurationError):
        return Exit.CONFIGURATION
    if isinstance(error, (InvalidArgument, UnknownStatus)):
        return Exit.USAGE
    return Exit.FAILED
