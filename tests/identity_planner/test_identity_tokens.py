import asyncio
import logging
from datetime import timedelta

import pytest
from identity_fleet import Box, FakeClock, enrolled, office, outcomes, token_for

from circinus.errors import AlreadyExists, BadToken, InvalidInput, NotFound, TokenUsed, TooLarge, WrongAuthority
from cloud_planner.identity import tokens
from cloud_planner.identity.certificates import read_leaf
from cloud_planner.identity.limiter import FailureLimiter, peer_name


async def enrol(found, token, name="box-1", labels=(), peer="peer"):
    return await found.registrar.enrol(token, name, Box(name).csr, dict(labels), peer)


async def test_a_token_gives_a_certificate_for_its_device(tmp_path):
    async with office(tmp_path) as found:
        leaf = read_leaf(await enrol(found, await token_for(found)), found.authority.root)
        assert (leaf.holder.name, leaf.holder.kind) == ("box-1", "device")
        found.standing.check_device(leaf.holder, leaf.ends_at)
        assert await outcomes(found, "enrol") == ["done"]


@pytest.mark.slow
async def test_of_a_thousand_enrolments_with_one_token_one_wins(tmp_path):
    async with office(tmp_path) as found:
        token, csr = await token_for(found), Box().csr
        results = await asyncio.gather(
            *(found.registrar.enrol(token, "box-1", csr, {}, f"peer-{number}") for number in range(1000)),
            return_exceptions=True,
        )
        assert sum(isinstance(one, bytes) for one in results) == 1
        assert sum(isinstance(one, TokenUsed) for one in results) == 999
        assert (await outcomes(found, "enrol")).count("done") == 1
        assert len(await found.registrar.identities()) == 1


@pytest.mark.slow
async def test_two_planner_processes_on_one_file_still_have_one_winner(tmp_path):
    async with office(tmp_path) as found, office(tmp_path) as beside:
        token = await token_for(found)
        both = [one for _ in range(20) for one in (found, beside)]
        results = await asyncio.gather(*(enrol(one, token) for one in both), return_exceptions=True)
        assert sum(isinstance(one, bytes) for one in results) == 1


async def test_a_replayed_enrolment_is_refused_and_in_the_log(tmp_path):
    async with office(tmp_path) as found:
        token, csr = await token_for(found), Box().csr
        await found.registrar.enrol(token, "box-1", csr, {}, "peer")
        with pytest.raises(TokenUsed):
            await found.registrar.enrol(token, "box-1", csr, {}, "peer")
        assert await outcomes(found, "enrol") == ["done", "TokenUsed"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-1],
        lambda text: text.replace("circ1", "circ2"),
        lambda text: ".".join([*text.split(".")[:2], "A" * 43, text.split(".")[3]]),
        lambda text: ".".join(["circ1", "0" * 16, *text.split(".")[2:]]),
        lambda text: "",
        lambda text: "x" * 5000,
    ],
)
async def test_what_is_no_token_of_this_planner_is_refused(tmp_path, damage):
    async with office(tmp_path) as found:
        token = await token_for(found)
        with pytest.raises(BadToken) as error:
            await enrol(found, damage(token))
        assert token.split(".")[2] not in str(error.value)
        assert await outcomes(found, "enrol") == ["BadToken"]


async def test_a_token_of_another_planner_is_of_another_authority(tmp_path):
    async with office(tmp_path / "a") as found, office(tmp_path / "b") as other:
        with pytest.raises(WrongAuthority):
            await enrol(found, await token_for(other))
        assert await outcomes(found, "enrol") == ["WrongAuthority"]


async def test_a_token_ends(tmp_path):
    clock = FakeClock()
    async with office(tmp_path, clock) as found:
        token = await token_for(found, ttl_s=60.0)
        clock.move(seconds=61)
        with pytest.raises(BadToken, match="ended"):
            await enrol(found, token)


async def test_a_token_is_for_its_device_only(tmp_path):
    async with office(tmp_path) as found:
        token = await token_for(found)
        with pytest.raises(BadToken, match="another device"):
            await enrol(found, token, "box-2")
        await enrol(found, token)


async def test_a_token_for_labels_is_for_new_devices_that_have_them(tmp_path):
    async with office(tmp_path) as found:
        token = await token_for(found, "", labels={"shop": "7"})
        for labels in ({}, {"shop": "8"}):
            with pytest.raises(BadToken, match="other labels"):
                await enrol(found, token, "box-7", labels)
        await enrol(found, token, "box-7", {"shop": "7", "more": "x"})
        assert found.standing.enrolment("box-7").labels == {"shop": "7"}
        # Who has only labels must not take over what is there.
        again = await token_for(found, "", labels={"shop": "7"})
        with pytest.raises(BadToken, match="enrolled already"):
            await enrol(found, again, "box-7", {"shop": "7"})


async def test_enrolling_anew_ends_the_older_enrolment(tmp_path):
    async with office(tmp_path) as found:
        before = await enrolled(found)
        after = await enrolled(found)
        old, new = (read_leaf(box.certificate, found.authority.root) for box in (before, after))
        found.standing.check_device(new.holder, new.ends_at)
        with pytest.raises(Exception, match="newer enrolment"):
            found.standing.check_device(old.holder, old.ends_at)
        assert [one.device_id for one in await found.registrar.identities()] == ["box-1"]


async def test_names_that_differ_in_case_only_are_one_name(tmp_path):
    async with office(tmp_path) as found:
        await enrolled(found, "box-1")
        with pytest.raises(AlreadyExists):
            await enrolled(found, "BOX-1")


@pytest.mark.parametrize(
    "name", ["planner.circinus", "directives.circinus", "x.Circinus", "*", "a b", "a" * 64, "", "../x", "a/b", ".a"]
)
async def test_names_that_are_the_planners_or_no_names_are_refused(tmp_path, name):
    async with office(tmp_path) as found:
        token = await token_for(found, "", labels={"shop": "7"})
        with pytest.raises(InvalidInput):
            await found.registrar.enrol(token, name, Box().csr, {"shop": "7"}, "peer")
        if name:
            with pytest.raises(InvalidInput):
                await token_for(found, name)


async def test_a_token_that_was_removed_is_worth_nothing(tmp_path):
    async with office(tmp_path) as found:
        token = await token_for(found)
        await found.registrar.remove_token(token.split(".")[1], "local:test")
        with pytest.raises(BadToken):
            await enrol(found, token)
        with pytest.raises(NotFound):
            await found.registrar.remove_token(token.split(".")[1], "local:test")


@pytest.mark.parametrize("csr", [b"", b"nonsense", b"0" * 100_000])
async def test_a_bad_request_does_not_use_the_token_up(tmp_path, csr):
    async with office(tmp_path) as found:
        token = await token_for(found)
        with pytest.raises(InvalidInput):
            await found.registrar.enrol(token, "box-1", csr, {}, "peer")
        await enrol(found, token)


async def test_secrets_are_long_hashed_and_nowhere_else(tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "circinus")
    async with office(tmp_path) as found:
        token = await token_for(found)
        person = await found.people.create("ann", 1, 60.0, b"", "local:test")
        secrets = [token.split(".")[2], person.bearer.split(".")[2]]
        with pytest.raises(BadToken):
            await enrol(found, token, "box-2")
    assert all(len(secret) * 6 >= 128 for secret in secrets)
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in secrets:
        assert secret.encode() not in files
        assert secret not in caplog.text
        assert secret not in repr(person)


def test_spans_are_read():
    assert [tokens.span_s(text) for text in ("90", "90s", "30m", "1h", "1.5d")] == [90, 90, 1800, 3600, 129600]
    for text in ("", "h", "1w", "-1h", "1h30m"):
        with pytest.raises(InvalidInput):
            tokens.span_s(text)


async def test_the_time_of_a_token_has_bounds(tmp_path):
    async with office(tmp_path) as found:
        for ttl_s in (0.0, -1.0, timedelta(days=31).total_seconds()):
            with pytest.raises(InvalidInput):
                await token_for(found, ttl_s=ttl_s)
        with pytest.raises(InvalidInput):
            await token_for(found, "")


def test_who_fails_too_often_waits():
    clock = FakeClock()
    limiter = FailureLimiter(clock, burst=5, each_s=3.0)
    for _ in range(5):
        limiter.check("a")
        limiter.failed("a")
    with pytest.raises(TooLarge):
        limiter.check("a")
    limiter.check("b")
    clock.move(seconds=3)
    limiter.check("a")
    limiter.failed("a")
    with pytest.raises(TooLarge):
        limiter.check("a")


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("ipv4:10.0.0.7:4711", "10.0.0.7"),
        ("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:4711", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:10.0.0.7]:4711", "10.0.0.7"),
        ("unix:/x", "unix:/x"),
    ],
)
def test_failures_are_counted_for_an_address(peer, name):
    assert peer_name(peer) == name
