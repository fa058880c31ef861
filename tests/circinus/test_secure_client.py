"""The client with certificates and tokens: whom it trusts, and what it says when a connection does not come about."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import grpc
import pytest
from fake_admin import BEARER, NOT_ADMIN, Served, serve_all
from fake_planner import FakePlanner
from tls_authority import Authority

from circinus.admin import Role
from circinus.channel import Tls
from circinus.client import Client
from circinus.contexts import Bearer
from circinus.errors import CircinusError, IdentityOver, InvalidInput, NotAllowed, NotKnown, Unreachable, WrongAuthority
from circinus.tls_probe import Fault, probe, span
from circinus.v1 import planner_pb2_grpc

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def other() -> Authority:
    return Authority()


@pytest.fixture
def served(authority: Authority) -> Iterator[Served]:
    found = serve_all(authority)
    yield found
    found.stop()


async def status(address: str, credentials: Tls | Bearer | None) -> str:
    async with Client(address, credentials=credentials, call_timeout_s=10.0) as client:
        return (await client.status()).version


async def refusal(address: str, credentials: Tls | Bearer | None, kind: type[CircinusError]) -> str:
    with pytest.raises(kind) as caught:
        await status(address, credentials)
    assert type(caught.value) is kind
    return caught.value.message


async def test_a_certificate_opens_the_one_port_and_a_token_the_other(served: Served, authority: Authority) -> None:
    assert await status(served.mutual, authority.tls("ann")) == "0.1.0"
    assert await status(served.bearer, Bearer(root=authority.root, token=BEARER)) == "0.1.0"
    assert await status(served.clear, None) == "0.1.0"


async def test_a_token_goes_with_streams_and_uploads_too(served: Served, authority: Authority) -> None:
    async with Client(served.bearer, credentials=Bearer(root=authority.root, token=BEARER)) as client:
        assert [one.activity async for one in client.watch_progress()][-1] == "idle"
        assert (await client.upload(b"blob")).startswith("sha256:")
        await client.admin.tokens()
    assert served.admin.bearers == [f"Bearer {BEARER}"]


async def test_a_wrong_token_is_refused_by_name(served: Served, authority: Authority) -> None:
    assert "circinus context add" in await refusal(served.bearer, Bearer(root=authority.root, token="no"), NotKnown)


async def test_a_planner_of_another_root_is_not_told_a_token(
    served: Served, authority: Authority, other: Authority
) -> None:
    said = await refusal(served.bearer, Bearer(root=other.root, token=BEARER), WrongAuthority)
    assert "another root" in said
    assert "context add" in said
    assert await refusal(served.mutual, other.tls("ann"), WrongAuthority)


async def test_a_token_at_the_port_for_certificates_is_sent_to_the_other_one(
    served: Served, authority: Authority
) -> None:
    assert "other port" in await refusal(served.mutual, Bearer(root=authority.root, token=BEARER), NotKnown)


async def test_a_certificate_that_is_over_is_known_before_anybody_is_asked(authority: Authority) -> None:
    said = await refusal("127.0.0.1:1", authority.tls("ann", from_days=-40, to_days=-10), IdentityOver)
    assert "ended 10 days ago" in said
    said = await refusal("127.0.0.1:1", authority.tls("ann", from_days=365, to_days=400), IdentityOver)
    assert "clock" in said


async def test_a_certificate_that_the_planner_does_not_take_is_named(
    served: Served, authority: Authority, other: Authority
) -> None:
    stranger = other.pair("ann")
    mixed = Tls(root=authority.root, certificate=stranger.certificate, key=stranger.key)
    assert "does not take this certificate" in await refusal(served.mutual, mixed, NotKnown)
    unpaired = Tls(root=authority.root, certificate=authority.pair("ann").certificate, key=stranger.key)
    assert "not of one another" in await refusal(served.mutual, unpaired, InvalidInput)


async def test_a_certificate_that_is_none_is_bad_input(authority: Authority) -> None:
    broken = Tls(root=authority.root, certificate=b"-----BEGIN CERTIFICATE-----\nAA\n", key=b"")
    assert "can't be read" in await refusal("127.0.0.1:1", broken, InvalidInput)


async def test_the_clear_and_tls_tell_each_other_apart(served: Served, authority: Authority) -> None:
    assert "leave --insecure-loopback out" in await refusal(served.mutual, None, Unreachable)
    assert "leave --insecure-loopback out" in await refusal(served.bearer, None, Unreachable)
    assert "does not speak TLS" in await refusal(served.clear, authority.tls("ann"), Unreachable)


async def test_a_clock_that_is_off_by_a_year_is_named_as_clock(authority: Authority) -> None:
    for dates in ({"from_days": -400, "to_days": -365}, {"from_days": 365, "to_days": 400}):
        pair = authority.pair(**dates)
        server = grpc.server(ThreadPoolExecutor(max_workers=1))
        planner_pb2_grpc.add_PlannerServiceServicer_to_server(FakePlanner(), server)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(pair.key, pair.certificate)]))
        server.start()
        try:
            bearer = Bearer(root=authority.root, token=BEARER)
            said = await refusal(f"127.0.0.1:{port}", bearer, WrongAuthority)
        finally:
            server.stop(None).wait()
        assert "by this machine's clock" in said
        assert "by 365 days" in said
        assert "set the clock right" in said


async def test_a_port_that_says_nothing_and_a_name_without_an_address_are_told_apart(authority: Authority) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert probe(address, root=authority.root, timeout_s=0.2).fault is Fault.SILENT
    assert probe(address, root=authority.root).fault is Fault.REFUSED
    assert probe("no-such-host.invalid:7400", root=authority.root).fault is Fault.NO_ADDRESS
    assert "start one" in await refusal(address, Bearer(root=authority.root, token=BEARER), Unreachable)


async def test_a_role_that_does_not_suffice_is_said_with_whom_to_ask(served: Served, authority: Authority) -> None:
    served.admin.refusal = NOT_ADMIN
    async with Client(served.mutual, credentials=authority.tls("ann")) as client:
        with pytest.raises(NotAllowed, match="ask an admin"):
            await client.admin.revoke("camera-1", "stolen")


async def test_an_admin_makes_people_with_certificates(served: Served, authority: Authority) -> None:
    from circinus.cli.person import new_key

    async with Client(served.mutual, credentials=authority.tls("root-ann")) as client:
        issued = await client.admin.create_person("bob", Role.VIEWER, csr=new_key("bob")[1])
        assert (issued.about.role, issued.token) == ("viewer", "")
        assert issued.certificate
        assert [person.name for person in await client.admin.people()] == ["bob"]


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (timedelta(seconds=7), "7 s"),
        (timedelta(minutes=1), "1 minutes"),
        (timedelta(hours=30), "30 hours"),
        (timedelta(days=365), "365 days"),
        (timedelta(days=-800), "2.2 years"),
    ],
)
def test_lengths_of_time_are_told_in_their_largest_unit(length: timedelta, expected: str) -> None:
    assert span(length) == expected
