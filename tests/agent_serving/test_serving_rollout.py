"""Make before break: generations side by side, processes that stay, no item lost."""

import asyncio
from dataclasses import replace

import pytest
from serving_fleet import Fleet, directive, ended, generation, replica_set, route, source

from circinus.errors import NotFound, StaleGeneration
from circinus.model.device import DeviceId, Link
from circinus.model.pipeline import SOURCE

pytestmark = [pytest.mark.slow, pytest.mark.system]


async def test_a_plan_change_under_load_loses_no_item_and_keeps_unchanged_processes(fleet: Fleet) -> None:
    camera = await fleet.add("camera", listen="")
    cloud = await fleet.add("cloud")
    first, second = (
        replica_set("add", "Add", knobs={"step": 1}),
        replica_set("more", "Add", ("add",), knobs={"step": 2}),
    )
    spec = source(("more",), rate_per_s=80.0)
    peers = (fleet.peer("cloud"),)
    # Generation 1: both on the camera. 2: the second moves to the cloud. 3: both in the cloud.
    local = (route("add", ("source",), "camera"), route("more", ("add",), "camera"))
    split = (route("add", ("source",), "camera"), route("more", ("add",), "cloud"))
    far = (route("add", ("source",), "cloud"), route("more", ("add",), "cloud"))
    steps = {
        1: (directive("camera", 1, sets=(first, second), routes=local, sources=(spec,)), directive("cloud", 1)),
        2: (
            directive("camera", 2, sets=(first,), routes=split, sources=(spec,), peers=peers),
            directive("cloud", 2, sets=(second,), routes=split),
        ),
        3: (
            directive("camera", 3, routes=far, sources=(spec,), peers=peers),
            directive("cloud", 3, sets=(first, second), routes=far),
        ),
    }
    pids = {}
    for number, directives in steps.items():
        await fleet.roll_out(*directives)
        pids[number] = {**camera.status().pids, **{f"cloud {key}": pid for key, pid in cloud.status().pids.items()}}
        await fleet.until_answered(number, 20)
        await fleet.until(lambda: camera.status().phase == cloud.status().phase == "drained")
        for device in (camera, cloud):
            await device.retire(generation(number))
    assert pids[1][first.key] == pids[2][first.key]
    assert pids[1]["source"] == pids[2]["source"] == pids[3]["source"]
    assert pids[2][f"cloud {second.key}"] == pids[3][f"cloud {second.key}"]
    await fleet.until(lambda: set(camera.status().pids) == {"source"})
    await fleet.roll_out(directive("camera", 4), directive("cloud", 4))
    await fleet.until(lambda: camera.status().phase == "drained")
    for number in steps:
        total = fleet.total(number)
        assert total.emitted == total.answered == ended(total)
        assert set(total.scores_ratio) == {1.0}


async def test_what_ran_is_applied_again_at_boot_and_emits_by_itself(fleet: Fleet) -> None:
    camera = await fleet.add("camera", listen="")
    only = directive(
        "camera",
        5,
        sets=(replica_set("op", "Pass"),),
        routes=(route("op", ("source",), "camera"),),
        sources=(source(("op",)),),
    )
    staged = replace(only, generation=generation(6))
    # An agent boots into its ledger with nobody to say when processes are ready.
    await camera.apply(only)
    await camera.apply(staged)
    await camera.activate(generation(5))
    total = await fleet.until_answered(5, 5)
    assert ended(total) == total.answered
    assert camera.status().phase == "ready"
    assert camera.status().active == generation(5)


async def test_an_activation_of_what_is_unknown_or_older_is_refused(fleet: Fleet) -> None:
    camera = await fleet.add("camera", listen="")
    with pytest.raises(NotFound):
        await camera.activate(generation(1))
    await camera.apply(directive("camera", 1))
    await camera.apply(directive("camera", 2))
    await camera.activate(generation(2))
    with pytest.raises(StaleGeneration):
        await camera.activate(generation(1))
    await camera.activate(generation(2))


async def test_a_peer_that_does_not_answer_only_delays_readiness(fleet: Fleet) -> None:
    camera = await fleet.add("camera", listen="")
    cloud = await fleet.add("cloud")
    address = fleet.addresses["cloud"]
    peer = fleet.peer("cloud")
    await cloud.stop(0.5)
    await camera.apply(directive("camera", 1, peers=(peer,)))
    assert camera.status().phase == "starting"
    assert "cloud" in camera.status().reason
    await fleet.add("cloud", listen=address)
    await fleet.until(lambda: camera.status().phase == "ready")


async def test_an_answer_of_an_operator_that_others_read_needs_a_route_to_the_source(fleet: Fleet) -> None:
    await fleet.add("camera", listen="")
    await fleet.add("cloud")
    routes = (
        route("first", ("source",), "cloud"),
        route("second", ("first",), "cloud"),
        route(SOURCE, ("first", "second"), "camera"),
    )
    sets = (replica_set("first", "Pass"), replica_set("second", "Pass", ("first",)))
    await fleet.roll_out(
        directive("camera", 1, routes=routes, sources=(source(("first", "second")),), peers=(fleet.peer("cloud"),)),
        directive("cloud", 1, sets=sets, routes=routes),
    )
    total = await fleet.until_answered(1, 5)
    assert not total.failed_by_cause


async def test_an_emulated_link_is_waited_for_both_ways(fleet: Fleet) -> None:
    rtt_ms = 60.0
    there = Link(peer=DeviceId("cloud"), bandwidth_bit_per_s=0, rtt_ms=rtt_ms, emulated=True)
    back = replace(there, peer=DeviceId("camera"))
    await fleet.add("camera", listen="", links=(there,))
    await fleet.add("cloud", links=(back,))
    routes = (route("op", ("source",), "cloud"),)
    await fleet.roll_out(
        directive("camera", 1, routes=routes, sources=(source(("op",)),), peers=(fleet.peer("cloud"),)),
        directive("cloud", 1, sets=(replica_set("op", "Pass"),), routes=routes),
    )
    total = await fleet.until_answered(1, 5)
    # No answer can be back before a whole round trip: a promise, not a timing.
    assert total.latency_ms.min >= rtt_ms


async def test_two_queries_on_one_device_keep_apart(fleet: Fleet) -> None:
    await fleet.add("camera", listen="")
    queries = ("q1", "q2")
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=tuple(
                replica_set("op", "Add", key=f"{one}/op", query_id=one, knobs={"step": step})
                for step, one in enumerate(queries)
            ),
            routes=tuple(route("op", ("source",), "camera", query_id=one) for one in queries),
            sources=tuple(
                source(("op",), key=f"{one}/source", query_id=one, seed=1000 * step) for step, one in enumerate(queries)
            ),
        )
    )
    await asyncio.gather(*(fleet.until_answered(1, 5, one) for one in queries))
    for one in queries:
        assert set(fleet.total(1, one).scores_ratio) == {1.0}
