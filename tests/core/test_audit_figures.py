"""The figures that a selection only tells are right in what is selected, and found where they are changed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from limited_problems import LIMITS, limited, shared
from small_problems import problems

from cloud_planner.core.audit import audit
from cloud_planner.core.audit_figures import audit_figures
from cloud_planner.core.select import select
from cloud_planner.record import Record, dump_record, load_record
from cloud_planner.solver import CbcSolver

pytestmark = pytest.mark.slow

SETTINGS = settings(
    max_examples=12, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True
)


@SETTINGS
@given(
    problem=st.one_of(
        problems(queries=2),
        problems(queries=2, split=True),
        st.builds(limited, st.integers(0, 999), st.sampled_from(sorted(LIMITS))).map(lambda both: both[1]),
        st.builds(shared, st.integers(0, 999)),
    )
)
def test_what_is_selected_passes_as_it_is_and_as_a_record(problem):
    selection = select(problem, CbcSolver()).selection
    assert audit_figures(problem, selection) == ()
    record = load_record(dump_record(Record(problem=problem, selection=selection)))
    assert record.selection == selection
    assert (*audit(record.problem, record.selection), *audit_figures(record.problem, record.selection)) == ()


@SETTINGS
@given(problem=problems(queries=2), data=st.data())
def test_a_figure_that_is_changed_is_found(problem, data):
    selection = select(problem, CbcSolver()).selection
    factor = data.draw(st.sampled_from([0.5, 0.99, 1.01, 3.0]))
    wrong = {
        "bound": replace(selection, goodput_bound_per_s=selection.goodput_bound_per_s + 1e6),
        "negative": replace(selection, cost_bound_per_h=-1.0),
        "no number": replace(selection, traffic_cost_per_h=float("nan")),
        "gap": replace(selection, cost_gap_ratio=1.5),
    }
    if selection.machines:
        use = selection.machines[0]
        wrong["more machines"] = replace(
            selection, machines=(replace(use, machines=use.machines + 1), *selection.machines[1:])
        )
        wrong["machine twice"] = replace(selection, machines=(*selection.machines, use))
        wrong["no machine"] = replace(selection, machines=(*selection.machines, replace(use, device_id="nowhere")))
    if selection.plans and selection.plans[0].latency_ms.value < 1e11:
        plan = selection.plans[0]
        latency = replace(plan.latency_ms, high=plan.latency_ms.high * factor)
        for name, changed in {
            "interval": replace(plan, latency_ms=latency),
            "median": replace(plan, latency_p50_ms=plan.latency_p50_ms * factor),
            "item goodput": replace(plan, item_goodput_per_s=plan.item_goodput_per_s * 2.0 + 1.0),
        }.items():
            wrong[name] = replace(selection, plans=(changed, *selection.plans[1:]))
    for name, changed in wrong.items():
        assert audit_figures(problem, changed), name
