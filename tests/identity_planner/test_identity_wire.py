import asyncio
import contextlib
import ssl
from datetime import timedelta

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from identity_fleet import Box, Doors, SecureAgent, enrolled, office
from planner_fleet import FakeAgent, FirstFit, Here, People, device, query, settings

from circinus import contexts
from circinus.channel import Tls, open_secure_channel
from circinus.clock import SystemClock
from circinus.errors import (
    BadToken,
    IdentityOver,
    NotAllowed,
    NotKnown,
    Revoked,
    TokenUsed,
    TooLarge,
    WrongAuthority,
    from_rpc,
)
from circinus.v1 import control_pb2, control_pb2_grpc, identity_pb2, planner_pb2, types_pb2
from cloud_planner.command_line import main
from cloud_planner.daemon import running
from cloud_planner.identity.certificates import DIRECTIVE_CONTEXT

pytestmark = pytest.mark.slow


@contextlib.asynccontextmanager
async def planner(tmp_path, clock=None, **changes):
    how = settings(tmp_path, insecure_loopback=False, heartbeat_period_s=0.5, **changes)
    async with running(how, clock or SystemClock(), FirstFit(), Here()) as (_address, parts):
        yield Doors(how.state_dir), parts


async def refusal(call):
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return from_rpc(error.value)


async def command(*words):
    """A command beside the planner; it has an event loop of its own."""
    return await asyncio.to_thread(main, [str(word) for word in words])


async def test_a_box_enrols_and_connects_and_people_see_it(tmp_path):
    async with planner(tmp_path) as (doors, _parts):
        box = await doors.box()
        async with SecureAgent(doors.address, box) as agent:
            await agent.until("welcome")
            async with doors.people(doors.admin_context.credentials) as (people, _admin, _):
                found = await people.ListDevices(planner_pb2.ListDevicesRequest())
                assert [(one.fingerprint.device_id, one.connected) for one in found.devices] == [("box-1", True)]
        async with doors.admin() as admin:
            (identity,) = (await admin.ListIdentities(identity_pb2.ListIdentitiesRequest())).identities
            assert identity.device_id == "box-1"
            (token,) = (await admin.ListTokens(identity_pb2.ListTokensRequest())).tokens
            assert (token.used_by, token.created_by) == ("box-1", "person:admin")


async def test_the_main_port_is_closed_to_who_has_no_certificate_of_this_root(tmp_path):
    async with planner(tmp_path / "a") as (doors, _parts), office(tmp_path / "b") as other:
        stranger = await enrolled(other)
        theirs = Tls(root=doors.root, certificate=stranger.tls.certificate, key=stranger.tls.key)
        async with open_secure_channel(doors.address, theirs) as channel:
            call = control_pb2_grpc.ControlServiceStub(channel).Connect()
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call.read()
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        # It is told which it was where it may ask without one.
        async with doors.enrolment() as enrolment:
            assert isinstance(await refusal(enrolment.Renew(stranger.renewal()[0])), WrongAuthority)
        assert await doors.refused_with("WrongAuthority")


async def test_of_many_enrolments_with_one_token_by_the_wire_one_wins(tmp_path):
    async with planner(tmp_path) as (doors, _parts), doors.admin() as admin, doors.enrolment() as enrolment:
        token = (await admin.CreateToken(identity_pb2.CreateTokenRequest(device_id="box-1"))).token
        request = Box().request(token)
        # A connection may have a hundred calls at a time.
        results = await asyncio.gather(*(enrolment.Enrol(request) for _ in range(90)), return_exceptions=True)
        refused = [from_rpc(one) for one in results if isinstance(one, grpc.aio.AioRpcError)]
        assert len(refused) == 89
        assert {type(one) for one in refused} <= {TokenUsed, TooLarge}, refused[-3:]
        assert await doors.refused_with("TokenUsed")


async def test_who_fails_too_often_is_refused_whatever_they_bring(tmp_path):
    async with planner(tmp_path) as (doors, _parts), doors.admin() as admin, doors.enrolment() as enrolment:
        token = (await admin.CreateToken(identity_pb2.CreateTokenRequest(device_id="box-1"))).token
        wrong = ".".join([*token.split(".")[:2], "A" * 43, token.split(".")[3]])
        kinds = [type(await refusal(enrolment.Enrol(Box().request(wrong)))) for _ in range(25)]
        assert kinds[0] is BadToken
        assert kinds[-1] is TooLarge
        assert isinstance(await refusal(enrolment.Enrol(Box().request(token))), TooLarge)
        assert await doors.refused_with("TooLarge") == [("peer:127.0.0.1", "enrol", "TooLarge")]
        # Who can say who they are is not held up by that.
        await admin.ListTokens(identity_pb2.ListTokensRequest())


async def test_a_neighbour_behind_the_same_address_costs_no_box_its_certificate(tmp_path):
    async with planner(tmp_path) as (doors, _parts):
        box = await doors.box()
        async with doors.enrolment() as enrolment:
            nonsense = identity_pb2.RenewRequest(certificate=box.certificate, csr=box.csr, proof=b"none")
            kinds = [type(await refusal(enrolment.Renew(nonsense))) for _ in range(25)]
            assert (kinds[0], kinds[-1]) == (NotKnown, TooLarge)
            request, key = box.renewal()
            box.takes(await enrolment.Renew(request), key)
        async with SecureAgent(doors.address, box) as agent:
            await agent.until("welcome")


async def test_hello_for_another_device_is_not_allowed(tmp_path):
    async with planner(tmp_path) as (doors, parts):
        box = await doors.box()
        async with SecureAgent(doors.address, box, name="box-2") as agent:
            error = from_rpc(await agent.end())
        assert isinstance(error, NotAllowed)
        assert parts.registry.records() == ()
        assert await doors.refused_with("NotAllowed") == [("device:box-1", "Connect", "NotAllowed")]


async def test_a_revoked_box_is_hung_up_on_and_stays_out(tmp_path):
    async with planner(tmp_path) as (doors, _parts):
        box = await doors.box()
        # Silent: it isn't a message of its own that finds it out.
        async with SecureAgent(doors.address, box, heartbeats=False) as agent:
            await agent.until("welcome")
            async with doors.admin() as admin:
                await admin.RevokeDevice(identity_pb2.RevokeDeviceRequest(device_id="box-1", why="stolen"))
            assert isinstance(from_rpc(await agent.end(within_s=5)), Revoked)
        async with SecureAgent(doors.address, box) as agent:
            assert isinstance(from_rpc(await agent.end()), Revoked)
        async with doors.enrolment() as enrolment:
            assert isinstance(await refusal(enrolment.Renew(box.renewal()[0])), Revoked)
        box = await doors.box()
        async with SecureAgent(doors.address, box) as agent:
            await agent.until("welcome")
        told = await doors.refused_with("Revoked")
        # The first as it was hung up on; the next ones are the same refusal.
        assert [one for one in told if one[0] == "device:box-1"] == [("device:box-1", "Connect", "Revoked")]


async def is_known(people, metadata):
    try:
        await people.GetStatus(planner_pb2.GetStatusRequest(), metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return not isinstance(from_rpc(error), NotKnown)
    return True


async def test_a_command_beside_the_planner_counts_at_once(tmp_path, capsys):
    async with planner(tmp_path) as (doors, _parts):
        where = ("--state-dir", doors.state_dir)
        assert await command("token", "create", "--device", "box-1", "--ttl", "10m", *where) == 0
        told = capsys.readouterr()
        box, token = Box(), told.out.strip()
        assert token not in told.err
        async with doors.enrolment() as enrolment:
            box.takes(await enrolment.Enrol(box.request(token)))
        async with SecureAgent(doors.address, box) as agent:
            await agent.until("welcome")
            assert await command("revoke", "box-1", "--why", "stolen", *where) == 0
            assert isinstance(from_rpc(await agent.end(within_s=5)), Revoked)
        made = tmp_path / "ann.toml"
        assert await command("person", "create", "ann", "--role", "viewer", "--token", "-o", made, *where) == 0

        bearer = contexts.load(made).named("ann").token
        for removed in (False, True):
            if removed:
                assert await command("person", "rm", "ann", *where) == 0
            async with doors.people(bearer=bearer) as (people, _admin, metadata), asyncio.timeout(10):
                # The planner looks at the file four times a second.
                while (await is_known(people, metadata)) is removed:  # noqa: ASYNC110 - it says nothing by itself
                    await asyncio.sleep(0.05)


async def test_a_session_ends_with_its_certificate_and_a_renewed_one_goes_on(tmp_path):
    async with planner(tmp_path, certificate_life=timedelta(seconds=3)) as (doors, _parts):
        box = await doors.box()
        async with SecureAgent(doors.address, box) as agent:
            await agent.until("welcome")
            assert isinstance(from_rpc(await agent.end()), IdentityOver)
        request, key = box.renewal()
        async with doors.enrolment() as enrolment:
            box.takes(await enrolment.Renew(request), key)
        async with SecureAgent(doors.address, box) as agent:
            await agent.until("welcome")


async def test_directives_leave_signed_and_a_refusal_is_written_down(tmp_path):
    async with planner(tmp_path) as (doors, _parts):
        box = await doors.box("camera")
        tls = doors.admin_context.credentials
        async with (
            People(doors.address, tls) as people,
            FakeAgent(doors.address, device("camera"), tls=box.tls) as agent,
        ):
            agent.verdict = control_pb2.DIRECTIVE_VERDICT_FORGED
            await people.add_pipeline()
            await people.submit(query(latency_ms=500.0))
            signed = await agent.until("signed_directive")
            assert agent.count("directive") == 0
            assert await doors.refused_with("Forged") == [("device:camera", "directive", "Forged")]
        root = x509.load_pem_x509_certificate(doors.root)
        signer = x509.load_der_x509_certificate(signed.signer)
        signer.verify_directly_issued_by(root)
        key = signer.public_key()
        assert isinstance(key, ed25519.Ed25519PublicKey)
        key.verify(signed.signature, DIRECTIVE_CONTEXT + signed.body)
        assert types_pb2.Directive.FromString(signed.body).device_id == "camera"


async def test_a_bundle_that_an_agent_refused_is_written_down(tmp_path):
    async with planner(tmp_path) as (doors, _parts), SecureAgent(doors.address, await doors.box()) as agent:
        await agent.until("welcome")
        environment = types_pb2.Environment(
            digest="sha256:" + "0" * 64, ready=False, reason="bundle has the name '../x': it leads outside"
        )
        await agent.send(environment_status=control_pb2.EnvironmentStatus(environment=environment))
        assert await doors.refused_with("InvalidInput") == [("device:box-1", "bundle", "InvalidInput")]


async def test_a_second_box_with_one_identity_is_seen_told_and_sent_nothing_new(tmp_path):
    async with planner(tmp_path) as (doors, parts):
        box = await doors.box("camera")
        async with SecureAgent(doors.address, box, process_id="a") as first:
            await first.until("welcome")
            async with SecureAgent(doors.address, box, process_id="b") as second:
                assert isinstance(from_rpc(await second.end(within_s=5)), NotAllowed)
            assert not first.ended.is_set()
            assert "two boxes" in parts.registry.record("camera").doubled
            async with doors.admin() as admin:
                (identity,) = (await admin.ListIdentities(identity_pb2.ListIdentitiesRequest())).identities
                assert identity.HasField("doubled_at")
                entries = (await admin.ListAudit(identity_pb2.ListAuditRequest())).entries
                assert "doubled" in [entry.action for entry in entries]
            async with People(doors.address, doors.admin_context.credentials) as people:
                (state,) = (await people.stub.ListDevices(planner_pb2.ListDevicesRequest())).devices
                assert state.connected
                assert "two boxes" in state.reason
                await people.add_pipeline()
                await people.submit(query(latency_ms=500.0))
                # As many turns as a rollout takes where it may send.
                await asyncio.sleep(1.0)
                assert first.count("signed_directive") == 0
            assert not first.ended.is_set()
    # Also after the planner starts again; a new enrolment ends it.
    async with planner(tmp_path) as (doors, parts):
        async with SecureAgent(doors.address, box, process_id="b") as second:
            await second.until("welcome")
            assert "two boxes" in parts.registry.record("camera").doubled
        async with SecureAgent(doors.address, await doors.box("camera"), process_id="c") as new:
            await new.until("welcome")
            for _ in range(100):
                if not parts.registry.record("camera").doubled:
                    break
                await asyncio.sleep(0.05)
            assert not parts.registry.record("camera").doubled


async def test_a_box_that_comes_back_after_a_newer_one_is_a_second_one(tmp_path):
    async with planner(tmp_path) as (doors, parts):
        box = await doors.box()
        # The first is open, but says nothing: it may be dead, so that the second takes its place.
        async with SecureAgent(doors.address, box, process_id="a", heartbeats=False) as first:
            await first.until("welcome")
            async with SecureAgent(doors.address, box, process_id="b") as second:
                await first.end()
                assert not parts.registry.record("box-1").doubled
                async with SecureAgent(doors.address, box, process_id="a") as again:
                    assert isinstance(from_rpc(await again.end()), NotAllowed)
                assert "two boxes" in parts.registry.record("box-1").doubled
                assert not second.ended.is_set()


async def test_who_does_not_say_which_process_it_is_is_a_second_box_too(tmp_path):
    async with planner(tmp_path) as (doors, parts):
        box = await doors.box()
        async with SecureAgent(doors.address, box, process_id="a") as first:
            await first.until("welcome")
            async with SecureAgent(doors.address, box, process_id="") as second:
                assert isinstance(from_rpc(await second.end(within_s=5)), NotAllowed)
            assert "two boxes" in parts.registry.record("box-1").doubled
            assert not first.ended.is_set()


async def test_an_agent_that_starts_again_and_again_is_one_box(tmp_path):
    async with planner(tmp_path) as (doors, parts):
        box = await doors.box()
        for process_id in ("a", "b", "b", "c", "d"):
            async with SecureAgent(doors.address, box, process_id=process_id) as agent:
                await agent.until("welcome")
        assert not parts.registry.record("box-1").doubled


async def test_the_ports_certificate_is_renewed_without_a_restart(tmp_path):
    class Ahead(SystemClock):
        ahead = timedelta()

        def now(self):
            return super().now() + self.ahead

    def shown(address):
        host, _, port = address.rpartition(":")
        return x509.load_pem_x509_certificate(ssl.get_server_certificate((host, int(port)), timeout=10).encode())

    clock = Ahead()
    async with planner(tmp_path, clock) as (doors, _parts):
        first = await asyncio.to_thread(shown, doors.enrol_address)
        assert await asyncio.to_thread(shown, doors.enrol_address) == first
        clock.ahead = timedelta(days=60)
        second = await asyncio.to_thread(shown, doors.enrol_address)
        assert second.not_valid_after_utc > first.not_valid_after_utc
        second.verify_directly_issued_by(x509.load_pem_x509_certificate(doors.root))


async def test_a_planner_that_starts_again_is_the_same_and_its_admin_finds_it(tmp_path):
    async with planner(tmp_path) as (doors, _parts):
        box, root = await doors.box(), doors.root
    async with planner(tmp_path) as (doors, _parts):
        assert doors.root == root
        assert doors.admin_context.planner == doors.address
        async with SecureAgent(doors.address, box) as agent:
            await agent.until("welcome")
        async with doors.admin() as admin:
            assert (await admin.ListAudit(identity_pb2.ListAuditRequest())).intact


async def test_labels_of_a_token_are_the_devices(tmp_path):
    async with planner(tmp_path) as (doors, parts):
        box = Box("box-7")
        async with doors.admin() as admin, doors.enrolment() as enrolment:
            asked = identity_pb2.CreateTokenRequest(labels={"shop": "7"})
            token = (await admin.CreateToken(asked)).token
            box.takes(await enrolment.Enrol(box.request(token, labels={"shop": "7"})))
        async with SecureAgent(doors.address, box) as agent:
            await agent.until("welcome")
            for _ in range(100):
                if parts.marks.of("box-7").bound:
                    break
                await asyncio.sleep(0.05)
            assert dict(parts.marks.of("box-7").bound) == {"shop": "7"}


async def test_blobs_are_for_devices_that_stand(tmp_path):
    async with planner(tmp_path) as (doors, _parts):
        box = await doors.box()
        async with doors.admin() as admin:
            await admin.RevokeDevice(identity_pb2.RevokeDeviceRequest(device_id="box-1", why=""))
        async with open_secure_channel(doors.address, box.tls) as channel:
            call = control_pb2_grpc.ControlServiceStub(channel).FetchBlob(
                control_pb2.FetchBlobRequest(digest="sha256:" + "0" * 64)
            )
            assert isinstance(await refusal(call.read()), Revoked)


async def test_a_box_leaves_and_joins_again_under_its_name(tmp_path):
    async with planner(tmp_path) as (doors, parts):
        for _ in range(3):
            box = await doors.box()
            async with SecureAgent(doors.address, box) as agent:
                await agent.until("welcome")
                other = agent.stub.Leave(control_pb2.LeaveRequest(device_id="box-2"))
                assert isinstance(await refusal(other.read()), NotAllowed)
                leaving = agent.stub.Leave(control_pb2.LeaveRequest(device_id="box-1"))
                await agent.until("goodbye")
                agent.hang_up()
                told = [message async for message in leaving]
            assert told[-1].gone
            assert parts.registry.record("box-1") is None
            async with doors.enrolment() as enrolment:
                assert isinstance(await refusal(enrolment.Renew(box.renewal()[0])), Revoked)
