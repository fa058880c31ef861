"""The process that works profile requests off, in the bundle's environment, until the agent lets go of it.

Started as ``python -m edge_agent.profile_process CONFIG.json``. Requests, and that one is called off, come as
length-prefixed messages on what was standard input, in the words that the planner uses; what it finds goes to the
agent as it is found, on what was standard output. What operators print goes to standard error. It has no grpc: only
protobuf and what the operators need.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from circinus.v1 import control_pb2
from edge_agent.framing import header_of
from edge_agent.harness import describe, private_output
from edge_agent.isolation.orders import obey
from edge_agent.profile_config import ProfileConfig
from edge_agent.profile_watch import Watch
from edge_agent.profile_work import MemoryWork, SampleWork, report

_NICE = 5
#: What goes before a message: see framing.
_HEADER_BYTES = len(header_of(b""))


class Inbox:
    """The agent's requests. Read in a thread of its own, so that a run sees in time that it is called off."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._requests: queue.SimpleQueue[control_pb2.ProfileRequest | None] = queue.SimpleQueue()
        # Requests are worked off one by one, so that one id is enough.
        self._called_off = ""
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def called_off(self, request_id: str) -> bool:
        """Whether the agent doesn't want a request any more."""
        return request_id == self._called_off

    def __iter__(self) -> Iterator[control_pb2.ProfileRequest]:
        while (request := self._requests.get()) is not None:
            yield request

    def _read(self) -> None:
        while header := self._pipe.read(_HEADER_BYTES):
            message = control_pb2.ConnectResponse.FromString(self._pipe.read(int.from_bytes(header, "big")))
            if message.WhichOneof("message") == "cancel_profile":
                self._called_off = message.cancel_profile.id
            else:
                self._requests.put(message.profile)
        self._requests.put(None)


def _private_input() -> IO[bytes]:
    """What was standard input, for messages alone; operators find nothing there."""
    pipe = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return pipe


def main() -> int:
    """Works off what comes, for the bundle and the content that the command line's file names."""
    try:
        obey()
    except (OSError, ValueError) as error:
        print(f"the process can't be isolated: {error}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Serving comes first.
    os.nice(_NICE)
    config = ProfileConfig.read(Path(sys.argv[1]))
    sys.path.insert(0, str(config.bundle))
    inbox = Inbox(_private_input())
    with private_output() as pipe:
        lock = threading.Lock()

        def emit(message: control_pb2.ConnectRequest) -> None:
            data = message.SerializeToString()
            with lock:
                pipe.write(header_of(data) + data)
                pipe.flush()

        def last_word(reason: str) -> None:
            # Of no request: the process ends with it.
            emit(report("", [], done=True, error=reason))
            os._exit(1)

        # The memory probe forks, and has a watch of its own in each child.
        watch = Watch(None if config.memory else config.note, last_word)
        try:
            if config.memory:
                work: MemoryWork | SampleWork = MemoryWork(config, emit, inbox.called_off)
            else:
                work = SampleWork(config, emit, inbox.called_off, watch)
            for request in inbox:
                work.run(request)
                watch.forget()
            work.close()
        except Exception as fault:
            last_word(describe(fault))
        watch.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
