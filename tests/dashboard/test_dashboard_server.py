"""How the dashboard's web server ends."""

import asyncio
import contextlib
import socket

import pytest
import uvicorn

from cloud_planner.dashboard.server import _Server


async def nothing(scope, receive, send):
    raise AssertionError("nobody asks anything")


@pytest.mark.slow
@pytest.mark.parametrize("turns", range(4))
async def test_one_that_comes_as_the_server_ends_is_hung_up_on(turns):
    config = uvicorn.Config(nothing, lifespan="off", log_config=None, timeout_graceful_shutdown=1)
    config.load()
    server = _Server(config)
    server.lifespan = config.lifespan_class(config)
    listening = socket.create_server(("127.0.0.1", 0))
    await server.startup([listening])
    with socket.create_connection(listening.getsockname()) as late:
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.shutdown([listening])
        late.settimeout(5.0)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(late.recv, 1) == b""
