from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from random import Random

import pytest
from shell_fakes import (
    DEADLINE_S,
    FakeServing,
    ScriptedPlanner,
    configuration,
    directive_message,
    profile_request,
    toy_bundle,
    toy_samples,
)

from circinus.bundle import digest_of, environment_digest
from circinus.clock import SystemClock
from circinus.errors import AlreadyExists
from circinus.model.directive import Generation
from circinus.model.pipeline import EnvironmentSpec
from circinus.v1 import control_pb2, types_pb2
from circinus.wire import directive_digest
from edge_agent.agent import Agent
from edge_agent.config import parse_config

NOTHING = environment_digest(EnvironmentSpec())
G1, G2 = Generation(epoch=1, number=1), Generation(epoch=1, number=2)


class Quick(SystemClock):
    """Reconnecting and windows take no time, but leave the loop to others."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.005)


class Box:
    """One agent with a fake serving half."""

    def __init__(self) -> None:
        self.serving: FakeServing | None = None
        self.apply_error: Exception | None = None
        self.made = asyncio.Event()

    def make(self, **contract):
        self.serving = FakeServing(**contract)
        self.serving.apply_error = self.apply_error
        self.made.set()
        return self.serving

    async def called(self, name, value) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await self.made.wait()
            await self.until(lambda: (name, value) in self.serving.calls)

    async def until(self, true) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not true():
                self.serving.called.clear()
                await self.serving.called.wait()


@contextlib.asynccontextmanager
async def agent_on(tmp_path, address, box=None) -> AsyncIterator[Box]:
    box = box or Box()
    config = parse_config(
        f'device_id = "camera"\nplanner = "{address}"\nstate_dir = "{tmp_path}/state"\ntier = "edge"\ncores = 1.0\n'
        "insecure_loopback = true"
    )
    stop = asyncio.Event()
    running = asyncio.create_task(Agent(config, clock=Quick(), rng=Random(1), make_serving=box.make).run(stop))
    try:
        yield box
    finally:
        stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await running


@pytest.fixture
def bundle(tmp_path):
    return toy_bundle(tmp_path / "toy")


async def prepare(planner, bundle):
    planner.send(
        prepare_environment=control_pb2.PrepareEnvironmentRequest(
            environment_digest=NOTHING, bundle_digest=digest_of(bundle)
        )
    )
    return (await planner.hear("environment_status")).environment


async def verdict(planner, message):
    before = len(planner.all_of("directive_answer"))
    planner.send(directive=message)
    await planner.until(lambda: len(planner.all_of("directive_answer")) > before)
    return planner.all_of("directive_answer")[-1]


async def test_hello_says_what_the_device_is_and_that_it_holds_nothing(tmp_path):
    async with ScriptedPlanner() as planner, agent_on(tmp_path, planner.address):
        await planner.until(lambda: planner.hellos)
        (hello,) = planner.hellos
        assert hello.fingerprint.device_id == "camera"
        assert hello.fingerprint.data_address == "127.0.0.1:9"
        assert hello.generation_status.generation == 0


async def test_an_environment_is_prepared_and_is_in_the_fingerprint(tmp_path, bundle):
    async with ScriptedPlanner(bundle) as planner, agent_on(tmp_path, planner.address) as box:
        found = await prepare(planner, bundle)
        assert found.ready
        fingerprint = await planner.hear("fingerprint")
        assert [environment.digest for environment in fingerprint.environments] == [NOTHING]
        assert box.serving.contract["python_for"](NOTHING).exists()
        assert (box.serving.contract["bundle_path"](digest_of(bundle)) / "toy.py").is_file()


async def test_an_environment_whose_bundle_is_unknown_is_reported(tmp_path, bundle):
    async with ScriptedPlanner() as planner, agent_on(tmp_path, planner.address):
        found = await prepare(planner, bundle)
        assert not found.ready
        assert "no blob" in found.reason


async def test_a_directive_goes_from_accepted_to_ready_to_active(tmp_path, bundle):
    async with ScriptedPlanner(bundle) as planner, agent_on(tmp_path, planner.address) as box:
        await prepare(planner, bundle)
        message = directive_message(bundle=digest_of(bundle))
        answer = await verdict(planner, message)
        assert answer.verdict == control_pb2.DIRECTIVE_VERDICT_ACCEPTED
        ready = await planner.hear(
            "generation_status", lambda status: status.phase == control_pb2.GENERATION_PHASE_READY
        )
        assert (ready.generation, ready.digest) == (1, message.digest)
        assert list(ready.pids["key-q1"].pids) == [4242]
        planner.send(activate=control_pb2.ActivateRequest(epoch=1, generation=1))
        await planner.hear("generation_status", lambda status: status.active_generation == 1)
        planner.send(retire=control_pb2.RetireRequest(epoch=1, below_generation=1))
        await box.called("retire", G1)


async def test_what_the_law_refuses_is_refused_by_name_and_not_run(tmp_path):
    async with ScriptedPlanner() as planner, agent_on(tmp_path, planner.address) as box:
        assert (await verdict(planner, directive_message(number=5))).verdict == control_pb2.DIRECTIVE_VERDICT_ACCEPTED
        same = await verdict(planner, directive_message(number=5))
        assert same.verdict == control_pb2.DIRECTIVE_VERDICT_ACCEPTED
        tampered = directive_message(number=6)
        tampered.peers[0].address = "127.0.0.1:666"
        cases = [
            (directive_message(number=4), control_pb2.DIRECTIVE_VERDICT_STALE_GENERATION),
            (directive_message(number=5, query_id="x"), control_pb2.DIRECTIVE_VERDICT_CONFLICTING_DIRECTIVE),
            (directive_message("gateway", number=6), control_pb2.DIRECTIVE_VERDICT_WRONG_DEVICE),
            (tampered, control_pb2.DIRECTIVE_VERDICT_BAD_DIGEST),
        ]
        for message, expected in cases:
            answer = await verdict(planner, message)
            assert answer.verdict == expected
            assert answer.reason
        assert box.serving.calls == [("apply", Generation(epoch=1, number=5))]


async def test_what_the_device_can_not_do_is_refused_and_the_number_stays_free(tmp_path, bundle):
    async with ScriptedPlanner(bundle) as planner, agent_on(tmp_path, planner.address):
        digest = digest_of(bundle)
        unknown = await verdict(planner, directive_message(bundle=digest))
        assert unknown.verdict == control_pb2.DIRECTIVE_VERDICT_NOT_RUNNABLE
        assert "environment" in unknown.reason
        await prepare(planner, bundle)
        large = await verdict(planner, directive_message(bundle=digest, replicas=3))
        assert large.verdict == control_pb2.DIRECTIVE_VERDICT_NOT_RUNNABLE
        assert "1.5 cores" in large.reason
        absent = await verdict(planner, directive_message(bundle="sha256:" + "0" * 64))
        assert absent.verdict == control_pb2.DIRECTIVE_VERDICT_NOT_RUNNABLE
        broken = directive_message(bundle=digest)
        broken.replica_sets[0].cores = float("nan")
        broken.digest = directive_digest(broken)
        assert (await verdict(planner, broken)).verdict == control_pb2.DIRECTIVE_VERDICT_NOT_RUNNABLE
        afar = directive_message(bundle=digest)
        afar.peers[0].address = "192.0.2.7:7000"
        afar.digest = directive_digest(afar)
        refused = await verdict(planner, afar)
        assert refused.verdict == control_pb2.DIRECTIVE_VERDICT_NOT_RUNNABLE
        assert "192.0.2.7:7000" in refused.reason
        fine = await verdict(planner, directive_message(bundle=digest))
        assert fine.verdict == control_pb2.DIRECTIVE_VERDICT_ACCEPTED


async def test_the_agent_boots_into_what_it_held_without_the_planner(tmp_path):
    planner = ScriptedPlanner()
    await planner.start()
    async with agent_on(tmp_path, planner.address) as box:
        await verdict(planner, directive_message(number=1))
        planner.send(activate=control_pb2.ActivateRequest(epoch=1, generation=1))
        await box.called("activate", G1)
        await verdict(planner, directive_message(number=2))
    await planner.stop()
    async with agent_on(tmp_path, planner.address) as box:
        await box.called("apply", G2)
        assert box.serving.calls == [("apply", G1), ("activate", G1), ("apply", G2)]
        await planner.start()
        await planner.until(lambda: len(planner.hellos) > 1)
        await planner.until(
            lambda: (
                planner.hellos[-1].generation_status.generation == 2
                or any(status.generation == 2 for status in planner.all_of("generation_status"))
            )
        )
    await planner.stop()


async def test_serving_that_can_not_apply_is_a_failed_generation_and_the_agent_lives(tmp_path):
    box = Box()
    box.apply_error = OSError("no sockets left")
    async with ScriptedPlanner() as planner, agent_on(tmp_path, planner.address, box):
        await verdict(planner, directive_message(number=1))
        failed = await planner.hear(
            "generation_status", lambda status: status.phase == control_pb2.GENERATION_PHASE_FAILED
        )
        assert "no sockets left" in failed.reason
        box.serving.apply_error = None
        await verdict(planner, directive_message(number=2))
        await planner.hear(
            "generation_status",
            lambda status: status.generation == 2 and status.phase == control_pb2.GENERATION_PHASE_READY,
        )


async def test_orders_that_would_break_the_law_are_not_obeyed(tmp_path):
    async with ScriptedPlanner() as planner, agent_on(tmp_path, planner.address) as box:
        planner.send(activate=control_pb2.ActivateRequest(epoch=1, generation=7))
        planner.send(retire=control_pb2.RetireRequest(epoch=1, below_generation=7))
        await verdict(planner, directive_message(number=1))
        planner.send(activate=control_pb2.ActivateRequest(epoch=1, generation=1))
        planner.send(retire=control_pb2.RetireRequest(epoch=1, below_generation=2))
        await verdict(planner, directive_message(number=2))
        assert box.serving.calls == [("apply", G1), ("activate", G1), ("apply", G2)]


async def test_telemetry_reaches_the_planner_also_after_it_was_away(tmp_path):
    planner = ScriptedPlanner()
    await planner.start()
    async with agent_on(tmp_path, planner.address) as box:
        await planner.until(lambda: planner.hellos)
        box.serving.windows.append(types_pb2.QueryWindow(query_id="before"))
        await planner.hear("telemetry", lambda part: part.queries[0].query_id == "before")
        await planner.stop()
        box.serving.windows.append(types_pb2.QueryWindow(query_id="meanwhile"))
        await box.until(lambda: not box.serving.windows)
        await planner.start()
        await planner.hear("telemetry", lambda part: part.queries[0].query_id == "meanwhile")
    await planner.stop()


@pytest.mark.slow
@pytest.mark.system
async def test_a_profile_request_is_run_and_reported(tmp_path, bundle):
    samples = toy_samples(2)
    async with ScriptedPlanner(bundle, samples) as planner, agent_on(tmp_path, planner.address):
        await prepare(planner, bundle)
        planner.send(profile=profile_request(bundle, samples, [configuration(0, "loud")], [0, 1]))
        done = await planner.hear("profile_report", lambda report: report.done)
        assert done.error == ""
        results = [part for report in planner.all_of("profile_report") for part in report.configurations]
        assert sorted(sample.sample_index for part in results for sample in part.samples) == [0, 1]


async def test_two_agents_on_one_state_folder_are_refused(tmp_path):
    async with ScriptedPlanner() as planner, agent_on(tmp_path, planner.address):
        await planner.until(lambda: planner.hellos)
        with pytest.raises(AlreadyExists, match="state_dir"):
            async with agent_on(tmp_path, planner.address):
                await asyncio.sleep(0)
