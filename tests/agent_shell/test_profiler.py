from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from shell_fakes import DEADLINE_S, TOY_OPERATORS, BlobShelf, configuration, profile_request, toy_bundle, toy_samples

from circinus.errors import NotRunnable
from circinus.wire import configuration_profile_from_message
from edge_agent.blobs import Blobs
from edge_agent.profiler import Profiler

pytestmark = [pytest.mark.slow, pytest.mark.system]


class Desk:
    """Takes what a profiler says."""

    def __init__(self) -> None:
        self.reports = []
        self.progress = []
        self._news = asyncio.Event()

    def take(self, message):
        (self.reports if message.WhichOneof("message") == "profile_report" else self.progress).append(message)
        self._news.set()

    async def ended(self, request_id="profile-1"):
        async with asyncio.timeout(DEADLINE_S * 2):
            while True:
                for message in self.reports:
                    if message.profile_report.done and message.profile_report.id == request_id:
                        return message.profile_report.error
                self._news.clear()
                await self._news.wait()

    def results(self):
        """Samples and memory by knobs."""
        found = {}
        for message in self.reports:
            for part in message.profile_report.configurations:
                profile = configuration_profile_from_message(part)
                key = tuple(sorted(profile.configuration.items()))
                samples, memory = found.setdefault(key, ({}, {}))
                samples.update({sample.sample_index: sample for sample in profile.samples})
                memory.update(profile.memory_bytes)
        return found


@contextlib.asynccontextmanager
async def running(tmp_path, desk, *blobs, python=lambda digest: Path(sys.executable)) -> AsyncIterator[Profiler]:
    store = Blobs(tmp_path / "state", BlobShelf(*blobs))
    store.prepare()
    profiler = Profiler(
        blobs=store,
        python_for=python,
        run_dir=tmp_path / "profile",
        speed_ratio=0.5,
        providers=("CPUExecutionProvider",),
        deliver=desk.take,
        tell=desk.take,
    )
    task = asyncio.create_task(profiler.run())
    try:
        yield profiler
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert psutil.Process().children(recursive=True) == []


def key_of(megabytes, mode):
    return (("shout.mode", mode), ("twice.megabytes", megabytes))


async def test_every_configuration_and_sample_is_measured_and_scored(tmp_path):
    bundle, samples, desk = toy_bundle(tmp_path / "toy"), toy_samples(4), Desk()
    wanted = [configuration(0, "loud"), configuration(32, "loud"), configuration(0, "quiet")]
    async with running(tmp_path, desk, bundle, samples) as profiler:
        profiler.submit(profile_request(bundle, samples, wanted, [0, 1, 3], parallelism=2))
        assert await desk.ended() == ""
    results = desk.results()
    assert set(results) == {key_of(0, "loud"), key_of(32, "loud"), key_of(0, "quiet")}
    for scored, memory in results.values():
        assert sorted(scored) == [0, 1, 3]
        assert set(memory) == {"twice", "shout"}
    assert {sample.score_ratio for sample in results[key_of(0, "loud")][0].values()} == {1.0}
    assert {sample.score_ratio for sample in results[key_of(0, "quiet")][0].values()} == {0.25}
    # 32 MiB more are loaded by one setting alone.
    extra_bytes = results[key_of(32, "loud")][1]["twice"] - results[key_of(0, "loud")][1]["twice"]
    assert 30 * 2**20 < extra_bytes < 40 * 2**20
    last = desk.progress[-1].profile_progress
    assert (last.samples_done, last.samples_total) == (9, 9)
    assert last.operator_s > 0
    assert list((tmp_path / "profile").iterdir()) == []


async def test_a_raising_configuration_does_not_harm_the_others(tmp_path):
    bundle, samples, desk = toy_bundle(tmp_path / "toy"), toy_samples(2), Desk()
    wanted = [configuration(0, "loud"), configuration(0, "raise")]
    async with running(tmp_path, desk, bundle, samples) as profiler:
        profiler.submit(profile_request(bundle, samples, wanted, [0, 1]))
        assert await desk.ended() == ""
    results = desk.results()
    assert {sample.score_ratio for sample in results[key_of(0, "loud")][0].values()} == {1.0}
    assert {sample.score_ratio for sample in results[key_of(0, "raise")][0].values()} == {0.0}


async def test_when_nothing_works_the_reason_names_operator_and_knobs(tmp_path):
    bundle, samples, desk = toy_bundle(tmp_path / "toy"), toy_samples(2), Desk()
    async with running(tmp_path, desk, bundle, samples) as profiler:
        profiler.submit(profile_request(bundle, samples, [configuration(0, "raise")], [0, 1]))
        error = await desk.ended()
    assert "operator shout" in error
    assert "no voice" in error


async def test_a_process_that_dies_ends_its_request_and_not_the_profiler(tmp_path):
    bundle, samples, desk = toy_bundle(tmp_path / "toy"), toy_samples(1), Desk()
    async with running(tmp_path, desk, bundle, samples) as profiler:
        profiler.submit(profile_request(bundle, samples, [configuration(0, "die")], [0]))
        assert 'sample 0: operator shout {"mode":"die"}: the profile process died (exit code 7)' in await desk.ended()
        profiler.submit(profile_request(bundle, samples, [configuration(0, "loud")], [0], id="next"))
        assert await desk.ended("next") == ""


@pytest.mark.parametrize("hangs_at", [0, 2])
async def test_an_operator_that_hangs_ends_its_request_within_its_own_bound(tmp_path, hangs_at):
    # At once, so that the memory probe meets it; or only for a later item, so that a sample's run does.
    hang = f"if inputs['twice']['text'] >= 'word{hangs_at}': time.sleep(3600)"
    code = TOY_OPERATORS.replace("if mode ==", f"{hang}\n        if mode ==", 1)
    bundle = toy_bundle(tmp_path / "toy", code=code, hang_ms=1.0)
    samples, desk = toy_samples(3), Desk()
    async with running(tmp_path, desk, bundle, samples) as profiler:
        profiler.submit(profile_request(bundle, samples, [configuration(0, "loud")], [0, 1, 2]))
        error = await desk.ended()
    assert 'operator shout {"mode":"loud"} hangs: no output after' in error
    assert ("sample 2" in error) == (hangs_at == 2)


async def test_a_cancelled_request_ends_and_the_next_one_runs(tmp_path):
    # The operator closes its end of the pipe when it runs: the one thing that a test can wait for from outside.
    fifo = tmp_path / "running"
    os.mkfifo(fifo)
    endless = TOY_OPERATORS.replace("self.calls += 1", f"open({str(fifo)!r}, 'w').close(); time.sleep(600)")
    bundle, samples, desk = toy_bundle(tmp_path / "toy", code=endless), toy_samples(1), Desk()
    other = toy_bundle(tmp_path / "other")
    async with running(tmp_path, desk, bundle, other, samples) as profiler:
        profiler.submit(profile_request(bundle, samples, [configuration(0, "loud")], [0]))
        profiler.submit(profile_request(other, samples, [configuration(0, "loud")], [0], id="waiting"))
        profiler.submit(profile_request(other, samples, [configuration(0, "loud")], [0], id="next"))
        profiler.cancel("waiting")
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.to_thread(fifo.read_bytes)
        profiler.cancel("profile-1")
        assert await desk.ended("profile-1") == "cancelled"
        assert await desk.ended("waiting") == "cancelled"
        assert await desk.ended("next") == ""


async def test_the_budget_stops_with_what_there_is(tmp_path):
    bundle, samples, desk = toy_bundle(tmp_path / "toy"), toy_samples(30), Desk()
    async with running(tmp_path, desk, bundle, samples) as profiler:
        request = profile_request(bundle, samples, [configuration(0, "loud")], list(range(30)), budget_s=0.03)
        profiler.submit(request)
        error = await desk.ended()
    assert "budget of 0.03 s" in error
    ((found, _),) = desk.results().values()
    assert 1 <= len(found) < 30


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"indices": [9]}, "no sample 9"),
        ({"indices": []}, "at least one"),
        ({"indices": [0, 0]}, "twice"),
        ({"configurations": []}, "at least one"),
        ({"environment_digest": "nonsense"}, "no digest"),
    ],
)
async def test_a_request_that_makes_no_sense_is_answered_with_the_reason(tmp_path, changes, text):
    bundle, samples, desk = toy_bundle(tmp_path / "toy"), toy_samples(1), Desk()
    async with running(tmp_path, desk, bundle, samples) as profiler:
        wanted = {"configurations": [configuration(0, "loud")], "indices": [0], **changes}
        profiler.submit(profile_request(bundle, samples, **wanted))
        assert text in await desk.ended()


async def test_an_environment_that_is_not_ready_is_the_reason(tmp_path):
    def python(digest):
        raise NotRunnable("environment is not ready: apt-get install something")

    bundle, samples, desk = toy_bundle(tmp_path / "toy"), toy_samples(1), Desk()
    async with running(tmp_path, desk, bundle, samples, python=python) as profiler:
        profiler.submit(profile_request(bundle, samples, [configuration(0, "loud")], [0]))
        assert "apt-get install something" in await desk.ended()
