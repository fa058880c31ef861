import contextlib
import importlib
import pkgutil
import ssl
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.message_factory import GetMessageClass
from identity_fleet import Doors, SecureAgent
from planner_fleet import FirstFit, Here, People, query, settings

import circinus.v1
from circinus import contexts
from circinus.channel import Tls, open_secure_channel, open_trusting_channel
from circinus.clock import SystemClock
from circinus.errors import NotAllowed, NotKnown, from_rpc
from circinus.v1 import identity_pb2, identity_pb2_grpc, planner_pb2
from cloud_planner.daemon import running
from cloud_planner.identity import certificates
from cloud_planner.services.roles import METHODS, Least

#: Served by agents, not by the planner.
AGENTS_OWN = {"DataService", "GRPCInferenceService", "ResultService", "ResultsService", "WorkerService"}
SECURITY = Path(__file__).resolve().parent.parent.parent / "docs" / "security.md"


def services():
    """Every service of circinus.v1 that the planner serves, by its full name."""
    found = {}
    for module in pkgutil.iter_modules(circinus.v1.__path__):
        if module.name.endswith("_pb2"):
            descriptor = importlib.import_module(f"circinus.v1.{module.name}").DESCRIPTOR
            found |= {
                service.full_name: service
                for service in descriptor.services_by_name.values()
                if service.name not in AGENTS_OWN
            }
    return found


def methods():
    return {
        f"/{service.full_name}/{method.name}": method for service in services().values() for method in service.methods
    }


def test_every_method_is_in_the_table_and_nothing_else_is():
    assert set(METHODS) == set(methods())


def test_what_only_sees_is_a_viewers_and_what_changes_is_not():
    seeing = ("Get", "List", "Watch", "Explain", "Export", "WhatIf", "Plan")
    for path, rule in METHODS.items():
        service, _, name = path.rpartition("/")
        if service.endswith("PlannerService"):
            assert (rule.least is Least.VIEWER) == name.startswith(seeing), path
            assert rule.noted == (rule.least is not Least.VIEWER), path
        elif service.endswith("AdminService"):
            assert rule.least is Least.ADMIN, path


def test_the_documents_table_is_the_codes():
    text = SECURITY.read_text()
    for path, rule in METHODS.items():
        service, _, name = path.removeprefix("/circinus.v1.").partition("/")
        assert f"| {service} | {name} | {rule.least.name.lower()} |" in text, path
    assert text.count("Service | ") == len(METHODS)


async def called(channel, path, metadata=()):
    """The error that a method ends with when it is called with an empty request; None: with none."""
    method = methods()[path]
    request = GetMessageClass(method.input_type)()
    kinds = (method.client_streaming, method.server_streaming)
    name = {
        (False, False): "unary_unary",
        (False, True): "unary_stream",
        (True, False): "stream_unary",
        (True, True): "stream_stream",
    }[kinds]
    call = getattr(channel, name)(
        path,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    given = iter([request]) if method.client_streaming else request
    running_call = call(given, metadata=metadata, timeout=20)
    try:
        if method.server_streaming:
            await running_call.read()
            running_call.cancel()
        else:
            await running_call
    except grpc.aio.AioRpcError as error:
        return from_rpc(error)
    return None


@contextlib.asynccontextmanager
async def planner(tmp_path):
    how = settings(tmp_path, insecure_loopback=False)
    async with running(how, SystemClock(), FirstFit(), Here()) as (_address, parts):
        yield Doors(how.state_dir), parts


@pytest.mark.slow
@pytest.mark.parametrize("by", ["certificate", "token"])
async def test_each_role_may_call_what_the_table_says(tmp_path, by):
    async with planner(tmp_path) as (doors, parts):
        for role, least in (("VIEWER", Least.VIEWER), ("OPERATOR", Least.OPERATOR), ("ADMIN", Least.ADMIN)):
            made = await parts.office.create_person_here(
                f"{role}-1", identity_pb2.Role.Value(f"ROLE_{role}"), "local:test", doors.address, bearer=by == "token"
            )
            context = made.named(f"{role}-1")
            metadata = (("authorization", f"Bearer {context.token}"),) if by == "token" else ()
            if by == "token":
                channel = open_trusting_channel(doors.enrol_address, doors.root)
            else:
                channel = open_secure_channel(doors.address, context.credentials)
            async with channel:
                for path, rule in METHODS.items():
                    error = await called(channel, path, metadata)
                    allowed = rule.least <= least
                    assert isinstance(error, NotAllowed) is not allowed, (role, path, error)
                    assert not isinstance(error, NotKnown) or rule.least is Least.ANYBODY, (role, path, error)


@pytest.mark.slow
async def test_a_device_may_call_what_is_for_devices_and_nobody_else(tmp_path):
    async with planner(tmp_path) as (doors, _parts):
        box = await doors.box()
        async with open_secure_channel(doors.address, box.tls) as channel:
            for path, rule in METHODS.items():
                error = await called(channel, path)
                assert isinstance(error, NotAllowed) == (rule.least not in (Least.DEVICE, Least.ANYBODY)), (path, error)


@pytest.mark.slow
async def test_nobody_may_call_what_is_for_anybody_only(tmp_path):
    async with planner(tmp_path) as (doors, _parts):
        forged = (("authorization", "Bearer circp.admin." + "A" * 43),)
        for metadata in ((), forged):
            async with open_trusting_channel(doors.enrol_address, doors.root) as channel:
                for path, rule in METHODS.items():
                    if rule.least is not Least.ANYBODY:
                        assert await called(channel, path, metadata) is not None, path


@pytest.mark.slow
async def test_a_method_that_is_in_no_table_is_refused_to_all(tmp_path, monkeypatch):
    path = "/circinus.v1.PlannerService/GetStatus"
    fewer = {one: rule for one, rule in METHODS.items() if one != path}
    async with planner(tmp_path) as (doors, _parts), doors.channel() as channel:
        assert await called(channel, path) is None
        monkeypatch.setattr("cloud_planner.services.roles.METHODS", fewer)
        assert isinstance(await called(channel, path), NotAllowed)


@pytest.mark.slow
async def test_what_a_person_changes_is_in_the_log_with_what_became_of_it(tmp_path):
    async with planner(tmp_path) as (doors, _parts):
        async with doors.people(doors.admin_context.credentials) as (people, admin, _):
            with pytest.raises(grpc.aio.AioRpcError):
                await people.RemoveQuery(planner_pb2.RemoveQueryRequest(query_id="q7"))
            with pytest.raises(grpc.aio.AioRpcError):
                await people.SubmitQueries(planner_pb2.SubmitQueriesRequest(queries=[query("q8"), query("q9")]))
            await people.GetStatus(planner_pb2.GetStatusRequest())
            await admin.CreateToken(identity_pb2.CreateTokenRequest(device_id="box-1"))
            with pytest.raises(grpc.aio.AioRpcError):
                await admin.RemovePerson(identity_pb2.RemovePersonRequest(name="bob"))
            entries = (await admin.ListAudit(identity_pb2.ListAuditRequest())).entries
        told = [(one.actor, one.action, one.subject, one.outcome) for one in entries if one.actor == "person:admin"]
        assert told[0] == ("person:admin", "RemoveQuery", "q7", "NotFound")
        assert told[1][:3] == ("person:admin", "SubmitQueries", "q8, q9")
        assert told[1][3] != "done"
        assert [one[1] for one in told[2:]] == ["CreateToken"]


@pytest.mark.slow
async def test_a_refused_person_is_in_the_log_by_name(tmp_path):
    async with planner(tmp_path) as (doors, parts):
        made = await parts.office.create_person_here("ann", 1, "local:test", doors.address)
        async with doors.people(made.named("ann").credentials) as (people, _admin, _):
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await people.RemoveQuery(planner_pb2.RemoveQueryRequest(query_id="q7"))
            assert "needs the role operator; ann is viewer" in from_rpc(error.value).message
        assert await doors.refused_with("NotAllowed") == [("person:ann", "RemoveQuery", "NotAllowed")]


@pytest.mark.slow
async def test_an_admin_makes_people_by_the_wire(tmp_path):
    async with planner(tmp_path) as (doors, _parts), doors.admin() as admin:
        made = await admin.CreatePerson(
            identity_pb2.CreatePersonRequest(name="ann", role=identity_pb2.ROLE_VIEWER, ttl_s=3600)
        )
        metadata = (("authorization", f"Bearer {made.bearer_token}"),)
        async with open_trusting_channel(doors.enrol_address, doors.root) as channel:
            assert await called(channel, "/circinus.v1.PlannerService/GetStatus", metadata) is None
            await admin.RemovePerson(identity_pb2.RemovePersonRequest(name="ann"))
            assert isinstance(await called(channel, "/circinus.v1.PlannerService/GetStatus", metadata), NotKnown)
        people = (await admin.ListPeople(identity_pb2.ListPeopleRequest())).people
        assert [(one.name, one.role) for one in people] == [("admin", identity_pb2.ROLE_ADMIN)]


async def read_all(call):
    while await call.read() is not grpc.aio.EOF:
        pass


@pytest.mark.slow
async def test_who_is_removed_while_they_watch_is_cut_off(tmp_path):
    async with planner(tmp_path) as (doors, _parts), doors.admin() as admin:
        made = await admin.CreatePerson(identity_pb2.CreatePersonRequest(name="ann", role=identity_pb2.ROLE_ADMIN))
        box = await doors.box("camera")
        async with (
            doors.people(bearer=made.bearer_token) as (people, _admin, metadata),
            SecureAgent(doors.address, box) as agent,
            People(doors.address, doors.admin_context.credentials) as others,
        ):
            await agent.until("welcome")
            await others.add_pipeline()
            # Nobody measures anything for it, so that there is something to wait for.
            await others.submit(query(latency_ms=500.0))
            watching = people.WatchProgress(planner_pb2.WatchProgressRequest(), metadata=metadata)
            assert not (await watching.read()).settled
            await admin.RemovePerson(identity_pb2.RemovePersonRequest(name="ann"))
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await read_all(watching)
            assert isinstance(from_rpc(error.value), NotKnown)


@pytest.mark.slow
async def test_a_person_may_keep_their_key_to_themselves(tmp_path):
    key = certificates.new_key()
    async with planner(tmp_path) as (doors, _parts), doors.admin() as admin:
        asked = identity_pb2.CreatePersonRequest(
            name="ann", role=identity_pb2.ROLE_VIEWER, csr=certificates.request_of(key, "whoever")
        )
        made = await admin.CreatePerson(asked)
        assert made.bearer_token == ""
        tls = Tls(
            root=ssl.DER_cert_to_PEM_cert(made.root).encode(),
            certificate=ssl.DER_cert_to_PEM_cert(made.certificate).encode(),
            key=certificates.key_pem(key),
        )
        async with open_secure_channel(doors.address, tls) as channel:
            assert await called(channel, "/circinus.v1.PlannerService/GetStatus") is None
            assert isinstance(await called(channel, "/circinus.v1.PlannerService/RemoveQuery"), NotAllowed)


@pytest.mark.slow
async def test_the_first_admins_file_is_theirs_alone(tmp_path):
    async with planner(tmp_path) as (doors, _parts):
        path = doors.state_dir / "identity" / "admin.toml"
        assert not contexts.others_may_read(path)
        assert contexts.load(path).current == "admin"
        async with open_secure_channel(doors.address, contexts.chosen(path).credentials) as channel:
            assert identity_pb2_grpc.AdminServiceStub(channel)
            assert await called(channel, "/circinus.v1.AdminService/ListAudit") is None
