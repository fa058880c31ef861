"""What a client asks to see of devices while it happens: what processes print, and items at an operator."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc.aio

from circinus.errors import Unreachable
from circinus.planner_link import PlannerLink
from circinus.v1 import control_pb2, planner_pb2

_LIST_TIMEOUT_S = 120.0
#: Longest that one call follows.
_FOLLOW_S = 86_400.0
#: What a tap's call may take beside its own time.
_TAP_GRACE_S = 30.0
_USUAL_TAP_S = 30.0
_NEVER = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line that a process printed, or an event of an agent (``query_id`` empty). ``at`` is by the device's clock.

    ``left_out``: so many lines of the same process just before this one are not told: they were too many.
    """

    at: datetime
    device_id: str
    query_id: str
    operator_id: str
    replica: int
    pid: int
    text: str
    cut: bool = False
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LookNote:
    """A device that can't be looked at (any more), and why. ``ended``: it ended as it should."""

    device_id: str
    text: str
    ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TappedField:
    """A field of a payload. ``type`` is text, bytes, integer, real, flag, or an array's type.

    ``data`` is all of it, if that was asked for and it is not too large.
    """

    name: str
    type: str
    shape: tuple[int, ...] = ()
    size_bytes: int = 0
    preview: str = ""
    cut: bool = False
    data: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TappedPayload:
    """What an operator got under an input's name, or gave."""

    name: str
    size_bytes: int
    fields: tuple[TappedField, ...]
    fields_left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TappedItem:
    """An item at an operator. ``side`` is in or out; ``remaining_ms`` until its deadline, None: it has none.

    ``withheld``: why values are not shown though they were asked for. ``left_out``: items before this one that were
    not shown, since they were too many or the device had better things to do.
    """

    at: datetime
    device_id: str
    request_id: str
    query_id: str
    operator_id: str
    side: str
    generation: int
    remaining_ms: float | None
    size_bytes: int
    part: int
    parts: int
    payloads: tuple[TappedPayload, ...]
    withheld: str = ""
    left_out: int = 0


OnNote = Callable[[LookNote], None]


def _quiet(_: LookNote) -> None:
    """Says nothing."""


class LookCalls:
    """The calls of a client by which it looks at devices."""

    _link: PlannerLink

    @property
    def _stub(self) -> Any:
        raise NotImplementedError

    async def logs(
        self,
        subject: str = "",
        *,
        device_id: str = "",
        since_s: float = 0.0,
        tail: int = 0,
        follow: bool = False,
        on_note: OnNote = _quiet,
    ) -> AsyncGenerator[LogLine, None]:
        """What processes print, by time, then, followed, what comes; of a query, an operator or both (QUERY/OPERATOR).

        ``since_s``: no older lines; ``tail``: of those that there are, the newest so many; 0: all.

        Raises:
            NotFound: there is no such query, operator or device.
            Unreachable: the device is not connected, or the planner went away meanwhile.
            AgainstPolicy: the owner of the device shows no logs.
        """
        request = planner_pb2.ReadLogsRequest(
            subject_id=subject, device_id=device_id, since_s=since_s, tail=tail, follow=follow
        )
        timeout_s = _FOLLOW_S if follow else _LIST_TIMEOUT_S
        call = self._stub.ReadLogs(request, timeout=timeout_s, metadata=self._link.metadata)
        backlog: list[LogLine] | None = []
        async with aclosing(self._responses(call, timeout_s)) as responses:
            async for response in responses:
                lines = [_line(one, response.device_id) for one in response.lines]
                for note in response.notes:
                    on_note(LookNote(device_id=note.device_id, text=note.text, ended=note.ended))
                if backlog is not None:
                    backlog += lines
                    if not response.caught_up:
                        continue
                    lines, backlog = _newest(backlog, tail), None
                for one in lines:
                    yield one
        for one in _newest(backlog or [], tail):
            yield one
        if follow:
            raise Unreachable(f"the planner at {self._link.address} ended the call: nothing is left to follow")

    async def tap(
        self,
        query_id: str,
        operator_id: str,
        *,
        output: bool = True,
        values: bool = False,
        count: int = 0,
        rate_per_s: float = 0.0,
        for_s: float = 0.0,
        whole_bytes: int = 0,
        device_id: str = "",
        on_note: OnNote = _quiet,
    ) -> AsyncGenerator[TappedItem, None]:
        """Live items at an operator, sampled, until ``count`` of each device or ``for_s`` (0: 30 s).

        ``values`` needs the role operator, and is in the audit log; the owner of a device may show less.
        ``whole_bytes``: fields of bytes and arrays of at most so many bytes come whole.

        Raises:
            NotFound: there is no such query, operator or device.
            NotRunnable: it runs nowhere now.
            AgainstPolicy: the owner of the device shows no items.
        """
        chosen: dict[str, Any] = {
            "query_id": query_id,
            "operator_id": operator_id,
            "device_id": device_id,
            "output": output,
            "count": count,
            "rate_per_s": rate_per_s,
            "for_s": for_s,
        }
        timeout_s = (for_s or _USUAL_TAP_S) + _TAP_GRACE_S
        if values or whole_bytes:
            method, request = "TapItems", planner_pb2.TapItemsRequest(**chosen, whole_bytes=whole_bytes)
        else:
            method, request = "WatchItems", planner_pb2.WatchItemsRequest(**chosen)  # type: ignore[assignment]
        call = getattr(self._stub, method)(request, timeout=timeout_s, metadata=self._link.metadata)
        gathering: dict[tuple[str, int], _Gathering] = {}
        left_out = 0
        async with aclosing(self._responses(call, timeout_s)) as responses:
            async for response in responses:
                left_out += response.items_left_out
                for note in response.notes:
                    on_note(LookNote(device_id=note.device_id, text=note.text, ended=note.ended))
                for message in response.items:
                    found = _Gathering(message, _item(message, response.device_id, left_out))
                    left_out = 0
                    if not found.missing_bytes:
                        yield found.item
                    else:
                        gathering[response.device_id, message.number] = found
                for piece in response.pieces if whole_bytes else ():
                    held = gathering.get((response.device_id, piece.number))
                    if held is not None and held.add(piece):
                        yield gathering.pop((response.device_id, piece.number)).whole()
        if left_out:
            on_note(LookNote(device_id="", text=f"{left_out} items left out", ended=True))

    async def _responses(self, call: Any, timeout_s: float) -> AsyncGenerator[Any, None]:
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise await self._link.error(error, timeout_s) from error
        finally:
            call.cancel()


class _Gathering:
    """An item whose whole fields are still coming."""

    def __init__(self, message: control_pb2.TappedItem, item: TappedItem) -> None:
        self.item = item
        self.missing_bytes = sum(one.whole_bytes for payload in message.payloads for one in payload.fields)
        self._data: dict[tuple[str, str], bytearray] = {}

    def add(self, piece: control_pb2.ItemPiece) -> bool:
        """Takes a piece; says whether it was the last."""
        self._data.setdefault((piece.payload, piece.field), bytearray()).extend(piece.data)
        self.missing_bytes -= len(piece.data)
        return self.missing_bytes <= 0

    def whole(self) -> TappedItem:
        """The item with all that came."""
        payloads = tuple(
            replace(
                payload,
                fields=tuple(
                    replace(one, data=bytes(self._data.get((payload.name, one.name), b""))) for one in payload.fields
                ),
            )
            for payload in self.item.payloads
        )
        return replace(self.item, payloads=payloads)


def _newest(lines: list[LogLine], tail: int) -> list[LogLine]:
    """Lines of several devices by time; of them the newest so many, 0: all."""
    lines.sort(key=lambda one: one.at)
    return lines[-tail:] if tail else lines


def _moment(message: control_pb2.LogLine | control_pb2.TappedItem) -> datetime:
    """When it was, by the device's word; a device whose word is no moment has its lines first."""
    try:
        return message.at.ToDatetime(UTC)
    except (ValueError, OverflowError):
        return _NEVER


def _line(message: control_pb2.LogLine, device_id: str) -> LogLine:
    return LogLine(
        at=_moment(message),
        device_id=device_id,
        query_id=message.query_id,
        operator_id=message.operator_id,
        replica=message.replica,
        pid=message.pid,
        text=message.text,
        cut=message.cut,
        left_out=message.left_out,
    )


def _item(message: control_pb2.TappedItem, device_id: str, left_out: int) -> TappedItem:
    return TappedItem(
        at=_moment(message),
        device_id=device_id,
        request_id=message.request_id,
        query_id=message.query_id,
        operator_id=message.operator_id,
        side="out" if message.output else "in",
        generation=message.generation,
        remaining_ms=message.remaining_ms if message.HasField("remaining_ms") else None,
        size_bytes=message.size_bytes,
        part=message.part,
        parts=message.parts,
        payloads=tuple(
            TappedPayload(
                name=payload.name,
                size_bytes=payload.size_bytes,
                fields=tuple(
                    TappedField(
                        name=one.name,
                        type=one.type,
                        shape=tuple(one.shape),
                        size_bytes=one.size_bytes,
                        preview=one.preview,
                        cut=one.cut,
                    )
                    for one in payload.fields
                ),
                fields_left_out=payload.fields_left_out,
            )
            for payload in message.payloads
        ),
        withheld=message.withheld,
        left_out=left_out,
    )


__all__ = ["LogLine", "LookCalls", "LookNote", "TappedField", "TappedItem", "TappedPayload"]
