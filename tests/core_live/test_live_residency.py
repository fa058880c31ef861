"""Data that may not leave its site, from a pipeline to the plans of a fleet."""

from dataclasses import replace

from live_values import choices, device, fleet, operator, pipeline, query

from circinus.model.device import Tier
from circinus.model.pipeline import Knob
from cloud_planner.core.audit import audit
from cloud_planner.core.decompose import decompose
from cloud_planner.core.select import select
from cloud_planner.solver import CbcSolver


def made(*, at_site):
    """A camera without room for anything, and a far, strong device."""
    spec = pipeline(
        operator("cut", ["source"], [Knob(name="length", values=(1, 2))], site_inputs=at_site),
        operator("read", ["cut"], [Knob(name="fast", values=(False, True))]),
    )
    devices = (
        device("camera", links=["far", "near"], cores=0.25),
        device("near", data_address="a:2", links=["far"]),
        device("far", tier=Tier.CLOUD, site="away", data_address="a:1"),
    )
    known = fleet(*devices, spec=spec, choices={"q": choices(spec)})
    return decompose(known, [query()])


def test_a_pipelines_inputs_keep_their_items_at_the_site():
    steps = made(at_site=("source",)).queries[0].candidates[0].steps
    assert [step.site_inputs for step in steps] == [{"source"}, frozenset()]


def test_what_reads_them_is_planned_at_the_site():
    problem = made(at_site=("source",))
    cameras = tuple(replace(m, cordoned=m.id in ("camera", "near")) for m in problem.machines)
    for given, places in ((problem, {"camera", "near"}), (replace(problem, machines=cameras), set())):
        selection = select(given, CbcSolver()).selection
        assert audit(given, selection) == ()
        cut = {part.device_id for plan in selection.plans for part in plan.operators if part.operator_id == "cut"}
        assert cut <= places
        assert bool(cut) == bool(places)


def test_other_data_may_leave():
    problem = made(at_site=())
    cordoned = tuple(replace(m, cordoned=m.id in ("camera", "near")) for m in problem.machines)
    selection = select(replace(problem, machines=cordoned), CbcSolver()).selection
    assert {part.device_id for plan in selection.plans for part in plan.operators} == {"far"}
