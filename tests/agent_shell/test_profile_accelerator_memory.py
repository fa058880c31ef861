"""What a replica takes of an accelerator is measured while its operator holds it, by a fake driver."""

from __future__ import annotations

import os
import tarfile
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

import pytest
from shell_fakes import toy_bundle

from circinus.payload import encode
from edge_agent.fingerprint import nvidia
from edge_agent.profile_inputs import read_pipeline
from edge_agent.profile_memory import MemoryProbe

pytestmark = pytest.mark.slow
MIB = 2**20
CPU = ("CPUExecutionProvider",)
CARD = ("CUDAExecutionProvider", *CPU)


class Driver:
    """Whatever asks twice finds 700 MiB more in use; by number it knows only this process, if at all."""

    def __init__(self, knows):
        self.knows = knows
        self.asked = 0

    def module(self):
        return SimpleNamespace(
            nvmlInit=lambda: None,
            nvmlShutdown=lambda: None,
            nvmlDeviceGetCount=lambda: 1,
            nvmlDeviceGetHandleByIndex=lambda index: index,
            nvmlDeviceGetUUID=lambda handle: "GPU-1",
            nvmlDeviceGetMemoryInfo=self.memory,
            nvmlDeviceGetComputeRunningProcesses=lambda handle: [
                SimpleNamespace(pid=os.getpid() if self.knows else 1, usedGpuMemory=500 * MIB)
            ],
        )

    def memory(self, handle):
        self.asked += 1
        return SimpleNamespace(total=2**34, used=700 * MIB * self.asked)


def uses(tmp_path, monkeypatch, *, providers, knows=True, accelerated=True):
    monkeypatch.setattr(nvidia, "_pynvml", Driver(knows).module)
    folder = tmp_path / "bundle"
    with tarfile.open(fileobj=BytesIO(toy_bundle(tmp_path / "toy"))) as archive:
        archive.extractall(folder, filter="data")
    monkeypatch.syspath_prepend(str(folder))
    pipeline = read_pipeline(folder)
    pipeline = replace(pipeline, steps=tuple(replace(one, accelerated=accelerated) for one in pipeline.steps[:1]))
    probe = MemoryProbe(pipeline, [encode({"text": "a"})], providers)
    return [use.accelerator_memory_bytes for use in probe.uses([{"twice.megabytes": 1}])]


@pytest.mark.parametrize(
    ("more", "held"),
    [
        ({"providers": CARD}, 500 * MIB),
        ({"providers": CARD, "knows": False}, 700 * MIB),
        ({"providers": CARD, "accelerated": False}, 0),
        ({"providers": CPU}, 0),
    ],
)
def test_accelerator_memory_is_by_process_else_by_what_came(tmp_path, monkeypatch, more, held):
    assert uses(tmp_path, monkeypatch, **more) == [held]
