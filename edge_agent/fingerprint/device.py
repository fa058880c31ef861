"""The parts of a fingerprint, put together into a Device."""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from dataclasses import replace

import circinus
from circinus.model.device import Accelerator, Device, DeviceClass, Environment, Limits, SpeedScore
from edge_agent.config import AgentConfig
from edge_agent.fingerprint.accelerators import Finder, Found
from edge_agent.fingerprint.calibration import Calibrated, bucket, calibrate, hardware_identity
from edge_agent.fingerprint.cgroup import read_limits
from edge_agent.fingerprint.condition import read_condition
from edge_agent.fingerprint.cpu import CpuFacts, read_cpu
from edge_agent.fingerprint.disk import read_disk_bytes
from edge_agent.fingerprint.memory import read_memory_bytes


class Fingerprinter:
    """Takes a device's fingerprint, again and again: what a driver does not tell for once is as it was told before."""

    def __init__(self, config: AgentConfig, *, finder: Finder | None = None) -> None:
        self._config = config
        self._finder = finder or Finder(with_plug_ins=config.fingerprint.plug_ins)
        self._calibrated: Calibrated | None = None
        self._asked = False

    def take(self, *, environments: tuple[Environment, ...] = (), data_address: str = "") -> Device:
        """What this box is: measured, and where the configuration says otherwise, as it says.

        The first time it takes two or three seconds where the device's speed is not known yet.
        """
        config, settings = self._config, self._config.fingerprint
        limits = read_limits()
        cpu = read_cpu(limits)
        if settings.cpu_model:
            cpu = replace(cpu, model=settings.cpu_model)
        if settings.calibrate and settings.speed_score is None and not self._asked:
            self._asked = True
            self._calibrated = calibrate(config.state_dir, hardware_identity(cpu))
        if settings.speed_score is not None:
            self._calibrated = Calibrated(speed=SpeedScore(score=settings.speed_score), steady=True)
        memory_bytes = config.memory_bytes if config.memory_bytes is not None else read_memory_bytes(limits)
        # A device that is emulated on this machine doesn't have the machine's accelerators.
        real = config.speed_ratio == 1.0 and not config.accelerators and settings.accelerators
        found = self._finder.find(memory_bytes, settings.slots) if real else Found()
        accelerators = (*found.accelerators, *config.accelerators)
        speed, free_bytes = self._calibrated, read_disk_bytes(config.state_dir)
        steady = speed.speed.score if speed is not None and speed.steady else None
        return Device(
            id=config.device_id,
            tier=config.tier,
            site=config.site,
            device_class=config.device_class or derive_class(cpu, accelerators, config.speed_ratio, steady),
            cpu_model=cpu.model,
            logical_cores=cpu.logical_cores,
            max_frequency_mhz=cpu.max_frequency_mhz,
            cpu_flags=cpu.flags,
            # The owner may allow less than there is.
            cores=config.policy.cores_of(config.cores if config.cores is not None else cpu.usable_cores),
            memory_bytes=config.policy.memory_bytes_of(memory_bytes),
            disk_free_bytes=free_bytes[0],
            accelerators=accelerators,
            links=config.links,
            price_per_h=config.price_per_h,
            speed_ratio=config.speed_ratio,
            environments=environments,
            data_address=data_address,
            agent_version=circinus.__version__,
            labels=config.labels,
            policy=config.policy,
            speed=speed.speed if speed is not None else None,
            condition=read_condition(accelerator_throttled=found.throttled),
            disk_total_bytes=free_bytes[1],
            limits=_limits(limits.cores, limits.memory_bytes, cpu.affinity_cores),
            unknown=(*found.unknown, *_unknown(cpu, memory_bytes, free_bytes[1], accelerators)),
            overridden=_overridden(config),
            platform=f"{platform.machine()} {platform.system().lower()} {platform.release()} python {_python()}",
        )


def take_fingerprint(
    config: AgentConfig, *, environments: tuple[Environment, ...] = (), data_address: str = ""
) -> Device:
    """What this box is: measured, and where the configuration says otherwise, as it says."""
    return Fingerprinter(config).take(environments=environments, data_address=data_address)


def derive_class(
    cpu: CpuFacts, accelerators: tuple[Accelerator, ...], speed_ratio: float, score: float | None = None
) -> DeviceClass:
    """The class that shares this device's profiles, such as "amd-epyc-26-2-1/avx512/py3.11/c8-5e1f/s1/x0.25".

    CPU model, instruction set, accelerators, run-time version, cores with a digest of the CPU's flags, the step of a
    steady speed score, and the emulated speed; never links or what is free just now. The planner may put a device whose
    score is near a step's border into the class that it knows (cloud_planner/core/device_classes.py).
    """
    parts = [slug(f"{cpu.model} {cpu.variant}"), cpu.instruction_set]
    parts.extend(sorted({slug(accelerator.model) for accelerator in accelerators}))
    parts.append(f"py{_python()}")
    parts.append(f"c{cpu.logical_cores}-{hashlib.sha256(' '.join(cpu.flags).encode()).hexdigest()[:4]}")
    if score is not None:
        parts.append(f"s{bucket(score)}")
    parts.append(f"x{speed_ratio:.3g}")
    return DeviceClass("/".join(parts)[-200:].lstrip("/-"))


def slug(text: str) -> str:
    """Short readable text of a-z, 0-9 and "-"; marketing left out."""
    plain = re.sub(r"\((r|tm)\)|\bcpu\b|\bprocessor\b|\d+-core|@.*?ghz", " ", text.lower())
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60] or "unknown"


def _python() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _limits(cores: float | None, memory_bytes: int | None, affinity_cores: int) -> Limits | None:
    limits = Limits(cgroup_cores=cores or 0.0, cgroup_memory_bytes=memory_bytes or 0, affinity_cores=affinity_cores)
    return None if limits == Limits() else limits


def _unknown(
    cpu: CpuFacts, memory_bytes: int, disk_bytes: int, accelerators: tuple[Accelerator, ...]
) -> tuple[str, ...]:
    facts = (
        (cpu.model == "unknown", "cpu_model: the kernel names none"),
        (cpu.max_frequency_mhz == 0.0, "max_frequency_mhz: the kernel tells none"),
        (memory_bytes == 0, "memory_bytes: the kernel tells none"),
        (disk_bytes == 0, "disk: the file system tells nothing"),
        *((one.memory_bytes == 0, f"memory of {one.model}: its driver tells none") for one in accelerators),
    )
    return tuple(text for missing, text in facts if missing)


def _overridden(config: AgentConfig) -> tuple[str, ...]:
    settings = config.fingerprint
    keys = {
        "cores": config.cores is not None,
        "memory_bytes": config.memory_bytes is not None,
        "device_class": config.device_class is not None,
        "accelerators": bool(config.accelerators) or not settings.accelerators,
        "fingerprint.cpu_model": bool(settings.cpu_model),
        "fingerprint.speed_score": settings.speed_score is not None,
        "fingerprint.accelerator_slots": settings.slots != 1,
    }
    return tuple(key for key, said in keys.items() if said)
