"""What the guards of a move say to those who write."""

from __future__ import annotations

from prismq.domain.times import from_epoch
from prismq.storage.contract.transfer import GUARDED, MoveMark, MoveState


def message_of(mark: MoveMark) -> str:
    """Why nothing can be written, and what to do."""
    if mark.state is MoveState.MOVED:
        return (
            f"{GUARDED}has moved to {mark.other} on {from_epoch(mark.since):%Y-%m-%d %H:%M} UTC, so nothing was "
            f"written. Give that address to this program (--db, PRISMQ_DATABASE_URL, or `database` in its "
            f"configuration)"
        )
    if mark.state is MoveState.RECEIVED:
        return f"{GUARDED}has come from {mark.other}"
    if mark.state is MoveState.RECEIVING:
        return (
            f"{GUARDED}is being moved here from {mark.other} and is not complete, so nothing was written. "
            f"Try again when `prismq move` has ended"
        )
    return (
        f"{GUARDED}is being moved to {mark.other} and takes no writes until that is done, so nothing was written. "
        f"Try again in a moment, or at the new address. If the move was interrupted, run it again to go on, or "
        f"`prismq move --abort` to go on here"
    )
