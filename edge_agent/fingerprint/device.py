"""The parts of a fingerprint, put together into a Device."""

from __future__ import annotations

import platform
import re

import circinus
from circinus.model.device import Accelerator, Device, DeviceClass, Environment
from edge_agent.config import AgentConfig
from edge_agent.fingerprint.cgroup import read_limits
from edge_agent.fingerprint.cpu import CpuFacts, read_cpu
from edge_agent.fingerprint.disk import read_disk_free_bytes
from edge_agent.fingerprint.memory import read_memory_bytes
from edge_agent.fingerprint.nvidia import find_nvidia


def take_fingerprint(
    config: AgentConfig, *, environments: tuple[Environment, ...] = (), data_address: str = ""
) -> Device:
    """What this box is: measured, and where the configuration says otherwise, as it says."""
    limits = read_limits()
    cpu = read_cpu(limits)
    # A device that is emulated on this machine doesn't have the machine's accelerators.
    real = find_nvidia() if config.speed_ratio == 1.0 and not config.accelerators else ()
    accelerators = (*real, *config.accelerators)
    return Device(
        id=config.device_id,
        tier=config.tier,
        site=config.site,
        device_class=config.device_class or derive_class(cpu, accelerators, config.speed_ratio),
        cpu_model=cpu.model,
        logical_cores=cpu.logical_cores,
        max_frequency_mhz=cpu.max_frequency_mhz,
        cpu_flags=cpu.flags,
        cores=config.cores if config.cores is not None else cpu.usable_cores,
        memory_bytes=config.memory_bytes if config.memory_bytes is not None else read_memory_bytes(limits),
        disk_free_bytes=read_disk_free_bytes(config.state_dir),
        accelerators=accelerators,
        links=config.links,
        price_per_h=config.price_per_h,
        speed_ratio=config.speed_ratio,
        environments=environments,
        data_address=data_address,
        agent_version=circinus.__version__,
    )


def derive_class(cpu: CpuFacts, accelerators: tuple[Accelerator, ...], speed_ratio: float) -> DeviceClass:
    """The class that shares this device's profiles, such as "amd-epyc-26-2-1/avx512/py3.11/x0.25".

    CPU model, instruction set, accelerators, run-time version and speed; never links or what is free just now.
    Cores are not in it: times are profiled on one full core.
    """
    parts = [slug(f"{cpu.model} {cpu.variant}"), cpu.instruction_set]
    parts.extend(sorted({slug(accelerator.model) for accelerator in accelerators}))
    parts.append("py" + ".".join(platform.python_version_tuple()[:2]))
    parts.append(f"x{speed_ratio:.3g}")
    return DeviceClass("/".join(parts))


def slug(text: str) -> str:
    """Short readable text of a-z, 0-9 and "-"; marketing left out."""
    plain = re.sub(r"\((r|tm)\)|\bcpu\b|\bprocessor\b|\d+-core|@.*?ghz", " ", text.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60] or "unknown"
