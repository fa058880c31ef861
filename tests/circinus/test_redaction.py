"""What is taken out of texts that leave a machine, and what stays."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tls_authority import Authority

from circinus.redaction import GONE, Redactor, secrets_of_pem

SECRET = "hunter2-Correct.Horse"


@pytest.mark.parametrize(
    "text",
    [
        "password = hunter2-Correct.Horse",
        'password="hunter2-Correct.Horse"',
        "DB_PASSWORD: hunter2-Correct.Horse",
        '{"api_key": "hunter2-Correct.Horse", "x": 1}',
        "apiKey=hunter2-Correct.Horse&more=1",
        "key_passphrase = '''\nhunter2-Correct.Horse\n'''",
        "authorization: Bearer hunter2-Correct.Horse",
        "Authorization: Basic hunter2-Correct.Horse",
        "rtsp://admin:hunter2-Correct.Horse@10.0.0.7/stream",
        "https://hunter2-Correct.Horse@host/",
        "used circ1.4f1c09d2.hunter2-Correct.Horse",
        "who=circp.ann.hunter2-Correct.Horse",
        "client_secret => hunter2-Correct.Horse",
        "Cookie: session=1; hunter2=1 cookie=hunter2-Correct.Horse",
    ],
)
def test_what_stands_beside_a_secrets_name_goes(text: str) -> None:
    redactor = Redactor()
    assert SECRET not in redactor.text(text)
    assert redactor.count >= 1


@pytest.mark.parametrize(
    "text",
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_abcdefghijklmnopqrstuvwx",
        base64.b64encode(bytes(range(64))).decode(),
    ],
)
def test_what_looks_like_a_secret_goes(text: str) -> None:
    assert text not in Redactor().text(f"begin {text} end")


@pytest.mark.parametrize(
    "text",
    [
        "bundle=sha256:" + "0a" * 32,
        "digest 748734719684eff12ef5289a954ca66c9da7e9",
        "device=camera-1 generation=3 class=amd-epyc-25-1-1/avx2/py3.11/c2-5263/x1",
        "folder=/var/lib/circinus/some/rather/long/path/to/a/file/of/an/agent/state.db",
        "planner = 127.0.0.1:7400",
        "token_file = /etc/circinus/token",
        "known_by: token",
    ],
)
def test_what_names_things_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_a_private_key_goes_whole_or_cut() -> None:
    pem = Authority().pair("ann").key.decode()
    lines = pem.splitlines()
    for cut in (pem, "\n".join(lines[:-1]), "\n".join(lines[1:]), "\n".join(lines[:2])):
        told = Redactor().text(f"before\n{cut}\n")
        assert not any(line in told for line in lines[1:-1])
        assert "before" in told


def test_a_line_of_a_key_that_begins_like_a_path_goes() -> None:
    line = "/" + "aB3" * 21
    assert line not in Redactor().text(f"before\n{line}\n")


def test_what_is_known_to_be_a_secret_goes_wherever_it_stands() -> None:
    pem = Authority().pair("ann").key.decode()
    known = secrets_of_pem(pem)
    assert known
    assert not any(line in Redactor(known).text(f"event={known[0]}x") for line in known)
    assert Redactor(("plainword",)).text("a plainword here") == f"a {GONE} here"


def test_documents_lose_what_stands_under_a_secrets_name_and_keep_their_shape() -> None:
    document = {"token": SECRET, "tokens_used": 3, "nested": [{"password": SECRET, "name": "a"}], "blob": b"\0" * 9}
    told = Redactor().document(document)
    assert told == {
        "token": GONE,
        "tokens_used": 3,
        "nested": [{"password": GONE, "name": "a"}],
        "blob": "[9 bytes]",
    }


@given(
    st.text(string.ascii_letters + string.digits + "_-", min_size=24, max_size=80),
    st.text(string.printable, max_size=60),
    st.text(string.printable, max_size=60),
)
def test_a_token_never_stays_whatever_stands_around_it(secret: str, before: str, after: str) -> None:
    told = Redactor().text(f"{before} circ1.4f1c09d2.{secret} {after}")
    assert secret not in told or secret in before + after


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    once = Redactor().text(text)
    assert Redactor().text(once) == once
