"""Items through real processes and real streams between devices on loopback."""

import pytest
from serving_fleet import Fleet, directive, ended, replica_set, route, source

pytestmark = [pytest.mark.slow, pytest.mark.system]


async def test_a_chain_on_one_device_answers_and_scores_its_items(fleet: Fleet) -> None:
    await fleet.add("camera", listen="")
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(
                replica_set("add", "Add", knobs={"step": 2}),
                replica_set("more", "Add", ("add",), knobs={"step": 40}),
            ),
            routes=(route("add", ("source",), "camera"), route("more", ("add",), "camera")),
            sources=(source(("more",)),),
        )
    )
    total = await fleet.until_answered(1, 10)
    assert total.late == 0
    assert not total.failed_by_cause
    assert sum(total.latency_ms.counts) == len(total.scores_ratio) == total.answered
    assert set(total.scores_ratio) == {1.0}
    assert fleet.operators["more", 1].memory_bytes > 1_000_000


async def test_the_items_of_a_clip_have_one_score_and_the_last_clip_has_its_own(fleet: Fleet) -> None:
    camera = await fleet.add("camera", listen="")
    odd = replica_set("odd", "RaiseOnOdd")
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(odd,),
            routes=(route("odd", ("source",), "camera"),),
            sources=(source(("odd",), rate_per_s=40.0, clip=4),),
        )
    )
    await fleet.until_answered(1, 8)
    empty = directive("camera", 2)
    await camera.apply(empty)
    await camera.activate(empty.generation)
    await fleet.until(lambda: camera.status().phase == "drained")
    await camera.retire(empty.generation)
    await fleet.until(lambda: ended(fleet.total(1)) == fleet.total(1).emitted)
    total = fleet.total(1)
    # Of each whole clip every other item is answered, and right: both have the score of the whole.
    assert total.scores_ratio[:8] == [0.5] * 8
    assert all(0.0 < score <= 1.0 for score in total.scores_ratio)


async def test_a_chain_split_over_two_devices_answers_back_at_the_source(fleet: Fleet) -> None:
    await fleet.add("camera", listen="")
    await fleet.add("cloud")
    routes = (route("add", ("source",), "camera"), route("more", ("add",), "cloud"))
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(replica_set("add", "Add", knobs={"step": 2}),),
            routes=routes,
            sources=(source(("more",)),),
            peers=(fleet.peer("cloud"),),
        ),
        directive("cloud", 1, sets=(replica_set("more", "Add", ("add",), knobs={"step": 40}),), routes=routes),
    )
    total = await fleet.until_answered(1, 10)
    assert not total.failed_by_cause
    assert set(total.scores_ratio) == {1.0}
    assert fleet.operators["more", 1].items >= 10


async def test_the_inputs_of_a_join_meet_on_one_of_its_devices(fleet: Fleet) -> None:
    await fleet.add("camera", listen="")
    await fleet.add("left")
    await fleet.add("right")
    routes = (
        route("a", ("source",), "camera"),
        route("b", ("source",), "left"),
        route("join", ("a", "b"), "left", "right"),
    )
    join = replica_set("join", "Join", ("a", "b"))
    peers = (fleet.peer("left"), fleet.peer("right"))
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(replica_set("a", "Add", knobs={"step": 1}),),
            routes=routes,
            sources=(source(("join",)),),
            peers=peers,
        ),
        directive(
            "left",
            1,
            sets=(replica_set("b", "Add", knobs={"step": 7}), join),
            routes=routes,
            peers=(fleet.peer("right"),),
        ),
        directive("right", 1, sets=(join,), routes=routes),
    )
    total = await fleet.until_answered(1, 12)
    assert not total.failed_by_cause
    assert set(total.scores_ratio) == {1.0}


async def test_replicas_of_one_set_share_its_queue(fleet: Fleet) -> None:
    camera = await fleet.add("camera", listen="")
    both = replica_set("burn", "Burn", knobs={"cpu_ms": 10}, replicas=2, batch=2)
    await fleet.roll_out(
        directive(
            "camera", 1, sets=(both,), routes=(route("burn", ("source",), "camera"),), sources=(source(("burn",)),)
        )
    )
    await fleet.until_answered(1, 8)
    assert len(camera.status().pids[both.key]) == 2


async def test_an_emulated_slow_device_takes_its_time(fleet: Fleet) -> None:
    await fleet.add("camera", listen="", speed_ratio=0.25)
    burn = replica_set("burn", "Burn", knobs={"cpu_ms": 10}, cores=0.5)
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(burn,),
            routes=(route("burn", ("source",), "camera"),),
            sources=(source(("burn",), rate_per_s=5.0),),
        )
    )
    await fleet.until_answered(1, 5)
    served = fleet.operators["burn", 1]
    # Wall time is CPU time / (speed x cores) or more: this is a promise, not a timing.
    assert served.service_ms_sum >= 0.99 * served.cpu_ms_sum / (0.25 * 0.5)


async def test_items_that_come_too_fast_are_dropped_and_all_have_an_outcome(fleet: Fleet) -> None:
    camera = await fleet.add("camera", listen="")
    burn = replica_set("burn", "Burn", knobs={"cpu_ms": 200})
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(burn,),
            routes=(route("burn", ("source",), "camera"),),
            sources=(source(("burn",), rate_per_s=100.0, deadline_ms=400.0),),
        )
    )
    await fleet.until(lambda: sum(fleet.total(1).dropped_by_cause.values()) >= 5)
    await camera.apply(directive("camera", 2))
    await camera.activate(directive("camera", 2).generation)
    await fleet.until(lambda: camera.status().phase == "drained")
    total = fleet.total(1)
    assert set(total.dropped_by_cause) <= {"queue_full", "deadline"}
    assert ended(total) == total.emitted
