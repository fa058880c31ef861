"""A query whose peer is out of reach is served by its stand-by, and by its plan again afterwards."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from serving_fleet import QUERY, Fleet, directive, ended, replica_set, route, source

from circinus.local_relay import LocalRelay
from circinus.model.device import DeviceId
from circinus.model.directive import Directive, Peer, StandBy
from circinus.model.plan import Interval

pytestmark = [pytest.mark.slow, pytest.mark.system]

FAR = replica_set("op", "Pass")
ROUTES = (route("op", ("source",), "cloud"),)


@pytest.fixture
async def relay(fleet: Fleet) -> AsyncIterator[LocalRelay]:
    await fleet.add("camera", listen="")
    await fleet.add("cloud")
    async with LocalRelay(fleet.addresses["cloud"]) as made:
        fleet.addresses["relay"] = made.address
        yield made


def stand_by(class_name: str = "Pass", needs: str = "cloud", **changes: object) -> StandBy:
    figure = Interval(value=20.0, low=10.0, high=30.0)
    return StandBy(
        query_id=QUERY,
        configuration={},
        replica_sets=(replica_set("op", class_name, key="kept warm", **changes),),
        routes=(route("op", ("source",), "camera"), route("source", ("op",), "camera")),
        needs=(DeviceId(needs),),
        latency_ms=figure,
        accuracy_ratio=Interval(value=0.8, low=0.7, high=0.9),
    )


def here(fleet: Fleet, *, rate_per_s: float = 20.0, deadline_ms: float = 0.0, **changes: object) -> Directive:
    made = directive(
        "camera",
        1,
        routes=ROUTES,
        sources=(source(("op",), rate_per_s, deadline_ms=deadline_ms),),
        peers=(Peer(device_id=DeviceId("cloud"), address=fleet.addresses["relay"]),),
    )
    return replace(made, stand_bys=(stand_by(**changes),))  # type: ignore[arg-type]


def there() -> Directive:
    return directive("cloud", 1, sets=(FAR,), routes=(*ROUTES, route("source", ("op",), "camera")))


async def serve(fleet: Fleet, **changes: object) -> None:
    await fleet.roll_out(there(), here(fleet, **changes))  # type: ignore[arg-type]
    await fleet.until_answered(1, 5)


def by_stand_by(fleet: Fleet) -> int:
    return fleet.total(1).stand_by_answered


async def all_ended(fleet: Fleet) -> None:
    """Stops the source, and waits until each item has its outcome."""
    camera = fleet.devices["camera"]
    await camera.apply(replace(directive("camera", 2)))
    await camera.activate(directive("camera", 2).generation)
    await fleet.until(lambda: ended(fleet.total(1)) == fleet.total(1).emitted)


@pytest.mark.parametrize("cut", ["reset", "stall"])
async def test_answers_go_on_locally_and_come_from_the_plan_again_when_the_link_is_back(
    fleet: Fleet, relay: LocalRelay, cut: str
) -> None:
    await serve(fleet)
    camera = fleet.devices["camera"]
    assert by_stand_by(fleet) == 0
    getattr(relay, cut)()
    await fleet.until(lambda: by_stand_by(fleet) >= 10)
    relay.mend()
    (began,) = camera.take_episodes()
    assert not began.HasField("end")
    episodes = []
    await fleet.until(lambda: bool(episodes.extend(camera.take_episodes()) or episodes))
    (over,) = episodes
    assert over.start == began.start
    assert over.HasField("end")
    answered, local = fleet.total(1).answered, by_stand_by(fleet)
    await fleet.until(lambda: fleet.total(1).answered >= answered + 20)
    await all_ended(fleet)
    total = fleet.total(1)
    # One that was run again when the link died may still be under way.
    assert total.stand_by_answered <= local + 2
    assert not total.failed_by_cause
    assert sum(total.latency_ms.counts) + total.latency_ms.zeros == total.answered


async def test_items_that_were_with_the_peer_are_run_again_and_nothing_is_answered_twice(
    fleet: Fleet, relay: LocalRelay
) -> None:
    slow = replica_set("op", "Burn", knobs={"cpu_ms": 30})
    await fleet.roll_out(
        directive("cloud", 1, sets=(slow,), routes=(*ROUTES, route("source", ("op",), "camera"))), here(fleet)
    )
    await fleet.until_answered(1, 3)
    relay.stall()
    await fleet.until(lambda: by_stand_by(fleet) >= 5)
    relay.mend()
    await fleet.until(lambda: len(fleet.devices["camera"].take_episodes()) > 0)
    await all_ended(fleet)
    total = fleet.total(1)
    assert not total.failed_by_cause


async def test_items_without_the_time_for_it_end_at_once_with_their_link(fleet: Fleet, relay: LocalRelay) -> None:
    await serve(fleet, deadline_ms=100.0)
    relay.stall()
    await fleet.until(lambda: by_stand_by(fleet) >= 5)
    await all_ended(fleet)
    total = fleet.total(1)
    assert total.failed_by_cause["link_down"] >= 1
    assert set(total.failed_by_cause) == {"link_down"}


async def test_what_a_peer_could_not_pass_on_is_run_again_too(fleet: Fleet, relay: LocalRelay) -> None:
    """The camera reaches the gateway; the gateway's way to the cloud is cut."""
    await fleet.add("gateway")
    first, second = route("op", ("source",), "gateway"), route("next", ("op",), "cloud")
    answer = route("source", ("next",), "camera")
    cloud = Peer(device_id=DeviceId("cloud"), address=fleet.addresses["relay"])
    whole = replace(
        stand_by(),
        replica_sets=(
            replica_set("op", "Pass", key="kept op"),
            replica_set("next", "Pass", ("op",), key="kept next"),
        ),
        routes=(
            route("op", ("source",), "camera"),
            route("next", ("op",), "camera"),
            route("source", ("next",), "camera"),
        ),
        needs=(DeviceId("cloud"), DeviceId("gateway")),
    )
    local = directive("camera", 1, routes=(first,), sources=(source(("next",)),), peers=(fleet.peer("gateway"),))
    await fleet.roll_out(
        directive("cloud", 1, sets=(replica_set("next", "Pass", ("op",)),), routes=(answer,)),
        directive("gateway", 1, sets=(replica_set("op", "Pass"),), routes=(second,), peers=(cloud,)),
        replace(local, stand_bys=(whole,)),
    )
    await fleet.until_answered(1, 5)
    relay.reset()
    await fleet.until(lambda: by_stand_by(fleet) >= 10)
    await all_ended(fleet)
    total = fleet.total(1)
    assert not total.failed_by_cause


async def test_a_stand_by_is_ready_before_its_generation_is(fleet: Fleet, relay: LocalRelay) -> None:
    camera = fleet.devices["camera"]
    await camera.apply(here(fleet, class_name="NeverUp"))
    await fleet.until(lambda: camera.status().phase == "failed")
    assert "kept warm" in camera.status().reason


async def test_a_device_that_starts_alone_serves_by_itself(fleet: Fleet, relay: LocalRelay) -> None:
    relay.reset()
    camera = fleet.devices["camera"]
    await camera.apply(here(fleet))
    await fleet.until(lambda: camera.status().self_reliant)
    await camera.activate(here(fleet).generation)
    await fleet.until(lambda: by_stand_by(fleet) >= 5)
