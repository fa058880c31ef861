"""Problems as they would be if things were different."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_problems import exact, machine, option, problems, wires_between

from circinus.errors import InvalidInput
from circinus.model.query import Slo
from circinus.model.what_if import (
    AddDevices,
    CordonDevice,
    Figure,
    RemoveDevice,
    SetPrice,
    SetRate,
    SetSlo,
    SetWeight,
    SloField,
)
from cloud_planner.core.audit import audit
from cloud_planner.core.problem import Candidate, Problem, QueryProblem, Step, Uplink, Waiting, Wire
from cloud_planner.core.select import select
from cloud_planner.core.what_if import change_problem
from cloud_planner.core.what_if_devices import Kin
from cloud_planner.solver import CbcSolver

KIN = Kin(classes={"cam": "camera", "gate": "gateway", "vm": "vm", "gate2": "gateway", "cam2": "camera"})


def query(name, source, machines, *, rate=10.0, **changes):
    """A query whose look runs on its source and whose read runs on the machines."""
    look = Step(operator_id="look", inputs=("source",), output_bytes=10.0, options=(option(source, cores=0.1),))
    read = Step(
        operator_id="read",
        inputs=("look",),
        output_bytes=1.0,
        options=tuple(option(name, cores=1.0, ms=20.0) for name in machines),
    )
    candidate = Candidate(
        configuration={"read.size": 1},
        accuracy=exact(0.9),
        steps=(look, read),
        source_bytes=100.0,
        outputs=("read",),
    )
    return QueryProblem(
        id=name,
        rate_per_s=rate,
        weight=1.0,
        slo=Slo(latency_ms=500.0),
        source=source,
        candidates=(candidate,),
        **changes,
    )


def shop(**changes):
    """A camera and a gateway with a core in a shop, and another camera alone in a second one; a vm for the first."""
    values = {
        "machines": (
            machine("cam", site="s1", cores=1.0),
            machine("gate", site="s1", cores=1.0),
            machine("cam2", site="s2", cores=1.0),
            machine("vm", site="cloud", tier="cloud", cores=1.0, count=2),
        ),
        "wires": (
            *wires_between(["cam", "gate"], bandwidth=1e7),
            Wire(source="cam", target="vm", bandwidth_bit_per_s=1e6, rtt_ms=40.0),
            Wire(source="gate", target="vm", bandwidth_bit_per_s=1e6, rtt_ms=40.0),
            Wire(source="cam2", target="vm", bandwidth_bit_per_s=1e6, rtt_ms=40.0),
        ),
        "uplinks": (
            Uplink(id="s1 up", wires=(("cam", "vm"), ("gate", "vm")), bandwidth_bit_per_s=1e6),
            Uplink(id="cloud down", wires=(("cam", "vm"), ("gate", "vm"), ("cam2", "vm")), bandwidth_bit_per_s=1e8),
        ),
        "queries": (query("a", "cam", ["gate"]), query("b", "cam", ["gate"]), query("c", "cam2", ["vm"])),
        "waiting": Waiting.NONE,
    }
    return Problem(**(values | changes))


def changed(problem, *changes, kin=KIN):
    return change_problem(problem, changes, kin).problem


def placed(problem):
    selection = select(problem, CbcSolver()).selection
    assert audit(problem, selection) == ()
    return {plan.query_id: {part.operator_id: part.device_id for part in plan.operators} for plan in selection.plans}


def test_a_gateway_more_takes_the_query_that_had_no_room():
    problem = shop()
    assert len(placed(problem).keys() & {"a", "b"}) == 1
    found = change_problem(problem, [AddDevices(count=1, like="gateway", site="s1")], KIN)
    assert found.told == ("gateway@s1+1: new, like gate",)
    chosen = placed(found.problem)
    assert {chosen["a"]["read"], chosen["b"]["read"]} == {"gate", "gateway@s1+1"}
    # What runs on its source stays there.
    assert {chosen[name]["look"] for name in "ab"} == {"cam"}


def test_a_new_device_has_the_links_and_uplinks_of_where_it_stands():
    made = changed(shop(), AddDevices(count=2, like="gate"))
    ends = {(wire.source, wire.target) for wire in made.wires}
    for name in ("gate@s1+1", "gate@s1+2"):
        assert {("cam", name), (name, "cam"), (name, "vm"), (name, "gate"), ("gate", name)} <= ends
        assert ("vm", name) not in ends
        assert all((name, "vm") in uplink.wires for uplink in made.uplinks)
    assert ("gate@s1+1", "gate@s1+2") in ends
    speeds = {(wire.source, wire.target): wire.bandwidth_bit_per_s for wire in made.wires}
    assert (speeds["cam", "gate@s1+1"], speeds["gate@s1+1", "vm"]) == (1e7, 1e6)


def test_a_gateway_where_none_was_is_linked_as_what_stands_there_and_runs_what_its_class_runs():
    made = changed(shop(), AddDevices(count=1, like="gateway", site="s2"))
    new = "gateway@s2+1"
    ends = {(wire.source, wire.target) for wire in made.wires}
    assert (new, "vm") in ends
    assert ("cam", new) not in ends
    (third,) = (each for each in made.queries if each.id == "c")
    assert {o.machine for o in third.candidates[0].steps[1].options} == {"vm", new}
    assert {o.machine for o in third.candidates[0].steps[0].options} == {"cam2"}
    uplinks = {uplink.id: uplink.wires for uplink in made.uplinks}
    assert (new, "vm") not in uplinks["s1 up"]
    assert (new, "vm") in uplinks["cloud down"]


def test_a_device_at_a_site_where_nothing_stands_reaches_what_is_outside_its_own():
    made = changed(shop(), AddDevices(count=1, like="gate", site="s9"))
    ends = {(wire.source, wire.target) for wire in made.wires if "gate@s9+1" in (wire.source, wire.target)}
    assert ends == {("gate@s9+1", "vm")}
    uplinks = {uplink.id: uplink.wires for uplink in made.uplinks}
    assert ("gate@s9+1", "vm") not in uplinks["s1 up"]
    assert ("gate@s9+1", "vm") in uplinks["cloud down"]


def test_a_pinned_operator_gains_nothing_by_a_copy_of_its_device():
    kin = replace(KIN, pinned=frozenset({("a", "read")}))
    made = changed(shop(), AddDevices(count=1, like="gate"), kin=kin)
    machines = {each.id: {o.machine for o in each.candidates[0].steps[1].options} for each in made.queries}
    assert machines["a"] == {"gate"}
    assert machines["b"] == {"gate", "gate@s1+1"}


def test_machines_of_a_type_are_counted():
    problem = shop()
    assert {m.id: m.count for m in changed(problem, AddDevices(count=3, like="vm")).machines}["vm"] == 5
    assert {m.id: m.count for m in changed(problem, RemoveDevice(device="vm", count=1)).machines}["vm"] == 1
    assert "vm" not in {m.id for m in changed(problem, RemoveDevice(device="vm", count=2)).machines}


def test_a_device_less_takes_its_queries_with_it_and_says_so():
    made = changed(shop(), RemoveDevice(device="cam"), RemoveDevice(device="vm"))
    selection = select(made, CbcSolver()).selection
    assert selection.plans == ()
    assert {each.query_id: each.reason for each in selection.unplaced} == {
        "a": "its source cam is gone",
        "b": "its source cam is gone",
        "c": "without vm nothing can run its operator read",
    }
    assert {wire.source for wire in made.wires} | {wire.target for wire in made.wires} == set()
    assert all(uplink.wires == () for uplink in made.uplinks)


def test_rates_prices_bounds_and_cordons():
    found = change_problem(
        shop(),
        [
            SetRate(query="a", rate_per_s=Figure(value=2.0, factor=True)),
            SetRate(query="*", rate_per_s=Figure(value=0.5, factor=True)),
            SetWeight(query="c", weight=Figure(value=3.0, factor=True)),
            SetPrice(device="gateway", price_per_h=Figure(value=0.25)),
            SetSlo(query="b", field=SloField.LATENCY_MS, value=None),
            SetSlo(query="b", field=SloField.ACCURACY, value=0.95),
            SetSlo(query="c", field=SloField.COST_PER_H, value=2.0),
            SetSlo(query="c", field=SloField.PERCENTILE, value=0.5),
            CordonDevice(device="vm"),
        ],
        KIN,
    )
    queries = {each.id: each for each in found.problem.queries}
    assert {name: each.rate_per_s for name, each in queries.items()} == {"a": 10.0, "b": 5.0, "c": 5.0}
    assert {name: each.weight for name, each in queries.items()} == {"a": 1.0, "b": 1.0, "c": 3.0}
    assert queries["b"].slo == Slo(accuracy_ratio=0.95)
    assert (queries["c"].slo.cost_per_h, queries["c"].slo.percentile_ratio) == (2.0, 0.5)
    machines = {each.id: each for each in found.problem.machines}
    assert machines["gate"].price_per_h == 0.25
    assert [each.id for each in found.problem.machines if each.cordoned] == ["vm"]
    assert found.told[0] == "a: 10 -> 20 items/s"
    assert "b: latency_ms 500 -> none" in found.told
    assert len(found.told) == 9


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (AddDevices(count=1, like="gatway"), "no device or class 'gatway'; did you mean 'gateway'"),
        (AddDevices(count=0, like="gate"), "0 devices can't be added: it must be 1 to 1,000"),
        (AddDevices(count=5_000, like="gate"), "it must be 1 to 1,000"),
        (RemoveDevice(device="gateway"), "no device 'gateway'; did you mean 'gate'"),
        (RemoveDevice(device="vm", count=3), "3 machines of vm can't be removed: there are 2"),
        (RemoveDevice(device="cam", count=0), "there are 1"),
        (CordonDevice(device="x"), "no device 'x'; known: cam, cam2, gate, vm"),
        (SetRate(query="d", rate_per_s=Figure(value=1.0)), "no query 'd'"),
        (SetRate(query="a", rate_per_s=Figure(value=0.0)), "the rate of a would be 0, but must be above 0"),
        (SetRate(query="a", rate_per_s=Figure(value=float("nan"))), "would be nan"),
        (SetRate(query="a", rate_per_s=Figure(value=1e300, factor=True)), "at most 1e+12"),
        (SetWeight(query="a", weight=Figure(value=0.0)), "the weight of a would be 0, but must be above 0"),
        (SetPrice(device="x", price_per_h=Figure(value=1.0)), "no device or class 'x'"),
        (SetPrice(device="vm", price_per_h=Figure(value=-1.0)), "must be at least 0"),
        (SetSlo(query="a", field=SloField.LATENCY_MS, value=0.0), "above 0 ms, or 'none'"),
        (SetSlo(query="a", field=SloField.PERCENTILE, value=1.0), "above 0 and below 1"),
        (SetSlo(query="a", field=SloField.COST_PER_H, value=-1.0), "at least 0, or 'none'"),
        (SetSlo(query="a", field=SloField.ACCURACY, value=float("inf")), "must be a number, or 'none'"),
    ],
)
def test_what_cannot_be_is_refused_and_says_why(change, told):
    with pytest.raises(InvalidInput, match=re.escape(told)):
        changed(shop(), change)


def test_what_there_is_without_end_does_not_grow():
    endless = shop(machines=(*shop().machines[:3], replace(shop().machines[3], count=None)))
    for change in (AddDevices(count=1, like="vm"), RemoveDevice(device="vm", count=1)):
        with pytest.raises(InvalidInput, match="as many machines of vm as anybody may want"):
            changed(endless, change)


def test_a_later_change_may_name_what_an_earlier_one_added():
    made = changed(
        shop(),
        AddDevices(count=2, like="gate"),
        SetPrice(device="gate@s1+2", price_per_h=Figure(value=7.0)),
        SetPrice(device="gateway", price_per_h=Figure(value=2.0, factor=True)),
        RemoveDevice(device="gate@s1+1"),
    )
    assert {each.id: each.price_per_h for each in made.machines} == {
        "cam": 1.0,
        "gate": 2.0,
        "cam2": 1.0,
        "vm": 1.0,
        "gate@s1+2": 14.0,
    }


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(problem=problems(queries=3), data=st.data())
def test_a_device_more_never_serves_less(problem, data):
    limited = [each.id for each in problem.machines if each.count is not None]
    if not limited:
        return
    name = data.draw(st.sampled_from(limited))
    before = select(problem, CbcSolver()).selection
    grown = changed(problem, AddDevices(count=1, like=name), kin=Kin())
    after = select(grown, CbcSolver()).selection
    assert audit(grown, after) == ()
    assert after.goodput_per_s >= before.goodput_per_s - 1e-9
    # Taken away again, all is as it was.
    new = {each.id for each in grown.machines} - {each.id for each in problem.machines}
    for added in new:
        back = changed(grown, RemoveDevice(device=added), kin=Kin())
        assert {(w.source, w.target) for w in back.wires} == {(w.source, w.target) for w in problem.wires}
        assert back.queries == problem.queries
