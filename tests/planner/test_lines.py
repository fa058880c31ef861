"""Devices and queries as lines: sorted, filtered and cut by the planner."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planner_fleet import FakeAgent, FirstFit, device, query, serving, settings

from circinus.client import Client
from circinus.errors import InvalidInput
from circinus.line_calls import Wanted
from circinus.reports import QueryPhase
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner.lines import MAX_LINES, piece

COLUMNS = {"name": lambda one: one[0], "figure": lambda one: one[1]}


def lines(found, **wanted):
    return piece(
        found, planner_pb2.LinesWanted(**wanted), COLUMNS, name=lambda one: one[0], words=lambda one: (one[0],)
    )


@given(
    st.lists(
        st.tuples(st.text("abc", min_size=1, max_size=6), st.none() | st.floats(0, 9)), unique_by=lambda one: one[0]
    ),
    st.booleans(),
    st.integers(1, 5),
)
def test_pieces_together_are_the_whole_in_order(found, descending, limit):
    whole = lines(found, sort="figure", descending=descending, limit=MAX_LINES)
    parts = []
    for offset in range(0, len(found), limit):
        parts += lines(found, sort="figure", descending=descending, offset=offset, limit=limit).shown
    assert parts == list(whole.shown)
    assert whole.matching == whole.total == len(found)
    figures = [one[1] for one in whole.shown if one[1] is not None]
    assert figures == sorted(figures, reverse=descending)
    # What has no figure stands last, either way; equal figures go by name.
    assert all(one[1] is None for one in whole.shown[len(figures) :])
    for first, second in zip(whole.shown, whole.shown[1:], strict=False):
        assert first[1] != second[1] or first[0] < second[0]


def test_only_what_has_the_text_is_counted_whatever_its_case():
    found = lines([("Gate", 1.0), ("dream", 2.0), ("agate", 3.0)], filter="GATE")
    assert [one[0] for one in found.shown] == ["Gate", "agate"]
    assert (found.matching, found.total) == (2, 3)


@pytest.mark.parametrize(
    ("wanted", "said"), [({"sort": "colour"}, "no column to sort by; there are name, figure"), ({"limit": 501}, "500")]
)
def test_what_can_not_be_had_is_refused_with_what_can(wanted, said):
    with pytest.raises(InvalidInput, match=said):
        lines([], **wanted)


def window(answered, late):
    found = types_pb2.QueryWindow(query_id="q1", generation=1, duration_s=1.0, emitted=answered + late)
    found.answered, found.late = answered, late
    return found


@pytest.mark.slow
async def test_a_planner_tells_what_its_devices_and_queries_do(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, overview),
        FakeAgent(people.address, device("camera")),
        FakeAgent(people.address, device("gateway", site="shop")),
    ):
        await people.add_pipeline()
        await people.submit(query())
        await people.settled()
        now = overview.clock.now()
        message = control_pb2.Telemetry(sequence=1, queries=[window(18, 2)])
        message.queries[0].start.FromDatetime(now)
        overview.telemetry.put("camera", message)
        async with Client(people.address) as client:
            fleet = await client.device_lines(Wanted(sort="cores_planned", descending=True))
            assert [line.device_id for line in fleet.lines] == ["camera", "gateway"]
            assert fleet.lines[0].runs == ("q1/cut", "q1/read", "q1/source")
            assert fleet.lines[0].connected
            assert (await client.device_lines(Wanted(text="shop"))).matching == 1
            queries = await client.query_lines(Wanted(sort="burn_ratio"))
            (line,) = queries.lines
            assert (line.phase, line.serving) == (QueryPhase.PLACED, True)
            assert line.attained_ratio == pytest.approx(0.9)
            assert line.goodput_per_s == pytest.approx(18.0)
            assert line.burn_ratio == pytest.approx(2.0)
            assert queries.burning == 1
            assert (await client.query_lines(Wanted(), "nobody")).total == 0
            with pytest.raises(InvalidInput, match="no column"):
                await client.query_lines(Wanted(sort="colour"))
            (pipeline,) = await client.pipelines()
            assert pipeline.inputs == {"cut": ("source",), "read": ("cut",)}
