from dataclasses import replace

from live_values import device, fleet, operator, pipeline, query

from circinus.model.device import Tier
from circinus.model.directive import Generation
from circinus.model.plan import Interval, OperatorPlan, Plan
from cloud_planner.core.directives import directives

GENERATION = Generation(epoch=1, number=3)
CONFIGURATION = {"cut.length": 2, "read.fast": True}


def placed(operator_id, device_id, **changes):
    values = {
        "operator_id": operator_id,
        "device_id": device_id,
        "replicas": 1,
        "share_ratio": 1.0,
        "cores": 0.5,
        "accelerator_slots": 0,
        "accelerator_memory_bytes": 0,
        "memory_bytes": 2**28,
        "batch": 1,
        "service_ms": 40.0,
    }
    return OperatorPlan(**(values | changes))


def plan(*operators, query_id="q", configuration=CONFIGURATION):
    interval = Interval(value=1.0, low=1.0, high=1.0)
    return Plan(
        query_id=query_id,
        configuration=configuration,
        operators=operators,
        latency_ms=interval,
        latency_p50_ms=1.0,
        accuracy_ratio=interval,
        cost_per_h=0.0,
        slo_probability_ratio=1.0,
        item_goodput_per_s=1.0,
    )


def made(plans, *devices, spec=None, queries=None):
    found = directives(fleet(*devices, spec=spec), queries or [query()], plans, GENERATION)
    return {directive.device_id: directive for directive in found}


CAMERA = device("camera", links=["gateway", "cloud"])
GATEWAY = device("gateway", data_address="g:1", links=["cloud"])
CLOUD = device("cloud", tier=Tier.CLOUD, data_address="c:1")


def test_a_split_chain_is_routed_from_where_each_input_comes_into_being():
    found = made([plan(placed("cut", "gateway"), placed("read", "cloud"))], CAMERA, GATEWAY, CLOUD)
    assert [(route.operator_id, route.targets[0].device_id) for route in found["camera"].routes] == [("cut", "gateway")]
    assert [(route.operator_id, route.targets[0].device_id) for route in found["gateway"].routes] == [("read", "cloud")]
    assert [route.operator_id for route in found["cloud"].routes] == ["source"]
    assert [peer.address for peer in found["camera"].peers] == ["g:1"]
    assert [peer.address for peer in found["gateway"].peers] == ["c:1"]
    assert not found["cloud"].peers
    assert found["cloud"].replica_sets[0].knobs == {"fast": True}
    assert found["gateway"].replica_sets[0].inputs == ("source",)
    assert {directive.generation for directive in found.values()} == {GENERATION}


def test_an_all_local_plan_needs_nobody_else():
    found = made([plan(placed("cut", "camera"), placed("read", "camera"))], CAMERA, GATEWAY, CLOUD)
    assert list(found) == ["camera"]
    assert [route.operator_id for route in found["camera"].routes] == ["cut", "read", "source"]
    assert not found["camera"].peers


def test_a_join_is_routed_from_every_device_that_has_an_input():
    spec = pipeline(
        operator("cut", ["source"]), operator("look", ["source"]), operator("read", ["cut", "look"]), outputs=("read",)
    )
    chosen = plan(placed("cut", "camera"), placed("look", "gateway"), placed("read", "cloud"), configuration={})
    found = made([chosen], CAMERA, GATEWAY, CLOUD, spec=spec)
    assert [route.operator_id for route in found["camera"].routes] == ["cut", "look", "read"]
    assert [route.operator_id for route in found["gateway"].routes] == ["read"]
    assert found["gateway"].routes[0].inputs == ("cut", "look")
    assert [peer.device_id for peer in found["camera"].peers] == ["cloud", "gateway"]


def test_what_is_run_for_each_part_is_told_so_and_who_cuts_is_told_by_what():
    spec = pipeline(
        replace(operator("cut", ["source"]), fan_out="words"),
        replace(operator("look", ["cut"]), each=True),
        operator("read", ["cut", "look"]),
        outputs=("read",),
    )
    chosen = plan(placed("cut", "camera"), placed("look", "gateway"), placed("read", "camera"))
    found = made([chosen], CAMERA, GATEWAY, CLOUD, spec=spec)
    assert [(one.operator_id, one.split_by, one.each) for one in found["camera"].replica_sets] == [
        ("cut", "words", False),
        ("read", "", False),
    ]
    assert [(one.operator_id, one.split_by, one.each) for one in found["gateway"].replica_sets] == [("look", "", True)]
    assert {route.operator_id for one in found.values() for route in one.routes if route.each} == {"look"}


def test_who_has_a_part_of_the_answer_is_told_so_though_others_read_it():
    spec = pipeline(operator("cut", ["source"]), operator("read", ["cut"]), outputs=("cut", "read"))
    chosen = plan(placed("cut", "gateway"), placed("read", "cloud"), configuration={})
    found = made([chosen], CAMERA, GATEWAY, CLOUD, spec=spec)
    answers = {
        device_id: [route for route in directive.routes if route.operator_id == "source"]
        for device_id, directive in found.items()
    }
    assert [len(answers[device_id]) for device_id in ("camera", "cloud", "gateway")] == [0, 1, 1]
    (route,) = answers["gateway"]
    assert route.inputs == ("cut", "read")
    assert [target.device_id for target in route.targets] == ["camera"]
    # Outcomes go back the way items came: nobody dials the camera for them.
    assert [peer.device_id for peer in found["gateway"].peers] == ["cloud"]


def test_who_can_be_dialled_is_and_exactly_one_side_dials():
    near, far = device("a-cloud", tier=Tier.CLOUD, data_address="x:1"), device("z-edge", data_address="x:2")
    chosen = [plan(placed("cut", "a-cloud"), placed("read", "z-edge"))]
    found = made(chosen, near, far, queries=[query(source="a-cloud")])
    assert not found["a-cloud"].peers
    assert [peer.device_id for peer in found["z-edge"].peers] == ["a-cloud"]
    twins = device("a", data_address="x:1"), device("b", data_address="x:2")
    found = made([plan(placed("cut", "a"), placed("read", "b"))], *twins, queries=[query(source="a")])
    assert [peer.device_id for peer in found["a"].peers] == ["b"]
    assert not found["b"].peers


def test_the_source_emits_other_items_than_the_profiled_ones():
    chosen = [plan(placed("cut", "camera"), placed("read", "camera"))]
    (source,) = made(chosen, CAMERA)["camera"].sources
    assert source.seed >= 2**30
    assert source.deadline_ms == 0.0
    assert source.output_operator_ids == ("read",)
    bounded = made(chosen, CAMERA, queries=[query(latency_ms=80.0)])["camera"].sources[0]
    assert bounded.deadline_ms == 80.0
    assert bounded.key != source.key


def test_keys_tell_what_runs_and_not_when():
    chosen = plan(placed("cut", "camera"), placed("read", "camera"))
    devices = fleet(CAMERA)
    one = directives(devices, [query()], [chosen], GENERATION)[0]
    other = directives(devices, [query()], [chosen], Generation(epoch=1, number=4))[0]
    assert [found.key for found in one.replica_sets] == [found.key for found in other.replica_sets]
    assert [found.key for found in one.sources] == [found.key for found in other.sources]
    moved = plan(placed("cut", "camera", cores=1.0), placed("read", "camera"))
    changed = directives(devices, [query()], [moved], GENERATION)[0]
    assert changed.replica_sets[0].key != one.replica_sets[0].key
    assert changed.replica_sets[1].key == one.replica_sets[1].key
    assert len({found.key for found in one.replica_sets}) == 2


def test_a_split_operator_has_its_shares_by_device():
    chosen = plan(
        placed("cut", "camera"), placed("read", "cloud", share_ratio=0.75), placed("read", "camera", share_ratio=0.25)
    )
    (_, read, _) = made([chosen], CAMERA, CLOUD)["camera"].routes
    assert [(target.device_id, target.share_ratio) for target in read.targets] == [("camera", 0.25), ("cloud", 0.75)]


def test_no_plans_make_no_directives():
    assert made([], CAMERA) == {}
