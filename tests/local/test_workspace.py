"""A folder made ready: which contents, how many samples, and what is one bundle."""

from __future__ import annotations

import asyncio

import psutil
import pytest
from toy_folder import FILES, write_toy

from circinus.bundle import digest_of
from circinus.errors import CodeFailed, InvalidInput, TimedOut
from circinus.spec.folder import load_located
from circinus.spec.pipeline import parse_pipeline
from circinus.v1 import types_pb2
from edge_agent.local.workspace import choose_contents, make_samples, unpack

PIPELINE, NUMBERS, STEPS, SCORE = FILES
SUMS = parse_pipeline(FILES[PIPELINE])


@pytest.mark.parametrize(
    ("names", "count", "expected"),
    [
        ((), None, [("few", 3), ("many", 3)]),
        ((), 7, [("few", 7), ("many", 7)]),
        (("many",), None, [("many", 3)]),
        (("many", "few", "many"), 1, [("many", 1), ("few", 1)]),
    ],
)
def test_contents_are_those_named_each_once_else_all(names, count, expected):
    chosen = choose_contents(SUMS, names, count)
    assert [(content.name, content.samples) for content in chosen] == expected
    assert all((content.clip, content.warmup) == (2, 1) for content in chosen)


def test_a_content_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(InvalidInput, match="pipeline 'sums' has no content 'fwe'; it has few, many"):
        choose_contents(SUMS, ("few", "fwe"), None)


async def test_a_folder_is_unpacked_as_an_agent_would_have_it(tmp_path):
    folder = write_toy(tmp_path / "toy")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    unpacked = await unpack(folder, tmp_path / "one")
    assert unpacked.pipeline == SUMS
    assert {path.name for path in unpacked.folder.iterdir()} == {
        "environment.json",
        "pipeline.json",
        *(NUMBERS, STEPS, SCORE),
    }
    # What pipeline.yaml says of contents is not code; what it says of knobs is.
    folder.joinpath(PIPELINE).write_text(FILES[PIPELINE].replace("samples: 3", "samples: 4"))
    assert (await unpack(folder, tmp_path / "two")).digest == unpacked.digest
    folder.joinpath(PIPELINE).write_text(FILES[PIPELINE].replace("[1, 2]", "[1, 3]"))
    assert (await unpack(folder, tmp_path / "three")).digest != unpacked.digest


async def test_a_folder_that_is_too_large_has_wrong_files(tmp_path):
    folder = write_toy(tmp_path / "toy")
    with (folder / "model.bin").open("wb") as file:
        file.truncate(70_000_000)
    with pytest.raises(InvalidInput, match="the bundle is over 64 MiB"):
        await unpack(folder, tmp_path / "bundle")


@pytest.mark.slow
@pytest.mark.system
class TestSamples:
    async def test_the_samples_of_fewer_are_the_first_of_more(self, tmp_path):
        folder = write_toy(tmp_path / "toy")
        located = load_located(folder)
        found = {}
        for count in (2, 4):
            into = tmp_path / str(count)
            into.mkdir()
            made = await make_samples(folder, located, choose_contents(SUMS, (), count), into)
            assert [(entry.content.name, entry.content.samples) for entry in made] == [("few", count), ("many", count)]
            assert all(entry.digest == digest_of(entry.path.read_bytes()) for entry in made)
            found[count] = [types_pb2.SampleSet.FromString(entry.path.read_bytes()).samples for entry in made]
        assert [list(samples) for samples in found[2]] == [list(samples[:2]) for samples in found[4]]
        assert all((len(sample.items), sample.warmup) == (3, 1) for samples in found[4] for sample in samples)

    async def test_what_is_wrong_with_a_source_is_said_once_with_its_place(self, tmp_path):
        folder = write_toy(tmp_path / "toy", (NUMBERS, "while True:", "while 1 // 0:"))
        with pytest.raises(CodeFailed) as caught:
            await make_samples(folder, load_located(folder), SUMS.contents, tmp_path)
        (violation,) = caught.value.violations
        assert violation.field == f"{folder / NUMBERS}:9"
        assert caught.value.message == str(violation)

    async def test_a_source_that_hangs_or_dies_is_placed_where_it_is_named(self, tmp_path):
        hangs = write_toy(tmp_path / "hangs", (NUMBERS, "while True:", "while not __import__('time').sleep(600):"))
        with pytest.raises(
            TimedOut, match=r"hangs/pipeline.yaml:2: content 'few': the source made no 3 samples in 1 s"
        ):
            await make_samples(hangs, load_located(hangs), SUMS.contents[:1], tmp_path, timeout_s=1.0)
        dies = write_toy(tmp_path / "dies", (NUMBERS, "while True:", "while __import__('os')._exit(3):"))
        with pytest.raises(CodeFailed, match=r"dies/pipeline.yaml:2: content 'few': .*died \(exit status 3\)"):
            await make_samples(dies, load_located(dies), SUMS.contents[:1], tmp_path)

    async def test_a_source_that_is_not_waited_for_is_not_left_behind(self, tmp_path):
        pids = tmp_path / "pids"
        code = (
            f"open({str(pids)!r}, 'a').write(f\"{{__import__('os').getpid()}}\\n\") and __import__('time').sleep(600)"
        )
        folder = write_toy(tmp_path / "toy", (NUMBERS, "while True:", f"while not ({code}):"))
        making = asyncio.create_task(make_samples(folder, load_located(folder), SUMS.contents, tmp_path))
        async with asyncio.timeout(60):
            while not pids.exists() or len(pids.read_text().split()) < 2:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
        making.cancel()
        await asyncio.wait((making,))
        assert making.cancelled()
        assert not any(psutil.pid_exists(int(pid)) for pid in pids.read_text().split())
