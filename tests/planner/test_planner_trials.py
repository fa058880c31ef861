"""What would be, and why: dry runs with their differences, what-ifs, explanations and records of a running planner."""

import asyncio

import grpc
import pytest
from planner_fleet import FakeAgent, FirstFit, device, query, serving, settings

from circinus import wire
from circinus.client import Client
from circinus.errors import InvalidInput, NotFound, from_rpc
from circinus.model.device import Tier
from circinus.model.plan_diff import Change
from circinus.model.what_if import AddDevices, CordonDevice, Figure, RemoveDevice, SetRate, SetSlo, SloField
from circinus.v1 import planner_pb2
from cloud_planner import planning_loop
from cloud_planner.core.audit import audit
from cloud_planner.core.audit_figures import audit_figures
from cloud_planner.record import load_record

pytestmark = pytest.mark.slow


async def refused(call):
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return from_rpc(caught.value)


def changes_of(diff):
    return {each.query_id: each.change for each in diff.queries}


async def test_a_dry_run_tells_what_it_would_change_in_the_running_fleet(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, _),
        FakeAgent(people.address, device("camera")) as agent,
        Client(people.address) as client,
    ):
        await people.add_pipeline()
        await people.submit(query())
        await people.settled()
        extra = wire.query_from_message(query("q2", rate_per_s=1.0))
        sent = agent.count("directive")
        diff = (await client.plan([extra])).diff
        assert changes_of(diff) == {"q1": Change.UNCHANGED, "q2": Change.PLACED}
        (camera,) = diff.devices
        assert (camera.start, camera.stop, camera.keep) == (2, 0, 2)
        assert (diff.before.plans, diff.after.plans) == (1, 2)
        assert changes_of((await client.plan()).diff) == {"q1": Change.UNCHANGED}
        assert agent.count("directive") == sent


async def test_before_anything_runs_all_is_new_and_what_waits_has_its_reason(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, _),
        Client(people.address) as client,
        FakeAgent(people.address, device("camera")) as agent,
    ):
        agent.runs_profiles = False
        await people.add_pipeline()
        await people.submit(query())
        await agent.until("profile")
        diff = (await client.plan()).diff
        assert changes_of(diff) == {"q1": Change.WAITING}
        assert diff.queries[0].reason


async def test_what_if_compares_and_applies_nothing(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, parts),
        FakeAgent(people.address, device("camera", links=["shed"])) as agent,
        FakeAgent(people.address, device("shed", address="x:1")),
        Client(people.address) as client,
    ):
        await people.add_pipeline()
        await people.submit(query("q1", source="shed"), query("q2", source="camera"))
        await people.settled()
        generation, sent = parts.rollout.newest.generation, agent.count("directive")
        report = await client.what_if([SetRate(query="q1", rate_per_s=Figure(value=2.0, factor=True))])
        assert report.told == ("q1: 2 -> 4 items/s",)
        assert (report.diff.before.goodput_per_s, report.diff.after.goodput_per_s) == (4.0, 6.0)
        report = await client.what_if(
            [RemoveDevice(device="shed"), SetSlo(query="q2", field=SloField.LATENCY_MS, value=900.0)]
        )
        assert report.told == ("q2: latency_ms none -> 900", "shed is gone")
        changes = {each.query_id: each for each in report.diff.queries}
        assert changes["q1"].change is Change.UNPLACED
        assert changes["q1"].reason == "its source shed is gone"
        report = await client.what_if(
            [AddDevices(count=2, like="class-1", site="home"), CordonDevice(device="class-1@home+1")]
        )
        assert report.told == ("class-1@home+1, class-1@home+2: new, like camera", "class-1@home+1 takes nothing new")
        assert set(changes_of(report.diff).values()) == {Change.UNCHANGED}
        # Nothing of all this was done.
        assert parts.rollout.newest.generation == generation
        assert {found.id for found in parts.registry.alive()} == {"camera", "shed"}
        assert (await people.queries())["q1"].query.rate_per_s == 2.0
        assert agent.count("directive") == sent


async def test_what_if_names_what_is_not_there_and_what_no_change_is(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _), Client(people.address) as client:
        with pytest.raises(InvalidInput, match="no device 'attic'"):
            await client.what_if([RemoveDevice(device="attic")])
        with pytest.raises(InvalidInput, match="no query 'q'"):
            await client.what_if([SetRate(query="q", rate_per_s=Figure(value=1.0))])
        empty = planner_pb2.WhatIfRequest(changes=[planner_pb2.WhatIfChange()])
        error = await refused(people.stub.WhatIf(empty))
        assert isinstance(error, InvalidInput)
        assert "not known here" in error.message


async def test_directives_that_do_not_pass_their_audit_are_not_sent(tmp_path, monkeypatch):
    right = planning_loop.directives

    def without_a_replica(*arguments):
        return tuple(
            type(one)(**{name: getattr(one, name) for name in one.__dataclass_fields__} | {"replica_sets": ()})
            for one in right(*arguments)
        )

    monkeypatch.setattr(planning_loop, "directives", without_a_replica)
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, parts),
        FakeAgent(people.address, device("camera")) as agent,
    ):
        await people.add_pipeline()
        await people.submit(query())
        async with asyncio.timeout(10):
            while "do not pass their audit" not in parts.loop.activity():
                await parts.watched.wait(parts.watched.rings, 1.0)
        assert "has no replicas on camera as its plan says" in parts.loop.activity()
        assert parts.rollout.newest is None
        assert agent.count("directive") == 0


async def test_nothing_is_explained_or_recorded_that_was_not_decided(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _), Client(people.address) as client:
        with pytest.raises(NotFound, match="no query 'q1'"):
            await client.explain("q1")


@pytest.mark.system
async def test_the_real_planner_records_explains_and_tries(tmp_path):
    async with (
        serving(settings(tmp_path)) as (people, _),
        FakeAgent(people.address, device("camera", links=["cloud"])),
        FakeAgent(people.address, device("cloud", tier=Tier.CLOUD, address="c:1")),
        Client(people.address) as client,
    ):
        await people.add_pipeline()
        await people.submit(query("easy", latency_ms=500.0), query("proud", accuracy_ratio=0.99))
        async with asyncio.timeout(60):
            async for _ in people.stub.WatchProgress(planner_pb2.WatchProgressRequest()):
                pass
        record = load_record((await client.record()).decode())
        assert [found.query_id for found in record.selection.plans] == ["easy"]
        assert audit(record.problem, record.selection) == ()
        assert audit_figures(record.problem, record.selection) == ()
        told = await client.explain("easy")
        assert told["placed"]
        assert told["plan"]["operators"]
        assert told["conflict"] is None
        told = await client.explain("proud")
        assert not told["placed"]
        assert "accuracy" in told["why"]
        report = await client.what_if([SetSlo(query="easy", field=SloField.LATENCY_MS, value=0.001)])
        assert changes_of(report.diff)["easy"] is Change.UNPLACED
        assert changes_of(report.diff)["proud"] is Change.WAITING
        report = await client.what_if([SetSlo(query="proud", field=SloField.ACCURACY, value=0.4)])
        assert changes_of(report.diff) == {"easy": Change.UNCHANGED, "proud": Change.PLACED}
