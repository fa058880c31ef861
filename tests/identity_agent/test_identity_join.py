from __future__ import annotations

from datetime import timedelta

import pytest
from identity_fakes import DAY, Enrolment, Root, SetClock, enrolling

from circinus.errors import BadToken, NotKnown, TokenUsed, Unreachable, WrongAuthority
from edge_agent.identity.enrolment import join, read_token, renew
from edge_agent.identity.keys import ends_of

pytestmark = pytest.mark.slow
YEAR = timedelta(days=365)


async def joined(root: Root, address: str, token: str = "", clock: SetClock | None = None, **labels: str):
    return await join("box-1", read_token(token or root.token()), address, labels, clock or SetClock())


async def test_a_box_joins_for_a_token(root: Root):
    enrolment = Enrolment(root, root.token())
    async with enrolling(enrolment) as address:
        found = await joined(root, address, where="shop")
    assert found.control_address == ":7400"
    assert found.identity.root == root.pem
    ends = await ends_of(found.identity.certificate, root.pem)
    assert (ends.name, ends.by_root) == ("box-1", True)
    assert enrolment.labels == {"where": "shop"}


async def test_a_token_is_good_once(root: Root):
    async with enrolling(Enrolment(root, root.token())) as address:
        await joined(root, address)
        with pytest.raises(TokenUsed, match="used before"):
            await joined(root, address)


async def test_an_unknown_token_is_refused(root: Root):
    async with enrolling(Enrolment(root)) as address:
        with pytest.raises(BadToken, match="no such token"):
            await joined(root, address)


@pytest.mark.parametrize("text", ["", "circ1.a.b", "circ2.one.two." + "0" * 64, "circ1.one.two." + "0" * 63])
def test_what_is_no_token_is_not_even_sent(text):
    with pytest.raises(BadToken, match="circ1.ID.SECRET.CAHASH"):
        read_token(text)


def test_a_token_may_end_in_a_line_and_is_in_no_message(root: Root):
    token = read_token(root.token() + "\n")
    assert token.text == root.token()
    assert token.text not in repr(token)


async def test_a_planner_of_another_root_is_not_joined_and_sees_no_token(root: Root, other_root: Root):
    enrolment = Enrolment(other_root, root.token())
    async with enrolling(enrolment) as address:
        with pytest.raises(WrongAuthority, match="not the planner that the token is of"):
            await joined(root, address)
    assert enrolment.tokens == {root.token(): False}


async def test_who_shows_the_right_root_but_has_no_certificate_by_it_sees_no_token(root: Root, other_root: Root):
    enrolment = Enrolment(other_root, root.token())
    between = Root.__new__(Root)
    between.__dict__.update(other_root.__dict__, pem=root.pem)
    async with enrolling(enrolment, shows=between) as address:
        with pytest.raises(WrongAuthority, match="another root"):
            await joined(root, address)
    assert enrolment.tokens == {root.token(): False}


async def test_nobody_there_is_said_with_what_to_do(root: Root):
    with pytest.raises(Unreachable, match="--enrol-listen"):
        await joined(root, "127.0.0.1:1")


@pytest.mark.parametrize(("begins", "ends", "said"), [(YEAR, YEAR + DAY, "before"), (-YEAR - DAY, -YEAR, "after")])
async def test_a_clock_that_is_a_year_off_is_named(root: Root, begins, ends, said):
    # What this machine's clock says is a year away from what the planner's allowed.
    async with enrolling(Enrolment(root, root.token()), begins=begins, ends=ends) as address:
        with pytest.raises(Unreachable, match=rf"this box's clock says .* 36\d days {said}.*set the clock"):
            await joined(root, address)


async def test_a_renewal_gives_another_key(root: Root):
    async with enrolling(Enrolment(root)) as address:
        last = root.tls("box-1")
        made = await renew("box-1", last, address, SetClock())
        assert made.key != last.key
        assert (await ends_of(made.certificate, root.pem)).name == "box-1"
        # And that one renews, too.
        await renew("box-1", made, address, SetClock())


async def test_a_certificate_that_is_over_is_renewed_by_its_key(root: Root):
    async with enrolling(Enrolment(root)) as address:
        over = root.tls("box-1", begins=-31 * DAY, ends=-30 * DAY)
        made = await renew("box-1", over, address, SetClock())
        assert (await ends_of(made.certificate)).ends_at > SetClock().now()


async def test_a_renewal_without_the_right_key_is_refused(root: Root):
    async with enrolling(Enrolment(root)) as address:
        one, another = root.tls("box-1"), root.tls("box-1")
        stolen = type(one)(root=one.root, certificate=one.certificate, key=another.key)
        with pytest.raises(NotKnown, match="no proof"):
            await renew("box-1", stolen, address, SetClock())
