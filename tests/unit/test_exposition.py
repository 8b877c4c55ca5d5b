"""The table of metrics, and what it becomes as text."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise

import pytest
from prometheus_client import exposition as library_text
from prometheus_client import metrics_core as core
from prometheus_client.openmetrics import exposition as library_openmetrics

from prismq.domain.sketch import RELATIVE_ERROR, Sketch
from prismq.observability.exposition import METRICS, Format, Kind, Metric, Snapshot, negotiate, render
from prismq.observability.exposition.definitions import GROUPS
from prismq.observability.exposition.metric import BUCKETS_S
from prismq.observability.exposition.samples import Histogram, histogram_of, histogram_of_counts

PLAIN, OPEN, JSON = Format.PROMETHEUS, Format.OPENMETRICS, Format.JSON


# -- the table


def test_names_keep_to_the_conventions() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"prismq_[a-z0-9]+(_[a-z0-9]+)*", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert metric.name.endswith("_info") == (metric.kind is Kind.INFO)
        assert not re.search(r"_(milliseconds|ms|percent|minutes|hours|kb|mb)(_|$)", metric.name)
        for unit in ("seconds", "bytes", "ratio"):
            assert metric.family.endswith(f"_{unit}") == (metric.unit == unit), metric.name
        assert metric.help.endswith("."), metric.name
        assert set(metric.labels).isdisjoint({"id", "task_id", "le", "quantile", "job", "instance"})


def test_every_group_has_metrics() -> None:
    assert {metric.group for metric in METRICS} == set(GROUPS)


# -- the text


def a_snapshot() -> Snapshot:
    """A value for every metric, with labels that want escaping."""
    strange = 'a"b\\c\nd{e="f"} 1 # é\u2028𝄞'
    values = {Kind.COUNTER: 12, Kind.GAUGE: 0.1 + 0.2, Kind.INFO: 1}
    samples = {
        metric.name: [
            (tuple(f"{strange}{n}" for _ in metric.labels), values.get(metric.kind, _histogram(metric, n)))
            for n in range(3 if metric.labels else 1)
        ]
        for metric in METRICS
    }
    return Snapshot(1_700_000_000.0, samples)  # type: ignore[arg-type]


def _histogram(metric: Metric, n: int) -> Histogram:
    if metric.buckets == BUCKETS_S:
        return histogram_of([Sketch({-5: 3, 40: n}).to_json()], 1.5)
    return histogram_of_counts([3, n, *(0 for _ in metric.buckets[1:])], 1.5)


class AsTheLibrary:
    """The same snapshot, as the library's own families: what its writer makes of them is right."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> list[core.Metric]:
        families = []
        for metric in METRICS:
            family = core.Metric(metric.family, metric.help, metric.kind.value, metric.unit)
            for values, value in self._snapshot.samples[metric.name]:
                labels = dict(zip(metric.labels, values, strict=True))
                if not isinstance(value, Histogram):
                    family.add_sample(metric.name, labels, value)
                    continue
                bounds = [*(str(float(bound)) for bound in metric.buckets), "+Inf"]
                for bound, count in zip(bounds, value.cumulative, strict=True):
                    family.add_sample(f"{metric.name}_bucket", {**labels, "le": bound}, count)
                family.add_sample(f"{metric.name}_count", labels, value.count)
                family.add_sample(f"{metric.name}_sum", labels, value.sum_s)
            families.append(family)
        return families


def normalised(text: str) -> list[str]:
    """The library sorts labels, and writes whole numbers with a fraction."""
    lines = []
    for line in text.split("\n"):
        found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if found is None or line.startswith("#"):
            lines.append(line)
            continue
        labels = sorted(re.findall(r'\w+="(?:[^"\\]|\\.)*"', found[2] or ""))
        lines.append(f"{found[1]}{labels} {float(found[3])}")
    return lines


@pytest.mark.parametrize(
    ("form", "writer"), [(PLAIN, library_text.generate_latest), (OPEN, library_openmetrics.generate_latest)]
)
def test_the_text_is_what_the_library_writes(form: Format, writer: object) -> None:
    snapshot = a_snapshot()
    theirs = writer(AsTheLibrary(snapshot)).decode()  # type: ignore[operator]
    assert normalised(render(snapshot, form)) == normalised(theirs)


def test_numbers_that_are_none_are_written_as_prometheus_reads_them() -> None:
    for value, text in ((float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN"), (3, "3"), (0.5, "0.5")):
        written = render(Snapshot(0.0, {"prismq_system_load1": [((), value)]}), PLAIN)
        assert written.splitlines()[-1] == f"prismq_system_load1 {text}"
    assert '"value": null' in render(Snapshot(0.0, {"prismq_system_load1": [((), float("nan"))]}), JSON)


# -- negotiation


# What Prometheus 2.42 and 3.0 send.
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;"
    "version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, PLAIN),
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/html,application/xhtml+xml,*/*;q=0.8", PLAIN),
        ("text/plain", PLAIN),
        ("application/openmetrics-text", OPEN),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", OPEN),
        ("text/plain;q=0.9, application/openmetrics-text;q=0.1", PLAIN),
        ("APPLICATION/OpenMetrics-Text;Q=0.9,text/plain;q=0.5", OPEN),
        ("application/openmetrics-text;q=0, text/plain", PLAIN),
        ("application/openmetrics-text;q=nonsense", PLAIN),
        ("application/json", JSON),
        (PROMETHEUS_2, OPEN),
        (PROMETHEUS_3, OPEN),
    ],
)  # fmt: skip
def test_the_form_is_the_one_that_is_liked_best(accept: str | None, form: Format) -> None:
    assert negotiate(accept) is form


# -- histograms


def test_a_bin_is_always_in_the_same_bucket_and_near_it() -> None:
    for bound, after in pairwise(BUCKETS_S):
        sketch = Sketch()
        for value_s in (bound * (1 - RELATIVE_ERROR) ** 2, bound * (1 + RELATIVE_ERROR) ** 2, after * 2):
            sketch.add(value_s)
        found = histogram_of([sketch.to_json()], 0.0)
        assert found.cumulative[BUCKETS_S.index(bound)] == 1
        assert found.count == 3


def test_values_beyond_every_boundary_are_in_the_last_bucket() -> None:
    sketch = Sketch()
    sketch.add(0.0)
    sketch.add(1e9)
    found = histogram_of([sketch.to_json()], 0.0)
    assert found.cumulative[0] == 1
    assert found.cumulative[-2:] == (1, 2)


@pytest.mark.parametrize("strange", ["{", "[]", "7", '{"1": -9}', '{"1": 0.5}', '{"x": 1}', '{"99999": 1}', "{}, {}"])
def test_text_that_is_no_sketch_does_not_spoil_the_others(strange: str) -> None:
    sketches = [Sketch({-5: 3}), Sketch({40: 2})]
    found = histogram_of([sketches[0].to_json(), strange, sketches[1].to_json()], 1.5)
    assert found == histogram_of([one.to_json() for one in sketches], 1.5)
    assert (found.count, found.sum_s) == (5, 1.5)


def test_a_histogram_of_nothing_has_nothing_in_it() -> None:
    assert set(histogram_of([], 0.0).cumulative) == {0}


def test_importing_prismq_loads_no_part_of_it() -> None:
    code = "import prismq, sys; print([m for m in sys.modules if 'exposition' in m or 'prometheus' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
