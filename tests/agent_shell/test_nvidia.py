"""NVML in every way of misbehaving: what is told is right, or unknown, and nothing takes the agent down."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from edge_agent.fingerprint.nvidia import accelerator_memory_of, find_nvidia, read_nvidia


class NvmlError(Exception):
    pass


def _refuse(*_):
    raise NvmlError("not supported")


def fake_nvml(**changes):
    module = {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda index: f"device-{index}",
        "nvmlDeviceGetName": lambda handle: "NVIDIA L4",
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(total=24 * 2**30),
        "nvmlDeviceGetUUID": lambda handle: f"GPU-{handle}",
        "nvmlDeviceGetComputeMode": lambda handle: 0,
        "nvmlDeviceGetMigMode": _refuse,
        "nvmlDeviceGetMaxMigDeviceCount": _refuse,
        "nvmlDeviceGetMigDeviceHandleByIndex": _refuse,
    }
    return SimpleNamespace(**{**module, **changes})


def test_an_nvidia_device_is_found():
    (found,) = read_nvidia(fake_nvml())
    assert (found.kind, found.model, found.memory_bytes, found.slots) == ("cuda", "NVIDIA L4", 24 * 2**30, 1)
    assert found.provider == "CUDAExecutionProvider"
    assert not found.emulated


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 3 * 2**30),
        ({"nvmlDeviceGetComputeRunningProcesses": _refuse}, 0),
        ({"nvmlInit": _refuse}, 0),
        ({"nvmlDeviceGetHandleByIndex": _refuse}, 0),
        # In a container NVML tells the host's process ids; some drivers tell no size.
        ({"nvmlDeviceGetComputeRunningProcesses": lambda handle: [SimpleNamespace(pid=8, usedGpuMemory=5)]}, 0),
        ({"nvmlDeviceGetComputeRunningProcesses": lambda handle: [SimpleNamespace(pid=7, usedGpuMemory=None)]}, 0),
    ],
)
def test_accelerator_memory_of_a_process_is_told_or_unknown(changes, expected):
    def running(handle):
        return [SimpleNamespace(pid=7, usedGpuMemory=3 * 2**30), SimpleNamespace(pid=8, usedGpuMemory=2**30)]

    module = fake_nvml(**{"nvmlDeviceGetComputeRunningProcesses": running, **changes})
    assert accelerator_memory_of(7, module) == expected


def test_no_driver_is_no_accelerator():
    assert read_nvidia(fake_nvml(nvmlInit=_refuse)) == ()


def test_a_jetson_that_supports_next_to_nothing_is_still_found():
    shy = fake_nvml(nvmlDeviceGetName=_refuse, nvmlDeviceGetMemoryInfo=_refuse, nvmlShutdown=_refuse)
    (found,) = read_nvidia(shy)
    assert (found.model, found.memory_bytes) == ("unknown NVIDIA device", 0)


@pytest.mark.parametrize(
    "memory",
    [
        None,
        SimpleNamespace(total=0),
        SimpleNamespace(total=None),
        SimpleNamespace(),
        SimpleNamespace(total=2**64 - 1),
        SimpleNamespace(total=-1),
        SimpleNamespace(total="24 GiB"),
        24 * 2**30,
    ],
)
def test_memory_that_is_zero_untold_or_impossible_is_unknown(memory):
    (found,) = read_nvidia(fake_nvml(nvmlDeviceGetMemoryInfo=lambda handle: memory))
    assert found.memory_bytes == 0


def test_a_lost_device_is_left_out():
    def second_only(index):
        return _refuse() if index == 0 else "device-1"

    assert len(read_nvidia(fake_nvml(nvmlDeviceGetCount=lambda: 2, nvmlDeviceGetHandleByIndex=second_only))) == 1


def test_a_count_that_fails_is_none():
    assert read_nvidia(fake_nvml(nvmlDeviceGetCount=_refuse)) == ()


def test_bytes_for_a_name_are_read():
    (found,) = read_nvidia(fake_nvml(nvmlDeviceGetName=lambda handle: b"Tesla T4"))
    assert found.model == "Tesla T4"


def test_mig_instances_stand_for_the_device():
    def instance(handle, index):
        return f"{handle}/{index}" if index < 2 else _refuse()

    found = read_nvidia(
        fake_nvml(
            nvmlDeviceGetMigMode=lambda handle: (1, 1),
            nvmlDeviceGetMaxMigDeviceCount=lambda handle: 7,
            nvmlDeviceGetMigDeviceHandleByIndex=instance,
            nvmlDeviceGetName=lambda handle: f"MIG {handle}",
        )
    )
    assert [accelerator.model for accelerator in found] == ["MIG device-0/0", "MIG device-0/1"]


def test_a_split_device_without_instances_takes_no_work():
    split = {"nvmlDeviceGetMigMode": lambda handle: (1, 1), "nvmlDeviceGetMaxMigDeviceCount": lambda handle: 7}
    assert read_nvidia(fake_nvml(**split)) == ()


@pytest.mark.parametrize("mode", [None, (), 1, "enabled", (0, 1)])
def test_a_device_that_is_not_split_yet_or_says_so_oddly_stands_for_itself(mode):
    assert len(read_nvidia(fake_nvml(nvmlDeviceGetMigMode=lambda handle: mode))) == 1


def test_a_device_that_fell_off_the_bus_is_left_out():
    names = ("Name", "MemoryInfo", "UUID", "ComputeMode")
    assert read_nvidia(fake_nvml(**{f"nvmlDeviceGet{name}": _refuse for name in names})) == ()


def test_a_device_on_which_nobody_may_compute_is_left_out():
    assert read_nvidia(fake_nvml(nvmlDeviceGetComputeMode=lambda handle: 2)) == ()


def test_a_device_that_is_listed_twice_is_one():
    twice = fake_nvml(nvmlDeviceGetCount=lambda: 2, nvmlDeviceGetUUID=lambda handle: "GPU-1")
    assert len(read_nvidia(twice)) == 1


@pytest.mark.parametrize("count", [-1, "2", None, 1.5])
def test_a_count_that_is_none_is_none(count):
    assert read_nvidia(fake_nvml(nvmlDeviceGetCount=lambda: count)) == ()


def test_a_count_without_end_has_one():
    assert len(read_nvidia(fake_nvml(nvmlDeviceGetCount=lambda: 2**31))) == 64


@pytest.mark.parametrize("name", ["", "\x00\x07", None, b"\xff\xfe", 7])
def test_a_name_that_says_nothing_is_unknown_and_prints(name):
    (found,) = read_nvidia(fake_nvml(nvmlDeviceGetName=lambda handle: name))
    assert found.model.isprintable()
    assert found.model


def test_an_old_binding_lacks_calls():
    module = fake_nvml()
    for name in ("nvmlDeviceGetMigMode", "nvmlDeviceGetComputeMode", "nvmlDeviceGetUUID"):
        delattr(module, name)
    assert len(read_nvidia(module)) == 1


def test_a_binding_that_is_none_is_no_accelerator():
    assert read_nvidia(SimpleNamespace()) == ()
    assert accelerator_memory_of(7, SimpleNamespace()) == 0


# The child that asks.

FAKE = """
import types
def nvmlInit(): {init}
def nvmlShutdown(): {shutdown}
def nvmlDeviceGetCount(): return 1
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetName(handle): return "NVIDIA L4"
def nvmlDeviceGetMemoryInfo(handle): return types.SimpleNamespace(total=24 * 2**30)
"""
CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"


def child_with(tmp_path, **changes):
    """A child that finds this instead of the binding."""
    (tmp_path / "pynvml.py").write_text(FAKE.format(**{"init": "pass", "shutdown": "pass", **changes}))
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import runpy; "
    return (sys.executable, "-c", code + "runpy.run_module('edge_agent.fingerprint.nvidia_child', run_name='__main__')")


@pytest.mark.slow
def test_the_child_tells_what_it_found(tmp_path):
    (found,) = find_nvidia(traces=(str(tmp_path),), command=child_with(tmp_path))
    assert (found.model, found.memory_bytes, found.emulated) == ("NVIDIA L4", 24 * 2**30, False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"init": CRASH}, {"init": "import time; time.sleep(60)"}, {"init": "raise SystemExit(3)"}, {"shutdown": CRASH}],
    ids=["crashes", "hangs", "exits", "crashes at the end"],
)
def test_a_driver_that_takes_its_caller_down_takes_only_the_child(tmp_path, changes):
    assert find_nvidia(traces=(str(tmp_path),), timeout_s=2.0, command=child_with(tmp_path, **changes)) == ()


@pytest.mark.parametrize("said", ["", "[", "{}", "[1]", '[{"model": "x"}]'])
def test_what_the_child_never_says_is_nothing(tmp_path, said):
    command = ("sh", "-c", f"printf '%s\\n' '{said}'")
    assert find_nvidia(traces=(str(tmp_path),), command=command) == ()


def test_without_a_trace_of_a_driver_nobody_is_asked(tmp_path):
    assert find_nvidia(traces=(str(tmp_path / "none"),), command=("false",)) == ()
