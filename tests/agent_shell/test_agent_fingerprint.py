"""An agent whose device changes tells the planner, and gives its halves what there is now."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random

import pytest
from shell_fakes import DEADLINE_S, ScriptedPlanner
from test_agent import Box

from circinus.clock import SystemClock
from edge_agent.agent import Agent
from edge_agent.config import parse_config
from edge_agent.fingerprint import device as fingerprint
from edge_agent.fingerprint.accelerators import Finder
from edge_agent.fingerprint.asking import Answer, accelerator_of

pytestmark = pytest.mark.slow

CARD = accelerator_of({"kind": "cuda", "model": "L4", "provider": "CUDAExecutionProvider", "part_id": "GPU-1"})


@contextlib.asynccontextmanager
async def often(tmp_path, address):
    """An agent that takes its fingerprint ten times a second."""
    config = parse_config(
        f'device_id = "camera"\nplanner = "{address}"\nstate_dir = "{tmp_path}/state"\ntier = "edge"\n'
        "insecure_loopback = true\n[fingerprint]\nperiod_min = 0.0017\n"
    )
    stop, box = asyncio.Event(), Box()
    running = asyncio.create_task(Agent(config, clock=SystemClock(), rng=Random(1), make_serving=box.make).run(stop))
    try:
        yield box
    finally:
        stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await running


async def test_hardware_that_came_is_told_and_used(tmp_path, monkeypatch):
    answers = [Answer()]
    monkeypatch.setattr(fingerprint, "Finder", lambda **_: Finder([("nvidia", lambda: answers[0])]))
    async with ScriptedPlanner() as planner, often(tmp_path, planner.address) as box:
        await planner.until(lambda: planner.hellos)
        assert not planner.hellos[0].fingerprint.accelerators
        answers[0] = Answer(accelerators=(CARD,))
        told = await planner.hear("fingerprint")
        assert [one.part_id for one in told.accelerators] == ["GPU-1"]
        assert told.data_address == "127.0.0.1:9"
        await box.called("equip", (CARD,))


async def test_nothing_is_told_while_nothing_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprint, "read_condition", lambda **_: None)  # this machine's heat is its own affair
    async with ScriptedPlanner() as planner, often(tmp_path, planner.address):
        await planner.until(lambda: planner.hellos)
        await planner.until(lambda: len(planner.all_of("heartbeat")) >= 3)
        assert planner.all_of("fingerprint") == []
