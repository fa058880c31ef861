"""What stands on the screen."""

import ast
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fake_fleet import NOW, FakeFleet, a_state, device_line, happened, query_line
from rich.cells import cell_len

import circinus.top
from circinus.accounts import Account, OperatorAccount
from circinus.burn_rate import Burning
from circinus.model.plan import Interval
from circinus.reports import QueryPhase
from circinus.top.columns import DEVICE_COLUMNS, QUERY_COLUMNS, shown
from circinus.top.dag import steps_of
from circinus.top.draw import screen
from circinus.top.picture import Known, Page
from circinus.top.view import Place, View, wants_of
from circinus.top.wording import Tone, cut, percent, words

SIZES = [(80, 24), (120, 40), (40, 10), (200, 50)]


def drawn(view, fleet=None, *, now=NOW, **changes):
    fleet = fleet or FakeFleet()
    known = replace(Known(picture=fleet.now_picture(wants_of(view))), **changes)
    return screen(view, known, now)


def text(lines):
    return "\n".join("".join(span.text for span in line) for line in lines)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("page", list(Page))
def test_every_line_fits(page, size):
    fleet = FakeFleet(devices=100, queries=100)
    view = View(width=size[0], height=size[1], page=page, query_id="q-00000")
    lines = drawn(view, fleet, events=tuple(happened(n) for n in range(100)))
    assert len(lines) == size[1]
    assert max(cell_len("".join(span.text for span in line)) for line in lines) <= size[0]
    helped = drawn(replace(view, help=True), fleet)
    assert max(cell_len("".join(span.text for span in line)) for line in helped) <= size[0]


def test_the_help_is_all_there_at_80x24():
    assert "its accuracy is believed, not proven" in text(drawn(View(help=True)))


def test_the_fleet_says_what_devices_do():
    fleet = FakeFleet()
    fleet.devices[1] = device_line(1, connected=False, cordoned=True, trouble="disk: 120 MB are left")
    # In full below the list, where the cursor is.
    said = text(drawn(View(fleet=Place(cursor=1)), fleet))
    assert "3/3 devices" in said
    assert "|....  12%" in said
    assert "away" in said
    assert "camera-0001: disk: 120 MB are left" in said


def test_queries_say_how_they_fare():
    fleet = FakeFleet()
    fleet.queries[0] = query_line(0, burn_ratio=9.0, burning=Burning.FAST, attained_ratio=0.55)
    fleet.queries[1] = query_line(
        1, phase=QueryPhase.UNPLACED, serving=False, reason="accuracy 0.995 is out of reach", burn_ratio=None
    )
    lines = drawn(View(page=Page.QUERIES, queries=Place(sort="query_id", cursor=1)), fleet)
    tones = {span.text.strip(): span.tone for span in lines[4]}
    assert tones["9"] is Tone.BAD
    assert tones["55.0%"] is Tone.BAD
    assert "unplaced" in text(lines)
    # What there is no room for in the list stands below it.
    assert "q-00001: accuracy 0.995 is out of reach" in text(lines)


def test_a_plan_that_is_only_believed_has_a_star():
    fleet = FakeFleet()
    fleet.queries[0] = query_line(0, provisional=True)
    assert "serving*" in text(drawn(View(page=Page.QUERIES), fleet))


def test_a_planner_that_is_away_is_said_to_be_with_the_age_of_the_picture():
    lines = drawn(
        View(),
        now=NOW + timedelta(seconds=75),
        trouble="no planner answers at 10.0.0.1:7400",
        away_since=NOW + timedelta(seconds=2),
    )
    assert "AWAY for 1 min, this is 1 min old: no planner answers" in text(lines)
    assert "camera-0000" in text(lines)


def test_an_old_picture_says_so():
    assert "this is 30 s old" in text(drawn(View(), now=NOW + timedelta(seconds=30)))


def test_events_are_there_newest_first_and_filtered():
    events = (happened(1, device="camera-1"), happened(2, "drift_found", what="rate of gate"))
    said = text(drawn(View(page=Page.EVENTS), events=events))
    assert said.index("drift_found") < said.index("agent_connected")
    said = text(drawn(View(page=Page.EVENTS, events=Place(text="drift")), events=events))
    assert "agent_connected" not in said


def test_what_a_terminal_would_obey_is_not_written():
    fleet = FakeFleet()
    fleet.devices[0] = device_line(0, trouble="\x1b[31mred\nline\x07")
    said = text(drawn(View(), fleet, trouble="\x1b]0;title\x07", away_since=NOW))
    assert "\x1b" not in said
    assert "\x07" not in said


def test_nothing_is_said_where_there_is_nothing():
    assert "no agent has ever connected" in text(drawn(View(), FakeFleet(devices=0)))
    assert "circinus query submit" in text(drawn(View(page=Page.QUERIES), FakeFleet(queries=0)))
    assert "Esc forgets the filter" in text(drawn(View(fleet=Place(text="nowhere"))))
    assert "no query is chosen" in text(drawn(View(page=Page.QUERY)))


def test_rows_that_are_still_asked_for_are_marked():
    view = View(page=Page.QUERIES, queries=Place(top=50, cursor=50))
    fleet = FakeFleet(queries=200)
    known = Known(picture=fleet.now_picture(wants_of(View(page=Page.QUERIES))))
    assert "…" in text(screen(replace(view, queries=Place(top=150, cursor=150)), known, NOW))


def test_a_query_is_shown_with_its_operators():
    view = View(page=Page.QUERY, query_id="q-00000")
    fleet = FakeFleet()
    picture = fleet.now_picture(wants_of(view))
    operator = OperatorAccount(
        operator_id="cut",
        device_id="camera-0000",
        items=50,
        service_ms=Interval(value=31.0, low=28.0, high=35.0),
        service_seen_ms=60.0,
        service_seen_p95_ms=70.0,
        queue_ms=3.0,
        queue_seen_ms=4.0,
        output_bytes=1.0,
        output_seen_bytes=1.0,
        cpu_seen_ms=1.0,
        memory_seen_bytes=1,
        dropped={},
    )
    account = Account(
        query_id="q-00000",
        generation=41,
        created_at=NOW,
        pipeline_id="documents",
        content="clean",
        rate_per_s=2.0,
        plan=a_state().plan,
        items=50,
        duration_s=30.0,
        dropped=0,
        failed=0,
        accuracy_seen_ratio=None,
        agreement_seen_ratio=None,
        agreement_items=0,
        operators=(operator,),
        open=True,
        latency_ms=Interval(value=0.0, low=0.0, high=0.0),
        latency_seen_ms=0.0,
        latency_seen_p50_ms=0.0,
        latency_seen_p99_ms=0.0,
        throughput_seen_per_s=0.0,
        slo_probability_ratio=0.0,
        slo_met=False,
    )
    known = Known(picture=replace(picture, detail=replace(picture.detail, account=account)))
    lines = screen(view, known, NOW)
    said = text(lines)
    assert "p95 ≤ 500 ms, accuracy ≥ 0.9" in said
    assert "planned 412 (390–450)   seen 431" in said
    assert "└ cut" in said
    assert "31 (28–35)      60" in said
    assert "vm-1 60%" in said
    assert "vm-2 40%" in said
    assert "next best: all on vm-2 at 0.05/h" in said
    # Twice as slow as planned stands out.
    slow = next(span for line in lines for span in line if span.text.strip() == "60")
    assert slow.tone is Tone.WARN


def test_a_query_without_a_plan_says_why():
    fleet = FakeFleet()
    fleet.states["q-00000"] = a_state(plan=False, reason="accuracy 0.995 is out of reach: best 0.97")
    said = text(drawn(View(page=Page.QUERY, query_id="q-00000"), fleet))
    assert "accuracy 0.995 is out of reach" in said
    assert "circinus explain q-00000" in said
    assert "there is no query gone" in text(drawn(View(page=Page.QUERY, query_id="gone"), fleet))


def test_operators_stand_below_what_they_read():
    inputs = {"a": ("source",), "b": ("a",), "c": ("a",), "d": ("b", "c"), "e": ("source",)}
    steps = {step.operator_id: step for step in steps_of(inputs)}
    assert {name: step.depth for name, step in steps.items()} == {"a": 1, "b": 2, "c": 2, "d": 3, "e": 1}
    assert steps["d"].reads == ("b", "c")
    assert steps["b"].reads == ()
    order = list(steps)
    assert all(order.index(read) < order.index(name) for name in inputs for read in inputs[name] if read != "source")


@pytest.mark.parametrize("columns", [DEVICE_COLUMNS, QUERY_COLUMNS])
@pytest.mark.parametrize("width", [20, 80, 120, 300])
def test_columns_take_what_room_there_is(columns, width):
    chosen = shown(columns, width)
    assert sum(size for _, size in chosen) + len(chosen) - 1 <= width
    assert chosen[0][0] is columns[0]


def test_the_column_that_is_sorted_by_is_always_there():
    assert "COST/h" not in [column.title for column, _ in shown(QUERY_COLUMNS, 80)]
    assert "COST/h" in [column.title for column, _ in shown(QUERY_COLUMNS, 80, "cost_per_h")]


@pytest.mark.parametrize("name", ["columns", "dag", "draw", "picture", "view", "wording"])
def test_what_is_drawn_is_worked_out_without_the_world(name):
    tree = ast.parse((Path(circinus.top.__file__).parent / f"{name}.py").read_text())
    used = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    used |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not used & {"asyncio", "grpc", "os", "random", "sys", "textual", "time"}
    assert not [node for node in ast.walk(tree) if isinstance(node, (ast.AsyncFunctionDef, ast.Await))]


def test_figures_are_cut_honestly():
    assert percent(0.9996, 1) == ">99.9%"
    assert percent(1.0, 1) == "100.0%"
    assert percent(None) == "-"
    assert cut("camera-0001", 7) == "camera…"
    assert cut("日本語の名前", 7) == "日本語…"
    assert words("one two three", 7) == ["one two", "three"]
