"""Hundreds of small worlds, each from a seed of its own; `--seed N` chooses the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.postgres import server
from tests.helpers.simulation import World

WORLDS = 300
BATCH = 25
WORLDS_ON_A_SERVER = 24  # each takes a second or two there


@pytest.mark.parametrize("first", range(0, WORLDS, BATCH))
def test_whatever_happens_what_must_hold_holds(tmp_path: Path, seed: int, first: int) -> None:
    for number in range(first, first + BATCH):
        path = tmp_path / f"{number}.db"
        World(path, seed + number).run(steps=200)
        path.unlink()


@pytest.mark.parametrize("first", range(0, WORLDS_ON_A_SERVER, 6))
def test_whatever_happens_on_a_server_what_must_hold_holds(seed: int, first: int) -> None:
    for number in range(first, first + 6):
        name = server().new_queue()
        try:
            World(server().url(name), seed + number).run(steps=120)
        finally:
            server().drop(name)


def test_a_seed_plays_the_same_world_again(tmp_path: Path, seed: int) -> None:
    stories = []
    for name in ("one", "two"):
        world = World(tmp_path / f"{name}.db", seed)
        world.run(steps=150)
        stories.append(world.story)
    assert stories[0] == stories[1]
