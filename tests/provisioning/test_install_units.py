"""The installer under systemd, whose commands are played: which units it writes, what it asks for."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
#: Plays systemctl: it writes down what it is asked, and "restart" starts a process as the current version's.
SYSTEMCTL = """#!{python}
import os, subprocess, sys
folder = {folder!r}
asked = sys.argv[1:]
with open(folder + "/asked", "a") as file:
    file.write(" ".join(asked) + "\\n")
pid_file = folder + "/pid"
if asked[:2] == ["show", "-p"]:
    print(open(pid_file).read() if asked[2] == "MainPID" and os.path.exists(pid_file) else 0)
elif asked[0] == "restart":
    home = os.path.realpath({prefix!r} + "/current")
    if os.path.exists(pid_file):
        os.kill(int(open(pid_file).read()), 9)
    nowhere = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    made = subprocess.Popen([home + "/bin/python", "60"], executable="/bin/sleep", **nowhere)
    open(pid_file, "w").write(str(made.pid))
elif asked[0] == "enable":
    open(folder + "/enabled", "w").close()
elif asked[0] == "is-enabled":
    sys.exit(0 if os.path.exists(folder + "/enabled") else 1)
"""


@pytest.fixture
def box(tmp_path):
    """A box with a version of this very tree, and a played systemd; gives how to run the installer there."""
    prefix, played = tmp_path / "opt", tmp_path / "played"
    for folder in (
        played,
        prefix / "versions" / "1" / "bin",
        prefix / "versions" / "1" / "share" / "circinus",
        tmp_path / "units",
    ):
        folder.mkdir(parents=True)
    home = prefix / "versions" / "1"
    (home / ".complete").touch()
    (home / ".version").write_text("1\n")
    (home / "bin" / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (home / "bin" / "python").chmod(0o755)
    for source in (*(ROOT / "scripts" / "systemd").glob("*.service"), ROOT / "scripts" / "box" / "supervise"):
        (home / "share" / "circinus" / source.name).write_bytes(source.read_bytes())
    (played / "systemctl").write_text(SYSTEMCTL.format(python=sys.executable, folder=str(played), prefix=str(prefix)))
    (played / "systemctl").chmod(0o755)
    user = pwd.getpwuid(os.getuid()).pw_name
    argv = ["sh", str(ROOT / "scripts" / "install.sh"), "--prefix", str(prefix), "--unit-dir", str(tmp_path / "units")]
    argv += ["--config-dir", str(tmp_path / "etc"), "--state-dir", str(tmp_path / "var"), "--user", user]
    argv += ["--service", "systemd", "--version", "1", "--device", "box", "--planner", "127.0.0.1:7400"]
    argv += ["--set", "insecure_loopback = true"]
    environment = os.environ | {"PATH": f"{played}:{os.environ['PATH']}"}

    def run(*more):
        return subprocess.run([*argv, *more], capture_output=True, text=True, env=environment, check=False)

    run.folder = tmp_path
    run.asked = lambda: (played / "asked").read_text().splitlines()
    yield run
    if (played / "pid").exists():
        os.kill(int((played / "pid").read_text()), 9)


def test_the_units_name_this_boxs_places_and_the_agent_is_started_once(box):
    first = box()
    assert first.returncode == 0, first.stderr
    unit = (box.folder / "units" / "edge-agent.service").read_text()
    assert f"ExecStart={box.folder}/opt/bin/edge-agent run --config {box.folder}/etc/agent.toml\n" in unit
    assert f"ReadWritePaths={box.folder}/var\n" in unit
    assert "StateDirectory=" not in unit
    settle = (box.folder / "units" / "circinus-settle.service").read_text()
    assert f"ReadWritePaths={box.folder}/opt\n" in settle
    asked = box.asked()
    assert [line for line in asked if not line.startswith(("show", "is-enabled"))] == [
        "daemon-reload",
        "enable --quiet edge-agent circinus-settle",
        "restart --no-block edge-agent",
    ]
    again = box()
    assert (again.returncode, again.stdout.splitlines()[-1]) == (0, "result: changed 0")
    assert box.asked().count("restart --no-block edge-agent") == 1


def test_an_edited_configuration_is_left_alone_unless_it_is_meant(box):
    box()
    config = box.folder / "etc" / "agent.toml"
    config.write_text(config.read_text() + "price_per_h = 1.0\n")
    refused = box()
    assert refused.returncode == 1
    assert "was edited here" in refused.stderr
    assert "price_per_h" in config.read_text()
    assert box("--force-config").returncode == 0
    assert "price_per_h" not in config.read_text()


def test_a_configuration_that_the_version_can_not_read_replaces_nothing(box):
    box()
    before = (box.folder / "etc" / "agent.toml").read_text()
    refused = box("--set", "colour = 3")
    assert refused.returncode == 1
    assert "colour: is no known key" in refused.stderr
    assert (box.folder / "etc" / "agent.toml").read_text() == before
