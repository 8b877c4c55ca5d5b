"""`prismq metrics`."""

from __future__ import annotations

import json

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from prismq import PrismQ
from tests.cli.conftest import Cli, add_worker
from tests.helpers.redis import redis_server


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


def test_redis_is_told_of_where_there_is_one(cli: Cli, q: PrismQ, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "prismq_redis" not in cli("metrics").out
    with redis_server() as server:
        monkeypatch.setenv("PRISMQ_REDIS_URL", server.url)
        out = cli("metrics").out
        assert "\nprismq_redis_up 1\n" in out
        assert '\nprismq_redis_keys{type="string"} 0\n' in out
    assert "\nprismq_redis_up 0\n" in cli("metrics").out


def test_backups_and_schedules_are_told_of(cli: Cli, q: PrismQ) -> None:
    assert "prismq_backup" not in cli("metrics").out
    assert cli("backup", "create").code == 0
    assert "\nprismq_backup_last_success_timestamp_seconds " in cli("metrics").out
