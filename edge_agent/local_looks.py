"""Logs on the box itself, without a planner: `edge-agent logs` asks the agent over a socket in its state folder.

Whoever can read the state folder may read the logs: they show that by a key that the agent leaves there at its start.
Operators can't, where the box can hide the folder from them, though a socket alone would be open to them. Addressed by
way of the folder's descriptor, since a socket's path holds 107 bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Protocol

from google.protobuf.message import DecodeError

from circinus.errors import NotAllowed, NotFound, Unreachable
from circinus.events import warning
from circinus.v1 import control_pb2
from edge_agent.framing import header_of, receive_frame
from edge_agent.tasks import TaskSet

_SOCKET, _KEY = "looks", "looks-key"
_ASK_WITHIN_S = 5.0
#: Half of what a look waits for a sign of whoever looks.
_SIGN_S = 5.0
#: People at a time.
_MOST = 4
_CREDIT = 4


class Looker(Protocol):
    """What begins looks: see looks.py."""

    def take(self, message: control_pb2.ConnectResponse) -> None:
        """What whoever looks says."""

    async def stop(self) -> None:
        """Ends its looks."""


#: Makes what begins looks, of who gets what they show.
Make = Callable[[Callable[[control_pb2.ConnectRequest], None]], Looker]


@contextlib.asynccontextmanager
async def listening(state_dir: Path, make: Make) -> AsyncIterator[None]:
    """Answers who asks on the box; where the folder can't be written, nobody is answered."""
    key = secrets.token_hex(32)
    conversations = TaskSet()

    def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if conversations.count >= _MOST:
            writer.close()
        else:
            conversations.spawn(_served(reader, writer, key, make), name="look from here")

    try:
        with _place(state_dir) as place:
            for name in (_SOCKET, _KEY):
                (state_dir / name).unlink(missing_ok=True)
            _write_key(state_dir / _KEY, key)
            server = await asyncio.start_unix_server(on_connection, place)
            os.chmod(state_dir / _SOCKET, stat.S_IRUSR | stat.S_IWUSR)
    except OSError as error:
        warning("local_logs_not_served", reason=error)
        yield
        return
    try:
        yield
    finally:
        server.close()
        await conversations.stop()
        for name in (_SOCKET, _KEY):
            with contextlib.suppress(OSError):
                (state_dir / name).unlink()


async def _served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str, make: Make) -> None:
    try:
        await _converse(reader, writer, key, make)
    except (OSError, EOFError, ValueError, DecodeError, TimeoutError):
        pass  # it has gone, or is no friend
    finally:
        writer.close()


async def _converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str, make: Make) -> None:
    async with asyncio.timeout(_ASK_WITHIN_S):
        shown = await reader.readexactly(len(key))
        if not hmac.compare_digest(shown, key.encode()):
            return
        request = control_pb2.LookRequest.FromString(await receive_frame(reader))
    request.credit = _CREDIT
    # As many as there is credit for, an empty one and the last one.
    chunks: asyncio.Queue[control_pb2.LookChunk] = asyncio.Queue(_CREDIT + 4)
    looker = make(lambda message: chunks.put_nowait(message.look_chunk))
    gone = asyncio.create_task(reader.read(1))
    try:
        looker.take(control_pb2.ConnectResponse(look=request))
        while not gone.done():
            try:
                async with asyncio.timeout(_SIGN_S):
                    chunk = await chunks.get()
            except TimeoutError:
                looker.take(_credit(request.id, 0))
                continue
            data = chunk.SerializeToString()
            writer.write(header_of(data) + data)
            await writer.drain()
            if chunk.ended:
                return
            looker.take(_credit(request.id, 1))
    finally:
        gone.cancel()
        await asyncio.wait((gone,))
        await looker.stop()


def _credit(identity: str, chunks: int) -> control_pb2.ConnectResponse:
    return control_pb2.ConnectResponse(look_credit=control_pb2.LookCredit(id=identity, chunks=chunks))


async def ask(state_dir: Path, wanted: control_pb2.LogsWanted) -> AsyncIterator[control_pb2.LookChunk]:
    """What an agent on this box shows of its logs.

    Raises:
        Unreachable: no agent runs on this state folder.
        NotAllowed: this user may not read it.
    """
    try:
        key = (state_dir / _KEY).read_bytes()
        with _place(state_dir) as place:
            reader, writer = await asyncio.open_unix_connection(place)
    except (FileNotFoundError, ConnectionError) as error:
        raise Unreachable(f"no agent runs on {state_dir}: `edge-agent run --config FILE` starts one") from error
    except PermissionError as error:
        raise NotAllowed(
            f"{state_dir} is another user's: ask as the user that the agent runs as, or as root"
        ) from error
    try:
        request = control_pb2.LookRequest(id="here", logs=wanted).SerializeToString()
        writer.write(key + header_of(request) + request)
        await writer.drain()
        while True:
            chunk = control_pb2.LookChunk.FromString(await receive_frame(reader))
            yield chunk
            if chunk.ended:
                if chunk.error:
                    raise NotFound(chunk.why)
                return
    except (EOFError, ConnectionError) as error:
        raise Unreachable("the agent has ended, or too many look already") from error
    finally:
        writer.close()


@contextlib.contextmanager
def _place(state_dir: Path) -> Iterator[str]:
    """The socket's path, short however deep the folder is."""
    folder = os.open(state_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{_SOCKET}"
    finally:
        os.close(folder)


def _write_key(path: Path, key: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key)
