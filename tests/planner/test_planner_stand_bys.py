"""A query that allows one is told of a stand-by, and a box that serves by it is not planned away."""

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from planner_fleet import FakeAgent, FirstFit, device, query, serving, settings

from circinus import wire
from circinus.model.device import Tier
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner.rollout import RolloutTimes

pytestmark = pytest.mark.slow

CLOUD = device("cloud", tier=Tier.CLOUD, address="127.0.0.1:1")


def wanted():
    found = query(accuracy_ratio=0.8)
    found.stand_by = True
    return found


@contextlib.asynccontextmanager
async def served(tmp_path, camera, **changes):
    """A query of the camera that runs in the cloud."""
    async with (
        serving(settings(tmp_path, **changes), FirstFit("cloud", first="camera")) as (people, parts),
        FakeAgent(people.address, CLOUD) as cloud,
        FakeAgent(people.address, camera) as box,
    ):
        await people.add_pipeline()
        await people.submit(wanted())
        await people.settled()
        await box.until("retire")
        yield people, parts, box, cloud


def _orders(message):
    """Without what it predicts: that moves with every sample, and a box is told of it only with other orders."""
    return wire.orders_of(types_pb2.Directive(stand_bys=[message]))


async def test_a_stand_by_is_told_to_the_box_and_to_whoever_asks(tmp_path):
    async with served(tmp_path, device("camera", links=["cloud"])) as (people, _, box, cloud):
        number = (await people.status()).generation
        (stand_by,) = box.directives[number].stand_bys
        assert stand_by.needs == ("cloud",)
        assert {one.operator_id for one in stand_by.replica_sets} == {"cut", "read"}
        assert not cloud.directives[number].stand_bys
        told = (await people.queries())["q1"].stand_by
        assert _orders(told.stand_by) == _orders(wire.stand_by_to_message(stand_by))
        planned = (await people.stub.PlanSelection(planner_pb2.PlanSelectionRequest())).selection
        assert [one.query_id for one in planned.stand_bys] == ["q1"]


async def test_a_box_without_room_has_none_and_the_reason_is_told(tmp_path):
    small = device("camera", links=["cloud"], memory_bytes=200 * 2**20)
    async with served(tmp_path, small) as (people, _, box, _):
        number = (await people.status()).generation
        assert not box.directives[number].stand_bys
        told = (await people.queries())["q1"].stand_by
        assert not told.HasField("stand_by")
        assert "no room on camera" in told.reason


async def test_a_box_that_serves_by_itself_keeps_its_plan_however_long_it_is_out_of_sight(tmp_path):
    camera = device("camera", links=["cloud"])
    how = {"unseen_s": 0.1, "rollout_times": RolloutTimes(hold_s=0.0)}
    async with served(tmp_path, camera, **how) as (people, parts, box, cloud):
        number, told = (await people.status()).generation, cloud.count("directive")
        devices = (await people.stub.ListDevices(planner_pb2.ListDevicesRequest())).devices
        known = next(one for one in devices if one.fingerprint.device_id == "camera")
        await box.__aexit__()
        async with asyncio.timeout(10):
            while (await people.status()).devices_connected == 2:
                pass
        record = parts.registry.record("camera")
        record.seen_s -= 60.0
        for _ in range(3):
            await parts.loop.attempt()
        assert (await people.status()).generation == number
        assert (await people.queries())["q1"].phase == planner_pb2.QUERY_PHASE_PLACED
        back = wire.device_from_message(known.fingerprint)
        async with FakeAgent(people.address, back, generation_status=box.status) as again:
            episode = control_pb2.StandByEpisode(query_id="q1", generation=number, reason="cloud out of reach")
            now = datetime.now(UTC)
            episode.start.FromDatetime(now - timedelta(seconds=60))
            episode.end.FromDatetime(now)
            await again.send(telemetry=control_pb2.Telemetry(sequence=1, stand_bys=[episode]))
            await parts.loop.attempt()
            assert again.count("directive") == 0
            assert cloud.count("directive") == told
            async with asyncio.timeout(10):
                while not (await people.queries())["q1"].stand_by.episodes:
                    pass
            (entry,) = (await people.stub.GetLedger(planner_pb2.GetLedgerRequest())).entries
            assert list(entry.stand_bys) == [episode]
