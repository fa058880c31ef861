"""`edge-agent check`: each fault of a box is told with its cure, and a sound box is told to be sound."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sqlite3
import time

import pytest

from circinus.model.diagnosis import Grade
from edge_agent import diagnose
from edge_agent.config import parse_config
from edge_agent.daemon import main
from edge_agent.feeds.access import Access


def config_of(tmp_path, text=""):
    lines = f'device_id = "here"\nstate_dir = "{tmp_path / "state"}"\ntier = "edge"\ninsecure_loopback = true\n{text}'
    return parse_config(lines, folder=tmp_path)


def grades(found):
    return [one.grade for one in found]


def only(found):
    (one,) = found
    return one


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def test_a_sound_box_has_no_fault(tmp_path, listener):
    found = diagnose.diagnose(config_of(tmp_path, f'planner = "{listener}"'))
    assert Grade.FAILED not in grades(found)
    assert {one.subject for one in found} >= {"python", "clock", "state folder", "planner", "limits", "memory"}
    assert not (tmp_path / "state").exists()


def test_every_fault_has_a_cure(tmp_path):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    text = f'planner = "127.0.0.1:1"\nmemory_bytes = {2**49}\nwheels = "wheels"\n[feeds]\nfolders = ["none"]\n'
    found = diagnose.diagnose(config_of(tmp_path, text))
    faults = [one for one in found if one.grade is not Grade.OK]
    assert {"planner", "memory", "environments", "inputs"} <= {one.subject for one in faults}
    assert all(one.cure for one in faults)


def test_a_clock_before_this_software_is_wrong(tmp_path):
    code = tmp_path / "code.py"
    code.touch()
    assert only(diagnose.clock(time.time() - 365 * 86_400, code)).grade is Grade.FAILED
    assert only(diagnose.clock(time.time(), code)).grade is Grade.OK


def test_a_folder_in_memory_is_warned_of(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/x / ext4 rw 0 0\nnone {tmp_path} tmpfs rw 0 0\n")
    found = list(diagnose.state(tmp_path / "state", mounts))
    assert "tmpfs" in found[-1].said
    assert found[-1].grade is Grade.WARNING


def test_a_state_folder_that_is_a_file_fails(tmp_path):
    (tmp_path / "file").touch()
    assert only(diagnose.state(tmp_path / "file")).grade is Grade.FAILED


def test_a_damaged_file_is_found_and_a_whole_one_left_as_it_is(tmp_path):
    database = sqlite3.connect(tmp_path / "ledger.db")
    database.executescript("PRAGMA journal_mode=WAL; CREATE TABLE t (x)")
    database.close()
    (tmp_path / "outbox.db").write_bytes(b"no database" * 1000)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert grades(diagnose.directives(tmp_path, runs=False)) == [Grade.OK, Grade.FAILED]
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_agent_at_work_is_noticed(tmp_path):
    config = config_of(tmp_path)
    assert not diagnose.agent_runs(config)
    config.state_dir.mkdir()
    lock = os.open(config.state_dir / "lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert diagnose.agent_runs(config)
    finally:
        os.close(lock)
    assert not diagnose.agent_runs(config)


def test_a_port_that_is_taken_is_told(tmp_path, listener):
    config = config_of(tmp_path, f'data_listen = "{listener}"')
    assert only(diagnose.ports(config, runs=False)).grade is Grade.FAILED
    assert list(diagnose.ports(config, runs=True)) == []


def test_inputs_that_are_not_there_are_told(tmp_path):
    (tmp_path / "there").mkdir()
    access = Access(folders=(str(tmp_path / "there"),), cameras=("999", "rtsp://127.0.0.1/x"))
    config = config_of(tmp_path)
    found = list(
        diagnose.inputs(type(config)(**{name: getattr(config, name) for name in config.__slots__} | {"access": access}))
    )
    assert [one.subject for one in found] == ["inputs"]
    assert "/dev/video999" in found[0].said


def test_the_command_prints_one_document_and_says_by_its_code_how_it_went(tmp_path, capsys, listener):
    file = tmp_path / "agent.toml"
    file.write_text(
        f'device_id = "here"\nstate_dir = "state"\ntier = "edge"\ninsecure_loopback = true\nplanner = "{listener}"\n'
    )
    assert main(["check", "--config", str(file), "-o", "json"]) == 0
    assert {one["grade"] for one in json.loads(capsys.readouterr().out)} <= {"ok", "warning"}
    text = 'device_id = "here"\nstate_dir = "state"\ntier = "edge"\ninsecure_loopback = true\nplanner = "127.0.0.1:1"\n'
    file.write_text(text)
    assert main(["check", "--config", str(file)]) == 1
    assert "-> start it" in capsys.readouterr().out
