"""Serves the dashboard in the planner's own event loop."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from circinus.events import event, warning
from circinus.server_end import accept_no_more
from cloud_planner.dashboard.app import Dashboard
from cloud_planner.dashboard.assets import Assets
from cloud_planner.dashboard.desk import Desk
from cloud_planner.dashboard.entrance import Entrance
from cloud_planner.dashboard.live import Hub
from cloud_planner.dashboard.pages import pages
from cloud_planner.dashboard.templating import Templates
from cloud_planner.identity.authority import Authority
from cloud_planner.overview import Overview
from cloud_planner.services.planner import PlannerService

#: Connections at a time, streams included.
_MOST_CONNECTIONS = 200
_MOST_HEADER_BYTES = 16 * 1024
_KEEP_ALIVE_S = 20


class _Server(uvicorn.Server):
    """One that leaves signals to the planner, and no connection open."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does nothing."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends all connections; those too, in a while, that came in the very moment or don't take their answer."""
        try:
            await accept_no_more(*self.servers)
            await super().shutdown(sockets)
        finally:
            for connection in tuple(self.server_state.connections):
                connection.transport.abort()


@asynccontextmanager
async def serving(
    listening: socket.socket, overview: Overview, service: PlannerService, tasks: asyncio.TaskGroup
) -> AsyncIterator[str]:
    """The dashboard, at work; gives its address, as http://HOST:PORT or https://HOST:PORT.

    Its tasks are among ``tasks``.
    """
    found = pages()
    assets = Assets()
    desk = Desk(overview, service, Templates(assets.addresses))
    parts = [part for page in found for part in page.parts]
    hub = Hub(desk, parts, overview.clock, (overview.watched, overview.chronicle.written))
    navigation = [(page.title, page.path) for page in found if page.path]
    dashboard = Dashboard(desk, Entrance(overview.office, navigation), found, hub, assets)
    server = _Server(_config(dashboard, overview))
    live = tasks.create_task(_alone(hub.run()), name="dashboard live parts")
    trying = tasks.create_task(_alone(desk.try_outs.run()), name="dashboard what-ifs")
    served = tasks.create_task(_alone(server.serve(sockets=[listening])), name="dashboard")
    scheme = "http" if overview.office is None else "https"
    host, port = listening.getsockname()[:2]
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    event("dashboard_at", address=address)
    try:
        yield address
    finally:
        hub.close()
        server.should_exit = True
        await served
        live.cancel()
        trying.cancel()
        await desk.close()


async def _alone(work: Coroutine[Any, Any, None]) -> None:
    """Does something whose end is nobody else's: without a dashboard the planner plans on."""
    try:
        await work
    except Exception as error:
        warning("dashboard_ended", reason=f"{type(error).__name__}: {error}")


def _config(dashboard: Dashboard, overview: Overview) -> uvicorn.Config:
    office = overview.office
    config = uvicorn.Config(
        dashboard.asgi,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=_MOST_HEADER_BYTES,
        ssl_context_factory=None if office is None else lambda _, __: _context(office.authority),
    )
    config.load()
    return config


def _context(authority: Authority) -> ssl.SSLContext:
    """For connections: each gets the planner's certificate as it is then."""
    known: dict[bytes, ssl.SSLContext] = {}

    def newest() -> ssl.SSLContext:
        key, chain = authority.server_pair()
        if chain not in known:
            known.clear()
            known[chain] = _loaded(key, chain)
        return known[chain]

    def chosen(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = newest()

    context = _loaded(*authority.server_pair())
    context.sni_callback = chosen
    return context


def _loaded(key: bytes, chain: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # Python reads keys from files only; this one has never been on a disk.
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key + chain)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context


__all__ = ["serving"]
