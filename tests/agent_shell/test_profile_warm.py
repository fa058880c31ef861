"""Profile processes that stay between requests: what they save, and when they go."""

from __future__ import annotations

import asyncio
import os

import psutil
import pytest
from profile_desk import Desk, key_of, running
from shell_fakes import DEADLINE_S, TOY_OPERATORS, configuration, profile_request, toy_bundle, toy_samples

from edge_agent.profile_warm import WarmLimits

pytestmark = [pytest.mark.slow, pytest.mark.system]
LABEL = """
    def label(self, outputs):
        return outputs["shout"]
"""


class Ticks:
    """A clock that goes on when it is told to; whoever sleeps has then done what it woke for."""

    def __init__(self):
        self.passed_s = 0.0
        self._asleep = asyncio.Event()
        self._go = asyncio.Event()

    def monotonic_s(self):
        return self.passed_s

    async def sleep(self, seconds):
        self._asleep.set()
        await self._go.wait()
        self._go.clear()

    async def advance(self, seconds):
        async with asyncio.timeout(DEADLINE_S):
            await self._asleep.wait()
            self._asleep.clear()
            self.passed_s += seconds
            self._go.set()
            await self._asleep.wait()


class Diary:
    """What the toy's operators write down of themselves."""

    def __init__(self, path):
        self.path = path
        self.code = TOY_OPERATORS.replace(
            "self.calls = 0", f"open({str(path)!r}, 'a').write(f'setup {{os.getpid()}} twice\\n'); self.calls = 0"
        ).replace(
            'mode = self.knobs["mode"]',
            "mode = self.knobs['mode']; text = inputs['twice']['text']; "
            f"open({str(path)!r}, 'a').write(f'shout {{os.getpid()}} {{mode}} {{text}}\\n')",
        )

    def lines(self, kind):
        entries = [line.split() for line in self.path.read_text().splitlines()]
        return [tuple(entry[1:]) for entry in entries if entry[0] == kind]

    def pids(self, kind="setup"):
        return list(dict.fromkeys(entry[0] for entry in self.lines(kind)))


@pytest.fixture
def diary(tmp_path):
    return Diary(tmp_path / "diary")


def children():
    """Profile processes: not what would end them, and what they started, were this one killed."""
    return {child.pid for child in psutil.Process().children() if "undertaker.sh" not in " ".join(child.cmdline())}


async def ask(profiler, desk, bundle, samples, name, wanted, indices, **fields):
    """A request to its end; why it ended early."""
    profiler.submit(profile_request(bundle, samples, wanted, indices, id=name, **fields))
    return await desk.ended(name)


async def test_the_next_request_finds_process_operators_and_outputs(tmp_path, diary):
    bundle, samples, desk = toy_bundle(tmp_path / "toy", code=diary.code), toy_samples(4), Desk()
    async with running(tmp_path, desk, bundle, samples) as profiler:
        assert await ask(profiler, desk, bundle, samples, "a", [configuration(0, "loud")], [0, 1]) == ""
        assert await ask(profiler, desk, bundle, samples, "b", [configuration(0, "quiet")], [0, 1, 2]) == ""
    assert len(diary.lines("setup")) == 1
    assert len(diary.pids("shout")) == 1
    ((found, _),) = desk.results(of="b").values()
    assert [found[index].operators[0].cached for index in (0, 1, 2)] == [True, True, False]
    # Two samples' worth of the first operator against one's: repeats are not charged.
    assert desk.operator_s("a") >= 0.008
    assert 0.004 <= desk.operator_s("b") < desk.operator_s("a")


async def test_a_sample_goes_to_the_same_process_each_time(tmp_path, diary):
    bundle, samples, desk = toy_bundle(tmp_path / "toy", code=diary.code), toy_samples(4), Desk()
    async with running(tmp_path, desk, bundle, samples) as profiler:
        for name, mode, indices in (("a", "loud", [0, 1, 2]), ("b", "quiet", [3, 2]), ("c", "quiet", [1])):
            wanted = [configuration(0, mode)]
            assert await ask(profiler, desk, bundle, samples, name, wanted, indices, parallelism=2) == ""
    places = {
        text: {pid for pid, _, other in diary.lines("shout") if other == text} for *_, text in diary.lines("shout")
    }
    even, odd = places["word0word0"], places["word1word1"]
    assert len(even) == len(odd) == 1
    assert even != odd
    assert (places["word2word2"], places["word3word3"]) == (even, odd)


async def test_a_short_request_is_answered_in_one_message(tmp_path):
    bundle, samples, desk = toy_bundle(tmp_path / "toy"), toy_samples(2), Desk()
    async with running(tmp_path, desk, bundle, samples) as profiler:
        await ask(profiler, desk, bundle, samples, "a", [configuration(0, "loud")], [0])
        assert await ask(profiler, desk, bundle, samples, "b", [configuration(0, "loud")], [0]) == ""
    (message,) = [message for message in desk.reports if message.profile_report.id == "b"]
    assert len(message.profile_report.configurations) == 1


async def test_what_a_request_took_is_the_sum_of_its_reports(tmp_path):
    bundle, samples, desk = toy_bundle(tmp_path / "toy"), toy_samples(3), Desk()
    async with running(tmp_path, desk, bundle, samples) as profiler:
        await ask(profiler, desk, bundle, samples, "a", [configuration(0, "loud")], [0, 1, 2])
        told_s = desk.progress[-1].profile_progress.operator_s
        await ask(profiler, desk, bundle, samples, "b", [configuration(0, "loud")], [0, 1, 2])
    assert desk.operator_s("a") == pytest.approx(told_s)
    assert desk.operator_s("b") == 0.0


async def test_an_idle_process_is_ended_after_its_time(tmp_path):
    bundle, samples, desk, clock = toy_bundle(tmp_path / "toy"), toy_samples(1), Desk(), Ticks()
    async with running(tmp_path, desk, bundle, samples, clock=clock, limits=WarmLimits(idle_s=120.0)) as profiler:
        await ask(profiler, desk, bundle, samples, "a", [configuration(0, "loud")], [0])
        await clock.advance(119.0)
        assert len(children()) == 1
        await clock.advance(1.0)
        assert children() == set()
        assert await ask(profiler, desk, bundle, samples, "b", [configuration(0, "loud")], [0]) == ""


async def test_idle_processes_are_ended_when_memory_is_short(tmp_path):
    available = {"bytes": 2**40}
    bundle, samples, desk, clock = toy_bundle(tmp_path / "toy"), toy_samples(1), Desk(), Ticks()
    fields = {"clock": clock, "available_bytes": lambda: available["bytes"]}
    async with running(tmp_path, desk, bundle, samples, **fields) as profiler:
        await ask(profiler, desk, bundle, samples, "a", [configuration(0, "loud")], [0])
        await clock.advance(1.0)
        assert len(children()) == 1
        available["bytes"] = 1
        await clock.advance(1.0)
        assert children() == set()


async def test_of_more_contents_than_may_be_warm_the_one_not_used_for_longest_goes(tmp_path, diary):
    bundle = toy_bundle(tmp_path / "toy", code=diary.code)
    contents, desk = [toy_samples(count) for count in (1, 2, 3)], Desk()
    async with running(tmp_path, desk, bundle, *contents, clock=Ticks()) as profiler:
        for number, content in enumerate((0, 1, 0, 2, 0)):
            wanted = [configuration(0, "loud")]
            assert await ask(profiler, desk, bundle, contents[content], f"r{number}", wanted, [0]) == ""
            assert len(children()) <= 2
        # The first is still there: only three processes were ever started.
        assert len(diary.pids()) == 3
        assert children() == {int(diary.pids()[0]), int(diary.pids()[2])}


async def test_another_bundle_of_the_same_pipeline_ends_the_former_ones_processes(tmp_path):
    old, new = toy_bundle(tmp_path / "old"), toy_bundle(tmp_path / "new", code=TOY_OPERATORS + "\n# better\n")
    samples, desk = toy_samples(1), Desk()
    async with running(tmp_path, desk, old, new, samples) as profiler:
        await ask(profiler, desk, old, samples, "a", [configuration(0, "loud")], [0])
        former = children()
        assert await ask(profiler, desk, new, samples, "b", [configuration(0, "loud")], [0]) == ""
        assert len(children()) == 1
        assert children() != former


async def test_after_a_death_the_next_request_has_a_process_of_its_own(tmp_path, diary):
    bundle, samples, desk = toy_bundle(tmp_path / "toy", code=diary.code), toy_samples(1), Desk()
    async with running(tmp_path, desk, bundle, samples) as profiler:
        await ask(profiler, desk, bundle, samples, "a", [configuration(0, "loud")], [0])
        assert "exit code 7" in await ask(profiler, desk, bundle, samples, "b", [configuration(0, "die")], [0])
        assert children() == set()
        assert await ask(profiler, desk, bundle, samples, "c", [configuration(0, "loud")], [0]) == ""
    assert len(diary.pids()) == 2


async def test_a_cancelled_request_stops_at_the_next_sample_and_leaves_its_process_warm(tmp_path, diary):
    here, go = tmp_path / "here", tmp_path / "go"
    os.mkfifo(here)
    os.mkfifo(go)
    wait = f"text == 'word1word1' and (open({str(here)!r}, 'w').close(), open({str(go)!r}).close())"
    code = diary.code.replace('if mode == "raise"', f'{wait}\n        if mode == "raise"')
    bundle, samples, desk = toy_bundle(tmp_path / "toy", code=code), toy_samples(40), Desk()
    async with running(tmp_path, desk, bundle, samples) as profiler:
        profiler.submit(profile_request(bundle, samples, [configuration(0, "loud")], list(range(40)), id="a"))
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.to_thread(here.read_bytes)
            profiler.cancel("a")
            profiler.cancel("a")
            await asyncio.to_thread(go.write_bytes, b"")
        assert await desk.ended("a") == "cancelled"
        ((found, _),) = desk.results(of="a").values()
        assert {0, 1} <= set(found)
        assert 39 not in found
        assert await ask(profiler, desk, bundle, samples, "b", [configuration(0, "loud")], [0, 2]) == ""
    assert len(diary.pids()) == 1


async def test_what_cannot_stop_in_time_is_ended(tmp_path):
    here = tmp_path / "here"
    os.mkfifo(here)
    endless = TOY_OPERATORS.replace("self.calls += 1", f"open({str(here)!r}, 'w').close(); time.sleep(600)")
    bundle, samples, desk = toy_bundle(tmp_path / "toy", code=endless), toy_samples(1), Desk()
    async with running(tmp_path, desk, bundle, samples, limits=WarmLimits(cancel_grace_s=0.0)) as profiler:
        profiler.submit(profile_request(bundle, samples, [configuration(0, "loud")], [0]))
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.to_thread(here.read_bytes)
        profiler.cancel("profile-1")
        assert await desk.ended() == "cancelled"
        assert children() == set()


async def test_memory_is_probed_when_it_is_asked_for_and_each_setting_once(tmp_path, diary):
    bundle, samples, desk = toy_bundle(tmp_path / "toy", code=diary.code), toy_samples(1), Desk()
    loud, quiet = configuration(0, "loud"), configuration(0, "quiet")
    async with running(tmp_path, desk, bundle, samples) as profiler:
        await ask(profiler, desk, bundle, samples, "a", [loud], [0])
        await ask(profiler, desk, bundle, samples, "b", [loud], [0], probe_memory=True)
        await ask(profiler, desk, bundle, samples, "c", [loud, quiet], [0], probe_memory=True)
    assert [set(memory) for _, memory in desk.results(of="a").values()] == [set()]
    assert [set(memory) for _, memory in desk.results(of="b").values()] == [{"twice", "shout"}]
    assert [set(memory) for _, memory in desk.results(of="c").values()] == [{"twice", "shout"}] * 2
    # Once where samples run, once in the probe.
    assert len(diary.lines("setup")) == 2


async def test_without_times_figures_are_hurried_and_with_times_measured_again(tmp_path):
    bundle, samples, desk = toy_bundle(tmp_path / "toy"), toy_samples(1), Desk()
    async with running(tmp_path, desk, bundle, samples) as profiler:
        for name, times in (("a", False), ("b", False), ("c", True), ("d", False)):
            await ask(profiler, desk, bundle, samples, name, [configuration(0, "loud")], [0], times=times)
    seen = []
    for name in "abcd":
        ((found, _),) = desk.results(of=name).values()
        seen.append({(operator.hurried, operator.cached) for operator in found[0].operators})
        assert found[0].score_ratio == 1.0
    assert seen == [{(True, False)}, {(True, True)}, {(False, False)}, {(False, True)}]


async def test_a_reference_is_what_samples_are_scored_against(tmp_path):
    code = TOY_OPERATORS.replace("class Words", f"{LABEL.strip(chr(10))}\n\nclass Words")
    bundle, samples, desk = toy_bundle(tmp_path / "toy", code=code), toy_samples(2), Desk()
    wanted, quiet = [configuration(0, "loud"), configuration(0, "quiet")], configuration(32, "quiet")
    async with running(tmp_path, desk, bundle, samples) as profiler:
        assert await ask(profiler, desk, bundle, samples, "a", wanted, [0, 1], reference=quiet) == ""
        # The content's own truths are not lost by it.
        assert await ask(profiler, desk, bundle, samples, "b", wanted, [0, 1]) == ""
    for name, right in (("a", "quiet"), ("b", "loud")):
        scores = {
            mode: {sample.score_ratio for sample in desk.results(of=name)[key_of(0, mode)][0].values()}
            for mode in ("loud", "quiet")
        }
        assert scores == {mode: {1.0 if mode == right else 0.25} for mode in ("loud", "quiet")}


async def test_a_scorer_that_makes_no_labels_is_the_reason(tmp_path):
    bundle, samples, desk = toy_bundle(tmp_path / "toy"), toy_samples(1), Desk()
    wanted = [configuration(0, "loud")]
    async with running(tmp_path, desk, bundle, samples) as profiler:
        error = await ask(profiler, desk, bundle, samples, "a", wanted, [0], reference=configuration(0, "quiet"))
    assert "Exact can't make labels of outputs" in error


async def test_a_sample_without_a_label_is_left_out_and_said(tmp_path):
    code = TOY_OPERATORS.replace("class Words", f"{LABEL.strip(chr(10))}\n\nclass Words").replace(
        'if mode == "raise":', 'if mode == "raise" and "word1" in inputs["twice"]["text"]:'
    )
    bundle, samples, desk = toy_bundle(tmp_path / "toy", code=code), toy_samples(3), Desk()
    wanted, reference = [configuration(0, "quiet")], configuration(0, "raise")
    async with running(tmp_path, desk, bundle, samples) as profiler:
        error = await ask(profiler, desk, bundle, samples, "a", wanted, [0, 1, 2], reference=reference)
    assert "sample 1: the reference gives no truth" in error
    ((found, _),) = desk.results().values()
    assert {index: sample.score_ratio for index, sample in found.items()} == {0: 1.0, 2: 1.0}
