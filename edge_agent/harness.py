"""What each serving process does around its operator or source: start, load, report, die with its agent.

Runs in the bundle's environment, so it imports protobuf and the standard library only (no grpc, no psutil).
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from circinus.operator import KnobValue
from circinus.v1 import types_pb2, worker_pb2
from edge_agent.framing import read_frame, write_frame
from edge_agent.isolation.orders import obey
from edge_agent.local_payloads import Incoming, Outgoing
from edge_agent.memory_files import FileSocket

#: Longest text about an error that goes to the agent.
MAX_ERROR_CHARS = 500
_NO_NETWORK = "; no network here: an operator has it only if pipeline.yaml says network: true"


class AgentLink:
    """A process's connection to its agent: messages, and the files of shared memory that come and go with them."""

    def __init__(self, connection: socket.socket, files: FileSocket | None = None) -> None:
        self._connection = connection
        self._files = files
        #: What came with the last request.
        self.incoming = Incoming()

    def fileno(self) -> int:
        """For select: readable when a request waits."""
        return self._connection.fileno()

    def receive(self) -> worker_pb2.WorkerRequest:
        """Waits for the agent's next request."""
        self.incoming.close()
        request = worker_pb2.WorkerRequest.FromString(read_frame(self._connection))
        if request.files:
            if self._files is None:
                raise ValueError("files were announced, but this process has no socket for them")
            self.incoming = Incoming(self._files.receive(request.files))
        return request

    def send(self, reply: worker_pb2.WorkerReply, outgoing: Outgoing | None = None) -> None:
        """Sends a reply, and closes the files that go with it."""
        if outgoing is not None and outgoing.files:
            if self._files is None:
                raise ValueError("this process has no socket for files")
            reply.files = len(outgoing.files)
            self._files.send(outgoing.files)
            outgoing.close()
        write_frame(self._connection, reply.SerializeToString())


def run_process(serve: Callable[[worker_pb2.WorkerConfig, AgentLink], None]) -> int:
    """Reads the configuration that the command line names, connects to the agent and serves until it says stop.

    Returns the exit code. A failure to start is told to the agent, in a word, and to standard error, in full.
    """
    try:
        obey()
    except (OSError, ValueError) as error:
        print(f"the process can't be isolated: {error}", file=sys.stderr)
        return 1
    # Ctrl-C in the agent's terminal is the agent's business: it tells its processes to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config = worker_pb2.WorkerConfig.FromString(Path(sys.argv[1]).read_bytes())
    sys.path.insert(0, config.bundle_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(config.socket_path)
        files = _file_socket(config.files_fd) if config.files_fd else None
        try:
            serve(config, AgentLink(connection, files))
        except (EOFError, ConnectionError):
            return 0  # the agent is gone or let go of us: nobody is left to serve
        except Exception as error:
            traceback.print_exc()
            reply = worker_pb2.WorkerReply(failed=worker_pb2.WorkerFailed(reason=describe(error)))
            with contextlib.suppress(OSError):
                write_frame(connection, reply.SerializeToString())
            return 1
    return 0


def _file_socket(inherited: int) -> FileSocket:
    os.set_inheritable(inherited, False)  # not for what the operator starts
    return FileSocket(socket.socket(fileno=inherited))


def load(entry_point: str) -> Any:
    """The class that "module:Class" names.

    Raises:
        ValueError: the text isn't of that form, or the module has no such class.
        ImportError: the module can't be imported.
    """
    module_name, colon, class_name = entry_point.partition(":")
    if not (module_name and colon and class_name):
        raise ValueError(f"entry point {entry_point!r} is not MODULE:CLASS")
    module = importlib.import_module(module_name)
    try:
        return getattr(module, class_name)
    except AttributeError:
        raise ValueError(f"entry point {entry_point!r}: module {module_name} has no {class_name}") from None


def knob_values(messages: Mapping[str, types_pb2.KnobValue]) -> dict[str, KnobValue]:
    """Knobs as the operator gets them."""
    values: dict[str, KnobValue] = {}
    for name, message in messages.items():
        kind = message.WhichOneof("kind")
        if kind is None:
            raise ValueError(f"knob {name!r} has no value")
        values[name] = getattr(message, kind)
    return values


def send_ready(link: AgentLink) -> None:
    """Tells the agent that the process can serve."""
    ready = worker_pb2.WorkerReady(pid=os.getpid(), memory_bytes=resident_bytes())
    link.send(worker_pb2.WorkerReply(ready=ready))


def resident_bytes() -> int:
    """Resident memory of this process; 0 where the kernel doesn't say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def describe(error: BaseException) -> str:
    """An error in one line: its type, its text and where in the bundle it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    where = (_NO_NETWORK if _lacks_network(error) else "") + where
    text = f"{type(error).__name__}: {error}"
    return text[: MAX_ERROR_CHARS - len(where)] + where


def _lacks_network(error: BaseException | None) -> bool:
    """Whether an error may come of it that this process may open no socket to elsewhere, and it may not."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno == errno.EPERM:
            try:
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
            except PermissionError:
                return True
            except OSError:
                return False
            return False
        error = error.__cause__ or error.__context__
    return False


def private_output() -> IO[bytes]:
    """What was standard output, for messages alone; whatever operators print goes to standard error."""
    sys.stdout.flush()
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return pipe
