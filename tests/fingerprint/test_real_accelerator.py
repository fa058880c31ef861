"""On a machine with an NVIDIA device: what is told of it agrees with the driver's own word."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.fingerprint.nvidia import TRACES, ask_nvidia

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not any(Path(trace).exists() for trace in TRACES), reason="there is no NVIDIA device here"),
]


def test_the_devices_of_this_machine_are_those_that_the_driver_lists():
    answer = ask_nvidia()
    cards = Path("/proc/driver/nvidia/gpus")
    assert not answer.unknown
    assert answer.accelerators
    if cards.is_dir():
        assert len({one.model for one in answer.accelerators}) <= len(answer.accelerators)
    for one in answer.accelerators:
        assert one.part_id
        assert one.unified or 2**28 < one.memory_bytes < 2**43
