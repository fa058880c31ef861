import asyncio
import tempfile
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_fleet import FakeClock, enrolled, office, renew

from circinus.errors import IdentityOver, NotKnown, Revoked
from circinus.v1 import identity_pb2
from cloud_planner.doors import _next
from cloud_planner.identity.certificates import read_leaf
from cloud_planner.identity.office import advertised, dialled
from cloud_planner.services.roles import Least

DEVICES = ("box-1", "box-2")
LIFE, GRACE = timedelta(days=1), timedelta(days=90)
STEPS = st.one_of(
    st.tuples(st.just("enrol"), st.sampled_from(DEVICES)),
    st.tuples(st.just("renew"), st.integers(0, 9)),
    st.tuples(st.just("revoke"), st.sampled_from(DEVICES)),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("clock"), st.sampled_from([-400, -1, 0.4, 0.9, 1, 30, 89.9, 91])),
)


async def follow(steps):
    """Holds every certificate that there ever was against what was done, after each step."""
    clock, boxes, stands = FakeClock(), [], {}
    with tempfile.TemporaryDirectory() as folder:
        for step, value in [*steps, ("restart", None)]:
            # Each step by a planner that knows only the file.
            async with office(folder, clock) as found:
                if step == "enrol":
                    box = await enrolled(found, value)
                    boxes.append(box)
                    stands[value] = box
                elif step == "revoke" and value in stands:
                    await found.registrar.revoke(value, "", "local:test")
                    stands[value] = None
                elif step == "clock":
                    clock.at += timedelta(days=value)
                elif step == "renew" and boxes:
                    await try_to_renew(found, boxes[value % len(boxes)], stands)
                for box in boxes:
                    check(found, box, stands)
                assert await found.log.broken_at() == 0


async def try_to_renew(found, box, stands):
    ends_at = read_leaf(box.certificate, found.authority.root).ends_at
    allowed = stands[box.name] is box and found.clock.now() <= ends_at + GRACE
    try:
        await renew(found, box)
        assert allowed
    except (Revoked, IdentityOver):
        assert not allowed


def check(found, box, stands):
    leaf = read_leaf(box.certificate, found.authority.root)
    allowed = stands[box.name] is box and found.clock.now() <= leaf.ends_at
    try:
        found.standing.check_device(leaf.holder, leaf.ends_at)
        assert allowed
    except (NotKnown, IdentityOver):
        assert not allowed


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, max_size=10))
def test_a_certificate_stands_if_it_is_of_the_last_enrolment_unrevoked_and_in_time(steps):
    asyncio.run(follow(steps))


def test_a_persons_role_is_the_least_of_its_name():
    for least in (Least.VIEWER, Least.OPERATOR, Least.ADMIN):
        assert least == identity_pb2.Role.Value(f"ROLE_{least.name}")
    assert all(number < Least.DEVICE for number in identity_pb2.Role.values())


@pytest.mark.parametrize(
    ("address", "port_after", "found_at", "told"),
    [
        ("127.0.0.1:7400", "127.0.0.1:7401", "127.0.0.1:7400", "127.0.0.1:7400"),
        ("0.0.0.0:7400", "0.0.0.0:7401", "127.0.0.1:7400", ":7400"),
        ("[::]:7400", "[::]:7401", "[::1]:7400", ":7400"),
        ("planner.example:0", "planner.example:0", "planner.example:0", "planner.example:0"),
    ],
)
def test_addresses_are_those_that_can_be_dialled(address, port_after, found_at, told):
    assert (_next(address), dialled(address), advertised(address)) == (port_after, found_at, told)
