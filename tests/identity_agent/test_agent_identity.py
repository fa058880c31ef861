"""An agent with an identity against a scripted planner with mutual TLS: what it obeys, keeps, refuses and takes up."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from random import Random

import pytest
from identity_fakes import DAY, Root, signed_message
from shell_fakes import DEADLINE_S, FakeServing, ScriptedPlanner, directive_message, toy_bundle, toy_pipeline

from circinus.bundle import digest_of, environment_digest, pack_folder
from circinus.channel import PLANNER_NAME, Tls, secure_port, server
from circinus.clock import SystemClock
from circinus.model.directive import Generation
from circinus.model.pipeline import EnvironmentSpec
from circinus.v1 import control_pb2, control_pb2_grpc
from circinus.wire import directive_digest
from edge_agent.agent import Agent
from edge_agent.config import parse_config
from edge_agent.identity.box import BoxIdentity
from edge_agent.identity.credentials import Credentials

pytestmark = pytest.mark.slow

ACCEPTED = control_pb2.DIRECTIVE_VERDICT_ACCEPTED
FORGED = control_pb2.DIRECTIVE_VERDICT_FORGED
UNSIGNED = control_pb2.DIRECTIVE_VERDICT_UNSIGNED
AGAINST_POLICY = control_pb2.DIRECTIVE_VERDICT_AGAINST_POLICY
STALE = control_pb2.DIRECTIVE_VERDICT_STALE_GENERATION


class Quick(SystemClock):
    """Reconnecting takes no time; what is done once in a while does."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(0.01, seconds) if seconds < 20.0 else seconds)


class SecurePlanner(ScriptedPlanner):
    """A planner with mutual TLS; notes the names in the certificates of who connects."""

    def __init__(self, tls: Tls, *blobs: bytes) -> None:
        super().__init__(*blobs)
        self.tls = tls
        self.serials: list[bytes] = []

    async def start(self) -> None:
        self._server = server()
        control_pb2_grpc.add_ControlServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{secure_port(self._server, self.address, self.tls)}"
        await self._server.start()

    async def Connect(self, request_iterator, context):
        self.serials.append(context.auth_context()["x509_pem_cert"][0])
        async for message in super().Connect(request_iterator, context):
            yield message


@contextlib.asynccontextmanager
async def agent_on(tmp_path, root: Root, address: str, more: str = "", tls: Tls | None = None) -> AsyncIterator[tuple]:
    config = parse_config(
        f'device_id = "camera"\nplanner = "{address}"\nstate_dir = "{tmp_path}/state"\ntier = "edge"\ncores = 1.0\n'
        f'site = "shop"\nenrol = "127.0.0.1:1"\n{more}\n[fingerprint]\ncalibrate = false\n'
    )
    credentials = Credentials(tls or root.tls("camera"))
    identity = BoxIdentity(config, credentials, clock=Quick(), rng=Random(1))
    made: list[FakeServing] = []

    def make(**contract):
        made.append(FakeServing(**contract))
        return made[-1]

    stop = asyncio.Event()
    agent = Agent(config, clock=Quick(), rng=Random(1), make_serving=make, identity=identity)
    running = asyncio.create_task(agent.run(stop))
    try:
        yield made, credentials
    finally:
        stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await running


@pytest.fixture
async def planner(root: Root):
    async with SecurePlanner(root.tls(PLANNER_NAME)) as running:
        yield running


async def verdict(planner, **order):
    before = len(planner.all_of("directive_answer"))
    planner.send(**order)
    await planner.until(lambda: len(planner.all_of("directive_answer")) > before)
    return planner.all_of("directive_answer")[-1]


async def test_it_obeys_what_its_planner_has_signed_and_nothing_else(tmp_path, root: Root, other_root: Root, planner):
    message = directive_message(number=5)
    good = signed_message(root.sign(message))
    changed = control_pb2.SignedDirective(
        body=good.body.replace(b"127.0.0.1:1", b"127.0.0.1:6"), signature=good.signature, signer=good.signer
    )
    assert changed.body != good.body
    async with agent_on(tmp_path, root, planner.address) as (made, _):
        unsigned = await verdict(planner, directive=message)
        assert (unsigned.verdict, unsigned.generation) == (UNSIGNED, 5)
        assert (
            await verdict(planner, signed_directive=control_pb2.SignedDirective(body=good.body))
        ).verdict == UNSIGNED
        another_planner = await verdict(planner, signed_directive=signed_message(other_root.sign(message)))
        assert another_planner.verdict == FORGED
        assert "planner's root" in another_planner.reason
        assert (await verdict(planner, signed_directive=changed)).verdict == FORGED
        assert made[0].calls == []
        assert (await verdict(planner, signed_directive=good)).verdict == ACCEPTED
        newer = signed_message(root.sign(directive_message(number=6)))
        assert (await verdict(planner, signed_directive=newer)).verdict == ACCEPTED
        replayed = await verdict(planner, signed_directive=good)
        assert replayed.verdict == STALE
        for_another = signed_message(root.sign(directive_message("tablet", number=9)))
        answer = await verdict(planner, signed_directive=for_another)
        assert answer.verdict == control_pb2.DIRECTIVE_VERDICT_WRONG_DEVICE


async def test_it_boots_only_into_what_still_bears_the_signature(tmp_path, root: Root, planner):
    async with agent_on(tmp_path, root, planner.address):
        for number in (1, 2):
            order = signed_message(root.sign(directive_message(number=number)))
            assert (await verdict(planner, signed_directive=order)).verdict == ACCEPTED
    # Whoever can write to the disk writes what they like, digest and all.
    forged = directive_message(number=2, query_id="theirs")
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "ledger.db")) as database:
        database.execute(
            "UPDATE directive SET body = ?, digest = ? WHERE generation = 2",
            (forged.SerializeToString(deterministic=True), forged.digest),
        )
        database.commit()
    async with agent_on(tmp_path, root, "127.0.0.1:1") as (made, _):
        async with asyncio.timeout(DEADLINE_S):
            while not made:  # noqa: ASYNC110 - it makes it when it is ready
                await asyncio.sleep(0.01)
            while ("apply", Generation(epoch=1, number=1)) not in made[0].calls:
                made[0].called.clear()
                await made[0].called.wait()
        assert ("apply", Generation(epoch=1, number=2)) not in made[0].calls


async def test_what_was_accepted_in_the_clear_is_not_resumed_with_an_identity(tmp_path, root: Root, planner):
    message = directive_message(number=3)
    async with agent_on(tmp_path, root, planner.address):
        assert (await verdict(planner, signed_directive=signed_message(root.sign(message)))).verdict == ACCEPTED
    with contextlib.closing(sqlite3.connect(tmp_path / "state" / "ledger.db")) as database:
        database.execute("UPDATE directive SET signature = x'', signer = x''")
        database.commit()
    planner.hellos.clear()
    async with agent_on(tmp_path, root, planner.address) as (made, _):
        await planner.until(lambda: planner.hellos)
        # The planner sends it again: it is good, and nothing of it is here.
        assert (await verdict(planner, signed_directive=signed_message(root.sign(message)))).verdict == ACCEPTED
        assert made[0].calls[0] == ("apply", Generation(epoch=1, number=3))


async def test_two_sessions_of_one_process_say_so(tmp_path, root: Root, planner):
    async with agent_on(tmp_path, root, planner.address):
        await planner.until(lambda: planner.hellos)
        planner.hang_up()
        await planner.until(lambda: len(planner.hellos) == 2)
    first, second = planner.hellos
    assert first.session_id != second.session_id
    assert first.process_id == second.process_id != ""
    async with agent_on(tmp_path, root, planner.address):
        await planner.until(lambda: len(planner.hellos) == 3)
    assert planner.hellos[2].process_id != first.process_id


async def test_a_renewed_certificate_is_shown_in_a_new_session_and_nothing_else_changes(tmp_path, root: Root, planner):
    async with agent_on(tmp_path, root, planner.address) as (made, credentials):
        order = signed_message(root.sign(directive_message()))
        assert (await verdict(planner, signed_directive=order)).verdict == ACCEPTED
        calls = list(made[0].calls)
        renewed = root.tls("camera")
        credentials.renew(renewed)
        await planner.until(lambda: len(planner.hellos) == 2)
        assert planner.serials[0].strip() != renewed.certificate.strip()
        assert planner.serials[1].strip() == renewed.certificate.strip()
        assert planner.hellos[1].generation_status.generation == 1
        assert made[0].calls == calls
        assert len(made) == 1


async def test_a_planner_of_another_root_is_not_talked_to_and_it_is_said_why(tmp_path, root, other_root, caplog):
    async with SecurePlanner(other_root.tls(PLANNER_NAME)) as planner:
        async with agent_on(tmp_path, root, planner.address):
            await said(caplog, "of another root than this box joined")
        assert planner.hellos == []


async def test_a_clock_that_is_wrong_is_named_in_the_log(tmp_path, root: Root, caplog):
    early = root.tls(PLANNER_NAME, begins=400 * DAY, ends=500 * DAY)
    async with SecurePlanner(early) as planner, agent_on(tmp_path, root, planner.address):
        await said(caplog, "this box's clock says")


async def test_a_certificate_that_is_over_is_named_in_the_log(tmp_path, root: Root, planner, caplog):
    over = root.tls("camera", begins=-9 * DAY, ends=-2 * DAY)
    async with agent_on(tmp_path, root, planner.address, tls=over):
        await said(caplog, "this box's certificate ended at")


async def said(caplog, text: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while text not in caplog.text:  # noqa: ASYNC110 - a log tells nobody that it grew
            await asyncio.sleep(0.02)


async def test_the_owners_policy_stands_above_the_planner(tmp_path, root: Root):
    bundle = toy_bundle(tmp_path / "toy")
    digest = digest_of(bundle)
    policy = '[policy]\nallowed_pipelines = ["toy", "door"]\nmax_cores = 0.6\nmax_memory_bytes = 5_000_000\n'
    async with (
        SecurePlanner(root.tls(PLANNER_NAME), bundle) as planner,
        agent_on(tmp_path, root, planner.address, policy),
    ):
        await planner.until(lambda: planner.hellos)
        fingerprint = planner.hellos[0].fingerprint
        assert fingerprint.cores == 0.6
        assert fingerprint.memory_bytes == 5_000_000
        assert list(fingerprint.policy.allowed_pipelines) == ["toy", "door"]
        planner.send(
            prepare_environment=control_pb2.PrepareEnvironmentRequest(
                environment_digest=environment_digest(EnvironmentSpec()), bundle_digest=digest
            )
        )
        assert (await planner.hear("environment_status")).environment.ready
        for number, (change, word) in enumerate(
            (
                (lambda one: setattr(one.replica_sets[0], "pipeline_id", "spy"), "allows only toy, door"),
                (lambda one: setattr(one.replica_sets[0], "cores", 0.9), "0.9 cores"),
                (lambda one: setattr(one.replica_sets[0], "memory_bytes", 6_000_000), "bytes of memory"),
            ),
            start=1,
        ):
            message = directive_message(number=number, bundle=digest)
            change(message)
            message.digest = directive_digest(message)
            answer = await verdict(planner, signed_directive=signed_message(root.sign(message)))
            assert (answer.verdict, answer.generation) == (AGAINST_POLICY, number)
            assert word in answer.reason
        fine = signed_message(root.sign(directive_message(number=9, bundle=digest)))
        assert (await verdict(planner, signed_directive=fine)).verdict == ACCEPTED
        # Profile runs run a pipeline's code, too.
        planner.send(profile=control_pb2.ProfileRequest(id="p1", pipeline_id="spy"))
        report = await planner.hear("profile_report")
        assert (report.id, report.done) == ("p1", True)
        assert "does not allow pipeline spy" in report.error


async def test_data_that_stays_at_its_site_is_not_sent_away_whatever_the_planner_signs(tmp_path, root: Root):
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "toy.py").write_text("")
    twice, shout = toy_pipeline().operators
    kept = replace(toy_pipeline(), operators=(replace(twice, site_inputs=twice.inputs), shout))
    bundle = pack_folder(folder, kept)

    def leading_to(site: str, number: int):
        message = directive_message(number=number)
        message.sources.add(
            key="source",
            query_id="q1",
            pipeline_id="toy",
            bundle_digest=digest_of(bundle),
            environment_digest=environment_digest(EnvironmentSpec()),
            entry_point="toy:Words",
            scorer_entry_point="toy:Exact",
            content="words",
            rate_per_s=1.0,
            output_operator_ids=["shout"],
        )
        message.peers.add(device_id="other", address="192.0.2.7:7500", site=site)
        route = message.routes.add(query_id="q1", operator_id="twice", inputs=["source"])
        route.targets.add(device_id="other", share_ratio=1.0)
        message.digest = directive_digest(message)
        return signed_message(root.sign(message))

    async with SecurePlanner(root.tls(PLANNER_NAME), bundle) as planner, agent_on(tmp_path, root, planner.address):
        planner.send(
            prepare_environment=control_pb2.PrepareEnvironmentRequest(
                environment_digest=environment_digest(EnvironmentSpec()), bundle_digest=digest_of(bundle)
            )
        )
        assert (await planner.hear("environment_status")).environment.ready
        away = await verdict(planner, signed_directive=leading_to("cloud", 1))
        assert away.verdict == AGAINST_POLICY
        assert "'source' of toy to 'twice' on other" in away.reason
        # A site that is not told is another one. At the same one, any address may be dialled.
        assert (await verdict(planner, signed_directive=leading_to("", 2))).verdict == AGAINST_POLICY
        assert (await verdict(planner, signed_directive=leading_to("shop", 3))).verdict == ACCEPTED


async def test_what_the_owner_no_longer_allows_is_not_resumed(tmp_path, root: Root, planner):
    bundle = toy_bundle(tmp_path / "toy")
    planner.shelf.blobs[digest_of(bundle)] = bundle
    async with agent_on(tmp_path, root, planner.address):
        await planner.until(lambda: planner.hellos)
        planner.send(
            prepare_environment=control_pb2.PrepareEnvironmentRequest(
                environment_digest=environment_digest(EnvironmentSpec()), bundle_digest=digest_of(bundle)
            )
        )
        assert (await planner.hear("environment_status")).environment.ready
        order = signed_message(root.sign(directive_message(bundle=digest_of(bundle))))
        assert (await verdict(planner, signed_directive=order)).verdict == ACCEPTED
    planner.hellos.clear()
    planner.heard.clear()
    policy = '[policy]\nallowed_pipelines = ["door"]\n'
    async with agent_on(tmp_path, root, planner.address, policy) as (made, _):
        status = await planner.hear("generation_status", lambda one: one.phase == control_pb2.GENERATION_PHASE_FAILED)
        assert "allows only door" in status.reason
        assert made[0].calls == []
