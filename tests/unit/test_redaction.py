"""Which keys name a secret, and what is left of the values."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from prismq.domain.redaction import DEFAULT_SECRET_KEYS, REDACTED, Redactor


@pytest.mark.parametrize(
    "key",
    [
        *DEFAULT_SECRET_KEYS,
        "PASSWORD", "dbPassword", "password_hash", "X-Api-Key", "x_api_key", "stripeApiKey", "APIKey", "API_KEY",
        "Authorization", "HTTPAuthorization", "auth_token", "accessToken", "Set-Cookie", "client secret", "aws.secret",
    ],
)  # fmt: skip
def test_a_key_whose_words_name_a_secret_is_one(key: str) -> None:
    assert Redactor().is_secret(key)


@pytest.mark.parametrize(
    "key",
    ["max_tokens", "tokens", "tokenizer", "key", "api", "monkey", "author", "compass", "secretary", "pass", "", "-"],
)
def test_a_key_that_only_looks_alike_is_none(key: str) -> None:
    assert not Redactor().is_secret(key)


def test_values_are_left_out_at_any_depth_and_the_original_stays() -> None:
    given: dict[str, Any] = {
        "user": "ann",
        "password": "hunter2",
        "headers": {"Authorization": ["Bearer", "x"], "Accept": "*/*"},
        "calls": [{"token": 7, "n": 1}, ("a", {"secret": {"deep": True}})],
    }
    assert Redactor().redact(given) == {
        "user": "ann",
        "password": REDACTED,
        "headers": {"Authorization": REDACTED, "Accept": "*/*"},
        "calls": [{"token": REDACTED, "n": 1}, ["a", {"secret": REDACTED}]],
    }
    assert given["password"] == "hunter2"


def test_that_there_is_no_secret_may_be_known() -> None:
    assert Redactor().redact({"token": None, "password": False, "secret": ""}) == {
        "token": None,
        "password": False,
        "secret": REDACTED,
    }


def test_keys_of_ones_own_take_the_place_of_the_usual_ones() -> None:
    redactor = Redactor(["iban", "Kunden Nummer", "--"])
    assert redactor.redact({"customer_IBAN": 1, "kundenNummer": 2, "kunden": 3, "password": 4}) == {
        "customer_IBAN": REDACTED,
        "kundenNummer": REDACTED,
        "kunden": 3,
        "password": 4,
    }
    assert Redactor(()).redact({"password": 1}) == {"password": 1}


def test_a_structure_without_end_is_cut() -> None:
    endless: dict[str, Any] = {"n": 1}
    endless["again"] = endless
    shown = Redactor().redact(endless)
    assert shown["again"]["n"] == 1
    assert "[too deep]" in str(shown)


def test_it_goes_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(Redactor(["iban"]))).is_secret("IBAN")
