"""Sample sets: the first items of a pipeline's source, with their truth.

The source is the pipeline author's code: it runs in a process of its own (``python -m circinus.samples FOLDER
CONTENT COUNT OUT``), so that neither its imports nor its crashes are the caller's. The same folder and content give the
same bytes, for ever: a sample set is addressed by its digest.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import inspect
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from circinus import payload
from circinus.channel import MAX_BLOB_BYTES, MAX_PAYLOAD_BYTES
from circinus.child_end import reap
from circinus.errors import CircinusError, CodeFailed, Internal, InvalidInput, TimedOut, Violation
from circinus.model.pipeline import ContentSpec, Pipeline, configuration_key
from circinus.operator import Sample, Source
from circinus.v1 import types_pb2

TIMEOUT_S = 600.0
T = TypeVar("T")
_PR_SET_PDEATHSIG = 1
_ERROR_SUFFIX = ".error"
_TAIL_CHARACTERS = 2_000
_LAST_LINES = 3


async def generate(folder: Path, pipeline: Pipeline, content: ContentSpec, *, timeout_s: float = TIMEOUT_S) -> bytes:
    """The serialised SampleSet of one content, made by the folder's own source in a child process.

    ``content`` may ask for more or fewer samples than the folder says.

    Raises:
        InvalidInput: there is no such source, or it can't be imported.
        CodeFailed: the source raises, ends too soon, or makes something that can't travel; with the place in its code.
        TimedOut: it takes longer than ``timeout_s``.
    """
    with tempfile.TemporaryDirectory(prefix="circinus-samples-") as scratch:
        out = Path(scratch) / "samples"
        log = Path(scratch) / "log"
        with log.open("wb") as stream:
            process = await asyncio.create_subprocess_exec(
                # -P: what lies in the caller's folder must not shadow the standard library.
                *(sys.executable, "-P", "-m", "circinus.samples"),
                *(str(folder), content.name, str(content.samples), str(out)),
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
                    await reap(process)
        return _result(out, log, code, pipeline, content)


def _result(out: Path, log: Path, code: int, pipeline: Pipeline, content: ContentSpec) -> bytes:
    failed = out.with_name(out.name + _ERROR_SUFFIX)
    if failed.exists():
        document = json.loads(failed.read_text(encoding="utf-8"))
        kind = InvalidInput if document["kind"] == InvalidInput.__name__ else CodeFailed
        message = f"content {content.name!r}: {document['error']}"
        if not document["place"]:
            raise kind(message)
        raise kind(f"{document['place']}: {message}", (Violation(field=document["place"], message=message),))
    if code != 0 or not out.exists():
        said = log.read_text(encoding="utf-8", errors="replace")[-_TAIL_CHARACTERS:].splitlines()
        tail = "; ".join([line.strip() for line in said if line.strip()][-_LAST_LINES:])
        died = f"signal {-code}" if code < 0 else f"exit status {code}"
        raise CodeFailed(
            f"content {content.name!r}: the source's process died ({died})" + (f": {tail}" if tail else "")
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
    folder, name, count, out = Path(arguments[0]), arguments[1], int(arguments[2]), Path(arguments[3])
    try:
        data = _make(folder, name, count)
    except _Faulty as fault:
        _write_error(out, fault.kind, fault.message, fault.place)
        return 1
    except CircinusError as error:
        _write_error(out, type(error), error.message, "")
        return 1
    out.write_bytes(data)
    return 0


def _write_error(out: Path, kind: type[CircinusError], message: str, place: str) -> None:
    document = {"kind": kind.__name__, "error": message, "place": place}
    out.with_name(out.name + _ERROR_SUFFIX).write_text(json.dumps(document), encoding="utf-8")


class _Faulty(Exception):
    """The source is at fault; ``place`` is "file:line", empty where none is known."""

    def __init__(self, kind: type[CircinusError], message: str, place: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.place = place


@dataclass(slots=True, kw_only=True)
class _Maker:
    """Makes samples of one folder's source. ``place`` is that of its samples(), for faults of what it yields."""

    folder: Path
    place: str = ""

    def calling(self, what: str, call: Callable[[], T]) -> T:
        """Calls the author's code.

        Raises:
            _Faulty: it raises.
        """
        try:
            return call()
        except Exception as error:
            message = f"the source raised in {what}: {_text(error)}"
            raise _Faulty(CodeFailed, message, _place_of(self.folder, error) or self.place) from error

    def faulty(self, message: str) -> _Faulty:
        """What is wrong with what samples() gives."""
        return _Faulty(CodeFailed, message, self.place)

    def open(self, pipeline: Pipeline, content: ContentSpec) -> Source:
        """The folder's source.

        Raises:
            _Faulty, InvalidInput: it can't be imported, is no Source, or raises.
        """
        module_name, _, class_name = pipeline.source.partition(":")
        sys.path.insert(0, str(self.folder.resolve()))
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            needs = ", ".join(pipeline.environment.python) or "nothing"
            message = (
                f"source {pipeline.source}: no module {error.name!r}; the pipeline declares {needs}: "
                f"install it for {sys.executable}"
            )
            raise _Faulty(InvalidInput, message, _place_of(self.folder, error)) from error
        except Exception as error:
            message = f"source {pipeline.source} can't be imported: {_text(error)}"
            raise _Faulty(InvalidInput, message, _place_of(self.folder, error)) from error
        kind = getattr(module, class_name, None)
        if kind is None:
            raise InvalidInput(f"source {pipeline.source}: module {module_name!r} has no {class_name!r}")
        if not (isinstance(kind, type) and issubclass(kind, Source)):
            raise InvalidInput(f"source {pipeline.source} is no subclass of circinus.operator.Source")
        self.place = _definition(self.folder, kind.samples)
        source: Source = self.calling("__init__", lambda: kind(content.name, content.seed))
        return source

    def message(self, what: str, sample: object) -> types_pb2.Item:
        """One item as it travels.

        Raises:
            _Faulty: it can't.
        """
        if not isinstance(sample, Sample):
            raise self.faulty(f"{what} is {type(sample).__name__}; the source must yield circinus.operator.Sample")
        try:
            message = types_pb2.Item(payload=payload.to_message(sample.payload), truth=payload.to_message(sample.truth))
        except Exception as error:
            raise self.faulty(f"{what} can't travel: {error}") from error
        size_bytes = message.payload.ByteSize()
        if size_bytes > MAX_PAYLOAD_BYTES:
            raise self.faulty(
                f"{what} has {size_bytes:,} bytes; an item's limit is {MAX_PAYLOAD_BYTES:,}: make it smaller"
            )
        return message


def _make(folder: Path, name: str, count: int) -> bytes:
    from circinus.spec.folder import load_pipeline  # YAML is not the agent's, and it may use this module's neighbours.

    pipeline = load_pipeline(folder)
    content = next((content for content in pipeline.contents if content.name == name), None)
    if content is None:
        raise InvalidInput(f"pipeline {pipeline.id!r} has no content {name!r}")
    maker = _Maker(folder=folder)
    source = maker.open(pipeline, content)
    sample_set = types_pb2.SampleSet(pipeline_id=pipeline.id, content=name)
    if content.reference is not None:
        sample_set.reference = configuration_key(content.reference)
    size_bytes = 0
    items = maker.calling("samples()", lambda: iter(source.samples()))
    for index in range(count):
        message = types_pb2.Sample(warmup=content.warmup)
        for number in range(content.items):
            what = f"item {number} of sample {index}" if content.items > 1 else f"sample {index}"
            item = maker.calling(what, lambda: next(items, None))
            if item is None:
                raise maker.faulty(f"source {pipeline.source} ended after {index} samples; {count} are asked for")
            message.items.append(maker.message(what, item))
            if content.reference is not None:
                message.items[-1].ClearField("truth")
            size_bytes += message.items[-1].ByteSize()
            if size_bytes > MAX_BLOB_BYTES - 1024 * content.items:
                raise maker.faulty(
                    f"the sample set is over {MAX_BLOB_BYTES // 2**20} MiB after {index + 1} samples; "
                    "ask for fewer or smaller ones"
                )
        sample_set.samples.append(message)
    return sample_set.SerializeToString(deterministic=True)


def _text(error: Exception) -> str:
    message = str(error.msg) if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {message}"[:_TAIL_CHARACTERS]


def _place_of(folder: Path, error: BaseException) -> str:
    """The line of the folder's code that an error comes from; empty if it comes from elsewhere."""
    root = folder.resolve()
    frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno or 0))
    for filename, line in reversed(frames):
        if Path(filename).is_relative_to(root):
            return f"{folder / Path(filename).relative_to(root)}:{line}"
    return ""


def _definition(folder: Path, found: Callable[..., object]) -> str:
    try:
        file, line = Path(inspect.getsourcefile(found) or ""), inspect.getsourcelines(found)[1]
    except (TypeError, OSError):
        return ""
    root = folder.resolve()
    return f"{folder / file.relative_to(root)}:{line}" if file.is_relative_to(root) else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
