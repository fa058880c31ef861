"""Who may read the planner's figures, where it does not listen on loopback alone."""

import asyncio
import os
import ssl
from datetime import UTC, datetime

import pytest
from identity_fleet import FakeClock, enrolled, office

from circinus.channel import PLANNER_NAME
from circinus.metrics_server import MetricsServer
from circinus.v1 import identity_pb2
from cloud_planner.metrics.serving import _guard


async def status(address, context, bearer=""):
    """The status of a scrape; 0: it is hung up on."""
    host, port = address.split(":")
    told = f"Authorization: Bearer {bearer}\r\n" if bearer else ""
    try:
        reader, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=PLANNER_NAME)
        writer.write(f"GET /metrics HTTP/1.1\r\nHost: x\r\n{told}\r\n".encode())
        answer = await reader.read()
        writer.close()
    except (ConnectionError, ssl.SSLError):
        return 0
    return int(answer.split()[1]) if answer else 0


def caller(root, certificate="", key=""):
    context = ssl.create_default_context(cadata=root)
    if certificate:
        file = os.memfd_create("pair")
        os.write(file, (key + certificate).encode())
        context.load_cert_chain(f"/proc/self/fd/{file}")
        os.close(file)
    return context


@pytest.mark.slow
async def test_people_are_let_in_by_certificate_or_token_and_nobody_else(tmp_path, monkeypatch):
    # As if the address were another one than this machine's own.
    monkeypatch.setattr("circinus.metrics_server.channel.is_loopback", lambda address: False)
    async with office(tmp_path, FakeClock(datetime.now(UTC))) as found:
        viewer = identity_pb2.ROLE_VIEWER
        token = (await found.create_person_here("scraper", viewer, "test", "x:1", bearer=True)).named("scraper").token
        person = (await found.create_person_here("alex", viewer, "test", "x:1")).named("alex")
        box = await enrolled(found)
        root = found.authority.root_pem.decode()
        server = MetricsServer(lambda: (), guard=_guard(found))
        async with server.listening("127.0.0.1:0") as address:
            assert await status(address, caller(root)) == 401
            assert await status(address, caller(root), token + "x") == 401
            assert await status(address, caller(root), token) == 200
            assert await status(address, caller(root, person.certificate, person.key)) == 200
            tls = box.tls
            assert await status(address, caller(root, tls.certificate.decode(), tls.key.decode())) == 403
            await found.people.remove("alex", "test")
            assert await status(address, caller(root, person.certificate, person.key)) == 401
            answers = [await status(address, caller(root), "circp.nobody.guess") for _ in range(30)]
            # After so many the token is not even looked at.
            assert (answers[0], answers[-1]) == (401, 403)
    assert server.served == 2
