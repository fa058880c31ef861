"""What each configuration of a pipeline is good for."""

from dataclasses import replace

import pytest
from live_values import device, fleet, pipeline, profile, query, registered

from circinus.model.pipeline import configuration_key
from circinus.model.profile import ProfileTable
from cloud_planner.core.configuration_front import configuration_front

SPEC = pipeline()
CONFIGURATIONS = tuple(SPEC.configurations())
#: Of each configuration: the scores of its first samples, and what reading takes.
SCORES = ((0.9, 0.8, 1.0, 0.9), (0.6, 0.5, 0.7, 0.6), (0.9, 0.8, 1.0, 0.9), ())
READ_MS = (80.0, 20.0, 160.0, 30.0)


def table():
    return ProfileTable(
        bundle_digest="sha256:b",
        content_digest="sha256:c",
        scores={
            configuration_key(one): dict(zip(_order(), scores, strict=False))
            for one, scores in zip(CONFIGURATIONS, SCORES, strict=True)
            if scores
        },
        times={
            "fast": tuple(
                profile(one, {index: (None, {"cut": 2.0, "read": read_ms + index}) for index in range(4)})
                for one, read_ms in zip(CONFIGURATIONS, READ_MS, strict=True)
            )
        },
    )


def _order():
    from cloud_planner.core.live_search import sample_order

    return sample_order(registered().contents[0])


def front(**slo):
    box = device("camera", price_per_h=1.0, cores=4.0)
    return configuration_front(fleet(box, tables=table()), query(rate_per_s=6.0, **slo))


def test_every_configuration_is_there_with_what_was_measured_of_it():
    found = front(latency_ms=500.0)
    assert [one.configuration for one in found.points] == list(CONFIGURATIONS)
    assert [one.scored for one in found.points] == [4, 4, 4, 0]
    assert found.points[0].accuracy.value == pytest.approx(0.9)
    assert all(one.timed for one in found.points)


def test_a_configuration_without_scores_has_a_predicted_accuracy_with_a_wide_interval():
    predicted = front(latency_ms=500.0).points[3].accuracy
    assert predicted.low < predicted.value < predicted.high
    assert predicted.high - predicted.low > 0.1


def test_one_lucky_score_is_not_taken_at_its_word():
    box = device("camera", price_per_h=1.0, cores=4.0)
    lucky = replace(table(), scores={configuration_key(CONFIGURATIONS[1]): {_order()[0]: 1.0}})
    point = configuration_front(fleet(box, tables=lucky), query(rate_per_s=6.0)).points[1]
    assert point.scored == 1
    assert point.accuracy.low <= point.accuracy.value < 0.98


def test_what_is_as_accurate_and_dearer_is_not_on_the_front_of_costs():
    points = front(latency_ms=500.0).points
    assert points[0].cost_front
    assert points[1].cost_front
    assert not points[2].cost_front
    assert points[2].plan.cost_per_h > points[0].plan.cost_per_h


def test_no_point_of_a_front_is_beaten_in_its_figures():
    points = [one for one in front(latency_ms=500.0).points if one.plan is not None]
    for one in points:
        cheaper = [
            other
            for other in points
            if other.accuracy.value >= one.accuracy.value
            and other.plan.cost_per_h <= one.plan.cost_per_h
            and (other.accuracy.value, other.plan.cost_per_h) != (one.accuracy.value, one.plan.cost_per_h)
        ]
        assert one.cost_front is not bool(cheaper)


def test_what_misses_the_latency_bound_is_shown_with_the_latency_that_it_has_and_is_not_on_the_front():
    points = front(latency_ms=120.0).points
    assert points[1].within
    slow = points[2]
    assert not slow.within
    assert slow.dominated
    assert slow.plan.latency_ms.value > 120.0


def test_a_query_whose_source_is_unknown_has_no_plans_and_says_why():
    found = configuration_front(fleet(device("camera"), tables=table()), query(source="nowhere"))
    assert "nowhere" in found.impossible
    assert all(one.plan is None and one.dominated for one in found.points)


def test_a_pipeline_that_was_never_measured_says_so():
    nothing = replace(table(), scores={}, times={})
    found = configuration_front(fleet(device("camera"), tables=nothing), query())
    assert "measured" in found.impossible
    assert all(one.scored == 0 for one in found.points)
