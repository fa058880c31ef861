from __future__ import annotations

from types import SimpleNamespace

import pytest

from circinus.model.device import Accelerator
from circinus.wire import device_from_message, device_to_message
from edge_agent.config import parse_config
from edge_agent.fingerprint.cgroup import Limits, read_limits
from edge_agent.fingerprint.cpu import CpuFacts, parse_cpuinfo
from edge_agent.fingerprint.device import derive_class, slug, take_fingerprint
from edge_agent.fingerprint.memory import read_memory_bytes
from edge_agent.fingerprint.nvidia import accelerator_memory_of, read_nvidia

X86 = """processor\t: 0
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Gold 6430 CPU @ 2.10GHz
stepping\t: 8
flags\t\t: fpu sse4_2 avx avx2 avx512f nonsense

processor\t: 1
model name\t: other
"""
RASPBERRY = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd asimddp
CPU implementer\t: 0x41
CPU variant\t: 0x4
CPU part\t: 0xd0b

Hardware\t: BCM2835
Model\t\t: Raspberry Pi 5 Model B Rev 1.0
"""


def test_x86_is_told():
    assert parse_cpuinfo(X86) == (
        "Intel(R) Xeon(R) Gold 6430 CPU @ 2.10GHz",
        "6-143-8",
        ("avx", "avx2", "avx512f", "sse4_2"),
    )


def test_arm_board_is_told():
    model, variant, flags = parse_cpuinfo(RASPBERRY)
    assert model in ("Raspberry Pi 5 Model B Rev 1.0", "BCM2835")
    assert variant == "0x41-0xd0b-0x4"
    assert flags == ("asimd", "asimddp")


def test_nothing_is_told():
    assert parse_cpuinfo("") == ("", "", ())


def _write(root, **files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_cgroup_v2_limits_of_every_ancestor_count(tmp_path):
    _write(tmp_path, **{"fs/a/cpu.max": "150000 100000\n", "fs/a/b/cpu.max": "max 100000\n"})
    _write(tmp_path, **{"fs/a/b/memory.max": "1000000\n", "fs/a/memory.max": "max\n", "me": "0::/a/b\n"})
    assert read_limits(tmp_path / "fs", tmp_path / "me") == Limits(cores=1.5, memory_bytes=1_000_000)


def test_cgroup_v1_limits_are_read(tmp_path):
    _write(
        tmp_path,
        **{
            "fs/cpu/cpu.cfs_quota_us": "50000",
            "fs/cpu/cpu.cfs_period_us": "100000",
            "fs/memory/x/memory.limit_in_bytes": "2000000",
            "fs/memory/memory.limit_in_bytes": "9223372036854771712",
            "me": "4:memory:/x\n1:cpu,cpuacct:/not-there\n",
        },
    )
    assert read_limits(tmp_path / "fs", tmp_path / "me") == Limits(cores=0.5, memory_bytes=2_000_000)


def test_no_limit_without_cgroups(tmp_path):
    assert read_limits(tmp_path / "fs", tmp_path / "me") == Limits()
    assert read_memory_bytes(Limits(memory_bytes=5)) == 5


def test_a_path_that_climbs_out_is_not_followed(tmp_path):
    _write(tmp_path, **{"fs/cpu.max": "max 1", "memory.max": "5", "me": "0::/../..\n"})
    assert read_limits(tmp_path / "fs", tmp_path / "me") == Limits()


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


@pytest.mark.parametrize("memory", [None, SimpleNamespace(total=0), SimpleNamespace(total=None), SimpleNamespace()])
def test_memory_that_is_zero_or_untold_is_unknown(memory):
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


CPU = CpuFacts(
    model="AMD EPYC 9654 96-Core Processor",
    variant="25-17-1",
    flags=("avx2", "avx512f"),
    logical_cores=96,
    usable_cores=96.0,
    max_frequency_mhz=0.0,
)


def test_the_class_is_short_readable_text():
    text = derive_class(CPU, (), 0.25)
    assert text.startswith("amd-epyc-9654-25-17-1/avx512/py3.")
    assert text.endswith("/x0.25")


def test_an_accelerator_is_in_the_class():
    card = Accelerator(kind="cuda", model="NVIDIA L4", provider="", slots=1, memory_bytes=0)
    assert "/nvidia-l4/" in derive_class(CPU, (card,), 1.0)


def test_a_slug_is_never_empty():
    assert slug("") == slug("®®") == "unknown"


def test_this_machine_has_a_fingerprint_that_travels(tmp_path):
    config = parse_config(f'device_id = "here"\nstate_dir = "{tmp_path}"\ntier = "edge"')
    device = take_fingerprint(config, data_address="127.0.0.1:1")
    assert device.cores > 0
    assert device.memory_bytes > 2**20
    assert device_from_message(device_to_message(device)) == device


def test_the_file_overrides_what_is_measured(tmp_path):
    config = parse_config(
        f'device_id = "here"\nstate_dir = "{tmp_path}"\ntier = "edge"\ncores = 0.5\nmemory_bytes = 7\n'
        'device_class = "own"\n[[accelerators]]\nkind = "cuda"'
    )
    device = take_fingerprint(config)
    assert (device.cores, device.memory_bytes, device.device_class) == (0.5, 7, "own")
    assert [accelerator.emulated for accelerator in device.accelerators] == [True]
