"""The process of one source: makes the items, keeps their truth, scores the answers.

Items are made ahead of time while nothing is asked of the process, so that an item is ready when its moment
comes. The truth of an item stays here: nobody else sees it.

Where an operator carries state, answers are scored as samples are: so many items in a row, a clip, have one score,
which is known when the last of them has ended.
"""

from __future__ import annotations

import os
import select
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import isfinite

from circinus.operator import Payload, Sample, Scorer, Source
from circinus.payload import decode_inputs, pieces
from circinus.v1 import worker_pb2
from edge_agent.harness import AgentLink, describe, load, run_process, send_ready
from edge_agent.local_payloads import Incoming, Outgoing

#: How many items are made ahead.
_AHEAD = 3
_NICE = 5
#: How many items of which not all is known are kept; the oldest clip goes first.
_MAX_ITEMS = 4096


@dataclass(slots=True)
class _Clip:
    """Items that are scored together: truths in the order of emission, outputs by sequence as they come.

    ``answers`` are by the query whose answers they are; those of ``scored`` are known. ``readers``: so many read it.
    """

    truths: dict[int, Payload] = field(default_factory=dict)
    answers: dict[str, dict[int, Mapping[str, bytes]]] = field(default_factory=dict)
    scored: set[str] = field(default_factory=set)
    readers: int = 1


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
        # Not left as views: the source may use its memory again for the next one.
        self._ahead.append((b"".join(pieces(sample.payload)), sample.truth))

    def emit(self, sequence: int, outgoing: Outgoing | None = None) -> worker_pb2.Emitted:
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
        if outgoing is not None:
            place = outgoing.put([payload])
            if place.HasField("segment"):
                return worker_pb2.Emitted(sequence=sequence, segment=place.segment)
        return worker_pb2.Emitted(sequence=sequence, payload=payload)

    def answer(self, request: worker_pb2.ScoreAnswer, incoming: Incoming | None = None) -> worker_pb2.Scored:
        """Takes how an item ended; scores its clip if that was the last one of it that was missing."""
        clip = self._clip_of.get(request.sequence)
        query_id = request.query_id
        if clip is None or query_id in clip.scored or request.sequence in clip.answers.get(query_id, {}):
            unknown = worker_pb2.ScoredItem(
                sequence=request.sequence, query_id=query_id, error="the truth of this item is no longer known"
            )
            return worker_pb2.Scored(items=[unknown])
        outputs = dict(request.outputs)
        if incoming is not None:
            # Copied: they may wait for the rest of their clip, and each mapping would keep a descriptor.
            outputs.update({name: bytes(incoming.segment(segment)) for name, segment in request.segments.items()})
        clip.answers.setdefault(query_id, {})[request.sequence] = outputs
        clip.readers = max(1, request.readers)
        if len(clip.answers[query_id]) < self._clip:
            return worker_pb2.Scored()
        found = self._score(clip, query_id)
        if len(clip.scored) >= clip.readers:
            self._forget(clip)
        return worker_pb2.Scored(items=found)

    def score_rest(self) -> worker_pb2.Scored:
        """Scores what there is of every clip; what is still on its way counts as unanswered."""
        items = [
            item
            for clip in self._clips
            for query_id in sorted(clip.answers.keys() - clip.scored)
            for item in self._score(clip, query_id)
        ]
        for clip in tuple(self._clips):
            self._forget(clip)
        return worker_pb2.Scored(items=items)

    def _score(self, clip: _Clip, query_id: str) -> list[worker_pb2.ScoredItem]:
        """The clip's score for each of a query's items that ended; it has none any more."""
        answers = clip.answers.pop(query_id)
        clip.scored.add(query_id)
        found = worker_pb2.ScoredItem(query_id=query_id)
        if self._scorer is not None and any(answers.values()):
            try:
                outputs = [decode_inputs(answers.get(sequence, {})) for sequence in clip.truths]
                score_ratio = float(self._scorer.score_clip(outputs, list(clip.truths.values())))
            except Exception as error:  # the scorer is the bundle's code, and the answer may be anything
                found.error = describe(error)
            else:
                if isfinite(score_ratio):
                    found.score_ratio = min(1.0, max(0.0, score_ratio))
                else:
                    found.error = f"a score of {score_ratio} is not in 0..1"
        items = []
        for sequence in answers:
            item = worker_pb2.ScoredItem(sequence=sequence)
            item.MergeFrom(found)
            items.append(item)
        return items

    def _forget(self, clip: _Clip) -> None:
        self._clips.remove(clip)
        for sequence in clip.truths:
            del self._clip_of[sequence]


def serve(config: worker_pb2.WorkerConfig, link: AgentLink) -> None:
    """Loads source and scorer, makes the first item and answers until the agent says stop."""
    # Items are made ahead, so operators may go first on a busy machine.
    os.nice(_NICE)
    process = SourceProcess(
        load(config.entry_point)(config.content, config.seed),
        load(config.scorer_entry_point)() if config.scorer_entry_point else None,
        max(1, config.clip),
    )
    process.make()
    send_ready(link)
    while True:
        while process.wants_to_make() and not _asked(link):
            process.make()
        request = link.receive()
        kind = request.WhichOneof("message")
        if kind == "emit":
            outgoing = Outgoing(request.emit.sharing)
            emitted = process.emit(request.emit.sequence, outgoing)
            link.send(worker_pb2.WorkerReply(emitted=emitted), outgoing)
        elif kind == "score":
            scored = process.answer(request.score, link.incoming)
            link.incoming.close()
            link.send(worker_pb2.WorkerReply(scored=scored))
        elif kind == "score_rest":
            link.send(worker_pb2.WorkerReply(scored=process.score_rest()))
        elif kind == "stop":
            return
        else:
            raise ValueError(f"a source's process can't serve a request of kind {kind}")


def _asked(link: AgentLink) -> bool:
    readable, _, _ = select.select([link], [], [], 0)
    return bool(readable)


if __name__ == "__main__":
    sys.exit(run_process(serve))
