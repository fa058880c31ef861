import asyncio

import pytest
from planner_fleet import (
    FakeAgent,
    FirstFit,
    device,
    measurements,
    profile_parts,
    query,
    serving,
    settings,
)

from circinus import wire
from circinus.errors import TooLarge
from circinus.model.device import Tier
from circinus.model.directive import Directive, Generation, Route, Target
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner.rollout import RolloutTimes

pytestmark = pytest.mark.slow


async def test_a_query_is_profiled_planned_and_rolled_out(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, _),
        FakeAgent(people.address, device("camera")) as agent,
    ):
        assert agent.welcome.epoch == 1
        await people.add_pipeline()
        assert await people.submit(query()) == ["q1"]
        progress = await people.settled()
        assert progress[-1].generation == 1
        state = (await people.queries())["q1"]
        assert state.phase == planner_pb2.QUERY_PHASE_PLACED
        assert state.generation == 1
        assert state.serving
        request = await agent.until("profile")
        assert request.score
        assert (request.times, request.probe_memory) == (True, True)
        assert len(request.sample_indices) == 1
        directive = agent.directives[1]
        assert [found.operator_id for found in directive.replica_sets] == ["cut", "read"]
        assert directive.sources[0].rate_per_s == 2.0
        await agent.until("retire", lambda retire: retire.below_generation == 1)
        devices = (await people.stub.ListDevices(planner_pb2.ListDevicesRequest())).devices
        assert devices[0].generation_phase == "drained"
        status = await people.status()
        assert (status.queries_placed, status.devices_connected, status.activity) == (1, 1, "idle")


async def test_only_the_fastest_class_scores_and_each_class_that_a_plan_uses_gives_its_own_times(tmp_path):
    slow = device("camera", speed_ratio=0.25, links=["cloud"])
    fast = device("cloud", tier=Tier.CLOUD, address="127.0.0.1:1")
    async with (
        serving(settings(tmp_path), FirstFit("cloud", first="camera")) as (people, _),
        FakeAgent(people.address, slow) as camera,
        FakeAgent(people.address, fast) as cloud,
    ):
        await people.add_pipeline()
        # With a bound: without, any configuration will do, and then one that nothing was measured of may be planned.
        await people.submit(query(accuracy_ratio=0.8))
        await people.settled()
        asked = await cloud.until("profile")
        assert asked.score
        assert asked.parallelism == 2
        assert all(message.score for message in cloud.asked())
        times = await camera.until("profile")
        assert not any(message.score for message in camera.asked())
        assert len(times.sample_indices) == 2
        assert times.parallelism == 2
        plan = (await people.queries())["q1"].plan
        assert times.configurations == [plan.configuration]
        assert plan.certainty == types_pb2.CERTAINTY_CERTIFIED
        assert [peer.device_id for peer in camera.directives[1].peers] == ["cloud"]
        assert not cloud.directives[1].peers
        assert [found.operator_id for found in cloud.directives[1].replica_sets] == ["read"]
        assert not cloud.directives[1].sources


async def test_a_class_that_no_plan_uses_is_asked_for_nothing(tmp_path):
    slow = device("camera", speed_ratio=0.25, links=["cloud"])
    fast = device("cloud", tier=Tier.CLOUD, address="127.0.0.1:1")
    async with (
        serving(settings(tmp_path), FirstFit("cloud")) as (people, _),
        FakeAgent(people.address, slow) as camera,
        FakeAgent(people.address, fast) as cloud,
    ):
        await people.add_pipeline()
        await people.submit(query())
        await people.settled()
        assert cloud.count("profile") > 0
        assert camera.count("profile") == 0


async def test_an_unchanged_fleet_makes_no_new_generation(tmp_path):
    planning = FirstFit()
    async with serving(settings(tmp_path), planning) as (people, parts), FakeAgent(people.address, device("camera")):
        await people.add_pipeline()
        await people.submit(query())
        await people.settled()
        solved = len(planning.problems)
        for _ in range(3):
            await parts.loop.attempt()
        assert (await people.status()).generation == 1
        assert len(planning.problems) <= solved + 1


async def test_a_removed_query_leaves_an_empty_directive(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, _),
        FakeAgent(people.address, device("camera")) as agent,
    ):
        await people.add_pipeline()
        await people.submit(query())
        await people.settled()
        await people.stub.RemoveQuery(planner_pb2.RemoveQueryRequest(query_id="q1"))
        await agent.until("retire", lambda retire: retire.below_generation == 2)
        assert not agent.directives[2].sources
        assert not agent.directives[2].replica_sets
        assert await people.queries() == {}


async def test_a_query_waits_while_its_environment_is_prepared_and_says_so(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _):
        agent = FakeAgent(people.address, device("camera"))
        agent.answers_environments = False
        async with agent:
            await people.add_pipeline()
            asked = await agent.until("prepare_environment")
            await people.submit(query())
            async with asyncio.timeout(10):
                async for progress in people.stub.WatchProgress(planner_pb2.WatchProgressRequest()):
                    if "being prepared on camera" in progress.message:
                        break
            agent.ready_environment = False
            await agent.answer_environment(asked.environment_digest)
            await people.settled()
            state = (await people.queries())["q1"]
            assert state.phase == planner_pb2.QUERY_PHASE_UNPLACED
            assert "apt-get install tesseract-ocr" in state.reason


async def test_a_failed_profile_leaves_the_query_unplaced_with_its_reason(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _):
        agent = FakeAgent(people.address, device("camera"))
        agent.profile_error = "operator read raised ValueError"
        async with agent:
            await people.add_pipeline()
            await people.submit(query())
            await people.settled()
            state = (await people.queries())["q1"]
            assert state.phase == planner_pb2.QUERY_PHASE_UNPLACED
            assert "operator read raised ValueError" in state.reason
            assert agent.count("profile") == 1


async def test_a_profile_broken_off_is_asked_for_again_by_what_is_missing(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _):
        agent = FakeAgent(people.address, device("camera"))
        agent.runs_profiles = False
        async with agent:
            await people.add_pipeline()
            await people.submit(query(accuracy_ratio=0.8))
            request = await agent.until("profile")
            told = request.configurations.pop()
            for part in profile_parts(request):
                await agent.send(profile_report=control_pb2.ProfileReport(id=request.id, configurations=[part]))
            await agent.send(profile_progress=control_pb2.ProfileProgress(id=request.id, samples_done=1))
            async with asyncio.timeout(10):
                async for progress in people.stub.WatchProgress(planner_pb2.WatchProgressRequest()):
                    if progress.profiles and progress.profiles[0].samples_done == 1:
                        assert progress.profiles[0].HasField("eta_s")
                        break
        async with FakeAgent(people.address, device("camera")) as again:
            await people.settled()
            before = {(key, index) for key, index in measurements([request])}
            later = measurements(again.asked())
            assert before.isdisjoint(later)
            assert len(later) == len(set(later))
            assert told in [found for one in again.asked() for found in one.configurations]


async def test_restart_keeps_the_generation_and_profiles_nothing_again(tmp_path):
    planner = settings(tmp_path)
    async with serving(planner, FirstFit()) as (people, _), FakeAgent(people.address, device("camera")) as agent:
        await people.add_pipeline()
        await people.submit(query())
        await people.settled()
        known, kept = agent.device, agent.status
    async with (
        serving(planner, FirstFit()) as (people, parts),
        FakeAgent(people.address, known, generation_status=kept) as agent,
    ):
        await people.settled()
        await parts.loop.attempt()
        assert (await people.status()).generation == 1
        state = (await people.queries())["q1"]
        assert state.phase == planner_pb2.QUERY_PHASE_PLACED
        assert state.serving
        await agent.until("retire")
        assert agent.count("profile") == 0
        assert agent.count("directive") == 0
        assert agent.count("activate") == 0


async def test_restart_in_the_middle_of_a_rollout_goes_on(tmp_path):
    planner = settings(tmp_path)
    async with serving(planner, FirstFit()) as (people, _):
        agent = FakeAgent(people.address, device("camera"))
        agent.becomes_ready = False
        async with agent:
            await people.add_pipeline()
            await people.submit(query())
            await agent.until("directive")
            kept = agent.status
    async with (
        serving(planner, FirstFit()) as (people, _),
        FakeAgent(people.address, device("camera"), generation_status=kept) as agent,
    ):
        await agent.send_status(control_pb2.GENERATION_PHASE_READY)
        await agent.until("activate", lambda activate: activate.generation == 1)
        await agent.until("retire")
        assert (await people.status()).generation == 1


async def test_sources_switch_only_when_every_device_is_ready(tmp_path):
    camera = device("camera", links=["cloud"])
    cloud = device("cloud", tier=Tier.CLOUD, address="127.0.0.1:1")
    async with serving(settings(tmp_path), FirstFit("cloud")) as (people, _):
        slow = FakeAgent(people.address, cloud)
        slow.becomes_ready = False
        async with FakeAgent(people.address, camera) as source, slow:
            await people.add_pipeline()
            await people.submit(query())
            await slow.until("directive")
            await source.until("directive")
            status = await people.status()
            assert status.activity == "rolling out"
            assert source.count("activate") == 0
            await slow.send_status(control_pb2.GENERATION_PHASE_READY)
            await source.until("activate")


async def test_a_device_that_fails_is_planned_without_and_said_so(tmp_path):
    camera = device("camera", links=["cloud"])
    cloud = device("cloud", tier=Tier.CLOUD, address="127.0.0.1:1")
    async with serving(settings(tmp_path), FirstFit("cloud")) as (people, _):
        broken = FakeAgent(people.address, cloud)
        broken.fails_with = "no module named words"
        async with FakeAgent(people.address, camera) as source, broken:
            await people.add_pipeline()
            await people.submit(query())
            await broken.until("directive")
            await source.until("activate", lambda activate: activate.generation == 2)
            assert [found.operator_id for found in source.directives[2].replica_sets] == ["cut", "read"]
            assert not source.directives[1].replica_sets


async def test_an_agent_with_a_newer_generation_is_outnumbered(tmp_path):
    ahead = control_pb2.GenerationStatus(epoch=1, generation=7, phase=control_pb2.GENERATION_PHASE_DRAINED)
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, _),
        FakeAgent(people.address, device("camera"), generation_status=ahead) as agent,
    ):
        await people.add_pipeline()
        await people.submit(query())
        assert (await agent.until("directive")).generation == 8


async def test_a_selection_that_fails_its_audit_is_not_rolled_out(tmp_path):
    planning = FirstFit()
    planning.findings = ("camera: 3 cores planned of 2",)
    async with (
        serving(settings(tmp_path), planning) as (people, _),
        FakeAgent(people.address, device("camera")) as agent,
    ):
        await people.add_pipeline()
        await people.submit(query())
        async with asyncio.timeout(10):
            async for progress in people.stub.WatchProgress(planner_pb2.WatchProgressRequest()):
                if "audit" in progress.activity:
                    break
        assert agent.count("directive") == 0


async def test_a_device_that_was_gone_for_long_is_not_stopped_in_between(tmp_path):
    how = settings(tmp_path, unseen_s=0.2, rollout_times=RolloutTimes(hold_s=5.0))
    async with serving(how, FirstFit()) as (people, _):
        async with FakeAgent(people.address, device("camera")) as agent:
            await people.add_pipeline()
            await people.submit(query())
            await people.settled()
            await agent.until("retire")
            known, kept = (await people.stub.ListDevices(planner_pb2.ListDevicesRequest())).devices[0], agent.status
        async with asyncio.timeout(10):
            while (await people.status()).generation == 1:
                pass
        assert "last seen" in (await people.queries())["q1"].reason
        back = wire.device_from_message(known.fingerprint)
        async with FakeAgent(people.address, back, generation_status=kept) as agent:
            directive = await agent.until("directive")
            assert directive.generation == 3
            assert directive.sources


async def test_absurd_figures_of_an_agent_end_its_connection_and_nothing_else(tmp_path):
    async with serving(settings(tmp_path), FirstFit()) as (people, _):
        async with FakeAgent(people.address, device("camera")) as agent:
            await agent.send(generation_status=control_pb2.GenerationStatus(epoch=1, generation=2**63))
            async with asyncio.timeout(10):
                await asyncio.wait([agent._task])
        async with FakeAgent(people.address, device("camera")):
            await people.add_pipeline()
            await people.submit(query())
            assert (await people.settled())[-1].generation == 1


async def test_a_directive_that_no_message_can_hold_is_refused_before_anything_changes(tmp_path):
    route = Route(
        query_id="q", operator_id="o" * 200, inputs=("i" * 200,), targets=(Target(device_id="a", share_ratio=1.0),)
    )
    huge = Directive(
        device_id="camera",
        generation=Generation(epoch=1, number=0),
        replica_sets=(),
        routes=(route,) * 10_000,
        sources=(),
        peers=(),
    )
    async with serving(settings(tmp_path), FirstFit()) as (_, overview):
        with pytest.raises(TooLarge, match="the directive for camera has .* the limit is"):
            await overview.rollout.propose(planner_pb2.SelectionSummary(), [huge])
        assert overview.rollout.newest is None
