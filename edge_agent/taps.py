"""Live items at an operator, for somebody who looks: sampled, shown in little, and let go first when there is pressure.

Serving asks nothing of a tap and waits for none. An item is looked at where it lies, at the moment in which it comes or
goes; what is shown of it is put in line, and if the line is full, the operator has a queue, or taps have had their part
of the time, the look is let go and counted. Where nobody looks it costs the test of a list.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from circinus import layout
from circinus.clock import Clock
from circinus.layout import FieldView
from circinus.model.directive import Generation, patience_ms
from circinus.model.pipeline import SOURCE, PipelineId
from circinus.v1 import control_pb2
from edge_agent.dataplane.book import Emission
from edge_agent.dataplane.item import Payload, Work
from edge_agent.dataplane.shared import SharedPayload
from edge_agent.memory_files import map_file
from edge_agent.preview import shown, whole

MS_PER_S = 1000.0
#: Of one tap: so many items a second at most, and what waits to be sent.
MAX_RATE_PER_S = 20.0
MAX_WAITING = 32
MAX_WAITING_BYTES = 256 * 1024
#: A whole field is at most so large; of whole fields so much more may wait.
MAX_WHOLE_BYTES = 4 * 1024 * 1024
PIECE_BYTES = 24 * 1024
#: All taps of a device together take so much of its agent's time: of each second, and at once.
TIME_RATIO = 0.01
BURST_S = 0.02
#: Where so many batches wait for a replica, items come before taps.
_QUEUED_BATCHES = 2
#: Inputs of one item that are shown; and fields of each, where all of them would be more than so many bytes.
_MAX_INPUTS = 8
_MAX_ITEM_BYTES = 32 * 1024
_FEW_FIELDS = 4
#: Bytes of an item's message beside its fields, about.
_ITEM_BYTES = 200

#: Why an item's values may not be shown, by its pipeline and bundle; empty: they may.
Withheld = Callable[[PipelineId, str], str]


class Tap:
    """One person's tap. ``wanted`` is checked already."""

    def __init__(self, wanted: control_pb2.TapWanted, clock: Clock, *, withheld: Withheld) -> None:
        self.query_id = wanted.query_id
        self.operator_id = wanted.operator_id
        self.output = wanted.output
        #: Items that were let go since somebody asked last.
        self.left_out = 0
        self._wanted = wanted
        self._clock = clock
        self._withheld = withheld
        self._number = 0
        self._next_s = clock.monotonic_s()
        self._waiting: deque[control_pb2.TappedItem | control_pb2.ItemPiece] = deque()
        self._waiting_bytes = 0
        self._waiting_items = 0

    @property
    def is_full(self) -> bool:
        """Whether it has seen as many items as it was to."""
        return 0 < self._wanted.count <= self._number

    @property
    def is_due(self) -> bool:
        """Whether an item that is there now is to be looked at, as far as the rate goes."""
        return not self.is_full and self._clock.monotonic_s() >= self._next_s

    @property
    def has_room(self) -> bool:
        """Whether the line has room for one more."""
        return self._waiting_items < MAX_WAITING and self._waiting_bytes < MAX_WAITING_BYTES

    def take(
        self,
        item: control_pb2.TappedItem,
        payloads: Mapping[str, Payload | tuple[Payload, ...]],
        pipeline_id: PipelineId,
        bundle_digest: str,
    ) -> None:
        """Looks at an item."""
        self._next_s = max(self._next_s, self._clock.monotonic_s() - 1.0) + 1.0 / self._wanted.rate_per_s
        item.withheld = self._withheld(pipeline_id, bundle_digest) if self._wanted.values else ""
        values = self._wanted.values and not item.withheld
        self._number += 1
        item.number = self._number
        pieces: list[control_pb2.ItemPiece] = []
        for name in sorted(payloads)[:_MAX_INPUTS]:
            given = payloads[name]
            parts = given if isinstance(given, tuple) else (given,)
            size_bytes = sum(len(part) for part in parts)
            item.size_bytes += size_bytes
            views = _views(parts[0]) if parts else {}
            label = f"{name} ({len(parts)} parts)" if isinstance(given, tuple) else name
            payload = shown(label, size_bytes, views, values=values)
            if payload.ByteSize() > _MAX_ITEM_BYTES // _MAX_INPUTS and len(payload.fields) > _FEW_FIELDS:
                payload.fields_left_out += len(payload.fields) - _FEW_FIELDS
                del payload.fields[_FEW_FIELDS:]
            if values and self._wanted.whole_bytes:
                left_bytes = MAX_WHOLE_BYTES - PIECE_BYTES * len(pieces)
                pieces += self._pieces(payload, views, min(left_bytes, self._wanted.whole_bytes))
            item.payloads.append(payload)
        self._put(item)
        self._waiting_items += 1
        for piece in pieces:
            self._put(piece)

    def _pieces(
        self, payload: control_pb2.TappedPayload, views: Mapping[str, FieldView], most_bytes: int
    ) -> list[control_pb2.ItemPiece]:
        found: list[control_pb2.ItemPiece] = []
        for field in payload.fields:
            data = whole(views[field.name]) if field.name in views else b""
            if 0 < len(data) <= most_bytes - PIECE_BYTES * len(found):
                field.whole_bytes = len(data)
                found += [
                    control_pb2.ItemPiece(
                        number=self._number,
                        payload=payload.name,
                        field=field.name,
                        data=bytes(data[at : at + PIECE_BYTES]),
                    )
                    for at in range(0, len(data), PIECE_BYTES)
                ]
        return found

    def _put(self, one: control_pb2.TappedItem | control_pb2.ItemPiece) -> None:
        self._waiting.append(one)
        self._waiting_bytes += _size_of(one)

    def next_chunk(self, most_bytes: int) -> control_pb2.LookChunk | None:
        """What is to be sent next; None: nothing now."""
        chunk = control_pb2.LookChunk(items_left_out=self.left_out)
        self.left_out = 0
        size_bytes = 0
        while self._waiting and (size_bytes == 0 or size_bytes + _size_of(self._waiting[0]) <= most_bytes):
            one = self._waiting.popleft()
            size_bytes += _size_of(one)
            if isinstance(one, control_pb2.ItemPiece):
                chunk.pieces.append(one)
            else:
                chunk.items.append(one)
                self._waiting_items -= 1
        self._waiting_bytes -= size_bytes
        chunk.ended = self.is_full and not self._waiting
        return chunk if size_bytes or chunk.items_left_out or chunk.ended else None


class Taps:
    """The taps of one device. ``open`` is looked at for each item; empty, it costs nothing more."""

    def __init__(self, clock: Clock) -> None:
        self.open: list[Tap] = []
        self._clock = clock
        self._left_s = BURST_S
        self._filled_s = clock.monotonic_s()

    def passed(
        self,
        work: Work,
        payloads: Mapping[str, Payload | tuple[Payload, ...]],
        *,
        output: bool,
        batches: float,
        pipeline_id: PipelineId,
        bundle_digest: str,
    ) -> None:
        """An item is at an operator, where so many batches wait for each replica."""
        for tap in self.open:
            if (tap.query_id, tap.operator_id, tap.output) == (work.query_id, work.operator_id, output) and tap.is_due:
                if batches > _QUEUED_BATCHES or not self._may(tap):
                    tap.left_out += 1
                    continue
                item = self._item(work.request_id, work.query_id, work.operator_id, work.generation, work.deadline_s)
                item.output, item.part, item.parts = output, work.part, work.parts
                self._timed(tap, item, payloads, pipeline_id, bundle_digest)

    def emitted(self, emission: Emission, payload: Payload, pipeline_id: PipelineId, bundle_digest: str) -> None:
        """A source has made an item."""
        for tap in self.open:
            if (tap.query_id, tap.operator_id) == (emission.query_id, SOURCE) and tap.is_due:
                if not self._may(tap):
                    tap.left_out += 1
                    continue
                deadline_s = emission.emitted_at_s + patience_ms(emission.deadline_ms) / MS_PER_S
                item = self._item(
                    emission.request_id,
                    tap.query_id,
                    SOURCE,
                    emission.generation,
                    deadline_s if emission.deadline_ms > 0.0 else None,
                )
                item.output, item.parts = True, 1
                self._timed(tap, item, {SOURCE: payload}, pipeline_id, bundle_digest)

    def _may(self, tap: Tap) -> bool:
        now_s = self._clock.monotonic_s()
        self._left_s = min(BURST_S, self._left_s + (now_s - self._filled_s) * TIME_RATIO)
        self._filled_s = now_s
        return self._left_s > 0.0 and tap.has_room

    def _item(
        self, request_id: str, query_id: str, operator_id: str, generation: Generation, deadline_s: float | None
    ) -> control_pb2.TappedItem:
        item = control_pb2.TappedItem(
            request_id=request_id, query_id=query_id, operator_id=operator_id, generation=generation.number
        )
        item.at.FromDatetime(self._clock.now())
        if deadline_s is not None:
            item.remaining_ms = (deadline_s - self._clock.monotonic_s()) * MS_PER_S
        return item

    def _timed(
        self,
        tap: Tap,
        item: control_pb2.TappedItem,
        payloads: Mapping[str, Payload | tuple[Payload, ...]],
        pipeline_id: PipelineId,
        bundle_digest: str,
    ) -> None:
        began_s = self._clock.monotonic_s()
        try:
            tap.take(item, payloads, pipeline_id, bundle_digest)
        except Exception:  # whatever is wrong with an item is for serving to find, which who looks on must not harm
            tap.left_out += 1
        self._left_s -= self._clock.monotonic_s() - began_s


def _views(payload: Payload) -> Mapping[str, FieldView]:
    """A payload's fields where they lie."""
    if isinstance(payload, SharedPayload):
        return layout.read(map_file(payload.file.fd, payload.offset, payload.size_bytes))
    return layout.read(payload)


def _size_of(one: control_pb2.TappedItem | control_pb2.ItemPiece) -> int:
    return _ITEM_BYTES + one.ByteSize()
