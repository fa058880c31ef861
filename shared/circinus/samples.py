"""Sample sets: the first items of a pipeline's source, with their truth.

The source is the pipeline author's code: it runs in a process of its own (``python -m circinus.samples FOLDER
CONTENT COUNT OUT``), so that neither its imports nor its crashes are the caller's. The same folder and content give the
same bytes, for ever: a sample set is addressed by its digest.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from circinus import payload
from circinus.channel import MAX_BLOB_BYTES, MAX_PAYLOAD_BYTES
from circinus.errors import CircinusError, CodeFailed, Internal, InvalidInput, TimedOut
from circinus.model.pipeline import ContentSpec, Pipeline
from circinus.operator import Sample, Source
from circinus.v1 import types_pb2

TIMEOUT_S = 600.0
T = TypeVar("T")
_PR_SET_PDEATHSIG = 1
_ERROR_SUFFIX = ".error"
_TAIL_CHARACTERS = 2_000


async def generate(folder: Path, pipeline: Pipeline, content: ContentSpec, *, timeout_s: float = TIMEOUT_S) -> bytes:
    """The serialised SampleSet of one content, made by the folder's own source in a child process.

    ``content`` may ask for more or fewer samples than the folder says.

    Raises:
        InvalidInput: there is no such source, or it can't be imported.
        CodeFailed: the source raises, ends too soon, or makes something that can't travel.
        TimedOut: it takes longer than ``timeout_s``.
    """
    with tempfile.TemporaryDirectory(prefix="circinus-samples-") as scratch:
        out = Path(scratch) / "samples"
        log = Path(scratch) / "log"
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                # -P: what lies in the caller's folder must not shadow the standard library.
                *(sys.executable, "-P", "-m", "circinus.samples", str(folder), content.name, str(content.samples), str(out)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
            )
            try:
                async with asyncio.timeout(timeout_s):
                    code = await process.wait()
            except TimeoutError as error:
                raise TimedOut(
                    f"content {content.name!r}: the source made no {content.samples} samples in {timeout_s:g} s; "
                    "make it faster or ask for fewer"
                ) from error
            finally:
                if process.returncode is None:
                    process.kill()
                    # Also when cancelled: no process is left behind.
                    await asyncio.shield(process.wait())
        return _result(out, log, code, pipeline, content)


def _result(out: Path, log: Path, code: int, pipeline: Pipeline, content: ContentSpec) -> bytes:
    failed = out.with_name(out.name + _ERROR_SUFFIX)
    if failed.exists():
        document = json.loads(failed.read_text(encoding="utf-8"))
        kind = InvalidInput if document["kind"] == InvalidInput.__name__ else CodeFailed
        raise kind(f"content {content.name!r}: {document['error']}")
    if code != 0 or not out.exists():
        tail = log.read_text(encoding="utf-8", errors="replace")[-_TAIL_CHARACTERS:].strip()
        died = f"signal {-code}" if code < 0 else f"exit status {code}"
        raise CodeFailed(
            f"content {content.name!r}: the source's process died ({died})" + (f":\n{tail}" if tail else "")
        )
    data = out.read_bytes()
    if not data:
        raise Internal(f"content {content.name!r}: pipeline {pipeline.id!r} made an empty sample set")
    return data


def main(arguments: list[str]) -> int:
    """Makes the samples of one content of a folder and writes them; an error goes to a file beside them."""
    if sys.platform == "linux":
        # An endless source must not outlive the command that asked for its samples.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    folder, name, count, out = Path(arguments[0]).resolve(), arguments[1], int(arguments[2]), Path(arguments[3])
    try:
        data = _make(folder, name, count)
    except CircinusError as error:
        out.with_name(out.name + _ERROR_SUFFIX).write_text(
            json.dumps({"kind": type(error).__name__, "error": error.message}), encoding="utf-8"
        )
        return 1
    out.write_bytes(data)
    return 0


def _make(folder: Path, name: str, count: int) -> bytes:
    from circinus.spec.folder import load_pipeline  # YAML is not the agent's, and it may use this module's neighbours.

    pipeline = load_pipeline(folder)
    content = next((content for content in pipeline.contents if content.name == name), None)
    if content is None:
        raise InvalidInput(f"pipeline {pipeline.id!r} has no content {name!r}")
    source = _open_source(folder, pipeline, content)
    sample_set = types_pb2.SampleSet(pipeline_id=pipeline.id, content=name)
    size_bytes = 0
    items = iter(_calling(folder, "samples()", source.samples))
    for index in range(count):
        message = types_pb2.Sample(warmup=content.warmup)
        for number in range(content.items):
            what = f"item {number} of sample {index}" if content.items > 1 else f"sample {index}"
            item = _calling(folder, what, lambda: next(items, None))
            if item is None:
                raise CodeFailed(
                    f"source {pipeline.source} ended after {index} samples; {count} are asked for"
                )
            message.items.append(_message(folder, what, item))
            size_bytes += message.items[-1].ByteSize()
            if size_bytes > MAX_BLOB_BYTES - 1024 * content.items:
                raise CodeFailed(
                    f"the sample set is over {MAX_BLOB_BYTES // 2**20} MiB after {index + 1} samples; "
                    "ask for fewer or smaller ones"
                )
        sample_set.samples.append(message)
    return sample_set.SerializeToString(deterministic=True)


def _open_source(folder: Path, pipeline: Pipeline, content: ContentSpec) -> Source:
    module_name, _, class_name = pipeline.source.partition(":")
    sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        needs = ", ".join(pipeline.environment.python) or "nothing"
        raise InvalidInput(
            f"source {pipeline.source}: no module {error.name!r}; the pipeline declares {needs}: "
            f"install it for {sys.executable}"
        ) from error
    except Exception as error:
        raise InvalidInput(f"source {pipeline.source} can't be imported: {_describe(folder, error)}") from error
    kind = getattr(module, class_name, None)
    if kind is None:
        raise InvalidInput(f"source {pipeline.source}: module {module_name!r} has no {class_name!r}")
    if not (isinstance(kind, type) and issubclass(kind, Source)):
        raise InvalidInput(f"source {pipeline.source} is no subclass of circinus.operator.Source")
    source: Source = _calling(folder, "__init__", lambda: kind(content.name, content.seed))
    return source


def _calling(folder: Path, what: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except Exception as error:
        raise CodeFailed(f"the source raised in {what}: {_describe(folder, error)}") from error


def _message(folder: Path, what: str, sample: object) -> types_pb2.Item:
    if not isinstance(sample, Sample):
        raise CodeFailed(f"{what} is {type(sample).__name__}; the source must yield circinus.operator.Sample")
    try:
        message = types_pb2.Item(payload=payload.to_message(sample.payload), truth=payload.to_message(sample.truth))
    except Exception as error:
        raise CodeFailed(f"{what} can't travel: {error}") from error
    if message.payload.ByteSize() > MAX_PAYLOAD_BYTES:
        raise CodeFailed(
            f"{what} has {message.payload.ByteSize():,} bytes; "
            f"an item's limit is {MAX_PAYLOAD_BYTES:,}: make it smaller"
        )
    return message


def _describe(folder: Path, error: Exception) -> str:
    """The error and the line of the author's code that it comes from."""
    where = ""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}: SyntaxError: {error.msg}"
    for frame in traceback.extract_tb(error.__traceback__):
        with contextlib.suppress(ValueError):
            where = f"{Path(frame.filename).relative_to(folder)}:{frame.lineno}: "
    return f"{where}{type(error).__name__}: {error}"[:_TAIL_CHARACTERS]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
