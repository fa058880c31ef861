from __future__ import annotations

from circinus.model.device import Accelerator
from circinus.wire import device_from_message, device_to_message
from edge_agent.config import parse_config
from edge_agent.fingerprint.cgroup import Limits, read_limits
from edge_agent.fingerprint.cpu import CpuFacts, parse_cpuinfo
from edge_agent.fingerprint.device import derive_class, slug, take_fingerprint
from edge_agent.fingerprint.memory import read_memory_bytes

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
    head = f'device_id = "here"\nstate_dir = "{tmp_path}"\ntier = "edge"\n'
    config = parse_config(f"{head}[fingerprint]\ncalibrate = false")
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
