"""What a client asks of devices: which there are, their labels, cordon, drain and leave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from circinus.errors import TimedOut, Unreachable
from circinus.planner_link import PlannerLink
from circinus.reports import DeviceState, device_state_from_message
from circinus.v1 import planner_pb2

#: Longest that a drain is waited for, if no other time is given.
DRAIN_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Staying:
    """What can't be moved off a device, and why. ``operator_id`` empty: the query's source."""

    query_id: str
    operator_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainProgress:
    """How far a drain is, or a leave.

    ``moving``: what runs there still ("query/operator"). ``ended``: nothing moves any more. ``gone``: it has left.
    ``waits_for``: what the planner waits for, for people.
    """

    device_id: str
    moving: tuple[str, ...]
    staying: tuple[Staying, ...]
    ended: bool
    waits_for: str
    gone: bool = False

    @property
    def empty(self) -> bool:
        """Whether nothing of any query runs there."""
        return self.ended and not self.staying


class DeviceCalls:
    """The calls about devices of a client. Each raises what Client says."""

    _link: PlannerLink

    @property
    def _stub(self) -> Any:
        raise NotImplementedError

    async def _pages(self, method: str, request: Any, field: str) -> list[Any]:
        """All entries of a list that comes in pages."""
        found: list[Any] = []
        while True:
            response = await self._link.ask(self._stub, method, request)
            found.extend(getattr(response, field))
            if not response.next_page_token:
                return found
            request.page_token = response.next_page_token

    async def devices(self, selector: str = "") -> tuple[DeviceState, ...]:
        """The devices that the planner knows, by id; with a selector, those that it means.

        Raises:
            InvalidInput: the text is no selector.
        """
        request = planner_pb2.ListDevicesRequest(selector=selector)
        states = (
            device_state_from_message(message) for message in await self._pages("ListDevices", request, "devices")
        )
        return tuple(sorted(states, key=lambda state: state.device.id))

    async def device(self, device_id: str) -> DeviceState:
        """One device.

        Raises:
            NotFound: there is no such device.
        """
        request = planner_pb2.ListDevicesRequest(device_id=device_id)
        response = await self._link.ask(self._stub, "ListDevices", request)
        return device_state_from_message(response.devices[0])

    async def cordon(self, device_id: str, why: str = "") -> DeviceState:
        """Has plans put nothing new on a device."""
        request = planner_pb2.CordonDeviceRequest(device_id=device_id, why=why)
        return device_state_from_message((await self._link.ask(self._stub, "CordonDevice", request)).device)

    async def uncordon(self, device_id: str) -> DeviceState:
        """Ends a cordon, a drain or a leave: plans use the device as before."""
        request = planner_pb2.CordonDeviceRequest(device_id=device_id, lift=True)
        return device_state_from_message((await self._link.ask(self._stub, "CordonDevice", request)).device)

    async def label(
        self,
        device_id: str,
        labels: Mapping[str, str] | None = None,
        remove: Sequence[str] = (),
        *,
        reset: bool = False,
    ) -> DeviceState:
        """Sets and removes labels of a device; ``reset``: what people set before is forgotten first.

        Raises:
            InvalidInput: one of them is no label.
        """
        request = planner_pb2.LabelDeviceRequest(device_id=device_id, set=labels or {}, remove=remove, reset=reset)
        return device_state_from_message((await self._link.ask(self._stub, "LabelDevice", request)).device)

    async def drain(
        self, device_id: str, why: str = "", *, wait: bool = True, timeout_s: float = DRAIN_TIMEOUT_S
    ) -> AsyncIterator[DrainProgress]:
        """Empties a device; how far that is, until nothing moves any more. Without ``wait``: once.

        Raises:
            NotFound: there is no such device, or its cordon was lifted meanwhile.
            TimedOut: it takes longer than ``timeout_s``; it goes on.
        """
        request = planner_pb2.DrainDeviceRequest(device_id=device_id, why=why, wait=wait)
        async for message in self._watch("DrainDevice", request, timeout_s, wait=wait):
            yield _progress(message.progress)

    async def leave(
        self,
        device_id: str,
        why: str = "",
        *,
        force: bool = False,
        wait: bool = True,
        timeout_s: float = DRAIN_TIMEOUT_S,
    ) -> AsyncIterator[DrainProgress]:
        """Has a device leave as soon as it is empty; how far that is, until it is gone or something has to stay.

        ``force``: it is forgotten at once, since the box is gone for good.

        Raises:
            NotFound: there is no such device, or its cordon was lifted meanwhile.
            TimedOut: it takes longer than ``timeout_s``; it goes on.
        """
        request = planner_pb2.LeaveDeviceRequest(device_id=device_id, why=why, force=force, wait=wait)
        async for message in self._watch("LeaveDevice", request, timeout_s, wait=wait):
            yield _progress(message.progress, gone=message.gone)

    async def _watch(self, method: str, request: Any, timeout_s: float, *, wait: bool) -> AsyncIterator[Any]:
        call = getattr(self._stub, method)(request, timeout=timeout_s, metadata=self._link.metadata)
        last = None
        try:
            async for message in call:
                last = message
                yield message
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                waits = f", which waits for {last.progress.waits_for}" if last and last.progress.waits_for else ""
                raise TimedOut(
                    f"{request.device_id} is not empty within {timeout_s:g} s{waits}; it goes on, "
                    f"`circinus device show {request.device_id}` shows how far it is"
                ) from error
            raise await self._link.error(error, timeout_s) from error
        finally:
            call.cancel()
        if last is None or (wait and not (last.progress.ended or getattr(last, "gone", False))):
            raise Unreachable(f"the planner at {self._link.address} ended the call before the drain had; try again")


def _progress(message: planner_pb2.DrainProgress, *, gone: bool = False) -> DrainProgress:
    return DrainProgress(
        device_id=message.device_id,
        moving=tuple(message.moving),
        staying=tuple(
            Staying(query_id=one.query_id, operator_id=one.operator_id, reason=one.reason) for one in message.staying
        ),
        ended=message.ended,
        waits_for=message.waits_for,
        gone=gone,
    )


__all__ = ["DRAIN_TIMEOUT_S", "DeviceCalls", "DrainProgress", "Staying"]
