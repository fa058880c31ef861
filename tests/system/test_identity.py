"""What boxes with identities refuse, and what they come back from, as real daemons: each with its own error, and in the
planner's audit log."""

import asyncio
import io
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from box_processes import commands
from conftest import CAMERA, CLOUD
from identity_relay import Relay, StolenRoot, signed_by_nobody

from circinus.bundle import digest_of
from circinus.clock import SystemClock
from circinus.local_fleet import LocalFleet
from circinus.model.query import Query, Slo
from circinus.v1 import control_pb2, dataplane_pb2, types_pb2
from circinus.wire import directive_digest
from cloud_planner.daemon import Settings, running
from edge_agent.config import load_config
from edge_agent.dataplane.credit import WINDOW_BYTES, WINDOW_ITEMS
from edge_agent.dataplane.frames import hello_frame
from edge_agent.dataplane.pipe import dial_pipe
from edge_agent.identity.credentials import Credentials
from edge_agent.identity.enrolment import join, read_token
from edge_agent.identity.files import read_identity, write_identity
from edge_agent.identity.keys import ends_of

TOY = Path(__file__).parent / "toy"
pytestmark = [pytest.mark.slow, pytest.mark.system]
LONELY = 'device_id = "box-1"\ntier = "edge"\nsite = "shop"\ndata_listen = "127.0.0.1:0"\ncores = 1.0\n'


async def until(condition, seconds=90.0):
    """Waits for what another process does."""
    async with asyncio.timeout(seconds):
        while not (value := await condition()):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.1)
        return value


async def connected(client, wanted):
    return (await client.status()).devices_connected == wanted


async def refused(client, action, outcome):
    """The newest entry of the audit log about a refusal, if there is one."""
    log = await client.admin.audit_log(refused=True, limit=1000)
    assert log.intact
    return next((one for one in log.entries if (one.action, one.outcome) == (action, outcome)), None)


async def said(fleet, name, text):
    """Whether a daemon's log has this."""
    return text in fleet.log(name)


async def agent_command(*arguments, given=b""):
    """`edge-agent` as a person runs it: its exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "edge_agent.daemon",
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate(given)
    return process.returncode, errors.decode()


def a_query(**more):
    fields = {"rate_per_s": 5.0, "slo": Slo(latency_ms=80.0, accuracy_ratio=0.9)} | more
    return Query(id="right", pipeline_id="toy", content="plain", source_device_id="camera-1", **fields)


async def answered(client, count):
    entries = {entry.query_id: entry for entry in await client.ledger()}
    return entries.get("right") if "right" in entries and entries["right"].answered >= count else None


def worker_pids(fleet):
    found = commands(fleet, *(name for name in fleet.running() if name != "planner"))
    return {pid for pid, command in found.items() if "worker" in command or "source" in command}


@pytest.mark.long
async def test_only_peers_that_directives_name_are_let_in_and_renewals_disturb_nothing(tmp_path):
    boxes = {"camera-1": CAMERA, "cloud-1": CLOUD}
    # Short lives: each box renews once in a while that this lasts.
    flags = ("--certificate-ttl", "30s")
    async with LocalFleet(tmp_path, boxes, secure=True, planner_flags=flags) as fleet, fleet.client() as client:
        await until(lambda: connected(client, 2))
        await client.add_pipeline(TOY)
        await client.submit((a_query(),))
        await until(lambda: answered(client, 5))
        pids = worker_pids(fleet)
        assert "peer_connected peer=camera-1" in fleet.log("cloud-1")
        told = (word.partition("=") for word in fleet.log("cloud-1").split())
        address = next(value for key, _, value in told if key == "data_address")
        # A box of the same root that no directive names: it may hold a certificate, and has no business here.
        stranger = Credentials(StolenRoot(tmp_path / "planner").issue("stranger-1"))
        pipe = await dial_pipe(address, stranger, "cloud-1")
        hello = dataplane_pb2.PeerHello(device_id="stranger-1", window_bytes=WINDOW_BYTES, window_items=WINDOW_ITEMS)
        await pipe.write([hello_frame(hello)])
        assert await pipe.read() is None
        pipe.close()
        await until(lambda: said(fleet, "cloud-1", "no directive here names it"))
        # And one that says it is somebody else.
        pipe = await dial_pipe(address, stranger, "cloud-1")
        hello.device_id = "camera-1"
        await pipe.write([hello_frame(hello)])
        assert await pipe.read() is None
        pipe.close()
        for name in boxes:
            await until(lambda name=name: said(fleet, name, "identity_renewed"))
            await until(lambda name=name: said(fleet, name, "planner_link_renewed"))
        before = (await answered(client, 5)).answered
        await until(lambda: answered(client, before + 10))
        assert worker_pids(fleet) == pids
        entry = await answered(client, 5)
        assert entry.failed == 0, entry.causes


async def test_a_token_is_good_once_and_for_one_planner(tmp_path):
    async with (
        LocalFleet(tmp_path / "one", {}, secure=True) as fleet,
        LocalFleet(tmp_path / "other", {}, secure=True) as other,
        fleet.client() as client,
        other.client() as another,
    ):
        config = tmp_path / "box.toml"
        config.write_text(f'{LONELY}planner = "{fleet.planner_address}"\nstate_dir = "state"\n')
        code, errors = await agent_command("run", "--config", str(config))
        assert code == 2
        assert "box-1 has not joined yet" in errors
        token = (await client.admin.create_token("box-1")).token.encode()
        where = ("join", "--config", str(config), "--token-file", "-", "--enrol")
        code, errors = await agent_command(*where, other.enrol_address, given=token)
        assert code == 1
        assert "not the planner that the token is of" in errors
        assert (await refused(another, "enrol", "WrongAuthority")).subject == "box-1"
        assert await refused(client, "enrol", "WrongAuthority") is None
        assert read_identity(tmp_path / "state" / "identity") is None
        assert (await agent_command(*where, fleet.enrol_address, given=token))[0] == 0
        assert read_identity(tmp_path / "state" / "identity") is not None
        code, errors = await agent_command(*where, fleet.enrol_address, given=token)
        assert code == 1
        assert "used before" in errors
        assert (await refused(client, "enrol", "TokenUsed")).subject == "box-1"
        code, errors = await agent_command(*where, fleet.enrol_address, given=token[:-80] + b"x" * 14 + token[-66:])
        assert code == 1
        assert await refused(client, "enrol", "BadToken")


async def test_forged_unsigned_and_replayed_directives_are_refused_and_the_box_serves_on(tmp_path):
    async with LocalFleet(tmp_path, {"camera-1": CAMERA, "cloud-1": CLOUD}, secure=True) as fleet:
        await fleet.terminate("camera-1")
        relay = Relay(fleet.planner_address, tmp_path / "planner", tmp_path / "camera-1" / "identity")
        async with relay, fleet.client() as client:
            await fleet.start_agent("camera-1", planner_address=relay.address)
            await until(lambda: connected(client, 2))
            await client.add_pipeline(TOY)
            await client.submit((a_query(),))
            await until(lambda: answered(client, 5))
            pids = worker_pids(fleet)
            first, good = relay.signed[0], relay.signed[-1]
            directive = types_pb2.Directive.FromString(good.body)
            assert directive.sources
            directive.generation = 999
            del directive.sources[:]
            directive.digest = directive_digest(directive)
            body = directive.SerializeToString(deterministic=True)
            changed = control_pb2.SignedDirective(body=body, signature=good.signature, signer=good.signer)
            for evil, outcome, subject in (
                ({"signed_directive": changed}, "Forged", "generation 1.999"),
                ({"signed_directive": signed_by_nobody(body)}, "Forged", "generation 1.999"),
                ({"directive": directive}, "Unsigned", "generation 1.999"),
                ({"signed_directive": first}, "StaleGeneration", ""),
            ):
                if outcome == "StaleGeneration" and first.body == good.body:
                    # There must be a newer one, for this one to be a replay.
                    await client.remove_query("right")
                    await until(lambda: newer(relay, first))
                await relay.inject.put(control_pb2.ConnectResponse(**evil))
                entry = await until(lambda outcome=outcome: refused(client, "directive", outcome))
                assert entry.actor == "device:camera-1"
                assert subject in entry.subject
                if outcome != "StaleGeneration":
                    assert worker_pids(fleet) == pids


async def newer(relay, first):
    return relay.signed[-1].body != first.body


def slipping_bundle() -> bytes:
    """A bundle that would write outside of its folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as archive:
        for name in ("environment.json", "pipeline.json", "../../slipped"):
            member = tarfile.TarInfo(name)
            member.size = 2
            archive.addfile(member, io.BytesIO(b"{}"))
    return buffer.getvalue()


async def test_a_bundle_that_would_write_elsewhere_is_refused_and_writes_nothing(tmp_path):
    async with LocalFleet(tmp_path, {"camera-1": CAMERA}, secure=True) as fleet:
        await fleet.terminate("camera-1")
        relay = Relay(fleet.planner_address, tmp_path / "planner", tmp_path / "camera-1" / "identity")
        evil = slipping_bundle()
        relay.blobs[digest_of(evil)] = evil

        def exchange(message):
            if message.WhichOneof("message") == "prepare_environment":
                message.prepare_environment.bundle_digest = digest_of(evil)
            return message

        relay.exchange = exchange
        async with relay, fleet.client() as client:
            await fleet.start_agent("camera-1", planner_address=relay.address)
            await until(lambda: connected(client, 1))
            await client.add_pipeline(TOY)
            entry = await until(lambda: refused(client, "bundle", "InvalidInput"))
            assert entry.actor == "device:camera-1"
            assert "'../../slipped'" in entry.detail
        assert list(tmp_path.rglob("slipped")) == []


async def test_a_revoked_box_is_let_go_and_its_workers_run_on(tmp_path):
    boxes = {"camera-1": CAMERA, "cloud-1": CLOUD}
    async with LocalFleet(tmp_path, boxes, secure=True) as fleet, fleet.client() as client:
        await until(lambda: connected(client, 2))
        await client.add_pipeline(TOY)
        # It can be served by the camera alone.
        await client.submit((a_query(slo=Slo(latency_ms=400.0, accuracy_ratio=0.5)),))
        await until(lambda: answered(client, 5))
        pids = worker_pids(fleet)
        await client.admin.revoke("camera-1", "it was stolen")
        await until(lambda: connected(client, 1))
        await until(lambda: said(fleet, "camera-1", "it was stolen"))
        assert await until(lambda: refused(client, "Connect", "Revoked"))
        assert worker_pids(fleet) == pids
        # A new token, and it is back.
        await fleet.terminate("camera-1")
        token = (await client.admin.create_token("camera-1")).token.encode()
        where = ("join", "--config", str(tmp_path / "camera-1.toml"), "--token-file", "-")
        code, errors = await agent_command(*where, given=token)
        assert code == 0, errors
        await fleet.start_agent("camera-1")
        await until(lambda: connected(client, 2))


class LongAgo(SystemClock):
    """A month before now."""

    def now(self):
        return datetime.now(UTC) - timedelta(days=30)


async def test_a_box_that_was_away_for_a_month_comes_back_without_hands(tmp_path):
    fleet = LocalFleet(tmp_path, {}, secure=True)
    state = tmp_path / "planner"
    config = tmp_path / "box.toml"
    settings = Settings(listen="127.0.0.1:0", enrol_listen="127.0.0.1:0", state_dir=state)
    async with running(settings, LongAgo()):
        token = await a_token(state)
        config.write_text(f'{LONELY}planner = "127.0.0.1:1"\nstate_dir = "{tmp_path}/box-1"\n')
        loaded = load_config(config)
        address = (state / "enrol-address").read_text().strip()
        made = await join(loaded.device_id, read_token(token), address, {}, SystemClock())
        write_identity(loaded.identity_dir, made.identity)
    ends = await ends_of(made.identity.certificate)
    assert datetime.now(UTC) - ends.ends_at > timedelta(days=28)
    async with fleet, fleet.client() as client:
        await fleet.start_agent("box-1", LONELY)
        await until(lambda: connected(client, 1))
        assert "identity_renewed" in fleet.log("box-1")
        log = await client.admin.audit_log(limit=1000)
        assert [one.outcome for one in log.entries if (one.action, one.subject) == ("renew", "box-1")] == ["done"]


async def a_token(state):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cloud_planner.command_line",
        "token",
        "create",
        "--state-dir",
        str(state),
        "--device",
        "box-1",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().strip().splitlines()[-1]
