"""Errors keep their class over a real channel."""

import grpc
import pytest

from circinus import channel, errors
from circinus.v1 import planner_pb2, planner_pb2_grpc

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.CircinusError)]


class Raising(planner_pb2_grpc.PlannerServiceServicer):
    def __init__(self, error):
        self.error = error

    @errors.aborts_with_status
    async def GetStatus(self, request, context):
        raise self.error


async def raised_over_the_wire(error):
    server = channel.server()
    port = channel.insecure_port(server, "127.0.0.1:0")
    planner_pb2_grpc.add_PlannerServiceServicer_to_server(Raising(error), server)
    await server.start()
    try:
        async with channel.open_channel(f"127.0.0.1:{port}") as connection:
            stub = planner_pb2_grpc.PlannerServiceStub(connection)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetStatus(planner_pb2.GetStatusRequest(), timeout=5)
            return errors.from_rpc(caught.value)
    finally:
        await server.stop(0)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not errors.CircinusError])
async def test_error_keeps_its_class_and_message_over_the_wire(kind):
    back = await raised_over_the_wire(kind("read: 7 is more than 5; ask for less"))
    assert type(back) is kind
    assert back.message == "read: 7 is more than 5; ask for less"


async def test_violations_travel_with_their_fields():
    violations = (
        errors.Violation(field="rate_per_s", message="must be above 0"),
        errors.Violation(field="ü", message="ß"),
    )
    back = await raised_over_the_wire(errors.InvalidInput("2 fields are wrong", violations))
    assert isinstance(back, errors.InvalidInput)
    assert back.violations == violations


async def test_nobody_there_is_unreachable():
    async with channel.open_channel("127.0.0.1:1") as connection:
        stub = planner_pb2_grpc.PlannerServiceStub(connection)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetStatus(planner_pb2.GetStatusRequest(), timeout=5)
    assert isinstance(errors.from_rpc(caught.value), errors.Unreachable)


@pytest.mark.parametrize("address", ["0.0.0.0:80", "example.org:80", "127.0.0.1", "127.0.0.1:x", "10.0.0.1:5"])
def test_addresses_off_loopback_are_refused(address):
    with pytest.raises(errors.InvalidInput):
        channel.open_channel(address)


async def test_a_taken_port_is_named():
    first, second = channel.server(), channel.server()
    port = channel.insecure_port(first, "127.0.0.1:0")
    await first.start()
    try:
        with pytest.raises(errors.Unreachable, match=f"127.0.0.1:{port}.*taken"):
            channel.insecure_port(second, f"127.0.0.1:{port}")
    finally:
        await first.stop(0)
