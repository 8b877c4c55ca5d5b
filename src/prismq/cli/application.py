"""Loading the user's application for a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from prismq.domain.errors import ConfigurationError, PrismqError

if TYPE_CHECKING:
    from prismq.app import PrismQ
    from prismq.cli.context import Call


def load_app(reference: str, call: Call) -> PrismQ:
    """The application, on the database that this command line names, if it names one. Raises ConfigurationError."""
    from prismq.worker.loading import load

    try:
        app = load(reference, call.override)
    except PrismqError:
        raise
    except Exception as error:
        if call.common.traceback:
            raise
        # Their code failed at its import: the reason in a line, and how to see the whole.
        raise ConfigurationError(
            f"{reference} cannot be loaded: {type(error).__name__}: {error}. See where with --traceback"
        ) from error
    # A worker is content with less than a PrismQ; what `load` finds is one.
    return cast("PrismQ", app)
