"""The process of a source that reads what the device has: a file, a folder, a camera, a microphone.

It is ready at once, whether what it reads is there or not: a camera that is unplugged must hold up no plan. What is
wrong is told with every item that is asked for, and tried again with a growing pause.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from circinus.model.pipeline import Feed as FeedSpec
from circinus.model.pipeline import FeedKind
from circinus.model.query import scheme_of
from circinus.operator import Payload
from circinus.payload import pieces
from circinus.v1 import types_pb2, worker_pb2
from edge_agent.feeds.access import Access, NotOpened
from edge_agent.feeds.feed import DirectoryFeed, Feed, FileFeed, NoFeed, OpenItems
from edge_agent.harness import MAX_ERROR_CHARS, AgentLink, describe, run_process, send_ready
from edge_agent.local_payloads import Outgoing

_NICE = 5
#: How long an answer that there is nothing is held back: it is asked for again at once.
_IDLE_S = 0.2
_KINDS = {
    types_pb2.FEED_KIND_IMAGE: FeedKind.IMAGE,
    types_pb2.FEED_KIND_AUDIO: FeedKind.AUDIO,
    types_pb2.FEED_KIND_BYTES: FeedKind.BYTES,
}
_FIRST_PAUSE_S = 0.5
_MAX_PAUSE_S = 30.0
#: Larger files are no items: the data plane would refuse them.
_MAX_FILE_BYTES = 64 * 1024 * 1024

WAITING = "nothing yet"
ENDED = "it has come to its end"


class FeedProcess:
    """A feed behind the requests of the agent: an item, or why there is none."""

    def __init__(self, feed: Feed, number_field: str = "", *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._feed = feed
        self._number_field = number_field
        self._now_s = now_s
        self._made = 0
        self._failure = ""
        self._pause_s = 0.0
        self._retry_at_s = 0.0

    def emit(self, sequence: int, outgoing: Outgoing | None = None) -> worker_pb2.Emitted:
        """The next item, or why there is none."""
        if self._now_s() < self._retry_at_s:
            return worker_pb2.Emitted(sequence=sequence, nothing=WAITING, failure=self._failure)
        try:
            item = self._feed.next()
        except Exception as error:  # of the machine, the file or its decoder: it is tried again
            self._failure = (str(error) if isinstance(error, NotOpened) else describe(error))[:MAX_ERROR_CHARS]
            self._pause_s = min(_MAX_PAUSE_S, max(_FIRST_PAUSE_S, 2 * self._pause_s))
            self._retry_at_s = self._now_s() + self._pause_s
            return worker_pb2.Emitted(sequence=sequence, nothing=WAITING, failure=self._failure)
        trouble = self._feed.trouble[:MAX_ERROR_CHARS]
        if item is None:
            nothing = ENDED if self._feed.ended else WAITING
            return worker_pb2.Emitted(sequence=sequence, nothing=nothing, failure=trouble)
        self._failure, self._pause_s = "", 0.0
        payload = {**item, self._number_field: self._made} if self._number_field else item
        self._made += 1
        emitted = worker_pb2.Emitted(sequence=sequence, failure=trouble)
        place = None if outgoing is None else outgoing.put(pieces(payload))
        if place is not None and place.HasField("segment"):
            emitted.segment.CopyFrom(place.segment)
        else:
            emitted.payload = b"".join(pieces(payload)) if place is None else place.inline
        return emitted


def open_feed(query_input: str, spec: FeedSpec, access: Access) -> Feed:
    """The feed that an input names. Nothing of it is opened yet.

    Raises:
        ValueError: it names none.
    """
    try:
        return _open_feed(query_input, spec, access)
    except ImportError as error:
        what = "opencv-python-headless and numpy" if spec.kind is FeedKind.IMAGE else "numpy"
        return NoFeed(f"{query_input}: the pipeline's environment lacks what reads it ({error}): it needs {what}")


def _open_feed(query_input: str, spec: FeedSpec, access: Access) -> Feed:
    scheme, name = scheme_of(query_input), query_input.partition(":")[2]
    if scheme == "camera":
        from edge_agent.feeds.images import CameraFeed, Images

        return CameraFeed(name, access, Images(spec))
    if scheme == "microphone":
        from edge_agent.feeds.sounds import MicrophoneFeed, Sounds

        return MicrophoneFeed(name, access, Sounds(spec), spec.chunk_ms)
    if scheme == "file":
        return FileFeed(name, access, _opener(spec))
    if scheme == "directory":
        return DirectoryFeed(name, access, _opener(spec))
    raise ValueError(f"input {query_input!r} is nothing that an agent can read")


def _opener(spec: FeedSpec) -> OpenItems:
    if spec.kind is FeedKind.IMAGE:
        from edge_agent.feeds.images import Images

        return Images(spec)
    if spec.kind is FeedKind.AUDIO:
        from edge_agent.feeds.sounds import Sounds

        return Sounds(spec)

    def whole(path: Path) -> Iterator[Payload]:
        with path.open("rb") as opened:
            data = opened.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise NotOpened(f"{path}: more than {_MAX_FILE_BYTES:,} bytes are no item")
        return iter([{spec.field: data}])

    return whole


def spec_of(message: types_pb2.Feed) -> FeedSpec:
    """The feed in a message that the agent has checked; circinus.wire needs more than a bundle's environment has."""
    return FeedSpec(
        kind=_KINDS[message.kind],
        field=message.field,
        form=message.form,
        number_field=message.number_field,
        rate_hz=message.rate_hz,
        rate_field=message.rate_field,
        chunk_ms=message.chunk_ms,
        channels=message.channels,
    )


def serve(config: worker_pb2.WorkerConfig, link: AgentLink) -> None:
    """Gives items until the agent says stop."""
    os.nice(_NICE)
    spec = spec_of(config.feed)
    access = Access(folders=tuple(config.folders), cameras=tuple(config.cameras))
    process = FeedProcess(open_feed(config.input, spec, access), spec.number_field)
    # These have waited for a frame or a chunk before they say that there is none.
    waits = scheme_of(config.input) in ("camera", "microphone")
    send_ready(link)
    while True:
        request = link.receive()
        kind = request.WhichOneof("message")
        if kind == "emit":
            outgoing = Outgoing(request.emit.sharing)
            emitted = process.emit(request.emit.sequence, outgoing)
            if emitted.nothing and (emitted.failure or not waits):
                time.sleep(_IDLE_S)
            link.send(worker_pb2.WorkerReply(emitted=emitted), outgoing)
        elif kind in ("score", "score_rest"):
            # What is read has no truth.
            link.send(worker_pb2.WorkerReply(scored=worker_pb2.Scored()))
        elif kind == "stop":
            return
        else:
            raise ValueError(f"a feed's process can't serve a request of kind {kind}")


if __name__ == "__main__":
    sys.exit(run_process(serve))
