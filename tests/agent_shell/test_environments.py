from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import psutil
import pytest
from shell_fakes import DEADLINE_S, BlobShelf, toy_bundle

from circinus.bundle import digest_of, environment_digest
from circinus.errors import NotRunnable
from circinus.model.device import Digest
from circinus.model.pipeline import EnvironmentSpec
from edge_agent.blobs import Blobs
from edge_agent.child import run_child
from edge_agent.environments import Environments
from edge_agent.requirements import unmet


def environments_over(tmp_path, *bundles, wheels=None, build=False):
    blobs = Blobs(tmp_path / "state", BlobShelf(*bundles))
    blobs.prepare()
    return Environments(state_dir=tmp_path / "state", blobs=blobs, wheels=wheels, build=build)


async def prepared(tmp_path, spec, **options):
    bundle = toy_bundle(tmp_path / "toy", spec)
    environments = environments_over(tmp_path, bundle, **options)
    digest = environment_digest(spec)
    return environments, digest, await environments.prepare(digest, digest_of(bundle))


async def test_the_agents_own_python_is_used_when_it_has_all(tmp_path):
    environments, digest, found = await prepared(tmp_path, EnvironmentSpec(python=("protobuf>=5",)))
    assert found.ready
    assert environments.python_for(digest) == Path(sys.executable)
    assert environments.known() == (found,)


async def test_missing_libraries_and_executables_are_named_with_what_to_type(tmp_path):
    spec = EnvironmentSpec(
        libraries=("nosuchlibrary",), executables=("nosuchprogram", "sh"), debian=("tesseract-ocr", "fonts-dejavu-core")
    )
    environments, digest, found = await prepared(tmp_path, spec)
    assert not found.ready
    assert "missing shared libraries: nosuchlibrary" in found.reason
    assert "missing executables: nosuchprogram;" in found.reason
    assert "apt-get install fonts-dejavu-core tesseract-ocr" in found.reason.replace(
        "tesseract-ocr fonts-dejavu-core", "fonts-dejavu-core tesseract-ocr"
    )
    with pytest.raises(NotRunnable, match="nosuchlibrary"):
        environments.python_for(digest)


async def test_what_may_not_be_built_is_reported_with_what_is_lacking(tmp_path):
    _, _, found = await prepared(tmp_path, EnvironmentSpec(python=("circinus-no-such-thing>=1", "protobuf<1")))
    assert not found.ready
    assert "circinus-no-such-thing>=1: not installed" in found.reason
    assert "protobuf<1" in found.reason


async def test_an_unknown_environment_is_not_runnable(tmp_path):
    with pytest.raises(NotRunnable, match="unknown"):
        environments_over(tmp_path).python_for(Digest("sha256:" + "0" * 64))


async def test_a_bundle_of_another_environment_is_refused(tmp_path):
    bundle = toy_bundle(tmp_path / "toy", EnvironmentSpec(executables=("sh",)))
    environments = environments_over(tmp_path, bundle)
    found = await environments.prepare(environment_digest(EnvironmentSpec()), digest_of(bundle))
    assert not found.ready
    assert "declares environment" in found.reason


async def test_an_option_of_pip_is_no_requirement(tmp_path):
    _, _, found = await prepared(tmp_path, EnvironmentSpec(python=("--index-url=http://evil",)), build=True)
    assert not found.ready
    assert "can't be one" in found.reason


async def test_what_is_known_survives_a_restart_and_is_looked_at_again(tmp_path):
    _, digest, _ = await prepared(tmp_path, EnvironmentSpec(executables=("sh",)))
    again = environments_over(tmp_path)
    await again.load()
    assert again.python_for(digest) == Path(sys.executable)


async def test_a_damaged_record_is_forgotten(tmp_path):
    await prepared(tmp_path, EnvironmentSpec())
    (tmp_path / "state" / "environments.json").write_text('[{"digest"')
    again = environments_over(tmp_path)
    await again.load()
    assert again.known() == ()


def test_requirements_are_checked_with_versions_markers_and_errors():
    assert unmet(["protobuf>=1", "nothing-here; python_version < '3'"]) == []
    problems = unmet(["protobuf>=999", "nothing-here", "not a requirement !!"])
    assert len(problems) == 3


def wheel(folder: Path, name: str, version: str) -> None:
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


@pytest.mark.slow
@pytest.mark.system
async def test_an_environment_is_built_once_from_a_folder_of_wheels(tmp_path):
    before = psutil.Process().children()
    wheels = tmp_path / "wheels"
    wheel(wheels, "circinustoywheel", "2.5")
    spec = EnvironmentSpec(python=("circinustoywheel>=2",))
    environments, digest, found = await prepared(tmp_path, spec, wheels=wheels, build=True)
    assert found.reason == ""
    python = environments.python_for(digest)
    assert python.is_relative_to(tmp_path / "state" / "environments")
    # What the bundle asked for is there, what every process needs is there, and nothing else of the agent's is.
    code = """
import circinustoywheel, circinus.operator, edge_agent.worker, google.protobuf, importlib.util
import edge_agent.profile_memory, pynvml
assert circinustoywheel.VERSION == "2.5"
assert importlib.util.find_spec("grpc") is None
assert importlib.util.find_spec("psutil") is None
"""
    done = await run_child([str(python), "-P", "-c", code], timeout_s=DEADLINE_S)
    assert done.returncode == 0, done.output
    made_ns = python.lstat().st_mtime_ns
    again = environments_over(tmp_path, toy_bundle(tmp_path / "toy2", spec), build=True)
    await again.load()
    assert again.python_for(digest) == python
    assert python.lstat().st_mtime_ns == made_ns
    assert not [one for one in psutil.Process().children() if one not in before]


@pytest.mark.slow
@pytest.mark.system
async def test_a_build_that_fails_says_why_and_is_no_environment(tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    _, _, found = await prepared(
        tmp_path, EnvironmentSpec(python=("circinus-no-such-thing>=1",)), wheels=wheels, build=True
    )
    assert not found.ready
    assert "pip install failed from" in found.reason
    assert "circinus-no-such-thing" in found.reason
    again = environments_over(tmp_path)
    await again.load()
    assert not again.known()[0].ready
