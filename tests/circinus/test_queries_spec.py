"""queries.yaml: what is read, and what is said of a broken one."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

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


def messages(text: str) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        parse_queries(text, "queries.yaml")
    return [str(error) for error in caught.value.errors]


def test_queries_are_read_with_their_defaults() -> None:
    first, second = parse_queries(GOOD)
    assert (first.id, first.weight, first.slo.percentile_ratio, first.slo.accuracy_ratio) == ("gate", 1.5, 0.9, 0.8)
    assert (second.id, second.weight, second.slo.percentile_ratio, second.slo.latency_ms) == ("", 1.0, 0.95, None)


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
    for old, new in (
        ("latency_ms: 500", "latency_ms: 0"),
        ("accuracy: 0.8", "accuracy: 80"),
        ("rate_per_s: 2", "rate: 2"),
    ):
        assert list(validator.iter_errors(yaml.safe_load(GOOD.replace(old, new)))), new
