import dataclasses
from dataclasses import replace

import pytest
from live_values import ENVIRONMENT, accelerator, choices, device, fleet, measured, operator, pipeline, query, table

from circinus.model.device import Environment, Tier
from circinus.model.pipeline import State
from cloud_planner.core.decompose import CONDITIONS_RATIO, decompose, memory_limit_bytes, reachable


def only(problem):
    (found,) = problem.queries
    return found


def chosen(*devices, spec=None, **changes):
    """A fleet in which every configuration may be chosen."""
    return fleet(*devices, spec=spec, choices={"q": choices(spec)}, **changes)


def test_each_choice_is_a_candidate_with_an_option_for_each_share():
    found = only(decompose(chosen(device("camera", cores=0.5)), [query()]))
    assert len(found.candidates) == 4
    step = found.candidates[0].steps[0]
    assert [option.cores for option in step.options] == [0.25, 0.5]
    quarter, half = step.options
    assert quarter.service.mean_ms == pytest.approx(2 * half.service.mean_ms) == pytest.approx(21.5 / 0.25)
    assert quarter.service.variance_ms2 == pytest.approx(4 * half.service.variance_ms2)
    assert half.capacity_per_s == pytest.approx(1000 * 0.5 / 21.5)
    assert found.candidates[0].source_bytes == 1000.0


def test_memory_limits_have_room_and_are_steady():
    assert memory_limit_bytes(100 * 2**20) == 256 * 2**20
    assert memory_limit_bytes(101 * 2**20) == 256 * 2**20
    assert memory_limit_bytes(0) == 64 * 2**20


def test_options_stand_only_where_environment_and_links_are():
    devices = (
        device("camera", links=["gateway", "bare", "slow"]),
        device("gateway", data_address="a:1", links=["cloud"]),
        device("cloud", tier=Tier.CLOUD, data_address="a:2"),
        device("bare", ready=False, data_address="a:3"),
        device("slow", device_class="slow", data_address="a:4"),
        device("island"),
    )
    step = only(decompose(chosen(*devices), [query()])).candidates[0].steps[0]
    assert {option.machine for option in step.options} == {"camera", "gateway", "slow", "cloud"}


def test_a_link_needs_one_end_that_can_be_dialled():
    assert reachable([device("a", links=["b"]), device("b")], "a") == {"a"}
    assert reachable([device("a", links=["b"]), device("b", data_address="x:1")], "a") == {"a", "b"}
    assert reachable([device("a", links=["b"], data_address="x:1"), device("b")], "a") == {"a", "b"}


def test_wires_are_as_reported_and_zero_bandwidth_is_unlimited():
    near = device("camera", links=["cloud"])
    free = dataclasses.replace(near.links[0], bandwidth_bit_per_s=0, price_per_gb=0.5)
    problem = decompose(fleet(dataclasses.replace(near, links=(free,)), device("cloud", data_address="a:1")), [query()])
    (wire,) = problem.wires
    assert (wire.source, wire.target, wire.bandwidth_bit_per_s, wire.price_per_gb) == ("camera", "cloud", None, 0.5)


def test_pinned_operators_have_options_nowhere_else():
    spec = pipeline(
        operator("cut", ["source"], pinned="source"), operator("read", ["cut"], pinned="cloud"), outputs=("read",)
    )
    devices = (device("camera", links=["cloud"]), device("cloud", data_address="a:1"))
    cut, read = only(decompose(chosen(*devices, spec=spec), [query()])).candidates[0].steps
    assert {option.machine for option in cut.options} == {"camera"}
    assert {option.machine for option in read.options} == {"cloud"}
    alone = only(decompose(fleet(devices[0], spec=spec), [query()]))
    assert alone.impossible == "no reachable device can run operator read (pinned to cloud)"


def test_what_makes_a_query_impossible_is_said():
    assert "is not known here" in only(decompose(fleet(device("other")), [query()])).impossible
    gone = only(decompose(fleet(device("other"), absent={"camera": "it was last seen at noon"}), [query()]))
    assert "it was last seen at noon" in gone.impossible
    bare = device("camera", environments=(Environment(digest=ENVIRONMENT, ready=False, reason="install tesseract"),))
    assert "install tesseract" in only(decompose(fleet(bare), [query()])).impossible
    nothing = "no configuration of words is known to meet its SLO on plain"
    assert only(decompose(fleet(device("camera")), [query()])).impossible == nothing
    unmeasured = chosen(device("camera"), tables=table(pipeline(), classes=()))
    assert only(decompose(unmeasured, [query()])).impossible == nothing


def test_an_accelerator_variant_takes_a_slot_and_its_part_of_the_memory():
    spec = pipeline(operator("cut", ["source"]), operator("read", ["cut"], accelerator_kinds=("cuda",)))
    strong = device("camera", accelerators=(accelerator(),))
    problem = decompose(chosen(strong, spec=spec), [query()])
    cut, read = only(problem).candidates[0].steps
    assert {option.accelerator_slots for option in cut.options} == {0}
    assert {(o.accelerator_slots, o.accelerator_memory_bytes) for o in read.options} == {(1, 2 * 2**30)}
    assert problem.machines[0].accelerator_slots == 4


def test_where_nobody_knows_the_accelerator_memory_slots_alone_limit():
    spec = pipeline(operator("cut", ["source"]), operator("read", ["cut"], accelerator_kinds=("cuda",)))
    strong = device("camera", accelerators=(replace(accelerator(), memory_bytes=0),))
    known = table(spec)
    told = tuple(replace(found, accelerator_memory_bytes={"read": 3 * 2**30}) for found in known.times["fast"])
    problem = decompose(chosen(strong, spec=spec, tables=replace(known, times={"fast": told})), [query()])
    _, read = only(problem).candidates[0].steps
    assert {(o.accelerator_slots, o.accelerator_memory_bytes) for o in read.options} == {(1, 0)}


def test_accelerator_memory_is_what_was_measured_where_the_driver_told():
    spec = pipeline(operator("cut", ["source"]), operator("read", ["cut"], accelerator_kinds=("cuda",)))
    strong = device("camera", accelerators=(accelerator(),))
    known = table(spec)
    told = tuple(replace(found, accelerator_memory_bytes={"read": 3 * 2**30}) for found in known.times["fast"])
    problem = decompose(chosen(strong, spec=spec, tables=replace(known, times={"fast": told})), [query()])
    _, read = only(problem).candidates[0].steps
    assert {option.accelerator_memory_bytes for option in read.options} == {3 * 2**30}


def test_a_stateful_operator_is_for_one_replica():
    spec = pipeline(operator("cut", ["source"], state=State.PER_SOURCE), operator("read", ["cut"]))
    cut, read = only(decompose(chosen(device("camera"), spec=spec), [query(rate_per_s=15.0)])).candidates[0].steps
    assert (cut.single, read.single) == (True, False)


def test_a_larger_share_is_not_tried_where_it_saves_next_to_nothing():
    def shares(**wanted):
        found = only(decompose(chosen(device("camera")), [query(**wanted)]))
        return [[option.cores for option in step.options] for step in found.candidates[0].steps]

    every = [0.25, 0.5, 1.0]
    # About 20 ms on a whole core, 80 on a quarter: 5% of 2 s are more than that; of 1 s, more than half a core takes.
    assert shares(latency_ms=2_000.0) == [[0.25], [0.25]]
    assert shares(latency_ms=1_000.0) == [[0.25, 0.5], [0.25, 0.5]]
    assert shares(latency_ms=200.0) == [every, every]
    # A quarter of a core that is busy most of the time makes items wait, however soon each is done.
    assert shares(latency_ms=2_000.0, rate_per_s=11.0) == [[0.25, 0.5], [0.25, 0.5]]


def test_the_order_of_what_comes_in_does_not_matter():
    devices = (device("camera", links=["cloud"]), device("cloud", data_address="a:1"))
    queries = [query("b"), query("a")]
    both = {"a": choices(), "b": choices()}
    forwards = decompose(fleet(*devices, choices=both), queries)
    assert forwards == decompose(fleet(*reversed(devices), choices=both), queries[::-1])
    assert [len(found.candidates) for found in forwards.queries] == [4, 4]


def test_a_certified_choice_is_held_to_its_bound_less_the_margin_and_a_believed_one_to_none():
    asked = query(accuracy_ratio=0.9, latency_ms=500.0)
    near = replace(asked, slo=replace(asked.slo, accuracy_margin_ratio=0.05))
    for found, bound in ((asked, 0.9), (near, pytest.approx(0.85))):
        assert only(decompose(chosen(device("camera")), [found])).slo.accuracy_ratio == bound
    believed = choices(certified=False, probability_ratio=0.8)
    slo = only(decompose(fleet(device("camera"), choices={"q": believed}), [asked])).slo
    assert (slo.accuracy_ratio, slo.latency_ms) == (None, 500.0)


def test_only_what_was_chosen_is_a_candidate_in_its_order_and_with_its_accuracy():
    first, *_, last = choices()
    last = replace(last, accuracy=replace(last.accuracy, low=0.8))
    found = only(decompose(fleet(device("camera"), choices={"q": (last, first)}), [query()]))
    assert [(one.configuration, one.accuracy.low) for one in found.candidates] == [
        (last.configuration, 0.8),
        (first.configuration, 0.85),
    ]


def test_a_choice_that_nothing_can_run_is_left_out():
    spec = pipeline(operator("cut", ["source"]), operator("read", ["cut"], pinned="cloud"))
    cloud = device("cloud", device_class="other", data_address="a:1", ready=False)
    found = only(decompose(chosen(device("camera", links=["cloud"]), cloud, spec=spec), [query()]))
    assert found.candidates == ()
    assert found.impossible == "no reachable device can run operator read (pinned to cloud)"


def test_what_times_are_only_believed_by_makes_no_latency_uncertain():
    def uncertainty(device_class, spread_ms):
        known = table(pipeline())
        wide = tuple(
            replace(
                one,
                samples=tuple(
                    replace(sample, operators=tuple(measured(name, 20.0 + spread_ms * at) for name in ("cut", "read")))
                    for at, sample in enumerate(one.samples)
                ),
            )
            for one in known.times["fast"]
        )
        boxes = device("camera", device_class=device_class)
        found = chosen(boxes, tables=replace(known, times={"fast": wide}))
        return only(decompose(found, [query()])).candidates[0].latency_uncertainty_ratio

    assert uncertainty("fast", 0.0) == uncertainty("slow", 50.0) == CONDITIONS_RATIO
    assert uncertainty("fast", 50.0) > CONDITIONS_RATIO


def test_queries_that_could_be_served_alike_have_their_candidates_in_common():
    devices = [device(name, links=["cloud"]) for name in ("camera", "camera-2")]
    devices.append(device("cloud", links=["camera", "camera-2"], data_address="a:1"))
    found = chosen(*devices)
    alike = [query(name, source=source) for name, source in (("q", "camera"), ("r", "camera-2"))]
    faster = query("s", rate_per_s=17.0)
    known = dataclasses.replace(found, choices=dict.fromkeys(("q", "r", "s"), found.choices["q"]))
    first, second, third = decompose(known, [*alike, faster]).queries
    assert first.candidates
    assert first.candidates is second.candidates
    assert third.candidates is not first.candidates
    alone = [only(decompose(known, [one])).candidates for one in (*alike, faster)]
    assert alone == [first.candidates, second.candidates, third.candidates]
