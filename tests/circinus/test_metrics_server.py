"""The web server of one page: what it answers, what it refuses, what it bounds."""

import asyncio
import contextlib
import os
import socket
import ssl
from contextlib import asynccontextmanager

import pytest
from tls_authority import Authority

from circinus.errors import InvalidInput, NotAllowed, NotKnown, Unreachable
from circinus.exposition import Kind, Metric, by
from circinus.metrics_server import Guard, MetricsServer, check_listen

DEPTH = Metric(name="circinus_test_depth", kind=Kind.GAUGE, text="How deep.", labels=("query",))
GET = b"GET /metrics HTTP/1.1\r\nHost: localhost:1\r\n"


def families():
    yield by(DEPTH, {"a": 1})


@asynccontextmanager
async def serving(made=families, **how):
    server = MetricsServer(made, **how)
    async with server.listening("127.0.0.1:0") as address:
        yield server, address


async def ask(address, head, context=None):
    """The status and the body that a request gets; 0: it is hung up on."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(
        host, int(port), ssl=context, server_hostname="box" if context else None
    )
    try:
        writer.write(head + b"\r\n")
        async with asyncio.timeout(10.0):
            answer = await reader.read()
    except (ConnectionError, ssl.SSLError):
        return 0, b""
    finally:
        writer.close()
    told, _, body = answer.partition(b"\r\n\r\n")
    return int(told.split()[1]) if told else 0, body


async def test_the_page_is_served_once_a_connection_and_counted():
    async with serving() as (server, address):
        status, body = await ask(address, GET)
        assert (status, server.served, server.refused) == (200, 1, 0)
    assert b'circinus_test_depth{query="a"} 1\n' in body
    assert body.endswith(b"circinus_metrics_cut 0\n")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"HEAD /metrics HTTP/1.1\r\n", 200),
        (b"GET /metrics?x=1 HTTP/1.0\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: [::1]:7480\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n", 200),
        (b"GET /metrics HTTP/1.1\r\nHost: evil.example:7480\r\n", 403),
        (b"GET / HTTP/1.1\r\n", 404),
        (b"GET /metrics/../../etc/passwd HTTP/1.1\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n", 405),
        (b"GET /metrics\r\n", 405),
        (b"\x00\xff nonsense\r\n", 405),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n", 0),
    ],
)
async def test_anything_but_a_get_of_the_page_is_refused(head, status):
    async with serving() as (server, address):
        got, body = await ask(address, head)
        assert got == status
        assert server.served + server.refused == 1
        # The next one is served all the same.
        assert (await ask(address, GET))[0] == 200
    assert body == b"" or not head.startswith(b"HEAD ")


async def test_whoever_says_nothing_does_not_keep_others_from_the_page():
    async with serving() as (server, address):
        host, port = address.split(":")
        silent = [await asyncio.open_connection(host, int(port)) for _ in range(15)]
        assert (await ask(address, GET))[0] == 200
        silent.append(await asyncio.open_connection(host, int(port)))
        # One more than there may be is hung up on at once.
        assert (await ask(address, GET))[0] == 0
        for _, writer in silent:
            writer.close()
        assert server.refused >= 1


@pytest.mark.parametrize("turns", range(6))
async def test_one_that_comes_as_the_server_ends_is_hung_up_on(turns):
    async with serving() as (_, address):
        host, port = address.split(":")
        late = socket.create_connection((host, int(port)))
        for _ in range(turns):
            await asyncio.sleep(0)
    with late:
        late.settimeout(5.0)
        with contextlib.suppress(ConnectionResetError):
            assert (await asyncio.to_thread(late.recv, 1)) == b""


async def test_a_page_that_is_too_large_is_cut_and_says_so():
    def many():
        yield by(DEPTH, {str(number): number for number in range(5_000)})

    async with serving(many, max_bytes=50_000) as (_, address):
        status, body = await ask(address, GET)
    assert status == 200
    assert len(body) < 50_200
    assert body.endswith(b"circinus_metrics_cut 1\n")
    assert all(line.startswith(b"#") or line.count(b" ") == 1 for line in body.splitlines())


async def test_others_take_their_turns_while_a_large_page_is_made():
    turns = 0

    async def other():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def many():
        yield by(DEPTH, {str(number): number for number in range(20_000)})

    async with serving(many) as (_, address):
        task = asyncio.create_task(other())
        before = turns
        assert (await ask(address, GET))[0] == 200
        task.cancel()
    assert turns - before >= 100


async def test_without_an_identity_only_loopback_is_listened_on():
    with pytest.raises(InvalidInput, match="not on loopback"):
        async with MetricsServer(families).listening("0.0.0.0:0"):
            pass
    with pytest.raises(InvalidInput, match="on loopback only"):
        check_listen("192.0.2.1:7480", secured=False)
    check_listen("192.0.2.1:7480", secured=True)


async def test_a_port_that_is_taken_is_said():
    async with serving() as (_, address):
        with pytest.raises(Unreachable, match=address):
            async with MetricsServer(families).listening(address):
                pass


async def test_beyond_loopback_there_is_tls_and_who_comes_is_asked(monkeypatch):
    authority = Authority()
    shown = []

    def admit(guest):
        shown.append((guest.bearer, guest.names))
        if not guest.bearer:
            raise NotKnown("who are you?")
        if guest.bearer != "right":
            raise NotAllowed("not you")

    # As if the address were another one than this machine's own.
    monkeypatch.setattr("circinus.metrics_server.channel.is_loopback", lambda address: False)
    guard = Guard(context=lambda: server_context(authority), admit=admit)
    async with serving(guard=guard) as (server, address):
        client = ssl.create_default_context(cadata=authority.root.decode())
        assert (await ask(address, GET, client))[0] == 401
        assert (await ask(address, GET + b"Authorization: Bearer wrong\r\n", client))[0] == 403
        status, body = await ask(address, GET + b"authorization: bearer right\r\n", client)
        assert (status, b"circinus_test_depth" in body) == (200, True)
        assert (await ask(address, GET))[0] == 0  # in the clear
        load(client, authority.pair("person-1"))
        await ask(address, GET, client)
    assert shown[-1] == ("", ("person-1",))
    assert server.served == 1


def server_context(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(cadata=authority.root.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    load(context, authority.pair("box"))
    return context


def load(context, pair):
    file = os.memfd_create("pair")
    os.write(file, pair.key + pair.certificate)
    context.load_cert_chain(f"/proc/self/fd/{file}")
    os.close(file)
