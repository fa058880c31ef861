"""Brings spans to a collector: OTLP over HTTP, in batches, and never at the cost of anything else.

One request at a time, each bounded in time and size. A collector that is away is asked again ever more rarely, and what
there is no room for meanwhile is dropped and counted: an agent without its collector is an agent without traces.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from random import Random

from circinus.clock import Clock
from circinus.errors import CircinusError, NotAllowed, Unreachable
from circinus.events import event, warning
from circinus.retry import Backoff
from edge_agent.tracing.context import Attribute
from edge_agent.tracing.otlp import request_of
from edge_agent.tracing.settings import TracesConfig, target_of
from edge_agent.tracing.tracer import Tracer

#: Encoding so many takes a few milliseconds of the event loop.
_BATCH = 256
_FLUSH_S = 1.0
_TIMEOUT_S = 5.0
_FIRST_RETRY_S, _MAX_RETRY_S = 1.0, 60.0
_MAX_HEAD_BYTES = 16 * 1024
#: What may be tried again, as OTLP says; all else is the collector's last word.
_AGAIN = frozenset({429, 502, 503, 504})


class Exporter:
    """The way of one device's spans. ``resource`` says which device that is."""

    def __init__(
        self, settings: TracesConfig, tracer: Tracer, resource: Mapping[str, Attribute], *, clock: Clock, rng: Random
    ) -> None:
        self._settings = settings
        self._tracer = tracer
        self._resource = resource
        self._clock = clock
        self._backoff = Backoff(_FIRST_RETRY_S, _MAX_RETRY_S, rng)
        self._context: ssl.SSLContext | None = None
        #: Spans that the collector has taken, and why it can't be told now; empty: it can.
        self.sent = 0
        self.trouble = ""

    async def run(self) -> None:
        """Sends what waits until it is cancelled."""
        while True:
            await self._clock.sleep(_FLUSH_S)
            while len(self._tracer):
                if (wait_s := await self.attempt()) > 0.0:
                    await self._clock.sleep(wait_s)

    async def attempt(self) -> float:
        """Sends one batch; gives how long to wait before the next one."""
        batch = self._tracer.take(_BATCH)
        try:
            await self._post(request_of(batch, self._resource))
        except NotAllowed as error:
            # The same batch would be refused again.
            self._tracer.lost(len(batch))
            self._say(error.message)
            return self._backoff.next_s()
        except (CircinusError, OSError, TimeoutError, EOFError, ValueError) as error:
            self._tracer.put_back(batch)
            self._say(str(error) or "it does not answer")
            return self._backoff.next_s()
        self.sent += len(batch)
        self._backoff.reset()
        self._say("")
        return 0.0

    def _say(self, trouble: str) -> None:
        if bool(trouble) != bool(self.trouble):
            if trouble:
                warning("traces_not_sent", endpoint=self._settings.endpoint, reason=trouble)
            else:
                event("traces_sent_again", endpoint=self._settings.endpoint, dropped=self._tracer.dropped)
        self.trouble = trouble

    async def _post(self, body: bytes) -> None:
        """Raises Unreachable for what may be tried again, NotAllowed for what may not."""
        target = target_of(self._settings.endpoint)
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(
                    target.host.strip("[]"),
                    target.port,
                    ssl=self._tls() if target.secure else None,
                    limit=_MAX_HEAD_BYTES,
                )
                head = (
                    f"POST {target.path} HTTP/1.1\r\nHost: {target.host}:{target.port}\r\n"
                    "Content-Type: application/x-protobuf\r\n"
                    f"Content-Length: {len(body)}\r\nUser-Agent: circinus\r\nConnection: close\r\n\r\n"
                )
                writer.write(head.encode() + body)
                await writer.drain()
                status = _status(await reader.readuntil(b"\r\n"))
        except asyncio.LimitOverrunError as error:
            raise Unreachable("what answers is no collector") from error
        finally:
            if writer is not None:
                writer.transport.abort()
        if status in _AGAIN:
            raise Unreachable(f"the collector answers {status}")
        if not 200 <= status < 300:
            raise NotAllowed(f"the collector answers {status}: is {target.path} its path for traces?")

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            ca_file = self._settings.ca_file
            self._context = ssl.create_default_context(cafile=str(ca_file) if ca_file is not None else None)
        return self._context


def _status(line: bytes) -> int:
    words = line.split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise Unreachable("what answers is no web server")
    return int(words[1])


__all__ = ["Exporter"]
