"""A batch on its way through a process of this device: what the agent hands it, and what it gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from circinus.v1 import worker_pb2
from edge_agent.dataplane.handing import Handing, segment_taken, taken
from edge_agent.dataplane.item import Payload, Work
from edge_agent.dataplane.shared import SharedFile, SharedMemory
from edge_agent.memory_files import close_files
from edge_agent.process import ProcessDied, ServingProcess

#: What an output may have of shared memory before one was seen, and how much more than the largest after that.
_FIRST_OUTPUT_BYTES = 16 * 1024 * 1024
_HEADROOM = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What an operator gave for an item: ``error`` is "cause: detail", empty if it went well."""

    payload: Payload = b""
    parts: tuple[Payload, ...] = ()
    error: str = ""

    @property
    def size_bytes(self) -> int:
        """Bytes of the output, in one piece or in parts."""
        return len(self.payload) or sum(len(part) for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReply:
    """``outputs`` are in the order of the works; None: the process gave none for it."""

    outputs: tuple[Output | None, ...]
    wall_ms: float
    cpu_ms: float
    memory_bytes: int


class Batches:
    """The batches of one replica set."""

    def __init__(self, memory: SharedMemory) -> None:
        self._memory = memory
        self._largest_bytes = _FIRST_OUTPUT_BYTES // _HEADROOM
        self._seen = False

    async def run(
        self, process: ServingProcess, works: Sequence[Work], timeout_s: float, pace_ratio: float = 0.0
    ) -> BatchReply:
        """Has the works done, at this pace (0: as the process was started).

        Raises:
            ProcessDied: the process ended, or broke the protocol.
            ProcessHung: no reply within so many seconds.
        """
        handing = Handing(self._memory if process.takes_files else SharedMemory(from_bytes=0))
        request = worker_pb2.WorkerRequest(run=worker_pb2.RunBatch(pace_ratio=pace_ratio))
        for index, work in enumerate(works):
            # Its place in the batch: request ids repeat among queries and parts.
            _add_item(request.run.items.add(request_id=str(index)), work, handing)
        most_bytes = len(works) * _HEADROOM * self._largest_bytes if process.takes_files else 0
        with self._memory.reserved(most_bytes, 2 * len(works)) as granted:
            if granted:
                request.run.sharing.from_bytes = self._memory.from_bytes
                request.run.sharing.most_bytes = granted
            reply, files = await process.call_with_files(request, timeout_s, handing.files)
            try:
                return self._reply(reply.result, files, len(works))
            except ValueError as error:
                process.kill()
                raise ProcessDied(f"the process broke the protocol: {error}") from error

    def _reply(self, result: worker_pb2.BatchResult, files: list[int], count: int) -> BatchReply:
        shared = adopt_all(self._memory, files)
        found: list[Output | None] = [None] * count
        for one in result.results:
            index = int(one.request_id)
            if not 0 <= index < count:
                raise ValueError(f"it gave an output for item {index} of {count}")
            found[index] = _output(one, shared)
        largest_bytes = max((output.size_bytes for output in found if output is not None), default=0)
        self._largest_bytes = max(largest_bytes, self._largest_bytes if self._seen else 0)
        self._seen = True
        return BatchReply(
            outputs=tuple(found), wall_ms=result.wall_ms, cpu_ms=result.cpu_ms, memory_bytes=result.memory_bytes
        )


def adopt_all(memory: SharedMemory, files: list[int]) -> list[SharedFile]:
    """Takes over the files that came with a reply.

    Raises:
        ValueError: one isn't sealed; none is left open.
    """
    shared: list[SharedFile] = []
    while files:
        try:
            shared.append(memory.adopt(files.pop(0)))
        except ValueError:
            close_files(files)
            raise
    return shared


def _add_item(item: worker_pb2.WorkItem, work: Work, handing: Handing) -> None:
    for name, payload in work.inputs.items():
        place = handing.put(payload)
        if place.HasField("segment"):
            item.segments[name].CopyFrom(place.segment)
        else:
            item.inputs[name] = place.inline
    for name, parts in work.gathered.items():
        item.gathered[name].parts.extend(handing.put(part) for part in parts)
    item.split_by = work.split_by
    item.whole = work.whole


def _output(one: worker_pb2.WorkResult, shared: Sequence[SharedFile]) -> Output:
    if one.error:
        return Output(error=one.error)
    payload: Payload = segment_taken(one.segment, shared) if one.HasField("segment") else one.payload
    return Output(payload=payload, parts=tuple(taken(part, shared) for part in one.parts))


async def emit(
    process: ServingProcess, memory: SharedMemory, sequence: int, timeout_s: float
) -> tuple[worker_pb2.Emitted, Payload]:
    """A source's next item: what it says of it, and the item.

    Raises:
        ProcessDied: the process ended, or broke the protocol.
        ProcessHung: no reply within so many seconds.
    """
    request = worker_pb2.WorkerRequest(emit=worker_pb2.EmitNext(sequence=sequence))
    with memory.reserved(_FIRST_OUTPUT_BYTES if process.takes_files else 0, 1) as granted:
        if granted:
            request.emit.sharing.from_bytes = memory.from_bytes
            request.emit.sharing.most_bytes = granted
        reply, files = await process.call_with_files(request, timeout_s, ())
        try:
            shared = adopt_all(memory, files)
            emitted = reply.emitted
            segment = emitted.segment if emitted.HasField("segment") else None
            return emitted, emitted.payload if segment is None else segment_taken(segment, shared)
        except ValueError as error:
            process.kill()
            raise ProcessDied(f"the process broke the protocol: {error}") from error
