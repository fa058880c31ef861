"""Offline bundles: what they are for, that the same wheels give the same bytes, that a check finds what was changed."""

import subprocess
import tarfile

import pytest

from scripts.provisioning.bundle import BundleFailed, Target, main, read_facts, seal, target_of


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "content"
    for name in ("agent", "wheels"):
        (made / name).mkdir(parents=True)
    (made / "agent" / "circinus-1.2-py3-none-any.whl").write_bytes(b"wheel")
    (made / "install.sh").write_text("#!/bin/sh\n")
    return made


def sealed(folder, output):
    return seal(folder, version="1.2", target=Target(python="3.11", machine="x86_64"), output=output)


def test_the_same_wheels_give_the_same_bytes(folder, tmp_path):
    first = sealed(folder, tmp_path / "one.tar")
    for name in ("BUNDLE", "MANIFEST"):
        (folder / name).unlink()
    assert sealed(folder, tmp_path / "two.tar") == first
    facts = read_facts(tmp_path / "one.tar")
    assert facts["id"].startswith("1.2-")
    assert (facts["version"], facts["python"], facts["machine"]) == ("1.2", "3.11", "x86_64")


def test_a_file_that_was_changed_is_found_by_the_manifest(folder, tmp_path):
    sealed(folder, tmp_path / "one.tar")
    unpacked = tmp_path / "unpacked"
    with tarfile.open(tmp_path / "one.tar") as archive:
        archive.extractall(unpacked, filter="data")
    check = ["sha256sum", "--quiet", "-c", "MANIFEST"]
    assert subprocess.run(check, cwd=unpacked, check=False, capture_output=True).returncode == 0
    (unpacked / "agent" / "circinus-1.2-py3-none-any.whl").write_bytes(b"other")
    assert subprocess.run(check, cwd=unpacked, check=False, capture_output=True).returncode != 0


@pytest.mark.parametrize(
    ("platforms", "machine"),
    [
        (["manylinux_2_28_aarch64", "manylinux_2_17_aarch64"], "aarch64"),
        (["manylinux_2_28_x86_64"], "x86_64"),
        (["manylinux2014_x86_64"], "x86_64"),
        (["linux_armv7l"], "armv7l"),
    ],
)
def test_the_machine_is_read_off_the_platform(platforms, machine):
    assert target_of("3.12", platforms) == Target(python="3.12", machine=machine, platforms=tuple(platforms))


def test_platforms_of_two_machines_are_refused():
    with pytest.raises(BundleFailed, match="several machines"):
        target_of("", ["manylinux_2_28_x86_64", "manylinux_2_28_aarch64"])


def test_what_is_no_bundle_is_told(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"x")
    with pytest.raises(BundleFailed, match="is no bundle"):
        read_facts(tmp_path / "x.tar")


def test_a_pipeline_that_is_none_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("scripts.provisioning.bundle._fetch", lambda *_: None)
    (tmp_path / "circinus-1.2-py3-none-any.whl").write_bytes(b"wheel")
    wheel = str(tmp_path / "circinus-1.2-py3-none-any.whl")
    output = str(tmp_path / "b.tar")
    assert main(["--wheel", wheel, "--pipeline", str(tmp_path), "--output", output]) == 1
    assert "no such file" in capsys.readouterr().err
    assert not (tmp_path / "b.tar").exists()
