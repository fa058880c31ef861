"""Shadow sampling: which live items are run through the reference, when, and what comes of it."""

import asyncio
import json
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from serving_fleet import QUERY, Fleet, directive, generation, replica_set, route, source

from circinus.errors import NotRunnable
from circinus.model.device import Digest
from circinus.model.pipeline import OperatorId
from circinus.payload import encode
from circinus.v1 import worker_pb2
from edge_agent.dataplane.book import Emission, Ended, Ending
from edge_agent.process import ServingProcess
from edge_agent.runtime import Runtime
from edge_agent.shadow import MAX_AGE_S, MAX_ITEMS, Shadow
from edge_agent.telemetry import Windows

OPERATORS = """
from itertools import count
from circinus.operator import Operator, Sample, Scorer, Source

class Numbers(Source):
    def samples(self):
        for number in count(self.seed):
            yield Sample(payload={"number": number})

class Add(Operator):
    def process(self, inputs):
        return {"number": inputs["source"]["number"] + self.knobs["step"]}

class Near(Scorer):
    def score(self, outputs, truth):
        return max(0.0, 1.0 - abs(outputs["add"]["number"] - truth["number"]) / 10)
    def label(self, outputs):
        return outputs["add"]

class Unlabelled(Scorer):
    def score(self, outputs, truth):
        return 1.0
"""


def bundle_at(folder: Path, *, scorer: str = "Near", state: str = "none") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "shadowed.py").write_text(OPERATORS)
    document = {
        "operators": [{"id": "add", "entry_point": "shadowed:Add", "inputs": ["source"], "state": state}],
        "outputs": ["add"],
        "scorer": f"shadowed:{scorer}",
    }
    (folder / "pipeline.json").write_text(json.dumps(document))
    return folder


def spec(**changes: object):
    values = {
        "entry_point": "shadowed:Numbers",
        "scorer_entry_point": "shadowed:Near",
        "reference": {"add.step": 3},
        **changes,
    }
    return source(("add",), **values)


class _Clock:
    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.passed_s)

    def monotonic_s(self) -> float:
        return self.passed_s

    async def sleep(self, seconds: float) -> None:
        self.passed_s += seconds
        await asyncio.sleep(0)


class _Process:
    """Agrees by half with all that it is asked of."""

    pid = 1

    def __init__(self) -> None:
        self.gone = asyncio.get_running_loop().create_future()
        self.stopped = False

    async def call(self, request: worker_pb2.WorkerRequest, timeout_s: float) -> worker_pb2.WorkerReply:
        return worker_pb2.WorkerReply(shadowed=worker_pb2.ShadowScore(score_ratio=0.5))

    async def stop(self, grace_s: float) -> None:
        self.stopped = True


class _Bench:
    """A Shadow on a fake clock; ``busy``: serving has something to do."""

    def __init__(self, **changes: object) -> None:
        self.clock = _Clock()
        self.windows = Windows(self.clock)
        self.processes: list[_Process] = []
        self.busy = False
        self.fault = ""
        self.shadow = Shadow(windows=self.windows, clock=self.clock, start=self._start, idle=lambda: not self.busy)
        self.shadow.assign(directive("camera", 1, sources=(spec(**changes),)))
        self.number = 0

    async def _start(self, _: object) -> _Process:
        if self.fault:
            raise NotRunnable(self.fault)
        self.processes.append(_Process())
        return self.processes[-1]

    def item(self, ending: Ending | None = Ending.ANSWERED, *, excess: bool = False) -> None:
        self.number += 1
        emission = Emission(
            request_id=f"r{self.number}",
            sequence=self.number,
            query_id=QUERY,
            generation=generation(1),
            source_key="source",
            emitted_at_s=self.clock.passed_s,
            deadline_ms=0.0,
            output_operator_ids=(OperatorId("add"),),
            excess=excess,
        )
        self.shadow.emitted(emission, b"item")
        if ending is not None:
            self.shadow.ended(Ended(emission=emission, ending=ending, latency_ms=1.0, outputs={"add": b"x"}))

    async def serve(self, seconds: float, rate_per_s: float = 20.0, **changes: object) -> None:
        for _ in range(int(seconds * rate_per_s)):
            self.item(**changes)
            await self.clock.sleep(1.0 / rate_per_s)
            await self.shadow.attempt()

    def shadowed(self) -> int:
        return sum(window.shadow_scored for window in self.windows.take()[0])


async def test_a_small_share_of_live_items_is_shadowed() -> None:
    bench = _Bench()
    await bench.serve(100.0)
    (window,), _ = bench.windows.take()
    # 2% of 2000 items.
    assert 35 <= window.shadow_scored <= 41
    assert window.shadow_score_sum == window.shadow_scored / 2
    assert len(bench.processes) == 1


async def test_a_slow_query_has_a_few_a_minute() -> None:
    bench = _Bench(rate_per_s=0.5)
    await bench.serve(120.0, 0.5)
    assert 5 <= bench.shadowed() <= 8


async def test_nothing_is_sampled_without_a_reference_or_of_what_is_in_excess_or_unanswered() -> None:
    bench = _Bench(reference={})
    await bench.serve(30.0)
    assert bench.shadowed() == 0
    for changes in ({"excess": True}, {"ending": Ending.DROPPED}):
        bench = _Bench()
        await bench.serve(30.0, **changes)
        assert bench.shadowed() == 0


async def test_serving_goes_first_and_what_waits_is_bounded() -> None:
    bench = _Bench()
    bench.busy = True
    for _ in range(200):
        bench.item()
        await bench.clock.sleep(1.0)
    assert bench.shadowed() == 0
    held = 0
    bench.busy = False
    for _ in range(MAX_ITEMS + 5):
        await bench.shadow.attempt()
        held += bench.shadowed()
    assert held <= MAX_ITEMS


async def test_what_is_too_old_is_let_go() -> None:
    bench = _Bench()
    bench.item(ending=None)
    await bench.serve(3.0)
    bench.shadowed()
    bench.busy = True
    await bench.serve(3.0)
    await bench.clock.sleep(MAX_AGE_S + 1.0)
    bench.busy = False
    await bench.shadow.attempt()
    assert bench.shadowed() == 0


async def test_a_source_that_can_not_be_shadowed_is_tried_once(capsys: pytest.CaptureFixture[str]) -> None:
    bench = _Bench()
    bench.fault = "it makes no labels"
    await bench.serve(60.0)
    assert bench.shadowed() == 0
    assert bench.processes == []
    bench.fault = ""
    await bench.serve(60.0)
    assert bench.processes == []


async def _runtime(tmp_path: Path, bundle: Path) -> Runtime:
    runtime = Runtime(
        run_dir=tmp_path / "run",
        speed_ratio=1.0,
        python_for=lambda _: Path(sys.executable),
        bundle_path=lambda _: bundle,
        providers=("CPUExecutionProvider",),
    )
    runtime.open()
    return runtime


async def test_a_process_scores_a_live_answer_against_the_reference(tmp_path: Path) -> None:
    runtime = await _runtime(tmp_path, bundle_at(tmp_path / "bundle"))
    process = await runtime.start_shadow(spec())
    try:
        item = worker_pb2.ShadowItem(item=encode({"number": 10}), outputs={"add": encode({"number": 11})})
        reply = await process.call(worker_pb2.WorkerRequest(shadow=item), 30.0)
        assert reply.shadowed.score_ratio == pytest.approx(0.8)
        bad = worker_pb2.ShadowItem(item=encode({"nothing": 1}), outputs={"add": encode({"number": 11})})
        reply = await process.call(worker_pb2.WorkerRequest(shadow=bad), 30.0)
        assert "KeyError" in reply.shadowed.error
    finally:
        await process.stop(2.0)
        runtime.close()


def test_a_process_is_reaped_though_the_loop_that_ends_cancels_all_that_watches_it(tmp_path: Path) -> None:
    codes = []

    async def use(runtime: Runtime, process: ServingProcess) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await process.stop(0.0)
            codes.append(process.returncode)
            runtime.close()

    async def end_in_use() -> None:
        runtime = await _runtime(tmp_path, bundle_at(tmp_path / "bundle"))
        using = asyncio.create_task(use(runtime, await runtime.start_shadow(spec())))
        await asyncio.wait((using,), timeout=0.0)

    asyncio.run(end_in_use())
    assert codes == [-signal.SIGKILL]


@pytest.mark.parametrize(
    ("changes", "why"), [({"scorer": "Unlabelled"}, "can't make labels"), ({"state": "per_source"}, "carries state")]
)
async def test_what_can_not_be_shadowed_says_why(tmp_path: Path, changes: dict[str, str], why: str) -> None:
    runtime = await _runtime(tmp_path, bundle_at(tmp_path / "bundle", **changes))
    with pytest.raises(NotRunnable, match=why):
        await runtime.start_shadow(spec())
    runtime.close()


async def test_live_items_are_shadowed_while_they_are_served(fleet: Fleet) -> None:
    bundle_at(fleet.bundle)
    await fleet.add("camera", listen="")
    served = replica_set("add", "Add", entry_point="shadowed:Add", knobs={"step": 1}, bundle_digest=Digest("sha256:b"))
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(served,),
            routes=(route("add", ("source",), "camera"),),
            sources=(spec(rate_per_s=50.0),),
        )
    )
    totals = {"scored": 0, "sum": 0.0}

    def shadowed() -> bool:
        for window in fleet.devices["camera"].take_windows()[0]:
            totals["scored"] += window.shadow_scored
            totals["sum"] += window.shadow_score_sum
        return totals["scored"] > 0

    await fleet.until(shadowed)
    # The reference adds 3, what is served adds 1: two off, of ten.
    assert totals["sum"] / totals["scored"] == pytest.approx(0.8)
