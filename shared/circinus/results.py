"""Results of a query's items, as an application gets them from the agent of the query's source device.

async for result in subscribe("127.0.0.1:7410", "gate-1"):
    print(result.ending, result.outputs["read"].fields["text"].text)
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc.aio

from circinus import layout
from circinus.channel import Tls, open_channel, open_secure_channel
from circinus.errors import TimedOut, Unreachable, WrongAuthority, from_rpc
from circinus.layout import TensorView
from circinus.v1 import results_pb2, results_pb2_grpc, types_pb2

#: How long an agent may take to say that a subscription stands.
CONNECT_TIMEOUT_S = 10.0

_ENDINGS = {
    results_pb2.ENDING_ANSWERED: "answered",
    results_pb2.ENDING_LATE: "late",
    results_pb2.ENDING_DROPPED: "dropped",
    results_pb2.ENDING_FAILED: "failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The one outcome of one item. ``ending`` is answered, late, dropped or failed, the last two with a ``cause``.

    ``outputs`` are payloads by output operator; empty unless it was answered, or late. ``lost``: so many results just
    before this one were let go because the subscriber was too slow.
    """

    query_id: str
    request_id: str
    sequence: int
    generation: int
    ending: str
    cause: str = ""
    detail: str = ""
    latency_ms: float
    ended_at: datetime
    outputs: Mapping[str, types_pb2.Payload] = field(default_factory=dict)
    outputs_left_out: bool = False
    lost: int = 0


async def subscribe(
    address: str,
    query_id: str,
    *,
    on_standing: Callable[[], None] = lambda: None,
    tls: Tls | None = None,
    device_id: str = "",
) -> AsyncIterator[Result]:
    """Results of a query from now on, each at most once, until the caller stops or the query ends.

    ``on_standing`` is called when the agent has said that no later result is missed. ``tls`` and ``device_id``: who
    asks, and the device that must answer; needed where the agent does not listen on loopback.

    Raises:
        NotFound: the agent has no source of such a query.
        Unreachable: no agent answers at the address, or it went away.
        WrongAuthority: what answers there is not that device, of that root.
    """
    async for message in subscribe_raw(address, query_id, on_standing=on_standing, tls=tls, device_id=device_id):
        yield _result(message.result, message.lost)


async def subscribe_raw(
    address: str,
    query_id: str,
    *,
    on_standing: Callable[[], None] = lambda: None,
    tls: Tls | None = None,
    device_id: str = "",
) -> AsyncIterator[results_pb2.SubscribeResponse]:
    """As ``subscribe``, in messages: what only passes results on need not read them."""
    async with open_channel(address) if tls is None else open_secure_channel(address, tls, device_id) as channel:
        stub: Any = results_pb2_grpc.ResultsServiceStub(channel)  # type: ignore[no-untyped-call]  # generated
        call = stub.Subscribe(results_pb2.SubscribeRequest(query_id=query_id))
        try:
            async for message in call:
                if message.HasField("result"):
                    yield message
                else:
                    on_standing()
        except grpc.aio.AioRpcError as error:
            if any(key == "circinus-error" for key, _ in error.trailing_metadata() or ()):
                raise from_rpc(error) from error
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimedOut(f"the agent at {address} gave no answer") from error
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                await asyncio.to_thread(_check_way, address, tls, device_id)
            raise Unreachable(
                f"no agent serves results at {address}, or it went away; its configuration's key `ingress` says where "
                "it listens"
            ) from error
        finally:
            call.cancel()


def _check_way(address: str, tls: Tls | None, device_id: str) -> None:
    """Does nothing if nobody answers, or the agent went away. Blocks.

    Raises:
        WrongAuthority: somebody else answers.
        Unreachable: it speaks TLS where it was asked in the clear, or the other way round.
    """
    # Agents write results, too, and never dial by hand.
    from circinus.tls_probe import Fault, probe

    found = probe(address, tls=tls, name=device_id)
    if found.fault in (Fault.OTHER_ROOT, Fault.OTHER_NAME, Fault.UNWANTED, Fault.CLOCK):
        raise WrongAuthority(f"{found.said}; check the address, and that the context is of its planner")
    if found.fault in (Fault.CLEAR, Fault.SECURE):
        raise Unreachable(f"{found.said}; an agent has its ingress in the clear on loopback alone: check the address")


def _result(message: results_pb2.Result, lost: int) -> Result:
    return Result(
        query_id=message.query_id,
        request_id=message.request_id,
        sequence=message.sequence,
        generation=message.generation,
        ending=_ENDINGS.get(message.ending, "unknown"),
        cause=message.cause,
        detail=message.detail,
        latency_ms=message.latency_ms,
        ended_at=message.ended_at.ToDatetime(tzinfo=UTC),
        outputs={name: types_pb2.Payload.FromString(data) for name, data in message.outputs.items()},
        outputs_left_out=message.outputs_left_out,
        lost=lost,
    )


def result_line(message: results_pb2.Result, lost: int = 0) -> str:
    """A result as one line of JSON, without the newline; arrays and bytes by their shape and size only."""
    document: dict[str, Any] = {
        "query": message.query_id,
        "request_id": message.request_id,
        "sequence": message.sequence,
        "generation": message.generation,
        "ending": _ENDINGS.get(message.ending, "unknown"),
        "latency_ms": round(message.latency_ms, 3),
        "ended_at": message.ended_at.ToDatetime(tzinfo=UTC).isoformat(timespec="milliseconds"),
    }
    if message.cause:
        document |= {"cause": message.cause, "detail": message.detail}
    if message.outputs_left_out:
        document["outputs_left_out"] = True
    else:
        document["outputs"] = {name: fields_document(data) for name, data in sorted(message.outputs.items())}
    if lost:
        document["lost"] = lost
    return json.dumps(document, ensure_ascii=False)


def fields_document(payload: bytes) -> dict[str, Any]:
    """A payload for people: plain values as they are, arrays by type and shape, bytes by their number."""
    try:
        views = layout.read(payload)
    except ValueError as error:
        return {"unreadable": str(error)[:200]}
    return {name: _value(view) for name, view in sorted(views.items())}


def _value(view: TensorView | types_pb2.Field) -> Any:
    if isinstance(view, TensorView):
        return {"dtype": view.dtype, "shape": list(view.shape)}
    kind = view.WhichOneof("kind")
    if kind == "tensor":
        return {"dtype": view.tensor.dtype, "shape": list(view.tensor.shape)}
    if kind == "data":
        return {"bytes": len(view.data)}
    value = getattr(view, kind) if kind is not None else None
    # NaN and infinities are no JSON.
    return str(value) if isinstance(value, float) and value - value != 0.0 else value
