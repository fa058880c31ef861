"""A pipeline's configurations as rows and as a chart."""

from test_what_if_answer import plan

from circinus.model.plan import Interval
from cloud_planner.core.configuration_front import ConfigurationFront, FrontPoint
from cloud_planner.dashboard.front import Axis, Standing, front_chart, name_of, rows_of


def point(depth, value, *, cost=0.1, latency=100.0, scored=10, within=True, front=True, there=True):
    made = plan(cost=cost, latency_ms=Interval(value=latency, low=latency * 0.9, high=latency * 1.1)) if there else None
    return FrontPoint(
        configuration={"read.depth": depth, "read.mode": "fast"},
        accuracy=Interval(value=value, low=value - 0.05, high=value + 0.05),
        scored=scored,
        plan=made,
        within=within,
        timed=depth != 2,
        cost_front=front,
        latency_front=False,
    )


FRONT = ConfigurationFront(
    points=(
        point(1, 0.7, cost=0.1),
        point(2, 0.8, cost=0.2),
        point(3, 0.6, cost=0.3, scored=0, front=False),
        point(4, 0.9, cost=0.5, within=False, front=False),
        point(5, 0.9, there=False, front=False),
    ),
    samples=40,
)
NOTHING = {"x": None, "y": None}


def test_rows_say_how_each_stands_and_what_it_rests_on():
    rows = rows_of(FRONT, Axis.COST, {"read.depth": 2, "read.mode": "fast"})
    assert [row.standing for row in rows] == [
        Standing.FRONT,
        Standing.FRONT,
        Standing.DOMINATED,
        Standing.OVER,
        Standing.NONE,
    ]
    assert [row.measured for row in rows[:3]] == [
        "10 of 40 samples",
        "10 of 40 samples, times predicted",
        "predicted",
    ]
    assert [row.in_use for row in rows] == [False, True, False, False, False]
    assert rows[4].cost_per_h is None


def test_rows_are_named_by_the_knobs_that_differ():
    assert [row.differing for row in rows_of(FRONT, Axis.COST)][:2] == ["depth 1", "depth 2"]
    (only,) = rows_of(ConfigurationFront(points=FRONT.points[:1], samples=1), Axis.COST)
    assert only.differing == "the only one"


def test_names_are_the_same_whatever_order_knobs_are_in():
    assert name_of({"a": 1, "b": 2}) == name_of({"b": 2, "a": 1}) != name_of({"a": 2, "b": 1})


def test_standing_goes_by_the_axis_that_is_shown():
    assert all(row.standing is not Standing.FRONT for row in rows_of(FRONT, Axis.LATENCY))


def test_the_chart_has_its_points_in_order_apart_by_what_is_known():
    rows = rows_of(FRONT, Axis.COST)
    chart = front_chart(rows, Axis.COST, {"x": 0.4, "y": 0.75})
    assert chart["x"] == [0.1, 0.2, 0.3, 0.5]
    assert chart["measured"] == [0.7, 0.8, None, None]
    assert chart["predicted"] == [None, None, 0.6, None]
    assert chart["over"] == [None, None, None, 0.9]
    assert chart["front"] == [0.7, 0.8, None, None]
    assert chart["names"] == [row.name for row in rows[:4]]
    assert chart["used"] is None
    assert chart["bounds"] == {"x": 0.4, "y": 0.75}


def test_the_chart_over_latency_has_intervals_both_ways():
    chart = front_chart(rows_of(FRONT, Axis.LATENCY), Axis.LATENCY, NOTHING)
    assert chart["xlow"][0] == 90.0
