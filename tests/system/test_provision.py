"""A fleet of boxes on this machine, each with its own network, files, processes and sshd, ruled by the fleet command.

The planner listens on the boxes' network, with mutual TLS. One bundle is made for all; what needs more runs of pip than
fit here is in benchmarks/provision.py.
"""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.provision_boxes import fresh_folder, missing
from benchmarks.provision_rig import ROOT, Rig, needed_commands
from benchmarks.provision_versions import Kind, other_version
from scripts.provisioning.bundle import BundleFailed, make_bundle

REASON = missing() or needed_commands()
pytestmark = [pytest.mark.slow, pytest.mark.system, pytest.mark.long]
needs_boxes = pytest.mark.skipif(bool(REASON), reason=REASON)

MAX_INSTALLED_BYTES = 120_000_000
NAMES = ("counter", "kitchen")
#: What the agent and the client need of an installed package, data files too.
WHOLE = """
import circinus.client, circinus.v1.identity_pb2, edge_agent.worker, edge_agent.serving, importlib.resources as r
print(r.files("circinus.spec").joinpath("schema/pipeline.schema.json").is_file())
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "bundle.tar"
    try:
        make_bundle(path)
    except BundleFailed as error:
        if "Could not find" in str(error) or "Connection" in str(error) or "No matching" in str(error):
            pytest.skip(f"no index and no cache to make a bundle from: {error}")
        raise
    return path


@pytest.fixture(scope="module")
def shop(bundle):
    """Two boxes; the fleet was installed while the second could not be reached, again when it could, and once more."""
    with fresh_folder() as folder:
        with Rig(folder=folder, names=NAMES, defaults={"bundle": str(bundle)}) as rig:
            rig.boxes.cut("kitchen")
            first = rig.fleet("install")
            rig.boxes.mend("kitchen")
            second = rig.fleet("install", "--resume")
            assert second.code == 0, second.errors + rig.logs()
            yield rig, first, second
        held = [name for name in os.listdir("/proc") if name.isdigit() and str(folder) in command_of(name)]
        assert held == []
    assert not folder.exists()


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@needs_boxes
def test_a_box_that_is_not_reached_makes_it_partial_and_is_resumed_later(shop):
    _, first, second = shop
    assert (first.code, first.results()) == (7, {"counter": "changed", "kitchen": "unreachable"})
    assert (second.code, second.results()) == (0, {"counter": "same", "kitchen": "changed"})
    assert second.said("counter") == "done before"


@needs_boxes
def test_all_are_enrolled_and_seen_by_the_planner_over_the_network(shop):
    rig, _, _ = shop
    devices = {entry["device"]["id"]: entry for entry in rig.circinus("device", "ls")}
    assert {name: entry["connected"] for name, entry in devices.items()} == dict.fromkeys(NAMES, True)
    for name in NAMES:
        found = rig.status(name)
        assert (found["enrolled"], found["running"], found["service"]) == (True, True, "plain")
        user = rig.boxes.inside(name, f"stat -c %U /proc/{found['pid']}").strip()
        assert user == "circinus"


@needs_boxes
def test_a_second_run_changes_nothing(shop):
    rig, _, _ = shop
    before = {name: rig.status(name) for name in NAMES}
    again = rig.fleet("install")
    assert (again.code, again.results()) == (0, dict.fromkeys(NAMES, "same"))
    assert {name: rig.status(name) for name in NAMES} == before
    assert rig.boxes.inside("counter", "ls /var/tmp").strip() == ""


@needs_boxes
def test_a_box_leaves_and_comes_back_three_times_under_its_name(shop):
    rig, _, _ = shop
    for _ in range(3):
        left = rig.fleet("leave", "--only", "kitchen")
        assert (left.code, left.results()) == (0, {"kitchen": "changed"}), left.errors + rig.logs()
        assert not rig.status("kitchen")["enrolled"]
        back = rig.fleet("install", "--only", "kitchen")
        assert (back.code, back.results()) == (0, {"kitchen": "changed"}), back.errors + rig.logs()
    assert sorted(entry["device"]["id"] for entry in rig.circinus("device", "ls")) == sorted(NAMES)


@needs_boxes
def test_a_version_that_the_planner_never_sees_is_rolled_back_and_the_ring_stops(shop, bundle, tmp_path):
    rig, _, _ = shop
    mute = other_version(bundle, "9.9.9", Kind.MUTE, tmp_path / "mute.tar")
    before = {name: rig.status(name)["id"] for name in NAMES}
    done = rig.fleet("upgrade", "--bundle", str(mute), "--health-s", "3")
    assert (done.code, done.results()) == (1, {"counter": "rolled back", "kitchen": "skipped"}), rig.logs()
    found = {name: rig.status(name) for name in NAMES}
    assert {name: one["id"] for name, one in found.items()} == before
    assert found["counter"]["running_id"] == before["counter"]
    assert (found["counter"]["pending"], found["counter"]["last_upgrade"]) == ("", "rolled back")


@needs_boxes
def test_the_base_package_is_whole_and_small(shop):
    rig, _, _ = shop
    home = "$(readlink -f /opt/circinus/current)"
    size = rig.boxes.inside("counter", f"du -sb {home} | cut -f1")
    assert int(size) <= MAX_INSTALLED_BYTES
    assert rig.boxes.inside("counter", f"{home}/bin/python -I -c '{WHOLE}'") == "True\n"


@pytest.mark.skipif(not REASON, reason="looked at in a box")
def test_the_base_package_is_whole_and_small_without_boxes(bundle, tmp_path):
    # In a prefix of its own, as whoever runs the tests, without a service: it needs no root.
    user = pwd.getpwuid(os.getuid()).pw_name
    places = {"prefix": "opt", "config-dir": "etc", "state-dir": "var", "run-dir": "run", "log-dir": "log"}
    argv = ["sh", str(ROOT / "scripts" / "install.sh"), "--bundle", str(bundle), "--python", sys.executable]
    argv += [part for flag, name in places.items() for part in (f"--{flag}", str(tmp_path / name))]
    argv += ["--user", user, "--service", "none", "--device", "box", "--planner", "127.0.0.1:7400"]
    argv += ["--set", "insecure_loopback = true"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    home = (tmp_path / "opt" / "current").resolve()
    assert sum(path.stat().st_size for path in home.rglob("*") if not path.is_symlink()) <= MAX_INSTALLED_BYTES
    said = subprocess.run(
        [str(home / "bin" / "python"), "-I", "-c", WHOLE], capture_output=True, text=True, check=False
    )
    assert (said.stdout, said.stderr) == ("True\n", "")
    again = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert again.stdout.splitlines()[-1] == "result: changed 0"
