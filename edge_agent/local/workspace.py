"""A pipeline's folder made ready to run here: its bundle unpacked, the samples of its contents made."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from circinus import bundle, samples
from circinus.errors import CodeFailed, InvalidInput, TimedOut, TooLarge, Violation
from circinus.model.device import Digest
from circinus.model.pipeline import ContentSpec, Pipeline
from circinus.spec.folder import PIPELINE_FILE, load_located
from circinus.spec.pipeline import LocatedPipeline

#: Sources that make samples side by side.
_PARALLELISM = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """The samples of one content, on disk."""

    content: ContentSpec
    digest: Digest
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """A pipeline's bundle as an agent would have it, unpacked into a folder."""

    located: LocatedPipeline
    folder: Path
    digest: Digest

    @property
    def pipeline(self) -> Pipeline:
        """What the folder's pipeline.yaml says."""
        return self.located.pipeline


async def unpack(folder: Path, into: Path) -> Unpacked:
    """Reads and packs a pipeline's folder, and unpacks the bundle.

    Raises:
        InvalidInput: the folder's files are wrong, or too large.
    """
    located = await asyncio.to_thread(load_located, folder)
    try:
        packed = await asyncio.to_thread(bundle.pack_folder, folder, located.pipeline)
    except TooLarge as error:
        raise InvalidInput(error.message) from error
    await asyncio.to_thread(bundle.extract, packed, into)
    return Unpacked(located=located, folder=into, digest=bundle.digest_of(packed))


def choose_contents(pipeline: Pipeline, names: Sequence[str], count: int | None) -> tuple[ContentSpec, ...]:
    """The contents of these names, all for none, with so many samples in place of their own.

    Raises:
        InvalidInput: there is no such content.
    """
    known: Mapping[str, ContentSpec] = {content.name: content for content in pipeline.contents}
    for name in names:
        if name not in known:
            raise InvalidInput(f"pipeline {pipeline.id!r} has no content {name!r}; it has {', '.join(known)}")
    chosen = [known[name] for name in dict.fromkeys(names)] or list(pipeline.contents)
    return tuple(content if count is None else replace(content, samples=count) for content in chosen)


async def make_samples(
    folder: Path,
    located: LocatedPipeline,
    contents: Iterable[ContentSpec],
    into: Path,
    *,
    timeout_s: float = samples.TIMEOUT_S,
) -> tuple[SampleFile, ...]:
    """Has a folder's source make the samples of contents, each into a file, each within ``timeout_s``.

    Raises:
        InvalidInput: the source can't be imported.
        CodeFailed: it fails.
        TimedOut: it takes too long.
    """
    turns = asyncio.Semaphore(_PARALLELISM)

    async def make(content: ContentSpec) -> SampleFile:
        async with turns:
            data = await samples.generate(folder, located.pipeline, content, timeout_s=timeout_s)
        path = into / f"{content.name}.samples"
        await asyncio.to_thread(path.write_bytes, data)
        return SampleFile(content=content, digest=bundle.digest_of(data), path=path)

    try:
        async with asyncio.TaskGroup() as group:
            making = [group.create_task(make(content)) for content in contents]
    except ExceptionGroup as failures:
        # All contents come of one source: what is wrong with it is said once.
        raise _placed(failures.exceptions[0], folder, located) from None
    return tuple(task.result() for task in making)


def _placed(error: Exception, folder: Path, located: LocatedPipeline) -> Exception:
    """The error with a place: where pipeline.yaml names the source, if none is known in the source itself."""
    if not isinstance(error, (CodeFailed, TimedOut)) or (isinstance(error, CodeFailed) and error.violations):
        return error
    line = dict(located.entry_point_lines).get(located.pipeline.source, 0)
    place = f"{folder / PIPELINE_FILE}:{line}"
    if isinstance(error, TimedOut):
        return TimedOut(f"{place}: {error.message}")
    return CodeFailed(f"{place}: {error.message}", (Violation(field=place, message=error.message),))
