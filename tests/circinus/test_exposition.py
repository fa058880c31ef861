"""Figures as a page that Prometheus reads: held against its own parser."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from circinus.exposition import BUCKETS_S, Histogram, Kind, Metric, by, lines, one, page
from circinus.sketch import Sketch

DEPTH = Metric(name="circinus_test_depth_bytes", kind=Kind.GAUGE, text="How deep.", labels=("query",))
SEEN = Metric(name="circinus_test_seen_total", kind=Kind.COUNTER, text="How many.")
TOOK = Metric(name="circinus_test_took_seconds", kind=Kind.HISTOGRAM, text="How long.", labels=("query", "operator"))


def read(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_metrics_have_kind_text_and_values():
    found = read(page((by(DEPTH, {"a": 3, "b": 0.25}), one(SEEN, 12))))
    assert (found["circinus_test_depth_bytes"].type, found["circinus_test_depth_bytes"].documentation) == (
        "gauge",
        "How deep.",
    )
    assert {one.labels["query"]: one.value for one in found["circinus_test_depth_bytes"].samples} == {
        "a": 3.0,
        "b": 0.25,
    }
    assert [one.value for one in found["circinus_test_seen"].samples] == [12.0]


def test_what_is_not_known_is_left_out():
    assert page((one(SEEN, None), by(DEPTH, {}))) == ""


@given(st.text(max_size=30), st.floats(allow_nan=False))
def test_whatever_a_label_and_a_value_are_they_come_back(label, value):
    (sample,) = read(page((by(DEPTH, {label: value}),)))["circinus_test_depth_bytes"].samples
    assert sample.value == value
    assert sample.labels["query"] == label.encode("utf-8", "replace").decode()


def test_a_label_is_cut_where_it_is_too_long():
    (sample,) = read(page((by(DEPTH, {"x" * 5000: 1}),)))["circinus_test_depth_bytes"].samples
    assert len(sample.labels["query"]) == 200


@given(st.lists(st.floats(min_value=0.0, max_value=60_000.0), max_size=60))
def test_a_histogram_of_sketches_is_within_one_percent_of_its_figures(values_ms):
    histogram = Histogram()
    for half in (values_ms[::2], values_ms[1::2]):
        histogram.add(Sketch(half).message())
    family = read(page(((TOOK, ((("a", "b"), histogram),)),)))["circinus_test_took_seconds"]
    counts = {one.labels["le"]: one.value for one in family.samples if one.name.endswith("_bucket")}
    assert [float(bound) for bound in counts] == [*BUCKETS_S, math.inf]
    for bound, count in counts.items():
        limit_ms = float(bound) * 1000.0
        surely = sum(value <= limit_ms * 0.979 for value in values_ms)
        perhaps = sum(value <= limit_ms * 1.021 for value in values_ms)
        assert surely <= count <= perhaps
    told = {one.name: one.value for one in family.samples if not one.name.endswith("_bucket")}
    assert told["circinus_test_took_seconds_count"] == len(values_ms)
    assert told["circinus_test_took_seconds_sum"] == pytest.approx(sum(values_ms) / 1000.0)


def test_one_figure_is_counted_up_to_the_end_of_its_bucket():
    histogram = Histogram()
    for value_s in (0.0, 0.001, 0.0011, 40.0):
        histogram.add_s(value_s)
    assert (histogram.counts[0], histogram.counts[1], histogram.counts[-1], histogram.count) == (2, 1, 1, 4)


def test_a_page_is_made_line_by_line_as_it_is_asked_for():
    asked = []

    def families():
        for name in ("a", "b"):
            asked.append(name)
            yield by(DEPTH, {name: 1})

    made = lines(families())
    assert asked == []
    next(made)
    assert asked == ["a"]
