"""Accelerators by whoever tells of them: what is told is right, or said to be unknown."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from circinus.model.device import Accelerator
from edge_agent.fingerprint.accelerators import Finder
from edge_agent.fingerprint.asking import Answer, ask, read_answer
from edge_agent.fingerprint.jetson import read_jetson
from edge_agent.fingerprint.nvidia import accelerator_used_bytes, ask_nvidia, is_held_back, read_nvidia

GIB = 2**30
CARD = Accelerator(kind="cuda", model="L4", provider="CUDAExecutionProvider", slots=1, memory_bytes=24 * GIB)


def _refuse(*_):
    raise RuntimeError("not supported")


def nvml(**changes):
    calls = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda handle: "NVIDIA L4",
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=24 * GIB),
        "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}",
    }
    return SimpleNamespace(**{**calls, **changes})


@pytest.mark.parametrize("name", ["NVIDIA GB10", "Orin (nvgpu)", "NVIDIA Thor"])
@pytest.mark.parametrize("memory", [_refuse, lambda handle: SimpleNamespace(total=128 * GIB)])
def test_a_part_that_shares_main_memory_is_unified_whatever_it_says_of_memory(name, memory):
    (found,) = read_nvidia(nvml(nvmlDeviceGetName=lambda handle: name, nvmlDeviceGetMemoryInfo=memory))
    assert (found.unified, found.memory_bytes) == (True, 0)


def test_a_card_with_memory_of_its_own_is_not_unified():
    (found,) = read_nvidia(nvml())
    assert (found.unified, found.memory_bytes, found.part_id) == (False, 24 * GIB, "GPU-0")


def test_a_mig_instance_without_a_name_is_called_after_its_device_and_has_its_own_id():
    def name(handle):
        return "NVIDIA A100" if handle == 0 else _refuse()

    split = {
        "nvmlDeviceGetMigMode": lambda handle: (1, 1),
        "nvmlDeviceGetMaxMigDeviceCount": lambda handle: 2,
        "nvmlDeviceGetMigDeviceHandleByIndex": lambda handle, index: f"m{index}",
        "nvmlDeviceGetName": name,
        "nvmlDeviceGetUUID": lambda handle: f"MIG-{handle}",
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=10 * GIB),
    }
    found = read_nvidia(nvml(**split))
    assert [(one.model, one.memory_bytes, one.slots, one.part_id) for one in found] == [
        ("NVIDIA A100 MIG", 10 * GIB, 1, "MIG-m0"),
        ("NVIDIA A100 MIG", 10 * GIB, 1, "MIG-m1"),
    ]


@pytest.mark.parametrize(
    ("memory", "used"),
    [
        (lambda handle: SimpleNamespace(total=24 * GIB, used=3 * GIB), 3 * GIB),
        (lambda handle: SimpleNamespace(total=24 * GIB), 0),
        (lambda handle: SimpleNamespace(total=24 * GIB, used=2**64 - 1), 0),
        (_refuse, 0),
    ],
)
def test_memory_in_use_is_told_or_unknown(memory, used):
    assert accelerator_used_bytes(nvml(nvmlDeviceGetMemoryInfo=memory)) == used
    assert accelerator_used_bytes(nvml(nvmlInit=_refuse)) == 0


@pytest.mark.parametrize(
    ("reasons", "held"), [(lambda h: 0x40, True), (lambda h: 0x1, False), (_refuse, None), (lambda h: "x", None)]
)
def test_being_held_back_is_told_or_unknown(reasons, held):
    assert is_held_back(nvml(nvmlDeviceGetCurrentClocksEventReasons=reasons)) is held


def test_a_driver_that_hangs_is_said_to_be_unknown_not_absent(tmp_path):
    answer = ask_nvidia(traces=(str(tmp_path),), timeout_s=0.2, command=("sleep", "60"))
    assert answer.accelerators == ()
    assert "within 0.2 s" in answer.unknown


def test_a_card_without_a_driver_is_said_to_be_there(tmp_path):
    for name, vendor, kind in (("0", "0x10de", "0x030200"), ("1", "0x10de", "0x040300"), ("2", "0x1002", "0x030000")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(f"{vendor}\n")
        (tmp_path / name / "class").write_text(f"{kind}\n")
    answer = ask_nvidia(traces=(), pci=tmp_path)
    assert answer.accelerators == ()
    assert answer.unknown.startswith("1 on the PCI bus, but no driver")
    assert ask_nvidia(traces=(), pci=tmp_path / "none") == Answer()


def test_what_a_driver_does_not_tell_for_once_is_as_it_was():
    answers = [Answer(accelerators=(CARD,)), Answer(unknown="hung"), Answer()]
    finder = Finder([("nvidia", lambda: answers.pop(0))])
    assert finder.find(GIB).accelerators == (CARD,)
    again = finder.find(GIB)
    assert (again.accelerators, again.unknown) == ((CARD,), ("nvidia: hung",))
    assert finder.find(GIB).accelerators == ()


def test_unified_memory_is_that_of_the_device_and_slots_are_as_configured():
    shared = Accelerator(kind="cuda", model="GB10", provider="", slots=1, memory_bytes=0, unified=True)
    finder = Finder([("nvidia", lambda: Answer(accelerators=(shared,), throttled=True))])
    found = finder.find(128 * GIB, slots=4)
    assert [(one.memory_bytes, one.slots, one.unified) for one in found.accelerators] == [(128 * GIB, 4, True)]
    assert found.throttled is True


def test_a_jetson_is_told_by_its_device_tree(tmp_path):
    assert read_jetson(tmp_path) == ()
    tree = tmp_path / "proc/device-tree"
    tree.mkdir(parents=True)
    (tree / "compatible").write_bytes(b"nvidia,p3768-0000\0nvidia,tegra234\0")
    (tree / "model").write_bytes(b"NVIDIA Jetson Orin Nano\0")
    assert read_jetson(tmp_path) == ()  # its GPU can't be used
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/nvmap").touch()
    (found,) = read_jetson(tmp_path)
    assert (found.kind, found.model, found.unified) == ("cuda", "NVIDIA Jetson Orin Nano", True)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"kind": "npu"},
        {"kind": "n p u", "model": "x"},
        {"kind": "npu", "model": "x", "slots": 0},
        {"kind": "npu", "model": "x", "slots": True},
        {"kind": "npu", "model": "x", "slots": 10**6},
        {"kind": "npu", "model": "x", "provider": "a b"},
        7,
    ],
)
def test_an_accelerator_that_can_not_be_is_refused(entry):
    import json

    with pytest.raises(ValueError, match=r"npu|n p u|slots|says|said"):
        read_answer(json.dumps([entry]).encode())


def test_a_child_that_prints_without_end_is_ended():
    answer = ask((sys.executable, "-c", "while True: print('x' * 65536)"), timeout_s=20.0)
    assert "more than" in answer.unknown


def test_a_child_takes_what_it_started_with_it(tmp_path):
    mark = tmp_path / "pid"
    answer = ask(("sh", "-c", f"sleep 60 & echo $! > {mark}; wait"), timeout_s=0.3)
    assert answer.unknown
    pid = int(mark.read_text())
    state = _state(pid)
    assert state in ("", "Z")


def _state(pid):
    """Of a process; empty: it is gone. One that was killed may wait for its new parent."""
    import time

    until = time.monotonic() + 5.0
    state = "R"
    while state not in ("", "Z") and time.monotonic() < until:
        try:
            with open(f"/proc/{pid}/stat") as file:
                state = file.read().rpartition(")")[2].split()[0]
        except OSError:
            state = ""
    return state
