"""The metrics' names follow Prometheus' rules; page, dashboard and alarms are of what there is."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from circinus.burn_rate import FAST_RATIO
from circinus.exposition import BUCKETS_S, Kind
from circinus.metrics_server import MAX_PAGE_BYTES
from cloud_planner import command_line
from cloud_planner.metrics import metric_list as planner
from edge_agent.metrics import metric_list as agent
from edge_agent.metrics.totals import MAX_PLACES
from edge_agent.tracing.tracer import MAX_WAITING

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import alarms  # noqa: E402 - scripts, found where scripts are
import cli_docs  # noqa: E402
import grafana  # noqa: E402
import metrics_docs  # noqa: E402

sys.path.remove(str(ROOT / "scripts"))
METRICS = {metric.name: metric for metric in (*planner.METRICS, *agent.METRICS)}
#: Base units, and what is counted where there is no unit.
ENDINGS = {"seconds", "bytes", "ratio", "total", "info", "cores", "second", "hour"}
#: Words of Prometheus' language, and its own metric.
LANGUAGE = {
    *("up", "and", "on", "or", "sum", "by", "rate", "increase", "time", "topk", "bottomk", "histogram_quantile"),
    *("__rate_interval", "label_values"),
}


def asked_of(question):
    """The (metric, labels) pairs of a question, after a check of everything else that stands in it."""
    for name, selector in re.findall(r"\b([a-z_]+)\b(?:\{([^}]*)\})?", re.sub(r'"[^"]*"|\[[^]]*\]', "", question)):
        yield name, re.findall(r"([a-z_]+)\s*[=!~]", selector)


def check(question):
    labels = {label for metric in METRICS.values() for label in metric.labels} | {"le", "instance", "job"}
    found = False
    for name, selected in asked_of(question):
        if name in LANGUAGE or name in labels or not name.strip("_"):
            continue
        base = METRICS.get(name) or METRICS[name.removesuffix("_bucket")]
        assert name == base.name or base.kind is Kind.HISTOGRAM
        assert set(selected) <= {*base.labels, "le"}, question
        found = True
    assert found or "up{" in question


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_metric_is_named_as_prometheus_asks(metric):
    assert re.fullmatch(r"circinus(_[a-z0-9]+)+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    if metric.kind is Kind.HISTOGRAM:
        assert metric.name.endswith("_seconds")
    for unit in ("_ms", "_milliseconds", "_kib", "_mb", "_percent"):
        assert unit not in metric.name
    assert not {"item", "request", "pid", "address", "generation"} & set(metric.labels)
    assert metric.text.endswith(".")


def test_no_name_stands_for_two_things():
    both = [metric.name for metric in (*planner.METRICS, *agent.METRICS)]
    assert {name for name in both if both.count(name) > 1} == {"circinus_metrics_cut"}


def test_the_page_is_as_the_code_says():
    page = (ROOT / "docs" / metrics_docs.PAGE).read_text()
    assert page == metrics_docs.page(), "run .venv/bin/python scripts/metrics_docs.py"
    for said in (
        f"At most {MAX_PLACES} queries and {MAX_PLACES} operators",
        f"A page has at most {MAX_PAGE_BYTES // 2**20} MiB",
        f"At most {MAX_WAITING:,} spans wait",
        ", ".join(f"{bound:g}" for bound in BUCKETS_S),
        f"({default_of('--metrics-queries'):,} by default",
    ):
        assert said in page, said


def default_of(flag):
    (commands,) = (action for action in command_line._parser()._actions if getattr(action, "choices", None))
    return commands.choices["run"].get_default(flag.strip("-").replace("-", "_"))


def test_the_dashboard_is_as_the_code_says_and_asks_for_what_there_is():
    text = (ROOT / "docs" / grafana.PAGE).read_text()
    assert text == grafana.page(), "run .venv/bin/python scripts/grafana.py"
    dashboard = json.loads(text)
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert len(targets) > 30
    for target in targets:
        check(target["expr"])
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    places = [
        (x, y)
        for panel in dashboard["panels"]
        for place in [panel["gridPos"]]
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(places) == len(set(places)), "panels overlap"


def test_the_alarms_are_as_the_code_says_and_are_of_what_there_is():
    text = (ROOT / "docs" / alarms.RULES).read_text()
    assert text == alarms.rules(), "run .venv/bin/python scripts/alarms.py"
    rules = yaml.safe_load(text)["groups"][0]["rules"]
    assert [rule["alert"] for rule in rules] == [alarm.name for alarm in alarms.ALARMS]
    for rule in rules:
        check(rule["expr"])
        assert re.fullmatch(r"\d+[mh]", rule["for"])
    assert any(f"> {FAST_RATIO:g}" in rule["expr"] for rule in rules)


def test_what_each_alarm_means_is_told_and_its_cure_is_a_command_that_there_is():
    page = (ROOT / "docs" / "operate.md").read_text()
    assert alarms.section() in page, "run .venv/bin/python scripts/alarms.py"
    commands = {name.removeprefix("circinus ") for name in dict(cli_docs.commands())}
    for alarm in alarms.ALARMS:
        for said in re.findall(r"`circinus ([^`]+)`", alarm.cure):
            words = [word for word in said.split() if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
            assert commands & {words[0], " ".join(words[:2])}, said


def test_a_question_about_what_does_not_exist_is_found():
    for question in ("circinus_nothing_total > 0", 'circinus_planner_queries{status="placed"} > 0', "1 > 0"):
        with pytest.raises((AssertionError, KeyError)):
            check(question)
