"""The end of an asyncio server that leaves no socket open."""

from __future__ import annotations

import asyncio


async def accept_no_more(*servers: asyncio.Server) -> None:
    """Has servers accept no connection any more, and lets those be made that were accepted; call it before ``close``.

    What is accepted in the turn before ``close`` finds no server to belong to, and its socket stays open (Python 3.11).
    """
    loop = asyncio.get_running_loop()
    for server in servers:
        for listening in server.sockets:
            loop.remove_reader(listening.fileno())
    # One turn accepts, the next one makes the connection.
    for _ in range(2):
        await asyncio.sleep(0)
