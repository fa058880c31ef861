"""The context file: what is written is read again, what is wrong is named, nobody else may read it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tls_authority import Authority

from circinus import contexts
from circinus.channel import Tls
from circinus.contexts import Bearer, Context, Contexts
from circinus.errors import CircinusError, InvalidInput, NotFound

ROOT = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nSSSS\n-----END PRIVATE KEY-----\n"
SHOP = Context(name="shop", planner="planner.example:7400", root=ROOT, certificate=ROOT, key=KEY)
LAB = Context(name="lab.2", planner="[::1]:7401", root=ROOT, token="circp.ann.SSSS")


def test_what_is_saved_is_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "contexts.toml"
    both = Contexts().plus(SHOP).plus(LAB).using("lab.2")
    contexts.save(path, both)
    assert contexts.load(path) == both
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not contexts.others_may_read(path)
    assert list(path.parent.iterdir()) == [path]


@given(st.text(st.characters(codec="ascii", min_codepoint=33, max_codepoint=126), min_size=1, max_size=40))
def test_any_token_is_written_so_that_it_is_read_again(token: str) -> None:
    one = Contexts().plus(Context(name="a", planner="h:1", root=ROOT, token=token))
    assert contexts.parse(contexts.dump(one)) == one


def test_credentials_are_a_pair_or_a_token_and_are_not_shown() -> None:
    assert isinstance(SHOP.credentials, Tls)
    assert isinstance(LAB.credentials, Bearer)
    told = repr((SHOP, LAB, SHOP.credentials, LAB.credentials, Contexts().plus(SHOP)))
    assert "SSSS" not in told


def test_the_first_becomes_the_current_one_and_a_removed_one_is_it_no_more() -> None:
    both = Contexts().plus(SHOP).plus(LAB)
    assert both.current == "shop"
    assert both.minus("shop").current == ""
    assert both.minus("lab.2").current == "shop"
    with pytest.raises(NotFound, match="known: lab.2, shop"):
        both.using("shpo")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("current = ", "is not TOML"),
        ('current = "shop"', "there is no [contexts.shop]"),
        ("[context.shop]\nplanner = 'h:1'", "context: is no known key"),
        ("contexts = 3", "must be tables"),
        (
            f"[contexts.a]\nplanner='h'\nroot='''{ROOT}'''\ntoken='t'",
            "contexts.a.planner: address 'h' is not HOST:PORT",
        ),
        ("[contexts.a]\nplanner='h:1'\ntoken='t'", "contexts.a.root: must be the planner's root"),
        (f"[contexts.a]\nplanner='h:1'\nroot='''{ROOT}'''", "contexts.a.certificate: must be a certificate (PEM), or"),
        (f"[contexts.a]\nplanner='h:1'\nroot='''{ROOT}'''\ncertificate='''{ROOT}'''", "contexts.a.key: must be"),
        (f"[contexts.a]\nplanner='h:1'\nroot='''{ROOT}'''\ntoken='t'\nkey='k'", "keep one of both"),
        (f"[contexts.a]\nplanner='h:1'\nroot='''{ROOT}'''\ntoken='t t'", "characters that no token has"),
        (f"[contexts.a]\nplanner=1\nroot='''{ROOT}'''\ntoken='t'", "contexts.a.planner: must be text in quotes"),
        (f"[contexts.a]\nplanner='h:1'\nroot='''{ROOT}'''\ntokn='t'", "contexts.a.tokn: is no known key"),
        (f"[contexts.'a b']\nplanner='h:1'\nroot='''{ROOT}'''\ntoken='t'", "its name may have"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(text: str, expected: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        contexts.parse(text, "c.toml")
    assert caught.value.message.startswith("c.toml")
    assert expected in caught.value.message
    assert "SSSS" not in caught.value.message


def test_without_a_context_it_is_said_how_to_come_by_one(tmp_path: Path) -> None:
    path = tmp_path / "contexts.toml"
    with pytest.raises(InvalidInput, match=r"circinus context add FILE.*--insecure-loopback"):
        contexts.chosen(path)
    contexts.save(path, Contexts().plus(SHOP).plus(LAB).minus("shop"))
    with pytest.raises(InvalidInput, match=r"choose one of lab.2: circinus context use"):
        contexts.chosen(path)
    assert contexts.chosen(path, "lab.2") == LAB


def test_where_the_file_is_follows_the_environment() -> None:
    assert contexts.default_path({"CIRCINUS_CONTEXTS": "/x/c.toml", "HOME": "/h"}) == Path("/x/c.toml")
    assert contexts.default_path({"XDG_CONFIG_HOME": "/x", "HOME": "/h"}) == Path("/x/circinus/contexts.toml")
    assert contexts.default_path({"HOME": "/h"}) == Path("/h/.config/circinus/contexts.toml")


def test_what_can_not_be_read_or_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CircinusError, match="can't write"):
        contexts.save(tmp_path / "file" / "contexts.toml", Contexts())
    with pytest.raises(InvalidInput, match="can't read"):
        contexts.load(tmp_path)
    (tmp_path / "large").write_bytes(b"#" * 2**21)
    with pytest.raises(InvalidInput, match="no context file"):
        contexts.load(tmp_path / "large")


def test_a_file_that_others_may_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "contexts.toml"
    contexts.save(path, Contexts().plus(LAB))
    path.chmod(0o640)
    assert contexts.others_may_read(path)


def test_real_certificates_survive(tmp_path: Path) -> None:
    authority = Authority()
    pair = authority.pair("ann")
    one = Context(
        name="a",
        planner="h:1",
        root=authority.root.decode(),
        certificate=pair.certificate.decode(),
        key=pair.key.decode(),
    )
    contexts.save(tmp_path / "c", Contexts().plus(one))
    assert contexts.chosen(tmp_path / "c").credentials == Tls(
        root=authority.root, certificate=pair.certificate, key=pair.key
    )
