"""Slots and memory of accelerators in decomposition: measured or an even part, and unified memory once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from live_values import accelerator, choices, device, fleet, pipeline, query, table

from circinus.errors import NotRunnable
from circinus.model.directive import Directive, Generation, ReplicaSet
from cloud_planner.core.accelerators import Take, accelerator_take
from cloud_planner.core.audit import audit
from cloud_planner.core.decompose import decompose
from cloud_planner.core.problem import Sharing
from cloud_planner.core.profiles import ServiceStatistics
from cloud_planner.core.select import select
from cloud_planner.core.stand_by_room import Room
from cloud_planner.core.transition import capacities
from cloud_planner.solver import CbcSolver
from edge_agent.law import check_fits

GIB = 2**30
READ = replace(next(one for one in pipeline().operators if one.id == "read"), accelerator_kinds=("cuda",))
MEASURED = ServiceStatistics(
    mean_ms=1.0,
    variance_ms2=0.0,
    output_bytes=1.0,
    memory_bytes=GIB,
    samples=3,
    accelerator_memory_bytes=3 * GIB,
)
UNMEASURED = replace(MEASURED, accelerator_memory_bytes=0)


def take(service, *accelerators, operator=READ):
    return accelerator_take(operator, device("d", accelerators=accelerators), service)


def test_what_was_measured_is_taken_else_an_even_part():
    assert take(MEASURED, accelerator()) == Take(slots=1, memory_bytes=3 * GIB)
    assert take(UNMEASURED, accelerator()) == Take(slots=1, memory_bytes=2 * GIB)


def test_without_a_variant_or_an_accelerator_nothing_is_taken():
    assert take(MEASURED, accelerator(), operator=replace(READ, accelerator_kinds=())) == Take()
    assert take(MEASURED, accelerator(), operator=replace(READ, accelerator_kinds=("npu",))) == Take()
    assert take(MEASURED) == Take()


def test_memory_that_nobody_knows_is_not_taken():
    assert take(MEASURED, replace(accelerator(), memory_bytes=0)) == Take(slots=1)


def test_unified_memory_is_taken_of_the_device_and_is_none_of_the_accelerators():
    shared = replace(accelerator(), unified=True)
    assert take(MEASURED, shared) == Take(slots=1, common_bytes=3 * GIB)
    assert take(UNMEASURED, shared) == Take(slots=1)
    jetson = device("jetson", accelerators=(shared,))
    assert jetson.accelerator_memory_bytes == 0
    assert capacities([jetson])["jetson"] == (2.0, 8 * GIB, 4.0, 0.0)
    assert Room.of(jetson, None).accelerator_memory_bytes == 0


def test_of_several_accelerators_what_no_replica_could_use_counts_as_taken():
    # Of 8 GiB each, a replica of 3 GiB: two fit into each, so each takes a half.
    assert take(MEASURED, accelerator(), accelerator()).memory_bytes == 4 * GIB
    # One that is larger than the smallest is counted as it is.
    small = replace(accelerator(), memory_bytes=2 * GIB)
    assert take(MEASURED, accelerator(), small).memory_bytes == 3 * GIB


def test_an_agent_counts_unified_memory_once():
    jetson = device("jetson", accelerators=(replace(accelerator(), unified=True),))
    fits = ReplicaSet(
        key="k",
        query_id="q",
        pipeline_id="p",
        operator_id="read",
        bundle_digest="b",
        environment_digest="e",
        entry_point="a:B",
        knobs={},
        replicas=1,
        cores=1.0,
        accelerator_slots=1,
        accelerator_memory_bytes=0,
        memory_bytes=7 * GIB,
        batch=1,
        hang_ms=1000.0,
        inputs=("source",),
    )
    check_fits(_directive(fits), jetson)
    with pytest.raises(NotRunnable, match="memory"):
        check_fits(_directive(replace(fits, accelerator_memory_bytes=GIB)), jetson)
    with pytest.raises(NotRunnable, match="memory"):
        check_fits(_directive(replace(fits, memory_bytes=9 * GIB)), jetson)


def _read_options(*accelerators):
    """How `read` may run on a device with these accelerators, with 3 GiB of accelerator memory measured."""
    spec = pipeline()
    spec = replace(spec, operators=tuple(replace(one, accelerator_kinds=("cuda",)) for one in spec.operators))
    times = tuple(
        replace(one, memory_bytes={"read": GIB}, accelerator_memory_bytes={"read": 3 * GIB})
        for one in table(spec).times["fast"]
    )
    camera = device("camera", accelerators=accelerators)
    made = fleet(camera, spec=spec, tables=replace(table(spec), times={"fast": times}), choices={"q": choices(spec)})
    problem = decompose(made, [query()])
    (machine,) = problem.machines
    steps = {step.operator_id: step for step in problem.queries[0].candidates[0].steps}
    return machine, steps["read"].options


def test_a_problem_counts_unified_memory_once():
    own, (option, *_) = _read_options(accelerator())
    assert (own.accelerator_slots, own.accelerator_memory_bytes) == (4, 8 * GIB)
    assert (option.accelerator_slots, option.accelerator_memory_bytes) == (1, 3 * GIB)
    shared, (common, *_) = _read_options(replace(accelerator(), unified=True))
    assert (shared.accelerator_slots, shared.accelerator_memory_bytes) == (4, 0)
    assert (common.accelerator_slots, common.accelerator_memory_bytes) == (1, 0)
    assert common.memory_bytes == option.memory_bytes + 3 * GIB


def test_a_selection_keeps_to_slots_and_to_unified_memory():
    """Four queries with a replica each: the card's 8 GiB hold two of 3 GiB, main memory of 8 GiB one of 4.4 GiB."""
    spec = pipeline()
    spec = replace(
        spec,
        operators=tuple(
            replace(one, accelerator_kinds=("cuda",)) if one.id == "read" else one for one in spec.operators
        ),
    )
    times = tuple(
        replace(one, memory_bytes={"read": GIB}, accelerator_memory_bytes={"read": 3 * GIB})
        for one in table(spec).times["fast"]
    )
    for unified, most in ((False, 2), (True, 1)):
        card = replace(accelerator(), unified=unified)
        camera = device("camera", accelerators=(card,), cores=64.0)
        queries = [query(f"q{number}") for number in range(4)]
        made = fleet(
            camera,
            spec=spec,
            tables=replace(table(spec), times={"fast": times}),
            choices={one.id: choices(spec) for one in queries},
        )
        problem = replace(decompose(made, queries), sharing=Sharing.NONE)
        selection = select(problem, CbcSolver()).selection
        assert len(selection.plans) == most
        assert audit(problem, selection) == ()


def _directive(replica_set):
    return Directive(
        device_id="jetson",
        generation=Generation(epoch=1, number=1),
        replica_sets=(replica_set,),
        routes=(),
        sources=(),
        peers=(),
    )
