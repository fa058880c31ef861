"""The other side of ``solver_process.LimitedProcess``: runs functions on values, within a memory limit.

``python -m cloud_planner.solver_worker PIPE LIFELINE``, both file descriptors. It ends with its parent, whatever it is
doing: the kernel signals the end of the lifeline.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import resource
import select
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

#: First field of what is answered: the function runs, it gave a value, it ran out of memory, it raised.
BEGUN, GAVE, NO_MEMORY, RAISED = "begun", "gave", "no memory", "raised"


def _die_with_parent(lifeline: int) -> None:
    """Has the kernel end this process when the other end of the lifeline is closed; C code can't hold it up."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    # It may have been closed before.
    if select.select([lifeline], [], [], 0.0)[0]:
        os._exit(1)


def _limit(memory_bytes: int | None) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = hard if memory_bytes is None else memory_bytes
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _run(connection: Connection, memory_bytes: int | None, packed: bytes) -> tuple[str, Any]:
    try:
        _limit(memory_bytes)
        function, value = pickle.loads(packed)
        connection.send((BEGUN, None))
        return GAVE, function(value)
    except MemoryError as error:
        return NO_MEMORY, str(error)
    except Exception as error:  # whatever a function raises is told; the process goes on
        return RAISED, f"{type(error).__name__}: {error}"
    finally:
        _limit(None)


def serve(connection: Connection) -> None:
    """Tasks in, answers out, until the pipe breaks."""
    sys.path[:] = connection.recv()
    while True:
        try:
            memory_bytes, packed = connection.recv()
        except (EOFError, OSError):
            return
        answer = _run(connection, memory_bytes, packed)
        try:
            connection.send(answer)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            connection.send((RAISED, f"its answer can't be sent: {error}"))


def main() -> None:
    """The process."""
    # Ctrl-C goes to the whole foreground group; whoever asks says when to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe, lifeline = (int(argument) for argument in sys.argv[1:3])
    _die_with_parent(lifeline)
    serve(Connection(pipe))


if __name__ == "__main__":
    main()
