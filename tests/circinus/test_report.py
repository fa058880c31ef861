"""`circinus report`: what it asks, what it concludes, and a page that nothing in it can break."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest
from fake_planner import FakePlanner, a_plan, a_query_state, serve
from hypothesis import given
from hypothesis import strategies as st

from circinus.cli import exits
from circinus.cli.main import main
from circinus.client import Client
from circinus.model.query import Slo
from circinus.report.attainment import attainment
from circinus.report.facts import gather, plan_changes, worth_explaining, worth_offering
from circinus.report.marks import Spread, element, spreads, table
from circinus.report.page import POLICY, page

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
VOID = {"meta"}


class Reader(HTMLParser):
    """Fails on a tag that is not closed where it should be; collects attributes and texts."""

    def __init__(self, text):
        super().__init__()
        self.open, self.names, self.attributes, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.names.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def planner():
    found = FakePlanner()
    state = a_query_state(None, serving=True)
    state.plan.CopyFrom(a_plan())
    state.query.slo.latency_ms = 450.0
    found.queries["gate"] = state
    server, address = serve(found)
    yield found, address
    server.stop(0)


async def facts_of(address, **options):
    async with Client(address) as client:
        return await gather(client, NOW, **options)


async def test_a_report_tells_what_the_planner_says(planner):
    facts = await facts_of(planner[1])
    read = Reader(page(facts))
    text = "".join(read.texts)
    for word in ("gate", "p95 431", "queue_full 2", "camera-1", "8.4%", "p95 450 ms", "2026-01-02 03:04:05"):
        assert word in text
    # 55 of 60 in time, where 95% are asked for.
    assert "91.67%" in text
    assert "not kept" in text


async def test_what_can_not_be_had_is_named_in_the_report(planner):
    found, address = planner
    found.explanation.query = "another"
    facts = await facts_of(address)
    assert [one for one in facts.left_out if "why gate is as it is" in one]
    assert "Not in this report" in page(facts)
    assert not (await facts_of(address, advice=False)).left_out


async def test_the_page_loads_nothing_and_runs_nothing(planner):
    read = Reader(page(await facts_of(planner[1])))
    assert not {"script", "link", "img", "iframe", "object"} & set(read.names)
    assert ("content", POLICY) in read.attributes
    assert not [value for name, value in read.attributes if name in ("src", "href") or name.startswith("on")]


async def test_names_that_look_like_markup_stay_text(planner):
    facts = await facts_of(planner[1])
    evil = '"><script>alert(1)</script>'
    state = facts.queries[0]
    hostile = replace(state, query=replace(state.query, id=evil), reason=evil)
    device = facts.devices[0]
    changed = replace(
        facts, planner=evil, queries=(hostile,), devices=(replace(device, reason=evil),), left_out=(evil,)
    )
    read = Reader(page(changed))
    assert "script" not in read.names
    assert evil in "".join(read.texts)


def test_the_command_writes_one_file_and_never_over_another(planner, tmp_path, capsys):
    into = tmp_path / "fleet.html"
    arguments = ["--insecure-loopback", "report", "--planner", planner[1], "--into", str(into), "-o", "json"]
    assert main(arguments) == exits.OK
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(into)
    assert told["bytes"] == into.stat().st_size
    assert main(arguments) == exits.ERROR
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "AlreadyExists"
    assert main([*arguments, "--force"]) == exits.OK
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fleet.html"]


def test_a_folder_that_is_not_there_is_said_before_anything_is_asked(tmp_path, capsys):
    arguments = ["--insecure-loopback", "report", "--planner", "127.0.0.1:1", "--into", str(tmp_path / "no" / "x.html")]
    assert main(arguments) == exits.USAGE
    assert "there is no folder" in capsys.readouterr().err


# What it concludes


async def entry_of(address):
    return (await facts_of(address, advice=False)).ledger[0]


async def test_burn_is_how_fast_the_budget_goes(planner):
    entry = await entry_of(planner[1])
    found = attainment(replace(entry, answered=90, late=6, dropped=3, failed=1), Slo(latency_ms=1.0))
    assert (found.attained_ratio, found.burn_ratio) == (pytest.approx(0.9), pytest.approx(2.0))
    assert found.latency_kept is False
    assert not found.kept
    easy = attainment(replace(entry, answered=96, late=4, dropped=0, failed=0), Slo(latency_ms=1.0))
    assert easy.kept
    assert easy.burn_ratio == pytest.approx(0.8)


async def test_without_items_or_bounds_nothing_is_claimed(planner):
    entry = await entry_of(planner[1])
    assert attainment(replace(entry, answered=0, late=0, dropped=0, failed=0), Slo()) is None
    assert attainment(entry, Slo()).latency_kept is None
    assert attainment(replace(entry, accuracy_ratio=None), Slo(accuracy_ratio=0.9)).accuracy_kept is None


async def test_accuracy_is_held_against_its_bound_less_the_margin(planner):
    entry = replace(await entry_of(planner[1]), accuracy_ratio=0.88)
    assert attainment(entry, Slo(accuracy_ratio=0.9)).accuracy_kept is False
    assert attainment(entry, Slo(accuracy_ratio=0.9, accuracy_margin_ratio=0.02)).accuracy_kept is True


@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(0.5, 0.999))
def test_the_budget_burns_faster_than_allowed_exactly_when_the_bound_is_missed(answered, late, percentile):
    entry = _Counted(answered, late)
    found = attainment(entry, Slo(latency_ms=1.0, percentile_ratio=percentile))
    if found is not None and abs(found.attained_ratio - percentile) > 1e-9:
        assert (found.burn_ratio > 1.0) is (found.latency_kept is False)


class _Counted:
    """Items of a ledger's entry, as far as attainment looks at them."""

    dropped = failed = 0
    accuracy_ratio = None

    def __init__(self, answered, late):
        self.answered, self.late = answered, late


async def test_other_figures_of_the_same_plan_are_no_change(planner):
    accounts = (await facts_of(planner[1], advice=False)).accounts.accounts
    first = accounts[0]
    later = replace(first, generation=first.generation + 1, created_at=first.created_at + timedelta(minutes=1))
    measured = replace(later, plan=replace(first.plan, latency_p50_ms=1.0))
    moved = replace(later, plan=replace(first.plan, operators=first.plan.operators[:1]))
    assert len(plan_changes([first, measured])) == 1
    found = plan_changes([moved, first])
    assert [one.before for one in found] == [first.plan, None]
    assert found[0].after == moved.plan


async def test_one_device_of_a_kind_is_offered_where_queries_lack_a_plan_first(planner):
    facts = await facts_of(planner[1], advice=False)
    state = replace(facts.devices[0], connected=True, cordoned=False)

    def device(name, site, **changes):
        return replace(state, device=replace(state.device, id=name, site=site), **changes)

    there = [device("b", "two"), device("a", "one"), device("c", "two"), device("d", "three", connected=False)]
    query = facts.queries[0]
    lacking = replace(query, plan=None, query=replace(query.query, source_device_id="c"))
    assert [one.device.id for one in worth_offering(there, [query])] == ["a", "b"]
    assert [one.device.id for one in worth_offering(there, [lacking])] == ["b", "a"]


async def test_queries_without_a_plan_are_explained_first(planner):
    query = (await facts_of(planner[1], advice=False)).queries[0]
    cheap = replace(query, query=replace(query.query, id="cheap"), plan=replace(query.plan, cost_per_h=0.001))
    none = replace(query, query=replace(query.query, id="none"), plan=None)
    assert worth_explaining([cheap, query, none]) == ("none", "gate", "cheap")


# Pieces


@given(st.text(), st.text())
def test_whatever_is_put_into_an_element_comes_out_as_text(inside, attribute):
    read = Reader(element("p", inside, title=attribute).markup)
    # A parser reads line ends as one, and drops what no page may hold.
    plain = [char for char in "".join(read.texts) if char.isprintable()]
    assert plain == [char for char in inside if char.isprintable()]
    assert read.names == ["p"]


def test_a_figure_outside_of_its_interval_is_drawn_apart():
    lines = [Spread(name="a", low=1, value=2, high=3, seen=2.5), Spread(name="b", low=1, value=2, high=3, seen=9)]
    read = Reader(spreads(lines, title="t", unit="ms").markup)
    assert [value for name, value in read.attributes if name == "class" and value in ("inside", "outside")] == [
        "inside",
        "outside",
    ]


def test_a_table_without_rows_is_a_table():
    assert Reader(table(("A", "B"), [], caption="c", numeric=("B",)).markup).names.count("th") == 2
