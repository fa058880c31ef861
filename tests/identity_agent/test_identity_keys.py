from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from identity_fakes import DAY, DER, Root
from shell_fakes import directive_message

from circinus.errors import Internal, WrongAuthority
from edge_agent.identity import keys
from edge_agent.identity.keys import Signed, ends_of, make_key, take_certificate, verify

pytestmark = pytest.mark.slow


def now() -> datetime:
    return datetime.now(UTC)


async def test_a_key_comes_with_a_request_for_its_certificate():
    made = await make_key("box-1")
    request = x509.load_der_x509_csr(made.csr)
    assert request.is_signature_valid
    assert request.subject.rfc4514_string() == "CN=box-1"
    assert isinstance(request.public_key().curve, ec.SECP256R1)
    assert made.proof == b""
    assert b"PRIVATE" not in repr(made).encode()


async def test_a_renewal_is_proven_by_the_last_key(root: Root):
    last = root.tls("box-1")
    made = await make_key("box-1", last.key)
    old = x509.load_pem_x509_certificate(last.certificate).public_key()
    old.verify(made.proof, b"circinus renew v1\n" + made.csr, ec.ECDSA(hashes.SHA256()))
    assert x509.load_der_x509_csr(made.csr).public_key() != old


async def test_a_certificate_is_taken_only_for_this_box_and_key_and_by_this_root(root: Root, other_root: Root):
    made = await make_key("box-1")
    public = x509.load_der_x509_csr(made.csr).public_key()
    right = root.issue("box-1", public).public_bytes(DER)
    taken = await take_certificate("box-1", made.key, right, root.der)
    assert taken.key == made.key
    assert taken.root == root.pem
    for_another = root.issue("box-2", public).public_bytes(DER)
    of_another_key = root.issue("box-1", ec.generate_private_key(ec.SECP256R1()).public_key()).public_bytes(DER)
    by_another = other_root.issue("box-1", public).public_bytes(DER)
    for wrong in (for_another, of_another_key, by_another, b"nothing"):
        with pytest.raises(WrongAuthority, match="can't use"):
            await take_certificate("box-1", made.key, wrong, root.der)


async def test_the_ends_of_a_certificate_are_told(root: Root, other_root: Root):
    tls = root.tls("box-1", begins=-DAY, ends=2 * DAY)
    ends = await ends_of(tls.certificate, root.pem)
    assert ends.name == "box-1"
    assert ends.by_root
    assert abs((ends.ends_at - ends.begins_at) - 3 * DAY) < timedelta(seconds=2)
    assert not (await ends_of(ends.der, other_root.pem)).by_root
    with pytest.raises(WrongAuthority, match="no"):
        await ends_of(b"-----BEGIN nothing")


async def test_a_directive_is_the_planners_only_if_all_of_it_is(root: Root, other_root: Root):
    good = root.sign(directive_message())
    other = other_root.sign(directive_message())
    flipped = bytes([good.body[0] ^ 1]) + good.body[1:]
    device = root.tls("box-1")
    as_device = x509.load_pem_x509_certificate(device.certificate).public_bytes(DER)
    told = await verify(
        root.pem,
        [
            good,
            other,
            Signed(body=flipped, signature=good.signature, signer=good.signer),
            Signed(body=good.body, signature=other.signature, signer=good.signer),
            Signed(body=good.body, signature=good.signature, signer=as_device),
            Signed(body=good.body, signature=good.signature, signer=b"nothing"),
            Signed(body=good.body, signature=b"", signer=good.signer),
        ],
        now(),
    )
    assert told[0] == ""
    assert "not by the planner's root" in told[1]
    assert "not what was signed" in told[2]
    assert "not what was signed" in told[3]
    assert "only 'directives.circinus' may" in told[4]
    assert "not by the planner's root" in told[5]
    assert "not what was signed" in told[6]
    assert await verify(root.pem, [], now()) == []


async def test_a_box_that_is_called_like_the_signer_signs_nothing(root: Root):
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = root.issue("directives.circinus", key.public_key()).public_bytes(DER)
    body = directive_message().SerializeToString()
    signature = key.sign(b"circinus directive v1\n" + body, ec.ECDSA(hashes.SHA256()))
    (told,) = await verify(root.pem, [Signed(body=body, signature=signature, signer=certificate)], now())
    assert "no Ed25519 key" in told


async def test_a_signer_whose_certificate_is_over_signs_nothing_new_but_what_was_accepted_stays(root: Root):
    key = ed25519.Ed25519PrivateKey.generate()
    certificate = root.issue("directives.circinus", key.public_key(), begins=-9 * DAY, ends=-2 * DAY).public_bytes(DER)
    body = directive_message().SerializeToString()
    over = Signed(body=body, signature=key.sign(b"circinus directive v1\n" + body), signer=certificate)
    (told,) = await verify(root.pem, [over], now())
    assert "holds from" in told
    assert await verify(root.pem, [over], None) == [""]


async def test_a_child_that_does_not_answer_is_a_fault_of_ours(monkeypatch):
    monkeypatch.setattr(keys, "_CHILD", "edge_agent.no_such_child")
    with pytest.raises(Internal, match="ended with 1"):
        await make_key("box-1")
