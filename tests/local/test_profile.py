"""A pipeline is profiled here: each sample once, whatever breaks the run off."""

from __future__ import annotations

import asyncio
import csv
import sys

import psutil
import pytest
from toy_folder import FILES, write_toy

from circinus.errors import CodeFailed, InvalidInput
from edge_agent.local import profile as profile_module
from edge_agent.local.profile import profile, report_of
from edge_agent.local.results import RESULTS_NAME, read_results

pytestmark = [pytest.mark.slow, pytest.mark.system]
PIPELINE, NUMBERS, STEPS, SCORE = FILES

TALLY = """
    def tally(self, outputs, truths):
        return {"items": len(truths), "right": sum(map(self.score, outputs, truths))}

    def corpus(self, totals):
        return {"share": totals["right"] / totals["items"]}
"""


class Notes:
    """What a run says while it goes on."""

    def __init__(self):
        self.texts = []
        self.progress = []

    @property
    def arguments(self):
        return {"on_note": self.texts.append, "on_progress": self.progress.append}

    @property
    def runs(self):
        """How many samples have gone through how many configurations."""
        return self.progress[-1].runs_done if self.progress else 0


def raw_lines(into):
    return [line for line in (into / RESULTS_NAME).read_bytes().splitlines() if line.startswith(b'{"sample"')]


async def test_each_sample_goes_once_through_every_configuration(tmp_path):
    folder = write_toy(tmp_path / "toy", (SCORE, "", FILES[SCORE] + TALLY))
    notes = Notes()
    report = await profile(folder, tmp_path / "out", **notes.arguments)
    results = read_results(tmp_path / "out" / RESULTS_NAME)
    assert {(line.content, line.sample) for line in results.lines} == {
        (c, s) for c in ("few", "many") for s in range(3)
    }
    assert len(results.lines) == 6
    assert notes.runs == 6 * 4
    assert notes.progress[-1].samples_done == notes.progress[-1].samples_total == 6
    # The scale of 1 is right, that of 2 is wrong, and so is what is said to be wrong.
    right = {"scale.by": 1, "total.wrong": False}
    for content in report.contents:
        for row in content.rows:
            assert row.accuracy.value == float(row.configuration == right)
            assert row.corpus == {"share": float(row.configuration == right)}
            assert row.failures == 0
            assert row.cpu_ms > 0.0
    assert set(results.memory_bytes) == {"scale", "total"}
    assert [len(values) for values in results.memory_bytes.values()] == [2, 4]
    assert min(min(values) for values in results.memory_bytes.values()) > 0
    assert report.metric == "accuracy"
    # What stands there makes the same report again.
    again = await report_of(folder, tmp_path / "out" / RESULTS_NAME)
    assert again.contents == report.contents


async def test_a_run_that_was_broken_off_measures_only_the_rest(tmp_path):
    folder, into = write_toy(tmp_path / "toy"), tmp_path / "out"
    running = None

    def stop(progress):
        if progress.samples_done >= 2:
            running.cancel()

    running = asyncio.create_task(profile(folder, into, parallelism=1, on_progress=stop))
    with pytest.raises(asyncio.CancelledError):
        await running
    there = raw_lines(into)
    assert 2 <= len(there) < 6

    notes = Notes()
    await profile(folder, into, **notes.arguments)
    assert raw_lines(into)[: len(there)] == there
    assert len(raw_lines(into)) == 6
    assert f"{len(there)} samples are there already" in notes.texts
    assert "measuring memory" not in notes.texts
    assert notes.runs == (6 - len(there)) * 4

    # A third time there is nothing left to do.
    notes = Notes()
    await profile(folder, into, **notes.arguments)
    assert (notes.runs, len(raw_lines(into))) == (0, 6)


async def test_a_run_that_was_killed_goes_on_where_it_was_and_leaves_no_process(tmp_path):
    folder, into = write_toy(tmp_path / "toy"), tmp_path / "out"
    command = ("-m", "circinus.cli.main", "pipeline", "profile", str(folder), "--into", str(into), "--samples", "40")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    async with asyncio.timeout(60):
        while not (into / RESULTS_NAME).exists() or len(raw_lines(into)) < 2:  # noqa: ASYNC110 - another process writes
            await asyncio.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    await process.wait()
    assert not psutil.wait_procs(children, timeout=30)[1]

    results = read_results(into / RESULTS_NAME)
    there = {name: len(results.done(name)) for name in ("few", "many")}
    assert 2 <= sum(there.values()) < 80
    notes = Notes()
    await profile(folder, into, contents=("few",), count=there["few"] + 2, **notes.arguments)
    assert read_results(into / RESULTS_NAME).lines[: len(results.lines)] == results.lines
    assert notes.runs == 2 * 4


async def test_a_sample_that_was_being_written_when_the_power_went_is_measured_again(tmp_path):
    folder, into = write_toy(tmp_path / "toy"), tmp_path / "out"
    await profile(folder, into, contents=("few",))
    path = into / RESULTS_NAME
    kept = raw_lines(into)[:2]
    path.write_bytes(path.read_bytes()[:-30])
    notes = Notes()
    await profile(folder, into, contents=("few",), **notes.arguments)
    assert notes.runs == 4
    assert raw_lines(into)[:2] == kept
    assert read_results(path).done("few") == {0, 1, 2}

    # Of a header alone that was cut off nothing can be kept.
    path.write_bytes(b'{"header":')
    await profile(folder, into, contents=("few",), count=2)
    assert read_results(path).done("few") == {0, 1}


async def test_more_samples_later_are_added(tmp_path):
    folder, into = write_toy(tmp_path / "toy"), tmp_path / "out"
    await profile(folder, into, contents=("few",), count=2)
    there = raw_lines(into)
    notes = Notes()
    report = await profile(folder, into, contents=("few",), count=4, **notes.arguments)
    assert notes.runs == 2 * 4
    assert raw_lines(into)[:2] == there
    assert [summary.samples for summary in report.contents] == [4]
    # So is another content; what is there of the first stays.
    report = await profile(folder, into, contents=("many",), count=2)
    assert {summary.content: summary.samples for summary in report.contents} == {"few": 4, "many": 2}
    # Fewer are more than there must be.
    notes = Notes()
    report = await profile(folder, into, contents=("few",), count=3, **notes.arguments)
    assert notes.runs == 0
    assert {summary.content: summary.samples for summary in report.contents} == {"few": 4, "many": 2}


@pytest.mark.parametrize(
    "edit",
    [
        (STEPS, "self.total = 0", "self.total = 1"),
        (NUMBERS, "randrange(1000)", "randrange(1001)"),
        (PIPELINE, "by: [1, 2]", "by: [1, 3]"),
        (PIPELINE, "few: {seed: 1", "few: {seed: 3"),
        (PIPELINE, "clip: 2, warmup: 1}\n  many", "clip: 3, warmup: 1}\n  many"),
        (PIPELINE, "clip: 2, warmup: 1}\n  many", "clip: 2, warmup: 2}\n  many"),
    ],
    ids=["operator", "source", "knobs", "seed", "clip", "warmup"],
)
async def test_results_of_something_else_are_kept_aside_and_all_is_measured_anew(tmp_path, edit):
    into = tmp_path / "out"
    await profile(write_toy(tmp_path / "toy"), into, contents=("few",), count=2)
    before = (into / RESULTS_NAME).read_bytes()
    notes = Notes()
    await profile(write_toy(tmp_path / "other", edit), into, contents=("few",), count=2, **notes.arguments)
    assert (into / "results.old.jsonl").read_bytes() == before
    assert any("is of other code, samples or machine: it is results.old.jsonl now" in text for text in notes.texts)
    assert notes.runs == 2 * 4
    assert read_results(into / RESULTS_NAME).done("few") == {0, 1}


async def test_what_says_nothing_of_the_code_is_no_other_code(tmp_path):
    into = tmp_path / "out"
    await profile(write_toy(tmp_path / "toy"), into, contents=("few",), count=2)
    other = write_toy(tmp_path / "other", (PIPELINE, "pipeline: sums", "# A comment.\npipeline: sums"))
    (other / "README.md").write_text("What it is.")
    notes = Notes()
    await profile(other, into, contents=("few",), count=2, **notes.arguments)
    assert notes.runs == 0
    assert not (into / "results.old.jsonl").exists()


async def test_the_fleet_and_the_queries_are_the_authors_once_they_are_there(tmp_path):
    folder, into = write_toy(tmp_path / "toy"), tmp_path / "out"
    await profile(folder, into, contents=("few",), count=2)
    (into / "fleet.yaml").write_text("mine")
    (into / "queries.yaml").unlink()
    (into / "service.csv").write_text("old")
    await profile(folder, into, contents=("few",), count=2)
    assert (into / "fleet.yaml").read_text() == "mine"
    assert "few" in (into / "queries.yaml").read_text()
    with (into / "service.csv").open() as file:
        assert len(list(csv.DictReader(file))) == (2 + 4) * 3


async def test_a_configuration_that_fails_is_a_wrong_one_and_the_others_go_on(tmp_path):
    folder = write_toy(
        tmp_path / "toy",
        (STEPS, "self.total += number", 'self.total += number // (not self.knobs["wrong"])'),
    )
    report = await profile(folder, tmp_path / "out", contents=("few",), count=2)
    rows = report.contents[0].rows
    assert [row.failures for row in rows] == [2 * row.configuration["total.wrong"] for row in rows]
    assert [row.accuracy.value for row in rows] == [1.0, 0.0, 0.0, 0.0]


async def test_where_nothing_works_it_is_said_why(tmp_path):
    folder = write_toy(tmp_path / "toy", (STEPS, "self.total += number", "self.total += number // 0"))
    with pytest.raises(CodeFailed, match=r"content 'few': .*operator total .* ZeroDivisionError.*steps_toy.py:19"):
        await profile(folder, tmp_path / "out", contents=("few",), count=2)


async def test_what_is_wrong_with_the_folder_is_said_before_anything_is_written(tmp_path, monkeypatch):
    folder = write_toy(tmp_path / "toy")
    with pytest.raises(InvalidInput, match="no content 'fewer'; it has few, many"):
        await profile(folder, tmp_path / "out", contents=("fewer",))
    monkeypatch.setattr(profile_module, "MAX_CONFIGURATIONS", 3)
    with pytest.raises(InvalidInput, match="has 4 configurations; here at most 3 are profiled"):
        await profile(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
