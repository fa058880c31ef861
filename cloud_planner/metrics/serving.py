"""Where the planner's figures are served: in the clear on loopback, anywhere else with TLS and to people only."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from circinus.errors import CircinusError, NotAllowed, NotKnown
from circinus.event_counts import EventCounts
from circinus.metrics_server import Guard, Guest, MetricsServer
from cloud_planner.identity.authority import Authority
from cloud_planner.identity.certificates import HolderKind, read_pem_leaf
from cloud_planner.identity.office import IdentityOffice
from cloud_planner.metrics.planner_page import PlannerPage
from cloud_planner.overview import Overview

#: The sum of this field is told: how long plannings took.
_SUMMED = {"planned": "elapsed_s"}


@asynccontextmanager
async def serving_metrics(listen: str, most_queries: int, overview: Overview) -> AsyncIterator[str]:
    """Serves the planner's figures at an address; gives where it does. Empty: nowhere.

    Raises:
        InvalidInput: it is no address, or one beyond loopback without an identity.
        Unreachable: the port is taken.
    """
    if not listen:
        yield ""
        return
    events = EventCounts(_SUMMED)
    page = PlannerPage(overview, overview.totals, events, most_queries=most_queries)
    server = MetricsServer(page.families, guard=_guard(overview.office) if overview.office is not None else None)
    page.scrapes = lambda: (server.served, server.refused)
    with events.listening():
        async with server.listening(listen) as address:
            overview.totals.on = True
            working = asyncio.create_task(page.run(), name="metrics")
            try:
                yield address
            finally:
                overview.totals.on = False
                working.cancel()
                await asyncio.gather(working, return_exceptions=True)


def _guard(office: IdentityOffice) -> Guard:
    return Guard(context=lambda: _context(office.authority), admit=lambda guest: admit(office, guest))


def admit(office: IdentityOffice, guest: Guest) -> None:
    """Lets in people, by certificate or bearer token, whatever their role: it is a viewer's at least.

    Raises:
        NotKnown, IdentityOver, TooLarge: they can't say who they are, or tried too often.
        NotAllowed: it is a device.
    """
    if guest.certificate:
        leaf = read_pem_leaf(ssl.DER_cert_to_PEM_cert(guest.certificate).encode(), office.authority.root)
        if leaf.holder.kind is not HolderKind.PERSON:
            raise NotAllowed("metrics of the planner are for people: make a viewer for your Prometheus")
        office.standing.check_person(leaf.holder, leaf.ends_at)
        return
    if not guest.bearer:
        raise NotKnown("show a person's certificate or bearer token: `cloud-planner person create` makes both")
    office.failures.check(guest.peer)
    try:
        office.standing.check_bearer(guest.bearer)
    except CircinusError:
        office.failures.failed(guest.peer)
        raise


def _context(authority: Authority) -> ssl.SSLContext:
    """For connections: each gets the planner's certificate as it is then. Certificates of callers are welcome."""
    known: dict[bytes, ssl.SSLContext] = {}

    def newest() -> ssl.SSLContext:
        key, chain = authority.server_pair()
        if chain not in known:
            known.clear()
            known[chain] = _loaded(key, chain, authority.root_pem)
        return known[chain]

    def chosen(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = newest()

    context = newest()
    # What is published says that it is of a socket; in a loop it is of an object.
    context.sni_callback = chosen
    return context


def _loaded(key: bytes, chain: bytes, root: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=root.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    # Python reads keys from files only; this one has never been on a disk.
    descriptor = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key + chain)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    return context


__all__ = ["admit", "serving_metrics"]
