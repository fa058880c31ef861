"""One replica of an operator: a process that runs the bundle's class on batches of items.

Pacing: on a device that is emulated to be slower than its host, or for a replica with a part of a core, the
process takes wall time = CPU time / pace_ratio for a batch, asleep for what the work itself didn't take, so
that a slow device costs no CPU. CPU time is that of all threads.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Sequence

from circinus.operator import Operator, OperatorContext, Payload
from circinus.payload import decode_inputs, encode
from circinus.v1 import worker_pb2
from edge_agent.harness import (
    MAX_ERROR_CHARS,
    describe,
    knob_values,
    load,
    read_request,
    resident_bytes,
    run_process,
    send,
    send_ready,
)

#: Largest output of one item: it must fit into one message between agents.
MAX_OUTPUT_BYTES = 3_500_000


def serve(config: worker_pb2.WorkerConfig, connection: socket.socket) -> None:
    """Loads the operator and runs batches until the agent says stop."""
    operator: Operator = load(config.entry_point)(
        knob_values(config.knobs),
        OperatorContext(
            operator_id=config.operator_id,
            threads=max(1, config.threads),
            providers=tuple(config.providers) or ("CPUExecutionProvider",),
        ),
    )
    send_ready(connection)
    while True:
        request = read_request(connection)
        kind = request.WhichOneof("message")
        if kind == "stop":
            operator.close()
            return
        if kind != "run":
            raise ValueError(f"an operator's process can't serve a request of kind {kind}")
        result = run_batch(operator, request.run.items, config.pace_ratio)
        send(connection, worker_pb2.WorkerReply(result=result))


def run_batch(operator: Operator, items: Sequence[worker_pb2.WorkItem], pace_ratio: float) -> worker_pb2.BatchResult:
    """Runs the items and takes at least CPU time / pace_ratio for it (0: no pacing)."""
    wall_start_s = time.perf_counter()
    cpu_start_s = time.process_time()
    results = _results(operator, items)
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


def _results(operator: Operator, items: Sequence[worker_pb2.WorkItem]) -> list[worker_pb2.WorkResult]:
    if len(items) > 1:
        try:
            outputs = operator.process_batch([decode_inputs(item.inputs) for item in items])
            if len(outputs) == len(items):
                return [_encoded(item.request_id, output) for item, output in zip(items, outputs, strict=True)]
            print(f"process_batch gave {len(outputs)} outputs for {len(items)} items", file=sys.stderr)
        except Exception as error:
            # One bad item must not fail its neighbours: each is run alone below.
            print(f"a batch of {len(items)} failed: {describe(error)}", file=sys.stderr)
    return [_run_alone(operator, item) for item in items]


def _run_alone(operator: Operator, item: worker_pb2.WorkItem) -> worker_pb2.WorkResult:
    try:
        output = operator.process(decode_inputs(item.inputs))
    except Exception as error:
        return _failed(item.request_id, "operator_raised", describe(error))
    return _encoded(item.request_id, output)


def _encoded(request_id: str, output: Payload) -> worker_pb2.WorkResult:
    try:
        payload = encode(output)
    except Exception as error:  # whatever the operator returned: not a mapping, an object array ...
        return _failed(request_id, "bad_output", describe(error))
    if len(payload) > MAX_OUTPUT_BYTES:
        return _failed(
            request_id,
            "item_too_large",
            f"an output of {len(payload)} bytes is over the limit of {MAX_OUTPUT_BYTES}; encode or scale it",
        )
    return worker_pb2.WorkResult(request_id=request_id, payload=payload)


def _failed(request_id: str, cause: str, detail: str) -> worker_pb2.WorkResult:
    return worker_pb2.WorkResult(request_id=request_id, error=f"{cause}: {detail}"[:MAX_ERROR_CHARS])


if __name__ == "__main__":
    sys.exit(run_process(serve))
