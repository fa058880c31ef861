"""queries.yaml: what is read, and what is said of a broken one."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from circinus.model.query import Budget, Guarantee
from circinus.spec import schema_of
from circinus.spec.errors import SpecErrors
from circinus.spec.queries import parse_queries

GOOD = """\
- id: gate
  pipeline: documents
  content: clean
  source: camera-1
  rate_per_s: 2
  weight: 1.5
  slo: {latency_ms: 500, percentile: 0.9, accuracy: 0.8, cost_per_h: 0.3}
- pipeline: documents
  content: hard
  source: camera-1
  rate_per_s: 0.5
"""
SEARCHED = (
    GOOD.replace(
        "accuracy: 0.8",
        "accuracy: 0.8, accuracy_margin: 0.02",
    )
    + """\
  guarantee: population
  budget: {samples: 5000, seconds: 60, cost: 0.25}
"""
)


def messages(text: str) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        parse_queries(text, "queries.yaml")
    return [str(error) for error in caught.value.errors]


def test_queries_are_read_with_their_defaults() -> None:
    first, second = parse_queries(GOOD)
    assert (first.id, first.weight, first.slo.percentile_ratio, first.slo.accuracy_ratio) == ("gate", 1.5, 0.9, 0.8)
    assert (second.id, second.weight, second.slo.percentile_ratio, second.slo.latency_ms) == ("", 1.0, 0.95, None)


def test_guarantee_budget_and_margin_are_read_with_their_defaults() -> None:
    first, second = parse_queries(SEARCHED)
    assert (first.guarantee, first.budget, first.slo.accuracy_margin_ratio) == (Guarantee.POOL, Budget(), 0.02)
    assert (second.guarantee, second.slo.accuracy_margin_ratio) == (Guarantee.POPULATION, 0.0)
    assert second.budget == Budget(samples=5_000, seconds=60.0, cost=0.25)
    (lone,) = parse_queries(SEARCHED.replace("0.02", "0").split("- pipeline: documents")[0])
    assert lone.slo.accuracy_margin_ratio == 0


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("population", "popluation", "12: query: unknown guarantee 'popluation'; did you mean 'population'?"),
        ("population", "[pool]", "12: query: guarantee must be text, is a list"),
        ("samples: 5000", "samples: 0", "13: query: budget samples is 0; it must be 1 to 1,000,000,000"),
        ("samples: 5000", "sampels: 1", "13: query: budget: unknown key 'sampels'; did you mean 'samples'?"),
        (
            "seconds: 60",
            "seconds: 0",
            "13: query: budget seconds is 0; it must be above 0 and at most 1,000,000,000; "
            "leave it out if there is no limit",
        ),
        ("cost: 0.25", "cost: free", "13: query: budget cost must be a number, is text"),
        (
            "margin: 0.02",
            "margin: 2",
            "7: query 'gate': slo accuracy_margin is 2; it must be at least 0 and at most 1; "
            "it is a ratio: write 0.95 for 95%",
        ),
        (
            "margin: 0.02",
            "margin: 0.8",
            "7: query 'gate': slo accuracy_margin is 0.8; it must be below the accuracy, 0.8",
        ),
        ("accuracy: 0.8, ", "", "7: query 'gate': slo accuracy_margin is for accuracy, which is missing"),
    ],
)
def test_what_is_wrong_with_a_search_is_named_with_its_line(old: str, new: str, expected: str) -> None:
    assert messages(SEARCHED.replace(old, new, 1)) == [f"queries.yaml:{expected}"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "latency_ms: 500",
            "latency_ms: 0",
            "7: query 'gate': slo latency_ms is 0; it must be above 0 and at most 3,600,000; "
            "leave it out if there is no bound",
        ),
        (
            "cost_per_h: 0.3",
            "cost_per_h: -1",
            "7: query 'gate': slo cost_per_h is -1; it must be above 0 and at most "
            "1,000,000,000; leave it out if there is no bound",
        ),
        (
            "accuracy: 0.8",
            "accuracy: 80",
            "7: query 'gate': slo accuracy is 80; it must be above 0 and at most 1; it is a ratio: write 0.95 for 95%",
        ),
        (
            "percentile: 0.9",
            "percentile: 1",
            "7: query 'gate': slo percentile is 1; no bound holds for every item, write 0.999 or less",
        ),
        ("latency_ms: 500, ", "", "7: query 'gate': slo percentile is for latency_ms, which is missing"),
        ("rate_per_s: 2", "rate_per_s: .inf", "5: query 'gate': rate_per_s: .inf is not a finite decimal number"),
        ("rate_per_s: 2", "rate: 2", "1: query 'gate': key 'rate_per_s' is missing"),
        ("weight: 1.5", "weight: true", "6: query 'gate': weight must be a number, is true or false"),
        (
            "- pipeline: documents",
            "- id: gate\n  pipeline: documents",
            "8: query 'gate' is defined twice (first on line 1)",
        ),
        (
            "source: camera-1\n  rate_per_s: 0.5",
            "source: [camera-1]\n  rate_per_s: 0.5",
            "10: query: source must be text, is a list",
        ),
    ],
)
def test_a_broken_query_is_named_with_its_line(old: str, new: str, expected: str) -> None:
    assert messages(GOOD.replace(old, new, 1))[0] == f"queries.yaml:{expected}"


def test_the_schema_agrees_with_the_reader() -> None:
    validator = jsonschema.Draft202012Validator(schema_of("queries"))
    validator.validate(yaml.safe_load(GOOD))
    validator.validate(yaml.safe_load(SEARCHED))
    for old, new in (
        ("population", "everybody"),
        ("samples: 5000", "samples: 0"),
        ("cost: 0.25", "cost: 0"),
        ("margin: 0.02", "margin: 1"),
        ("accuracy: 0.8, ", ""),
    ):
        assert list(validator.iter_errors(yaml.safe_load(SEARCHED.replace(old, new)))), new
    for old, new in (
        ("latency_ms: 500", "latency_ms: 0"),
        ("accuracy: 0.8", "accuracy: 80"),
        ("rate_per_s: 2", "rate: 2"),
    ):
        assert list(validator.iter_errors(yaml.safe_load(GOOD.replace(old, new)))), new
