from __future__ import annotations

import asyncio
import os

import pytest
from profile_desk import Desk, key_of, running
from shell_fakes import DEADLINE_S, TOY_OPERATORS, configuration, profile_request, toy_bundle, toy_samples

from circinus.errors import NotRunnable

pytestmark = [pytest.mark.slow, pytest.mark.system]


async def test_every_configuration_and_sample_is_measured_and_scored(tmp_path):
    bundle, samples, desk = toy_bundle(tmp_path / "toy"), toy_samples(4), Desk()
    wanted = [configuration(0, "loud"), configuration(32, "loud"), configuration(0, "quiet")]
    async with running(tmp_path, desk, bundle, samples) as profiler:
        request = profile_request(bundle, samples, wanted, [0, 1, 3], parallelism=2, probe_memory=True, times=True)
        profiler.submit(request)
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


@pytest.mark.parametrize(("hangs_at", "probe_memory"), [(0, True), (0, False), (2, True)])
async def test_an_operator_that_hangs_ends_its_request_within_its_own_bound(tmp_path, hangs_at, probe_memory):
    # At once, so that the memory probe meets it where there is one; or only for a later item, so that a sample does.
    hang = f"if inputs['twice']['text'] >= 'word{hangs_at}': time.sleep(3600)"
    code = TOY_OPERATORS.replace("if mode ==", f"{hang}\n        if mode ==", 1)
    bundle = toy_bundle(tmp_path / "toy", code=code, hang_ms=1.0)
    samples, desk = toy_samples(3), Desk()
    async with running(tmp_path, desk, bundle, samples) as profiler:
        wanted = [configuration(0, "loud")]
        profiler.submit(profile_request(bundle, samples, wanted, [0, 1, 2], probe_memory=probe_memory))
        error = await desk.ended()
    assert 'operator shout {"mode":"loud"} hangs: no output after' in error
    assert (f"sample {hangs_at}" in error) == (hangs_at == 2 or not probe_memory)


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
        # What an earlier request took of the same process is not on this one's account.
        profiler.submit(
            profile_request(bundle, samples, [configuration(0, "loud")], list(range(30)), budget_s=60.0, id="next")
        )
        assert await desk.ended("next") == ""
    ((found, _),) = desk.results(of="profile-1").values()
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
