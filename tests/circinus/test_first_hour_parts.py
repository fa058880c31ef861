import os
import subprocess
import sys
import tomllib
from dataclasses import replace
from datetime import UTC, datetime

import psutil
import pytest

from circinus import contexts, first_hour
from circinus.contexts import Context, Contexts
from circinus.errors import AlreadyExists, InvalidInput
from circinus.first_hour import Process, Record
from edge_agent.config import parse_config

ROOT, OTHER = ("-----BEGIN CERTIFICATE-----\n" + name + "\n-----END CERTIFICATE-----\n" for name in ("AAAA", "BBBB"))
RECORD = Record(
    pid=1,
    began_at=datetime(2026, 5, 1, tzinfo=UTC),
    state_dir="/x",
    planner="127.0.0.1:7400",
    enrol="127.0.0.1:7401",
    dashboard="",
    secure=True,
    context="local",
    devices=("edge-1",),
    processes=(Process(name="planner", pid=2, began_s=3.0),),
)


def a_context(root=ROOT, planner="127.0.0.1:7400", name="admin"):
    return Context(name=name, planner=planner, root=root, token="circp.admin.x")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_devices_are_configurations_that_an_agent_takes(count):
    found = first_hour.agents(count)
    assert len(found) == count
    head = 'planner = "127.0.0.1:7400"\nstate_dir = "/x"\n'
    configs = [parse_config(head + text) for text in found.values()]
    assert [config.device_id for config in configs] == list(found)
    assert [str(config.tier) for config in configs] == ["edge"] * max(1, count - 1) + ["cloud"] * (count > 1)
    # All of a machine where there is one, else a part.
    assert all((config.cores is None) == (count == 1) for config in configs)
    assert tomllib.loads(found["edge-1"]).get("links", []) == configs_links(count)


def configs_links(count):
    return [{"peer": "cloud-1", "bandwidth_mbit_per_s": 20, "rtt_ms": 20, "emulated": True}] if count > 1 else []


@pytest.mark.parametrize("count", [0, -1, 17])
def test_as_many_devices_as_make_sense(count):
    with pytest.raises(InvalidInput, match="between 1 and 16"):
        first_hour.agents(count)


def test_only_this_machine_is_listened_on():
    with pytest.raises(InvalidInput, match=r"install-a-fleet\.md"):
        first_hour.ports_of("0.0.0.0:7400")
    assert first_hour.ports_of("127.0.0.1:0") == ("127.0.0.1:0", "127.0.0.1:0")


def test_a_record_comes_back_and_a_damaged_one_is_none(tmp_path):
    first_hour.write_record(tmp_path, RECORD)
    assert first_hour.read_record(tmp_path) == RECORD
    (tmp_path / "up.json").write_text('{"pid": 1')
    assert first_hour.read_record(tmp_path) is None


def test_a_context_is_added_without_touching_what_is_somebody_elses(tmp_path):
    path = tmp_path / "contexts.toml"
    assert first_hour.add_context(path, a_context()) == ("local", True)
    # Of another planner of this machine it takes the place: that is gone, or has another port.
    assert first_hour.add_context(path, a_context(OTHER)) == ("local", True)
    mine = a_context(OTHER, planner="shop.example:7400", name="local")
    contexts.save(path, Contexts().plus(mine))
    assert first_hour.add_context(path, a_context()) == ("local-2", False)
    assert contexts.load(path).current == "local"
    assert contexts.load(path).named("local") == mine


@pytest.mark.slow
def test_a_folder_is_run_by_one_and_a_dead_ones_processes_are_ended(tmp_path):
    with first_hour.held(tmp_path):
        script = "import sys; from pathlib import Path; from circinus import first_hour\n"
        asked = subprocess.run(
            [sys.executable, "-c", f"{script}print(first_hour.is_held(Path(sys.argv[1])))", str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert asked.stdout == "True\n"
        refused = subprocess.run(
            [sys.executable, "-c", f"{script}\nwith first_hour.held(Path(sys.argv[1])): pass", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert AlreadyExists.__name__ in refused.stderr
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    began_s = psutil.Process(child.pid).create_time()
    ours = Process(name="edge-1", pid=child.pid, began_s=began_s)
    # A number that is somebody else's by now is left alone.
    theirs = Process(name="planner", pid=os.getpid(), began_s=began_s + 3600.0)
    first_hour.write_record(tmp_path, replace(RECORD, processes=(ours, theirs)))
    try:
        assert first_hour.end_left_over(tmp_path) == ["edge-1"]
    finally:
        child.kill()
        child.communicate()
    assert first_hour.end_left_over(tmp_path) == []
