"""The process of one source: makes the items, keeps their truth, scores the answers.

Items are made ahead of time while nothing is asked of the process, so that an item is ready when its moment
comes. The truth of an item stays here: nobody else sees it.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections import OrderedDict, deque
from collections.abc import Iterator
from math import isfinite

from circinus.operator import Payload, Sample, Scorer, Source
from circinus.payload import decode_inputs, encode
from circinus.v1 import worker_pb2
from edge_agent.harness import describe, load, read_request, run_process, send, send_ready

#: How many items are made ahead.
_AHEAD = 3
_NICE = 5
#: How many truths of unanswered items are kept; the oldest goes first.
_MAX_TRUTHS = 4096


class SourceProcess:
    """A source and its scorer behind the requests of the agent."""

    def __init__(self, source: Source, scorer: Scorer | None) -> None:
        self._samples: Iterator[Sample] = source.samples()
        self._scorer = scorer
        self._ahead: deque[tuple[bytes, Payload]] = deque()
        self._truths: OrderedDict[int, Payload] = OrderedDict()

    def wants_to_make(self) -> bool:
        """Whether another item should be made while there is time."""
        return len(self._ahead) < _AHEAD

    def make(self) -> None:
        """Makes one item ahead.

        Raises:
            RuntimeError: the source has come to an end, which a source must not.
        """
        try:
            sample = next(self._samples)
        except StopIteration:
            raise RuntimeError("samples() ended; a source makes items without end") from None
        self._ahead.append((encode(sample.payload), sample.truth))

    def emit(self, sequence: int) -> worker_pb2.Emitted:
        """The next item, known by this sequence from now on."""
        if not self._ahead:
            self.make()
        payload, truth = self._ahead.popleft()
        self._truths[sequence] = truth
        if len(self._truths) > _MAX_TRUTHS:
            self._truths.popitem(last=False)
        return worker_pb2.Emitted(sequence=sequence, payload=payload)

    def score(self, request: worker_pb2.ScoreAnswer) -> worker_pb2.Scored:
        """Scores an answer and forgets the item; without outputs it only forgets."""
        scored = worker_pb2.Scored(sequence=request.sequence)
        truth = self._truths.pop(request.sequence, None)
        if not request.outputs or self._scorer is None:
            return scored
        if truth is None:
            scored.error = "the truth of this item is no longer known"
            return scored
        try:
            score_ratio = float(self._scorer.score(decode_inputs(request.outputs), truth))
        except Exception as error:  # the scorer is the bundle's code, and the answer may be anything
            scored.error = describe(error)
            return scored
        if isfinite(score_ratio):
            scored.score_ratio = min(1.0, max(0.0, score_ratio))
        else:
            scored.error = f"a score of {score_ratio} is not in 0..1"
        return scored


def serve(config: worker_pb2.WorkerConfig, connection: socket.socket) -> None:
    """Loads source and scorer, makes the first item and answers until the agent says stop."""
    # Items are made ahead, so operators may go first on a busy machine.
    os.nice(_NICE)
    process = SourceProcess(
        load(config.entry_point)(config.content, config.seed),
        load(config.scorer_entry_point)() if config.scorer_entry_point else None,
    )
    process.make()
    send_ready(connection)
    while True:
        while process.wants_to_make() and not _asked(connection):
            process.make()
        request = read_request(connection)
        kind = request.WhichOneof("message")
        if kind == "emit":
            send(connection, worker_pb2.WorkerReply(emitted=process.emit(request.emit.sequence)))
        elif kind == "score":
            send(connection, worker_pb2.WorkerReply(scored=process.score(request.score)))
        elif kind == "stop":
            return
        else:
            raise ValueError(f"a source's process can't serve a request of kind {kind}")


def _asked(connection: socket.socket) -> bool:
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable)


if __name__ == "__main__":
    sys.exit(run_process(serve))
