"""The fleet command's own mistakes are told before any box is reached."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FLEET = Path(__file__).resolve().parents[2] / "scripts" / "fleet"


def fleet(*arguments):
    return subprocess.run([sys.executable, str(FLEET), *arguments], capture_output=True, text=True, check=False)


@pytest.fixture
def inventory(tmp_path):
    path = tmp_path / "fleet.toml"
    # Port 1 of loopback: nobody listens there.
    path.write_text('[planner]\naddress = "h:1"\n[defaults]\nport = 1\n[hosts.a]\naddress = "127.0.0.1"\n')
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["install", "--only", "nobody"], "none of 1 hosts is selected"),
        (["install", "--bundle", "/nowhere.tar"], "is no bundle"),
        (["install", "--label", "zone"], "is not KEY=VALUE"),
        (["run"], "needs a line after --"),
        (["install", "--", "uptime"], "only run takes one"),
    ],
)
def test_a_bad_command_line_is_refused(inventory, arguments, said):
    at = arguments.index("--") if "--" in arguments else len(arguments)
    done = fleet(*arguments[:at], "-i", str(inventory), *arguments[at:])
    assert done.returncode == 2
    assert said in done.stderr


def test_boxes_that_nobody_answers_for_are_unreachable(inventory):
    done = fleet("install", "-i", str(inventory), "-o", "json")
    assert done.returncode == 4
    (host,) = json.loads(done.stdout)["hosts"]
    assert (host["result"], host["step"]) == ("unreachable", "reach")
    assert "Connection refused" in host["said"]
    assert "Connection refused" in (inventory.parent / "fleet.logs" / "a.log").read_text()
