"""What one who is known, or was, might try against the identity, and what must not come of it."""

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_fleet import Box, FakeClock, enrolled, office, outcomes, renew

from circinus.errors import InvalidInput, NotAllowed, NotKnown, TooLarge
from circinus.v1 import identity_pb2
from cloud_planner.identity import certificates

# Bytes of the object identifiers of ECDSA with SHA-256, of elliptic curve keys, and of P-256.
_SIGNATURE, _KEY, _CURVE = "06082a8648ce3d040302", "06072a8648ce3d0201", "06082a8648ce3d030107"


@pytest.mark.parametrize("known", [_SIGNATURE, _KEY, _CURVE])
def test_a_request_with_an_algorithm_that_nobody_knows_is_a_wrong_request(known):
    unknown = bytes.fromhex(known[:-2] + "77")
    with pytest.raises(InvalidInput):
        certificates.read_csr(Box().csr.replace(bytes.fromhex(known), unknown))


_REQUEST = Box().csr


@given(st.lists(st.tuples(st.integers(0, len(_REQUEST) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_whatever_the_bytes_are_a_request_is_read_or_refused(changes):
    data = bytearray(_REQUEST)
    for place, value in changes:
        data[place] = value
    with contextlib.suppress(InvalidInput):
        certificates.read_csr(bytes(data))


async def test_a_proof_over_more_than_a_request_is_none(tmp_path):
    async with office(tmp_path) as found:
        box = await enrolled(found)
        request, _ = box.renewal()
        with pytest.raises(NotKnown):
            await found.registrar.renew(request.certificate, bytes(1_000_000), request.proof, "peer")


async def test_a_box_that_renews_again_and_again_does_not_fill_the_log(tmp_path):
    clock = FakeClock()
    async with office(tmp_path, clock) as found:
        box, other = await enrolled(found), await enrolled(found, "box-2")
        for _ in range(100):
            await renew(found, box)
        with pytest.raises(TooLarge):
            await renew(found, box)
        assert await outcomes(found, "renew") == ["done"] * 100 + ["TooLarge"]
        await renew(found, other)
        clock.move(hours=12)
        await renew(found, box)


async def test_a_renewal_by_an_older_certificate_is_told(tmp_path):
    async with office(tmp_path) as found:
        box = await enrolled(found)
        stolen = Box()
        stolen.key, stolen.certificate = box.key, box.certificate
        await renew(found, box)
        await renew(found, box)
        await renew(found, stolen)
        details = [entry.detail for entry, _ in await found.log.entries(0, 100) if entry.action == "renew"]
        assert ["before the last" in detail for detail in details] == [False, False, True]


async def test_nobody_has_the_refusals_of_others_left_out(tmp_path):
    async with office(tmp_path) as found:
        for number in range(1_000):
            await found.log.refused("device:box-1", "Connect", f"made-up-{number}", NotAllowed("no"))
        await found.log.refused("device:box-2", "directive", "generation 1.1", "Forged")
        assert await outcomes(found, "directive") == ["Forged"]
        assert len(await outcomes(found, "Connect")) == 200


@contextlib.asynccontextmanager
async def watched(found, monkeypatch):
    """The planner's own watch over the file, which has seen it as it is."""
    looks, seen, data_version = [], asyncio.Event(), found.store.data_version

    async def look():
        looks.append(await data_version())
        if len(looks) > 1:
            seen.set()
        return looks[-1]

    with monkeypatch.context() as patch:
        patch.setattr(found.store, "data_version", look)
        watching = asyncio.create_task(found.standing.watch(lambda: None))
        try:
            async with asyncio.timeout(10):
                await seen.wait()
                yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


async def until_refused(check):
    async with asyncio.timeout(5):
        while True:
            try:
                check()
            except NotKnown:
                return
            await asyncio.sleep(0.02)


async def test_a_revocation_counts_though_its_caller_hung_up_at_the_last_moment(tmp_path, monkeypatch):
    async with office(tmp_path) as found:
        box = await enrolled(found)
        leaf = certificates.read_leaf(box.certificate, found.authority.root)
        connection = found.store._connection
        execute = connection.execute

        def cut_off(statement, *rest):
            if statement == "COMMIT":
                asyncio.current_task().cancel()
            return execute(statement, *rest)

        async with watched(found, monkeypatch):
            with monkeypatch.context() as patch:
                patch.setattr(connection, "execute", cut_off)
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.create_task(found.registrar.revoke("box-1", "stolen", "person:ann"))
            assert await outcomes(found, "RevokeDevice") == ["done"]
            await until_refused(lambda: found.standing.check_device(leaf.holder, leaf.ends_at))


async def test_a_person_is_removed_though_their_admin_hung_up_at_the_last_moment(tmp_path, monkeypatch):
    async with office(tmp_path) as found:
        await found.people.create("eve", identity_pb2.ROLE_ADMIN, 3600.0, b"", "local:test")
        refresh = found.standing.refresh

        async def cut_off():
            asyncio.current_task().cancel()
            await refresh()

        async with watched(found, monkeypatch):
            with monkeypatch.context() as patch:
                patch.setattr(found.standing, "refresh", cut_off)
                with pytest.raises(asyncio.CancelledError):
                    await asyncio.create_task(found.people.remove("eve", "person:ann"))
            await until_refused(lambda: found.standing.check_role("eve", identity_pb2.ROLE_ADMIN))


async def test_a_reason_is_one_line_where_people_read_it(tmp_path):
    async with office(tmp_path) as found:
        await enrolled(found)
        await found.registrar.revoke("box-1", "lost\n\x1b[2Jand found", "person:ann")
        (one,) = await found.registrar.identities()
        assert one.revoked_why.isprintable()


async def test_a_folder_of_state_that_is_made_is_for_its_owner_only(tmp_path):
    async with office(tmp_path / "new" / "state"):
        assert (tmp_path / "new" / "state").stat().st_mode & 0o077 == 0
