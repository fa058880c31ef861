"""One replica of an operator: a process that runs the bundle's class on batches of items.

Pacing: on a device that is emulated to be slower than its host, or for a replica with a part of a core, the
process takes wall time = CPU time / pace_ratio for a batch, asleep for what the work itself didn't take, so
that a slow device costs no CPU. CPU time is that of all threads.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from circinus.layout import Buffer, pieces, read, size_of
from circinus.operator import Operator, OperatorContext, Payload
from circinus.parts import cut, join
from circinus.payload import decode, from_views, views
from circinus.v1 import worker_pb2
from edge_agent.framing import MAX_FRAME_BYTES
from edge_agent.harness import (
    MAX_ERROR_CHARS,
    AgentLink,
    describe,
    knob_values,
    load,
    resident_bytes,
    run_process,
    send_ready,
)
from edge_agent.local_payloads import Incoming, Outgoing

#: Largest output of one item: what may travel between agents.
MAX_OUTPUT_BYTES = 32 * 1024 * 1024
#: What a reply may have in line, beside which there are its other fields.
_MAX_INLINE_BYTES = MAX_FRAME_BYTES - 1024 * 1024


def serve(config: worker_pb2.WorkerConfig, link: AgentLink) -> None:
    """Loads the operator and runs batches until the agent says stop."""
    operator: Operator = load(config.entry_point)(
        knob_values(config.knobs),
        OperatorContext(
            operator_id=config.operator_id,
            threads=max(1, config.threads),
            providers=tuple(config.providers) or ("CPUExecutionProvider",),
        ),
    )
    send_ready(link)
    while True:
        request = link.receive()
        kind = request.WhichOneof("message")
        if kind == "stop":
            operator.close()
            return
        if kind != "run":
            raise ValueError(f"an operator's process can't serve a request of kind {kind}")
        outgoing = Outgoing(request.run.sharing)
        pace_ratio = request.run.pace_ratio or config.pace_ratio
        result = run_batch(operator, request.run.items, pace_ratio, link.incoming, outgoing)
        # Now, not when the next request comes: what nobody keeps a view of is free.
        link.incoming.close()
        link.send(worker_pb2.WorkerReply(result=result), outgoing)


def run_batch(
    operator: Operator,
    items: Sequence[worker_pb2.WorkItem],
    pace_ratio: float,
    incoming: Incoming,
    outgoing: Outgoing,
) -> worker_pb2.BatchResult:
    """Runs the items and takes at least CPU time / pace_ratio for it (0: no pacing)."""
    wall_start_s = time.perf_counter()
    cpu_start_s = time.process_time()
    results = _results(operator, items, incoming, outgoing)
    cpu_s = time.process_time() - cpu_start_s
    if pace_ratio > 0:
        rest_s = cpu_s / pace_ratio - (time.perf_counter() - wall_start_s)
        if rest_s > 0:
            time.sleep(rest_s)
    return worker_pb2.BatchResult(
        results=results,
        wall_ms=(time.perf_counter() - wall_start_s) * 1000.0,
        cpu_ms=cpu_s * 1000.0,
        memory_bytes=resident_bytes(),
    )


def _results(
    operator: Operator, items: Sequence[worker_pb2.WorkItem], incoming: Incoming, outgoing: Outgoing
) -> list[worker_pb2.WorkResult]:
    if len(items) > 1:
        try:
            outputs = operator.process_batch([_inputs(item, incoming) for item in items])
            if len(outputs) == len(items):
                return [_encoded(item, output, outgoing) for item, output in zip(items, outputs, strict=True)]
            print(f"process_batch gave {len(outputs)} outputs for {len(items)} items", file=sys.stderr)
        except Exception as error:
            # One bad item must not fail its neighbours: each is run alone below.
            print(f"a batch of {len(items)} failed: {describe(error)}", file=sys.stderr)
    return [_run_alone(operator, item, incoming, outgoing) for item in items]


def _run_alone(
    operator: Operator, item: worker_pb2.WorkItem, incoming: Incoming, outgoing: Outgoing
) -> worker_pb2.WorkResult:
    try:
        output = operator.process(_inputs(item, incoming))
    except Exception as error:
        return _failed(item.request_id, "operator_raised", describe(error))
    return _encoded(item, output, outgoing)


def _inputs(item: worker_pb2.WorkItem, incoming: Incoming) -> dict[str, Payload]:
    found: dict[str, Payload] = {name: decode(data) for name, data in item.inputs.items()}
    for name, segment in item.segments.items():
        found[name] = decode(incoming.segment(segment))
    for name, gathered in item.gathered.items():
        parts = [read(incoming.payload(part)) for part in gathered.parts]
        try:
            found[name] = from_views(join(parts))
        except ValueError as error:
            raise ValueError(f"the parts of {name} can't be joined: {error}") from error
    return found


def _encoded(item: worker_pb2.WorkItem, output: Payload, outgoing: Outgoing) -> worker_pb2.WorkResult:
    try:
        fields = views(output)
        written: list[list[Buffer]] = [pieces(part) for part in cut(fields, item.split_by)] if item.split_by else []
        if item.whole or not written:
            written.append(pieces(fields))
    except Exception as error:  # whatever the operator returned: not a mapping, an object array ...
        return _failed(item.request_id, "bad_output", describe(error))
    size_bytes = sum(size_of(one) for one in written)
    if size_bytes > MAX_OUTPUT_BYTES:
        return _failed(
            item.request_id,
            "item_too_large",
            f"an output of {size_bytes} bytes is over the limit of {MAX_OUTPUT_BYTES}; encode or scale it",
        )
    if outgoing.inline_bytes + size_bytes > _MAX_INLINE_BYTES:
        return _failed(item.request_id, "item_too_large", f"the outputs of a batch are over {_MAX_INLINE_BYTES} bytes")
    places = outgoing.put_all(written)
    result = worker_pb2.WorkResult(request_id=item.request_id)
    if item.whole or not item.split_by:
        place = places.pop()
        if place.HasField("segment"):
            result.segment.CopyFrom(place.segment)
        else:
            result.payload = place.inline
    result.parts.extend(places)
    return result


def _failed(request_id: str, cause: str, detail: str) -> worker_pb2.WorkResult:
    return worker_pb2.WorkResult(request_id=request_id, error=f"{cause}: {detail}"[:MAX_ERROR_CHARS])


if __name__ == "__main__":
    sys.exit(run_process(serve))
