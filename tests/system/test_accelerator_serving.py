"""Accelerators are resources from the fingerprint to the process: profiled, planned, ordered, audited, reserved."""

from dataclasses import replace

import psutil
import pytest
from test_serving_outlives_the_planner import a_query, has_devices, serving, until

from circinus.client import Client
from circinus.local_fleet import LocalFleet

pytestmark = [pytest.mark.slow, pytest.mark.system]

GIB = 2**30
PIPELINE = """
pipeline: quick
description: Doubles numbers; the reader has a variant for an accelerator.
source: quick:Numbers
scorer: quick:Exact
operators:
  - id: prepare
    class: quick:Prepare
    inputs: [source]
  - id: read
    class: quick:Read
    inputs: [prepare]
    accelerators: [cuda]
outputs: [read]
contents:
  plain: {seed: 1, samples: 40}
"""
CODE = """
import itertools
import time
from random import Random

from circinus.operator import Operator, Sample, Scorer, Source


def burn(cpu_ms):
    end = time.process_time() + cpu_ms / 1000.0
    while time.process_time() < end:
        pass


class Numbers(Source):
    def samples(self):
        rng = Random(f"{self.content}-{self.seed}")
        for _ in itertools.count():
            number = rng.randrange(10**6)
            yield Sample(payload={"number": number}, truth={"double": 2 * number})


class Prepare(Operator):
    def setup(self):
        # It has no variant: nobody may give it what it was not planned with.
        if self.context.providers != ("CPUExecutionProvider",):
            raise RuntimeError(f"it was given {self.context.providers}")

    def process(self, inputs):
        burn(1.0)
        return {"number": inputs["source"]["number"]}


class Read(Operator):
    def process(self, inputs):
        burn(2.0 if self.context.providers[0] == "AcmeExecutionProvider" else 60.0)
        return {"double": 2 * inputs["prepare"]["number"]}


class Exact(Scorer):
    def score(self, outputs, truth):
        return float(outputs["read"]["double"] == truth["double"])
"""
CAMERA = """
device_id = "camera-1"
tier = "edge"
site = "shop-1"
data_listen = ""
cores = 1.0
price_per_h = 0.05
[[links]]
peer = "cloud-1"
bandwidth_mbit_per_s = 20
rtt_ms = 10
emulated = true
"""
CLOUD = """
device_id = "cloud-1"
tier = "cloud"
site = "cloud"
data_listen = "127.0.0.1:0"
cores = 4.0
price_per_h = 2.0
[[accelerators]]
kind = "cuda"
model = "acme"
provider = "AcmeExecutionProvider"
slots = 2
memory_bytes = 4294967296
[[links]]
peer = "camera-1"
bandwidth_mbit_per_s = 20
rtt_ms = 10
emulated = true
"""


async def test_a_variant_for_an_accelerator_is_profiled_planned_and_served(tmp_path):
    folder = tmp_path / "quick"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (folder / "quick.py").write_text(CODE)
    async with LocalFleet(tmp_path / "fleet", {"camera-1": CAMERA, "cloud-1": CLOUD}) as fleet:
        async with Client(fleet.planner_address) as client:
            await until(lambda: has_devices(client, 2))
            devices = {state.device.id: state.device for state in await client.devices()}
            (found,) = devices["cloud-1"].accelerators
            assert (found.kind, found.slots, found.memory_bytes, found.emulated) == ("cuda", 2, 4 * GIB, True)
            assert devices["cloud-1"].device_class != devices["camera-1"].device_class
            await client.add_pipeline(folder)
            # 60 ms on a CPU is too long for it; a slot of the accelerator is the only way.
            await client.submit((_query("fast", 45.0),))
            states = await until(lambda: serving(client, ("fast",)), 120.0)
            read = _operator(states["fast"].plan, "read")
            assert (read.device_id, read.accelerator_slots) == ("cloud-1", 1)
            assert (
                read.accelerator_memory_bytes == 2 * GIB
            )  # nobody tells of an emulated one: an even part for each slot
            assert read.service_ms < 30.0
            assert _operator(states["fast"].plan, "prepare").accelerator_slots == 0
            await until(lambda: answered_in_time(client, "fast", 20))

            # Far more than two slots can do, even shared: some of these are not served, and what is fits the slots.
            await client.submit(tuple(_query(f"more-{number}", 45.0, rate_per_s=120.0) for number in range(8)))
            states = await until(lambda: decided(client, 9), 120.0)
            served = [state for state in states if state.plan is not None]
            assert 1 <= len(served) < 9
        assert "directive_refused" not in fleet.log("cloud-1")
        assert "accelerator_shared" not in fleet.log("cloud-1")
    assert not [one for one in psutil.Process().children(recursive=True) if str(tmp_path) in " ".join(one.cmdline())]


def _query(query_id, latency_ms, rate_per_s=5.0):
    query = a_query(query_id, latency_ms=latency_ms, accuracy_ratio=0.9)
    return replace(query, pipeline_id="quick", rate_per_s=rate_per_s)


def _operator(plan, operator_id):
    (found,) = [one for one in plan.operators if one.operator_id == operator_id]
    return found


async def answered_in_time(client, query_id, count):
    return any(entry.query_id == query_id and entry.answered >= count for entry in await client.ledger())


async def decided(client, count):
    states = await client.queries()
    settled = [state for state in states if state.settled and (state.serving or state.plan is None)]
    return states if len(settled) == count else None
