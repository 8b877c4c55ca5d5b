"""`prismq metrics`."""

from __future__ import annotations

import json

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from prismq import PrismQ
from tests.cli.conftest import Cli, add_worker


def test_the_figures_are_written_as_prometheus_reads_them(cli: Cli, q: PrismQ) -> None:
    q.enqueue("add", {})
    add_worker(q)
    answer = cli("metrics")
    assert (answer.code, answer.err) == (0, "")
    families = {family.name: family for family in parse_prometheus(answer.out)}
    [enqueued] = families["prismq_tasks_enqueued"].samples
    assert (enqueued.labels, enqueued.value) == ({"queue": "default", "type": "add"}, 1)
    assert families["prismq_worker_up"].samples[0].value == 1


def test_the_form_can_be_chosen(cli: Cli, q: PrismQ) -> None:
    names = {family.name for family in parse_openmetrics(cli("metrics", "-f", "openmetrics").out)}
    assert "prismq_build" in names
    for arguments in (["--format", "json"], ["--json"]):
        found = json.loads(cli("metrics", *arguments).out)
        assert "prismq_workers" in {metric["name"] for metric in found["metrics"]}


@pytest.mark.parametrize("form", ["xml", ""])
def test_a_form_that_does_not_exist_is_refused(cli: Cli, q: PrismQ, form: str) -> None:
    answer = cli("metrics", "--format", form)
    assert answer.code == 2
    assert "openmetrics" in answer.err
