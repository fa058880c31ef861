from __future__ import annotations

import os
import stat
from dataclasses import replace

import pytest

from circinus.channel import Tls
from circinus.errors import InvalidInput
from edge_agent.identity import files
from edge_agent.identity.files import read_identity, remove_identity, write_identity, written_at


def identity(number: int) -> Tls:
    text = f"-----BEGIN {number}\n".encode()
    return Tls(root=text + b"root", certificate=text + b"certificate", key=text + b"key")


def test_what_is_written_is_read(tmp_path):
    assert read_identity(tmp_path / "identity") is None
    write_identity(tmp_path / "identity", identity(1))
    assert read_identity(tmp_path / "identity") == identity(1)
    write_identity(tmp_path / "identity", identity(2))
    assert read_identity(tmp_path / "identity") == identity(2)
    assert written_at(tmp_path / "identity") is not None


def test_it_has_the_names_that_people_look_for(tmp_path):
    write_identity(tmp_path, identity(1))
    write_identity(tmp_path, identity(2))
    assert (tmp_path / "key.pem").read_bytes() == identity(2).key
    assert (tmp_path / "certificate.pem").read_bytes() == identity(2).certificate
    assert (tmp_path / "root.pem").read_bytes() == identity(2).root


def test_nobody_else_may_read_it(tmp_path):
    folder = tmp_path / "identity"
    old = os.umask(0)
    try:
        write_identity(folder, identity(1))
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("root.pem", "certificate.pem", "key.pem"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("after", range(9))
def test_a_write_that_is_cut_off_anywhere_leaves_a_whole_identity(tmp_path, monkeypatch, after):
    write_identity(tmp_path, identity(1))
    left = [after]

    def cut(real):
        def step(*given):
            if left[0] == 0:
                raise OSError("the power went")
            left[0] -= 1
            return real(*given)

        return step

    for name in ("_write", "_sync_folder", "_point"):
        monkeypatch.setattr(files, name, cut(getattr(files, name)))
    whole = True
    try:
        write_identity(tmp_path, identity(2))
    except OSError:
        whole = False
    found = read_identity(tmp_path)
    assert found in (identity(1), identity(2))
    assert not whole or found == identity(2)
    monkeypatch.undo()
    write_identity(tmp_path, identity(3))
    assert read_identity(tmp_path) == identity(3)


def test_old_ones_do_not_pile_up(tmp_path):
    for number in range(5):
        write_identity(tmp_path, identity(number))
    assert sorted(entry.name for entry in tmp_path.iterdir() if entry.name.isdigit()) == ["4", "5"]


@pytest.mark.parametrize("name", ["root.pem", "certificate.pem", "key.pem"])
def test_a_damaged_identity_is_no_identity_and_says_what_to_do(tmp_path, name):
    write_identity(tmp_path, identity(1))
    (tmp_path / "1" / name).write_bytes(b"\0\0\0")
    with pytest.raises(InvalidInput, match="join again"):
        read_identity(tmp_path)


def test_plain_files_of_another_making_are_read_too(tmp_path):
    one = identity(1)
    for name, text in (("root.pem", one.root), ("certificate.pem", one.certificate), ("key.pem", one.key)):
        (tmp_path / name).write_bytes(text)
    assert read_identity(tmp_path) == one


def test_an_identity_that_is_removed_is_gone(tmp_path):
    write_identity(tmp_path / "identity", identity(1))
    remove_identity(tmp_path / "identity")
    remove_identity(tmp_path / "identity")
    assert read_identity(tmp_path / "identity") is None


def test_a_key_is_in_no_message():
    assert "secret" not in repr(replace(identity(1), key=b"-----BEGIN secret"))
