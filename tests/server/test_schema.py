"""Schemathesis over the whole OpenAPI document, with all its checks, as each role and on both engines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from schemathesis.config import SchemathesisConfig

from prismq import PrismQ
from prismq.domain.account import Role
from prismq.domain.worker import Worker
from prismq.server.app import create_app
from prismq.server.settings import ServerSettings
from prismq.storage.contract import Schedule
from tests.helpers.builders import a_task
from tests.helpers.clock import FakeClock
from tests.server.conftest import Site

EXAMPLES = 12  # of each operation, role and engine

# What the schema cannot say: a name that is taken, a time of two kinds, a filter without a condition.
REFUSED = ["2xx", "400", "401", "403", "404", "409", "413", "414", "415", "422", "429", "503"]
CONFIG = {
    "checks": {
        "positive_data_acceptance": {"expected-statuses": REFUSED},
        # A body that cannot be read is 400, one that is not JSON 415, a path with a slash in a name another route.
        "negative_data_rejection": {
            "expected-statuses": ["400", "401", "403", "404", "405", "409", "414", "415", "421", "422"]
        },
    },
    # That is how it says "unhealthy", which this queue without workers is.
    "operations": [{"include-path": "/health", "checks": {"not_a_server_error": {"expected-statuses": ["503"]}}}],
}


def operations(app: Any) -> list[Any]:
    schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=SchemathesisConfig.from_dict(CONFIG))
    return [found.ok() for found in schema.get_all_operations()]


def shows(url: str, query: Mapping[str, Any]) -> bool:
    """Whether the wire has what was made up: of null, and of lists of nothing, nothing is sent, a list of one is sent
    as that one alone, and an object as what is in it. The server cannot refuse what it does not see."""
    sent = Counter(name for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True))
    return all(
        sent[name] >= (2 if isinstance(value, list) else 1) and not isinstance(value, dict)
        for name, value in query.items()
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("role", [*Role, None], ids=str)
def test_the_api_is_what_its_document_says(
    q: PrismQ, stack: ExitStack, clock: FakeClock, role: Role | None, seed: int
) -> None:
    site = Site(q, stack, dashboard=False, allowed_hosts=["*"])
    headers = {} if role is None else {"Authorization": f"Bearer {site.token(role)}"}
    if role is None:
        site.token(Role.VIEWER)
    for number in range(3):
        site.q.enqueue("mail", {"n": number})
    q.store.workers.register(Worker("w1", slots=4), clock.now())
    q.store.schedules.declare(Schedule("nightly", "0 3 * * *", "UTC", "latest", a_task("report")), clock.now())

    tried = 0
    failures: list[str] = []
    for operation in operations(site.app):
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            strategy = operation.as_strategy(generation_mode=mode)

            @settings(
                max_examples=EXAMPLES, database=None, derandomize=True, deadline=None,
                suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate],
            )  # fmt: skip
            @given(case=strategy)
            def fits(case: Any) -> None:
                nonlocal tried
                # Whoever is wrong too often is made to wait: not what is asked here.
                clock.advance(10)
                response = case.call(headers=headers)
                assume(shows(str(response.request.url), case.query or {}))
                tried += 1
                case.validate_response(response, headers=headers)

            try:
                fits()
            except BaseException as error:
                if "Cannot generate" in str(error) or "Unsatisfiable" in type(error).__name__:
                    continue
                failures.append(f"{operation.label} ({mode}) as {role}: {error}")
    assert not failures, "\n\n".join(failures)
    assert tried > 400


def test_the_document_names_an_example_for_each_body(tmp_path: Path) -> None:
    with PrismQ(tmp_path / "queue.db") as q:
        document = create_app(q, ServerSettings(dashboard=False)).openapi()
    schemas = document["components"]["schemas"]
    bodies = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), (method, path)
            assert operation.get("description"), (method, path)
            body = operation.get("requestBody")
            if body is not None:
                name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                bodies += 1
                found = schemas[name].get("examples") or all(
                    one.get("examples") or "default" in one or "$ref" in str(one)
                    for one in schemas[name]["properties"].values()
                )
                assert found, f"{name} has no example"
            for status, answer in operation["responses"].items():
                if not status.startswith("2") and path.startswith("/api/"):
                    assert list(answer["content"]) == ["application/problem+json"], (method, path, status)
    assert bodies >= 8
