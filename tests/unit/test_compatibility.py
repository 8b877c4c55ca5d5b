from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prismq.domain.compatibility import matches, missing

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.sampled_from(["eu", "us", "1"])
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=4)
objects = st.dictionaries(st.sampled_from(["region", "memory_gb", "codecs"]), values, max_size=3)


@pytest.mark.parametrize(
    ("required", "offered"),
    [
        ({}, {}),
        ({}, {"region": "eu"}),
        ({"region": "eu"}, {"region": "eu", "gpu": True}),
        ({"region": "eu"}, {"region": ["us", "eu"]}),
        ({"memory_gb": 16}, {"memory_gb": 16}),
        ({"memory_gb": 16}, {"memory_gb": 24.5}),
        ({"level": 3}, {"level": [1, 3]}),
        ({"codecs": ["av1", "h264"]}, {"codecs": ["h264", "vp9", "av1"]}),
        ({"codecs": ["av1"]}, {"codecs": "av1"}),
        ({"codecs": []}, {"codecs": ["av1"]}),
        ({"gpu": True}, {"gpu": True}),
        ({"gpu": None}, {}),
        ({"gpu": None}, {"gpu": None}),
        ({"driver": {"major": 5}}, {"driver": {"major": 5.0}}),
    ],
)
def test_a_worker_that_offers_what_is_required_matches(required: dict[str, Any], offered: dict[str, Any]) -> None:
    assert matches(required, offered)
    assert missing(required, offered) == []


@pytest.mark.parametrize(
    ("required", "offered", "words"),
    [
        ({"region": "eu"}, {"region": "us"}, "region 'eu' (the worker offers 'us')"),
        ({"region": "eu"}, {}, "region 'eu' (the worker offers none)"),
        ({"region": "eu"}, {"region": ["us", "ap"]}, "region 'eu' (the worker offers ['us', 'ap'])"),
        ({"memory_gb": 24}, {"memory_gb": 16}, "memory_gb of at least 24 (the worker offers 16)"),
        ({"memory_gb": 24}, {}, "memory_gb of at least 24 (the worker offers none)"),
        ({"level": 2}, {"level": [1, 3]}, "level 2 (the worker offers [1, 3])"),
        ({"gpu": True}, {"gpu": 1}, "gpu True (the worker offers 1)"),
        ({"gpu": 1}, {"gpu": True}, "gpu 1 (the worker offers True)"),
        ({"gpu": True}, {"gpu": [1]}, "gpu True (the worker offers [1])"),
        ({"gpu": None}, {"gpu": "a100"}, "gpu None (the worker offers 'a100')"),
        (
            {"codecs": ["av1", "vp9"]},
            {"codecs": ["av1"]},
            "codecs with all of ['av1', 'vp9'] (the worker offers ['av1'])",
        ),
        ({"flags": {"a": True}}, {"flags": {"a": 1}}, "flags {'a': True} (the worker offers {'a': 1})"),
        ({"x": "2"}, {"x": 3}, "x '2' (the worker offers 3)"),
    ],
)
def test_an_unmet_need_is_named(required: dict[str, Any], offered: dict[str, Any], words: str) -> None:
    assert not matches(required, offered)
    assert missing(required, offered) == [words]


def test_every_unmet_need_is_named() -> None:
    assert len(missing({"region": "eu", "gpu": True, "cpu": 2}, {"cpu": 4})) == 2


@given(objects, objects)
def test_matching_means_that_nothing_is_missing(required: dict[str, Any], offered: dict[str, Any]) -> None:
    assert matches(required, offered) == (missing(required, offered) == [])


@given(objects)
def test_a_worker_always_matches_its_own_capabilities(capabilities: dict[str, Any]) -> None:
    assert matches(capabilities, capabilities)


@given(objects, objects, objects)
def test_needing_less_never_hurts(required: dict[str, Any], offered: dict[str, Any], extra: dict[str, Any]) -> None:
    if matches({**extra, **required}, offered):
        assert matches(required, offered)


@given(st.integers() | st.floats(allow_nan=False), st.integers() | st.floats(allow_nan=False))
def test_a_number_is_met_by_one_as_large(need: float, offer: float) -> None:
    assert matches({"n": need}, {"n": offer}) == (need <= offer)


@given(scalars, st.lists(scalars, max_size=5))
def test_a_list_offers_its_members_and_nothing_else(need: Any, offers: list[Any]) -> None:
    held = any(need == offer and isinstance(need, bool) == isinstance(offer, bool) for offer in offers)
    assert matches({"x": need}, {"x": offers}) == held
