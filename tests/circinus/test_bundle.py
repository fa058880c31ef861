"""Bundles: the same folder gives the same bytes, and no archive writes anything but new files below its folder."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circinus import bundle
from circinus.errors import InvalidInput, TooLarge
from circinus.model.pipeline import EnvironmentSpec
from circinus.spec.pipeline import parse_pipeline

PIPELINE = parse_pipeline("""\
pipeline: toy
environment: {python: [b, a], libraries: [z]}
source: toy:Source
scorer: toy:Scorer
operators:
  - {id: up, class: "toy:Up", inputs: [source], knobs: {size: [1, 2]}}
outputs: [up]
contents: {day: {seed: 1, samples: 2}}
""")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "toy"
    (folder / "models").mkdir(parents=True)
    (folder / "toy.py").write_text("x = 1\n")
    (folder / "models" / "m.bin").write_bytes(bytes(range(256)) * 10)
    script = folder / "run.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o700)
    return folder


def tar(*members: tuple[tarfile.TarInfo, bytes], fmt: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:", format=fmt) as archive:
        for member, content in members:
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def entry(name: str, content: bytes = b"x", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for field, value in fields.items():
        setattr(member, field, value)
    return member, content


def test_what_was_packed_comes_out(folder: Path, tmp_path: Path) -> None:
    into = tmp_path / "out"
    bundle.extract(bundle.pack_folder(folder, PIPELINE), into)
    assert (into / "toy.py").read_text() == "x = 1\n"
    assert (into / "models/m.bin").read_bytes() == (folder / "models/m.bin").read_bytes()
    modes = {path.name: path.stat().st_mode & 0o7777 for path in into.rglob("*") if path.is_file()}
    assert modes == {
        "toy.py": 0o644,
        "m.bin": 0o644,
        "run.sh": 0o755,
        "environment.json": 0o644,
        "pipeline.json": 0o644,
    }


def test_times_owners_and_order_of_writing_make_no_difference(folder: Path, tmp_path: Path) -> None:
    first = bundle.pack_folder(folder, PIPELINE)
    other = tmp_path / "other"
    (other / "models").mkdir(parents=True)
    for name in ("run.sh", "toy.py", "models/m.bin"):
        (other / name).write_bytes((folder / name).read_bytes())
        os.utime(other / name, (1, 1))
    (other / "run.sh").chmod(0o755)
    assert bundle.pack_folder(other, PIPELINE) == first
    assert bundle.digest_of(first) == "sha256:" + hashlib.sha256(first).hexdigest()


def test_the_root_has_environment_and_pipeline(folder: Path, tmp_path: Path) -> None:
    into = tmp_path / "out"
    bundle.extract(bundle.pack_folder(folder, PIPELINE), into)
    data = (into / "environment.json").read_bytes()
    assert json.loads(data) == {"python": ["a", "b"], "libraries": ["z"], "executables": [], "debian": []}
    assert bundle.digest_of(data) == bundle.environment_digest(PIPELINE.environment)
    assert json.loads((into / "pipeline.json").read_text()) == {
        "id": "toy",
        "source": "toy:Source",
        "scorer": "toy:Scorer",
        "operators": [
            {
                "id": "up",
                "entry_point": "toy:Up",
                "inputs": ["source"],
                "knobs": [{"name": "size", "values": [1, 2]}],
                "state": "none",
                "hang_ms": 30000.0,
                "fan_out": "",
            }
        ],
        "outputs": ["up"],
    }


def test_only_who_declares_the_network_has_another_digest(folder: Path, tmp_path: Path) -> None:
    (up,) = PIPELINE.operators
    declares = replace(PIPELINE, operators=(replace(up, network=True),))
    assert bundle.pack_folder(folder, replace(PIPELINE, operators=(replace(up),))) == bundle.pack_folder(
        folder, PIPELINE
    )
    assert bundle.pack_folder(folder, declares) != bundle.pack_folder(folder, PIPELINE)
    assert json.loads(bundle.pipeline_json(declares))["operators"][0]["network"] is True


def test_equal_environments_have_one_digest() -> None:
    one = EnvironmentSpec(python=("a", "b"), libraries=("z",))
    assert bundle.environment_digest(one) == bundle.environment_digest(replace(one, python=("b", "a")))
    assert bundle.environment_digest(one) != bundle.environment_digest(replace(one, python=("b",)))


def test_caches_and_dot_files_stay_out(folder: Path) -> None:
    before = bundle.pack_folder(folder, PIPELINE)
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "toy.pyc").write_bytes(b"x")
    (folder / "old.pyc").write_bytes(b"x")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("x")
    assert bundle.pack_folder(folder, PIPELINE) == before


def _link(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def _taken(folder: Path) -> None:
    (folder / "pipeline.json").write_text("{}")


def _many(folder: Path) -> None:
    for index in range(2_001):
        (folder / f"f{index}").touch()


def _large(folder: Path) -> None:
    with (folder / "large").open("wb") as file:
        file.truncate(65 * 2**20)


def _odd_name(folder: Path) -> None:
    (folder / "a\nb").touch()


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (_link, "link: a symbolic link"),
        (_fifo, "pipe: neither a file nor a folder"),
        (_taken, "pipeline.json is written by the packing itself"),
        pytest.param(_many, "more than 2,000 files", marks=pytest.mark.slow),
        (_large, "the bundle is over 64 MiB"),
        (_odd_name, "a character that can't be printed"),
    ],
)
def test_a_folder_that_makes_no_bundle_is_refused(folder: Path, spoil: Callable[[Path], None], expected: str) -> None:
    spoil(folder)
    with pytest.raises((InvalidInput, TooLarge), match=expected):
        bundle.pack_folder(folder, PIPELINE)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no such folder"):
        bundle.pack_folder(tmp_path / "none", PIPELINE)


def _with_size(name: str, size: int) -> bytes:
    """A header that claims a size, with nothing behind it."""
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def _pax(**headers: str) -> bytes:
    return tar(entry("a", pax_headers=headers))


GOOD = tar(entry("a"))
POISON = {
    "absolute": tar(entry("/tmp/evil")),
    "parent": tar(entry("../evil")),
    "inner parent": tar(entry("a/../../evil")),
    "dot": tar(entry("./a")),
    "empty part": tar(entry("a//b")),
    "symbolic link": tar(entry("a", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "through a link": tar(entry("a", b"", type=tarfile.SYMTYPE, linkname="/tmp"), entry("a/evil")),
    "hard link": tar(entry("a", b"", type=tarfile.LNKTYPE, linkname="/etc/passwd")),
    "device": tar(entry("a", b"", type=tarfile.CHRTYPE, devmajor=1, devminor=3)),
    "block device": tar(entry("a", b"", type=tarfile.BLKTYPE)),
    "fifo": tar(entry("a", b"", type=tarfile.FIFOTYPE)),
    "folder": tar(entry("a", b"", type=tarfile.DIRTYPE)),
    "contiguous": tar(entry("a", type=tarfile.CONTTYPE)),
    "unknown type": tar(entry("a", type=b"Z")),
    "gnu sparse": tar(entry("a", b"", type=tarfile.GNUTYPE_SPARSE), fmt=tarfile.GNU_FORMAT),
    "pax sparse": tar(entry("a", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "99999999999"})),
    "twice": tar(entry("a"), entry("a", b"y")),
    "file as folder": tar(entry("a"), entry("a/b")),
    "folder as file": tar(entry("a/b"), entry("a")),
    "pax name": _pax(path="../evil"),
    "pax size": _pax(size="99999999999"),
    "pax negative size": _pax(size="-512"),
    "pax size of many digits": _pax(size="9" * 5000),
    "nul in name": _pax(path="a\0b"),
    "control character": tar(entry("a\x1b[31m")),
    "backslash": tar(entry("..\\evil")),
    "not utf-8": tar(entry("a\udcff"), fmt=tarfile.GNU_FORMAT),
    "long name": tar(entry("a" * 300)),
    "many parts": tar(entry("/".join("a" * 30))),
    "negative size": _with_size("a", -512),
    "huge size": _with_size("a", 2**40),
    "cut off": GOOD[:520],
    "no end": GOOD[:1024],
    "damaged second header": tar(entry("a"), entry("b"))[:1024] + b"\xff" * 512 + bytes(1024),
    "something after the end": GOOD + b"x" * 512,
    "empty archive": tar(),
    "empty": b"",
    "no archive": b"PK\x03\x04" + b"x" * 2000,
    "random": bytes((index * 197 + 11) % 256 for index in range(4096)),
    "compressed": b"\x1f\x8b" + b"\0" * 2000,
    "many files": tar(*(entry(f"f{index}", b"") for index in range(2_001))),
}


@pytest.mark.parametrize("name", POISON)
def test_poison_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises((InvalidInput, TooLarge)):
        bundle.extract(POISON[name], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 3_071), st.integers(0, 255), st.integers(0, 3_071))
def test_a_changed_byte_writes_nothing_outside(position: int, value: int, length: int) -> None:
    """The archive has two files: whatever is changed or cut off, either plain files come of it or an error."""
    whole = bytearray(tar(entry("a", b"x" * 10), entry("b/c", b"y" * 600)))
    whole[position] = value
    with TemporaryDirectory() as scratch:
        for number, data in enumerate((bytes(whole), bytes(whole[:length]))):
            into = Path(scratch) / "in" / str(number)
            into.parent.mkdir(exist_ok=True)
            with contextlib.suppress(InvalidInput, TooLarge):
                bundle.extract(data, into)
                assert all(path.is_dir() or (path.is_file() and not path.is_symlink()) for path in into.rglob("*"))
        assert [path.name for path in Path(scratch).iterdir()] == ["in"]


def test_an_oversized_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="the limit is 67,108,864"):
        bundle.extract(bytes(64 * 2**20 + 1), tmp_path / "out")


def test_a_folder_that_exists_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(FileExistsError):
        bundle.extract(GOOD, tmp_path)
    assert (tmp_path / "a").read_text() == "mine"


def test_special_mode_bits_are_dropped(tmp_path: Path) -> None:
    bundle.extract(tar(entry("a", mode=0o6777), entry("b", mode=0o000)), tmp_path / "out")
    assert (tmp_path / "out/a").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "out/b").stat().st_mode & 0o7777 == 0o644


def test_after_a_full_disk_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def fail_at_second(descriptor: int, mode: int) -> None:
        written.append(descriptor)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fchmod", fail_at_second)
    with pytest.raises(OSError, match="No space"):
        bundle.extract(tar(entry("a"), entry("b/c")), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
