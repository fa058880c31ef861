"""A collector for tests: takes OTLP over HTTP and keeps the spans, each with the device that sent it."""

import asyncio
from contextlib import asynccontextmanager

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Receiver:
    def __init__(self):
        self.spans = []
        self.address = ""
        self.status = 200

    def traces(self):
        """The (device, span) pairs of each trace."""
        found = {}
        for device, span in self.spans:
            found.setdefault(span.trace_id, []).append((device, span))
        return found

    async def serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length"))
            body = await reader.readexactly(length)
            assert head.startswith("post /v1/traces ")
            assert "content-type: application/x-protobuf" in head
            if self.status == 200:
                self.take(ExportTraceServiceRequest.FromString(body))
            writer.write(f"HTTP/1.1 {self.status} told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            await writer.drain()
        finally:
            writer.close()

    def take(self, request):
        for of_device in request.resource_spans:
            resource = {one.key: one.value.string_value for one in of_device.resource.attributes}
            for scope in of_device.scope_spans:
                self.spans += [(resource["circinus.device"], span) for span in scope.spans]


@asynccontextmanager
async def receiving():
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.address = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield receiver
    finally:
        server.close()
        await server.wait_closed()


def attributes_of(span):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}
