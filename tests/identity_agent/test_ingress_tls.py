"""The callers' port: in the clear on this machine, with mutual TLS everywhere else."""

from __future__ import annotations

import grpc
import pytest
from identity_fakes import DAY, Root

from circinus.channel import Tls, open_channel, open_secure_channel, open_trusting_channel
from circinus.clock import SystemClock
from circinus.errors import InvalidInput
from circinus.v1 import open_inference_pb2, open_inference_pb2_grpc
from edge_agent.feeds.access import NOTHING
from edge_agent.identity.credentials import Credentials
from edge_agent.ingress.front import Front


class Nobody:
    """Stands for what a front asks that serves nothing."""

    def __getattr__(self, name):
        return lambda *_: None


def front(listen: str, credentials: Credentials | None) -> Front:
    return Front(
        listen=listen,
        access=NOTHING,
        plane=Nobody(),
        units=Nobody(),
        offers=Nobody(),
        emit=lambda emission, payload: None,
        active=lambda: None,
        clock=SystemClock(),
        credentials=credentials,
    )


async def is_live(channel) -> bool:
    async with channel:
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        return (await stub.ServerLive(open_inference_pb2.ServerLiveRequest(), timeout=5.0)).live


@pytest.mark.slow
async def test_callers_from_elsewhere_need_a_certificate(root: Root, other_root: Root):
    box = Credentials(root.tls("box-1"))
    served = front("0.0.0.0:0", box)
    await served.start()
    try:
        address = f"127.0.0.1:{served.address.rpartition(':')[2]}"
        caller = root.tls("ann", person=True)
        assert await is_live(open_secure_channel(address, caller, "box-1"))
        theirs = other_root.tls("someone")
        stranger = Tls(root=root.pem, certificate=theirs.certificate, key=theirs.key)
        over = root.tls("someone", begins=-9 * DAY, ends=-DAY)
        for channel in (
            open_channel(address),
            open_trusting_channel(address, root.pem, "box-1"),
            open_secure_channel(address, stranger, "box-1"),
            open_secure_channel(address, over, "box-1"),
            open_secure_channel(address, caller, "box-2"),
        ):
            with pytest.raises(grpc.aio.AioRpcError):
                await is_live(channel)
        # Another box has a certificate, too; what callers are answered is none of its business.
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await is_live(open_secure_channel(address, root.tls("box-2"), "box-1"))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        # What is renewed is shown to the next one.
        box.renew(root.tls("box-1"))
        assert await is_live(open_secure_channel(address, caller, "box-1"))
    finally:
        await served.stop()


async def test_on_this_machine_callers_need_none(root: Root):
    served = front("127.0.0.1:0", Credentials(root.tls("box-1")))
    await served.start()
    try:
        assert await is_live(open_channel(served.address))
    finally:
        await served.stop()


async def test_without_an_identity_there_is_only_this_machine():
    served = front("0.0.0.0:0", None)
    with pytest.raises(InvalidInput, match="not on loopback"):
        await served.start()
    await served.stop()
