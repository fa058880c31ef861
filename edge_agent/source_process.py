"""The process of one source: makes the items, keeps their truth, scores the answers.

Items are made ahead of time while nothing is asked of the process, so that an item is ready when its moment
comes. The truth of an item stays here: nobody else sees it.

Where an operator carries state, answers are scored as samples are: so many items in a row, a clip, have one score,
which is known when the last of them has ended.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite

from circinus.operator import Payload, Sample, Scorer, Source
from circinus.payload import decode_inputs, encode
from circinus.v1 import worker_pb2
from edge_agent.harness import describe, load, read_request, run_process, send, send_ready

#: How many items are made ahead.
_AHEAD = 3
_NICE = 5
#: How many items of which not all is known are kept; the oldest clip goes first.
_MAX_ITEMS = 4096


@dataclass(slots=True)
class _Clip:
    """Items that are scored together: truths in the order of emission, outputs by sequence as they come."""

    truths: dict[int, Payload] = field(default_factory=dict)
    answers: dict[int, Mapping[str, bytes]] = field(default_factory=dict)


class SourceProcess:
    """A source and its scorer behind the requests of the agent. ``clip`` items in a row are scored together."""

    def __init__(self, source: Source, scorer: Scorer | None, clip: int = 1) -> None:
        self._samples: Iterator[Sample] = source.samples()
        self._scorer = scorer
        self._clip = clip
        self._ahead: deque[tuple[bytes, Payload]] = deque()
        self._clips: deque[_Clip] = deque()
        self._clip_of: dict[int, _Clip] = {}

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
        if not self._clips or len(self._clips[-1].truths) >= self._clip:
            self._clips.append(_Clip())
        self._clips[-1].truths[sequence] = truth
        self._clip_of[sequence] = self._clips[-1]
        if len(self._clip_of) > _MAX_ITEMS:
            self._forget(self._clips[0])
        return worker_pb2.Emitted(sequence=sequence, payload=payload)

    def answer(self, request: worker_pb2.ScoreAnswer) -> worker_pb2.Scored:
        """Takes how an item ended; scores its clip if that was the last one of it that was missing."""
        clip = self._clip_of.get(request.sequence)
        if clip is None or request.sequence in clip.answers:
            unknown = worker_pb2.ScoredItem(
                sequence=request.sequence, error="the truth of this item is no longer known"
            )
            return worker_pb2.Scored(items=[unknown])
        clip.answers[request.sequence] = dict(request.outputs)
        if len(clip.answers) < self._clip:
            return worker_pb2.Scored()
        return worker_pb2.Scored(items=self._score(clip))

    def score_rest(self) -> worker_pb2.Scored:
        """Scores what there is of every clip; what is still on its way counts as unanswered."""
        return worker_pb2.Scored(items=[item for clip in tuple(self._clips) for item in self._score(clip)])

    def _score(self, clip: _Clip) -> list[worker_pb2.ScoredItem]:
        """The clip's score for each of its items that ended, and the clip is forgotten."""
        self._forget(clip)
        found = worker_pb2.ScoredItem()
        if self._scorer is not None and any(clip.answers.values()):
            outputs = [decode_inputs(clip.answers.get(sequence, {})) for sequence in clip.truths]
            try:
                score_ratio = float(self._scorer.score_clip(outputs, list(clip.truths.values())))
            except Exception as error:  # the scorer is the bundle's code, and the answer may be anything
                found.error = describe(error)
            else:
                if isfinite(score_ratio):
                    found.score_ratio = min(1.0, max(0.0, score_ratio))
                else:
                    found.error = f"a score of {score_ratio} is not in 0..1"
        items = []
        for sequence in clip.answers:
            item = worker_pb2.ScoredItem(sequence=sequence)
            item.MergeFrom(found)
            items.append(item)
        return items

    def _forget(self, clip: _Clip) -> None:
        self._clips.remove(clip)
        for sequence in clip.truths:
            del self._clip_of[sequence]


def serve(config: worker_pb2.WorkerConfig, connection: socket.socket) -> None:
    """Loads source and scorer, makes the first item and answers until the agent says stop."""
    # Items are made ahead, so operators may go first on a busy machine.
    os.nice(_NICE)
    process = SourceProcess(
        load(config.entry_point)(config.content, config.seed),
        load(config.scorer_entry_point)() if config.scorer_entry_point else None,
        max(1, config.clip),
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
            send(connection, worker_pb2.WorkerReply(scored=process.answer(request.score)))
        elif kind == "score_rest":
            send(connection, worker_pb2.WorkerReply(scored=process.score_rest()))
        elif kind == "stop":
            return
        else:
            raise ValueError(f"a source's process can't serve a request of kind {kind}")


def _asked(connection: socket.socket) -> bool:
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable)


if __name__ == "__main__":
    sys.exit(run_process(serve))
