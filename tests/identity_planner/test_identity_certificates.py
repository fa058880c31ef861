import os
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from identity_fleet import Box, FakeClock, enrolled, office, outcomes, renew, token_for

from circinus.errors import BadToken, IdentityOver, InvalidInput, NotFound, NotKnown, Revoked, WrongAuthority
from circinus.v1 import types_pb2
from cloud_planner.identity import certificates
from cloud_planner.identity.authority import Authority
from cloud_planner.identity.certificates import DIRECTIVE_CONTEXT, SIGNER_NAME, Holder, HolderKind, read_leaf


def leaf_of(found, box):
    return read_leaf(box.certificate, found.authority.root)


async def test_a_devices_certificate_names_it_and_serves_both_ways(tmp_path):
    async with office(tmp_path) as found:
        box = await enrolled(found)
        read = x509.load_der_x509_certificate(box.certificate)
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == ["box-1"]
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["circinus:device/box-1"]
        uses = read.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert {use._name for use in uses} == {"clientAuth", "serverAuth"}
        assert not read.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert read.public_key() == box.key.public_key()


async def test_renewals_keep_the_lineage_and_change_key_and_serial(tmp_path):
    clock = FakeClock()
    async with office(tmp_path, clock) as found:
        box = await enrolled(found)
        before = leaf_of(found, box)
        clock.move(hours=13)
        await renew(found, box)
        after = leaf_of(found, box)
        assert after.holder == before.holder
        assert after.serial != before.serial
        assert after.ends_at == clock.now() + timedelta(days=1)
        assert await outcomes(found, "renew") == ["done"]


async def test_a_box_that_was_away_for_thirty_days_renews(tmp_path):
    clock = FakeClock()
    async with office(tmp_path, clock) as found:
        box = await enrolled(found)
        clock.move(days=30)
        with pytest.raises(IdentityOver):
            found.standing.check_device(leaf_of(found, box).holder, leaf_of(found, box).ends_at)
        await renew(found, box)
        found.standing.check_device(leaf_of(found, box).holder, leaf_of(found, box).ends_at)


@pytest.mark.parametrize(("past", "renews"), [(timedelta(days=90), True), (timedelta(days=90, seconds=1), False)])
async def test_after_the_grace_it_needs_a_new_token(tmp_path, past, renews):
    clock = FakeClock()
    async with office(tmp_path, clock) as found:
        box = await enrolled(found)
        clock.at += timedelta(days=1) + past
        if renews:
            await renew(found, box)
            return
        with pytest.raises(IdentityOver):
            await renew(found, box)
        assert await outcomes(found, "renew") == ["IdentityOver"]


async def test_a_clock_that_is_set_back_stops_nobody(tmp_path):
    clock = FakeClock()
    async with office(tmp_path, clock) as found:
        box = await enrolled(found)
        found.authority.credentials(mutual=True)
        for days in (0.2, 400):
            clock.at -= timedelta(days=days)
            found.standing.check_device(leaf_of(found, box).holder, leaf_of(found, box).ends_at)
            await renew(found, box)
            other = await enrolled(found, f"box-{days}")
            for one in (box, other):
                read = x509.load_der_x509_certificate(one.certificate)
                assert read.not_valid_before_utc < clock.now() < read.not_valid_after_utc
            _key, server = found.authority._server_certificate()
            assert server.not_valid_before_utc < clock.now() < server.not_valid_after_utc


async def test_a_root_that_was_made_with_a_clock_of_the_future_holds_now(tmp_path):
    Authority.open(tmp_path / "identity", FakeClock(datetime(2099, 1, 1, tzinfo=UTC)))
    async with office(tmp_path) as found:
        assert found.authority.root.not_valid_before_utc < found.clock.now()


async def test_the_servers_certificate_is_replaced_from_half_of_its_life_on(tmp_path):
    clock = FakeClock()
    authority = Authority.open(tmp_path, clock)
    first = authority._server_certificate()
    clock.move(days=40)
    assert authority._server_certificate() is first
    clock.move(days=10)
    second = authority._server_certificate()
    assert second[1].serial_number != first[1].serial_number
    assert second[0] != first[0]


async def test_a_proof_is_by_the_old_key_over_this_request(tmp_path):
    async with office(tmp_path) as found:
        box = await enrolled(found)
        request, _ = box.renewal()
        other, _ = box.renewal()
        thief = Box()
        thief.certificate = box.certificate
        stolen, _ = thief.renewal()
        for csr, proof in ((request.csr, other.proof), (request.csr, b""), (stolen.csr, stolen.proof)):
            with pytest.raises(NotKnown, match="no proof"):
                await found.registrar.renew(box.certificate, csr, proof, "peer")


async def test_a_certificate_of_another_root_is_of_the_wrong_authority(tmp_path):
    async with office(tmp_path / "a") as found, office(tmp_path / "b") as other:
        box = await enrolled(other)
        with pytest.raises(WrongAuthority):
            await renew(found, box)
        assert await outcomes(found, "renew") == ["WrongAuthority"]


@pytest.mark.parametrize("shown", [b"", b"nonsense"])
async def test_what_is_no_certificate_is_nobody(tmp_path, shown):
    async with office(tmp_path) as found:
        box = await enrolled(found)
        box.certificate = shown
        with pytest.raises(NotKnown):
            await renew(found, box)


async def test_the_planners_own_certificates_are_no_devices(tmp_path):
    async with office(tmp_path) as found:
        signer = x509.load_pem_x509_certificate((tmp_path / "identity" / "signer.pem").read_bytes())
        _key, server = found.authority._server_certificate()
        for certificate in (signer, server, found.authority.root):
            with pytest.raises(NotKnown):
                read_leaf(certificates.der(certificate), found.authority.root)


async def test_a_lineage_that_nobody_wrote_down_is_not_known(tmp_path):
    # Such as after the identity file was restored from a back-up that is older than the enrolment.
    async with office(tmp_path) as found:
        holder = Holder(kind=HolderKind.DEVICE, name="box-1", lineage=certificates.new_lineage())
        box = Box()
        certificate = found.authority.issuer.leaf(holder, box.key.public_key(), found.clock.now(), timedelta(days=1))
        box.certificate = certificates.der(certificate)
        with pytest.raises(NotKnown):
            await renew(found, box)


async def test_with_a_box_its_unused_tokens_are_revoked_and_nobody_elses(tmp_path):
    async with office(tmp_path) as found:
        await enrolled(found)
        spare, other = await token_for(found, "box-1"), await token_for(found, "box-2")
        await found.registrar.revoke("box-1", "stolen", "local:test")
        with pytest.raises(BadToken):
            await found.registrar.enrol(spare, "box-1", Box("box-1").csr, {}, "peer")
        await found.registrar.enrol(other, "box-2", Box("box-2").csr, {}, "peer")


async def test_a_box_that_left_comes_back_with_a_token_that_was_made_before(tmp_path):
    async with office(tmp_path) as found:
        await enrolled(found)
        token = await token_for(found, "box-1")
        await found.registrar.leave("box-1", "moved")
        await found.registrar.enrol(token, "box-1", Box("box-1").csr, {}, "peer")


async def test_a_revoked_box_is_refused_until_it_enrols_anew(tmp_path):
    async with office(tmp_path) as found:
        box = await enrolled(found)
        await found.registrar.revoke("box-1", "stolen", "local:test")
        with pytest.raises(Revoked, match="stolen"):
            found.standing.check_device(leaf_of(found, box).holder, leaf_of(found, box).ends_at)
        with pytest.raises(Revoked):
            await renew(found, box)
        await found.registrar.revoke("box-1", "stolen", "local:test")
        assert await outcomes(found, "RevokeDevice") == ["done"]
        assert await outcomes(found, "renew") == ["Revoked"]
        again = await enrolled(found)
        found.standing.check_device(leaf_of(found, again).holder, leaf_of(found, again).ends_at)
        with pytest.raises(Revoked):
            await renew(found, box)
        with pytest.raises(NotFound):
            await found.registrar.revoke("box-9", "", "local:test")


async def test_a_revocation_by_another_process_is_seen_by_a_renewal_at_once(tmp_path):
    async with office(tmp_path) as found, office(tmp_path) as beside:
        box = await enrolled(found)
        await beside.registrar.revoke("box-1", "stolen", "local:test")
        with pytest.raises(Revoked):
            await renew(found, box)


async def test_three_times_leave_and_join_under_one_name(tmp_path):
    async with office(tmp_path) as found:
        for _ in range(3):
            box = await enrolled(found)
            found.standing.check_device(leaf_of(found, box).holder, leaf_of(found, box).ends_at)
            await found.registrar.leave("box-1", "it left")
        await found.registrar.leave("never-enrolled", "it left")
        assert await outcomes(found, "enrol") == ["done"] * 3


async def test_keys_are_for_their_owner_only_and_stay(tmp_path):
    authority = Authority.open(tmp_path, FakeClock())
    for name in ("root.key", "signer.key"):
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600
    again = Authority.open(tmp_path, FakeClock())
    assert again.root == authority.root
    os.chmod(tmp_path / "root.key", 0o644)
    with pytest.raises(InvalidInput, match="chmod 600"):
        Authority.open(tmp_path, FakeClock())


async def test_files_that_do_not_belong_together_are_refused(tmp_path):
    for folder in ("a", "b"):
        Authority.open(tmp_path / folder, FakeClock())
    (tmp_path / "a" / "root.pem").write_bytes((tmp_path / "b" / "root.pem").read_bytes())
    with pytest.raises(InvalidInput, match="not the key"):
        Authority.open(tmp_path / "a", FakeClock())
    (tmp_path / "b" / "root.key").write_bytes(b"nonsense")
    with pytest.raises(InvalidInput, match="back-up"):
        Authority.open(tmp_path / "b", FakeClock())


async def test_directives_are_signed_under_a_certificate_of_the_root(tmp_path):
    authority = Authority.open(tmp_path, FakeClock())
    for extra in ("", "x" * 300_000):
        directive = types_pb2.Directive(device_id="box-1", digest=extra)
        signed = (await authority.order(directive)).signed_directive
        signer = x509.load_der_x509_certificate(signed.signer)
        signer.verify_directly_issued_by(authority.root)
        assert signer.subject.rfc4514_string() == f"CN={SIGNER_NAME}"
        key = signer.public_key()
        assert isinstance(key, ed25519.Ed25519PublicKey)
        key.verify(signed.signature, DIRECTIVE_CONTEXT + signed.body)
        with pytest.raises(InvalidSignature):
            key.verify(signed.signature, DIRECTIVE_CONTEXT + signed.body + b"x")
        assert types_pb2.Directive.FromString(signed.body) == directive


async def test_a_key_on_another_curve_is_refused(tmp_path):
    async with office(tmp_path):
        key = ec.generate_private_key(ec.SECP384R1())
        with pytest.raises(InvalidInput, match="P-256"):
            certificates.read_csr(certificates.request_of(key, "box-1"))
