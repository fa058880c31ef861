"""A scripted planner on real gRPC, a serving half that only remembers, and a toy bundle."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import grpc.aio

from circinus.bundle import digest_of, environment_digest, pack_folder
from circinus.channel import insecure_port, server
from circinus.errors import NotFound, trailing_metadata
from circinus.model.device import Digest
from circinus.model.directive import Directive, Generation
from circinus.model.pipeline import EnvironmentSpec, Knob, OperatorId, OperatorSpec, Pipeline, PipelineId
from circinus.payload import to_message
from circinus.v1 import control_pb2, control_pb2_grpc, types_pb2
from circinus.wire import directive_digest
from edge_agent.printed import Printed
from edge_agent.serving_figures import ServingFigures
from edge_agent.taps import Taps

DEADLINE_S = 40.0

TOY_OPERATORS = """
import os, time
from circinus.operator import Operator, Source, Sample, Scorer

class Twice(Operator):
    def setup(self):
        self.calls = 0
        self.memory = bytearray(int(self.knobs.get("megabytes", 0)) * 2**20)

    def process(self, inputs):
        print("noise on standard output")
        self.calls += 1
        end = time.process_time() + 0.004
        while time.process_time() < end:
            pass
        return {"text": inputs["source"]["text"] * 2}

class Shout(Operator):
    def process(self, inputs):
        mode = self.knobs["mode"]
        if mode == "raise":
            raise RuntimeError("no voice")
        if mode == "die":
            os._exit(7)
        if mode == "loud":
            return {"text": inputs["twice"]["text"].upper()}
        return {"text": inputs["twice"]["text"]}

class Exact(Scorer):
    def score(self, outputs, truth):
        return 1.0 if outputs["shout"]["text"] == truth["text"] else 0.25

class Words(Source):
    def samples(self):
        while True:
            yield Sample(payload={"text": "word"}, truth={"text": "WORDWORD"})
"""


NOTHING_NEEDED = EnvironmentSpec()


def toy_pipeline(environment: EnvironmentSpec = NOTHING_NEEDED, hang_ms: float = 30_000.0) -> Pipeline:
    return Pipeline(
        id=PipelineId("toy"),
        description="",
        environment=environment,
        source="toy:Words",
        scorer="toy:Exact",
        operators=(
            OperatorSpec(
                id=OperatorId("twice"),
                entry_point="toy:Twice",
                inputs=(OperatorId("source"),),
                knobs=(Knob(name="megabytes", values=(0, 32)),),
            ),
            OperatorSpec(
                id=OperatorId("shout"),
                entry_point="toy:Shout",
                inputs=(OperatorId("twice"),),
                knobs=(Knob(name="mode", values=("loud", "quiet", "raise", "die")),),
                hang_ms=hang_ms,
            ),
        ),
        outputs=(OperatorId("shout"),),
        contents=(),
    )


def toy_bundle(
    folder: Path,
    environment: EnvironmentSpec = NOTHING_NEEDED,
    code: str = TOY_OPERATORS,
    hang_ms: float = 30_000.0,
) -> bytes:
    folder.mkdir(parents=True)
    (folder / "toy.py").write_text(code)
    return pack_folder(folder, toy_pipeline(environment, hang_ms))


def toy_samples(count: int) -> bytes:
    sample_set = types_pb2.SampleSet(pipeline_id="toy", content="words")
    for number in range(count):
        sample_set.samples.add().items.add(
            payload=to_message({"text": f"word{number}"}), truth=to_message({"text": f"WORD{number}" * 2})
        )
    return sample_set.SerializeToString(deterministic=True)


def configuration(megabytes: int, mode: str) -> types_pb2.Configuration:
    message = types_pb2.Configuration()
    message.values["twice.megabytes"].integer = megabytes
    message.values["shout.mode"].text = mode
    return message


def profile_request(bundle: bytes, samples: bytes, configurations, indices, **fields) -> control_pb2.ProfileRequest:
    return control_pb2.ProfileRequest(
        pipeline_id="toy",
        bundle_digest=digest_of(bundle),
        environment_digest=fields.pop("environment_digest", environment_digest(EnvironmentSpec())),
        content_digest=digest_of(samples),
        configurations=configurations,
        sample_indices=indices,
        **{"id": "profile-1", "score": True, "parallelism": 1, **fields},
    )


def directive_message(
    device_id: str = "camera",
    number: int = 1,
    epoch: int = 1,
    query_id: str = "q1",
    cores: float = 0.5,
    replicas: int = 1,
    bundle: str | None = None,
    environment: str | None = None,
) -> types_pb2.Directive:
    message = types_pb2.Directive(device_id=device_id, epoch=epoch, generation=number)
    if bundle is not None:
        message.replica_sets.add(
            key=f"key-{query_id}",
            query_id=query_id,
            pipeline_id="toy",
            operator_id="twice",
            bundle_digest=bundle,
            environment_digest=environment or environment_digest(EnvironmentSpec()),
            entry_point="toy:Twice",
            replicas=replicas,
            cores=cores,
            memory_bytes=1_000_000,
            batch=1,
            hang_ms=1000,
            inputs=["source"],
        )
    message.peers.add(device_id=f"peer-of-{query_id}", address="127.0.0.1:1")
    message.digest = directive_digest(message)
    return message


class BlobShelf:
    """Blobs by digest, without a network."""

    def __init__(self, *blobs: bytes) -> None:
        self.blobs = {digest_of(blob): blob for blob in blobs}
        self.fetched: list[Digest] = []

    async def fetch(self, digest: Digest) -> AsyncIterator[bytes]:
        self.fetched.append(digest)
        if digest not in self.blobs:
            raise NotFound(f"no blob {digest}")
        blob = self.blobs[digest]
        for start in range(0, len(blob), 1000):
            yield blob[start : start + 1000]


class ScriptedPlanner(control_pb2_grpc.ControlServiceServicer):
    """Welcomes agents, keeps what they say, sends what a test tells it to."""

    def __init__(self, *blobs: bytes, heartbeat_period_s: float = 0.05) -> None:
        self.shelf = BlobShelf(*blobs)
        self.hellos: list[control_pb2.Hello] = []
        self.heard: list[control_pb2.ConnectRequest] = []
        self.address = "127.0.0.1:0"
        self.heartbeat_period_s = heartbeat_period_s
        self.first_answer: control_pb2.ConnectResponse | None = None
        self._news = asyncio.Condition()
        self._outgoing: asyncio.Queue[control_pb2.ConnectResponse | None] = asyncio.Queue()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        self._server = server()
        control_pb2_grpc.add_ControlServiceServicer_to_server(self, self._server)
        self.address = f"127.0.0.1:{insecure_port(self._server, self.address)}"
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    async def __aenter__(self) -> ScriptedPlanner:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def send(self, **fields) -> None:
        self._outgoing.put_nowait(control_pb2.ConnectResponse(**fields))

    def hang_up(self) -> None:
        self._outgoing.put_nowait(None)

    async def until(self, found: Callable[[], object]) -> object:
        async with asyncio.timeout(DEADLINE_S), self._news:
            while not (result := found()):
                await self._news.wait()
            return result

    async def hear(self, kind: str, matches: Callable[[object], bool] = lambda _: True) -> object:
        def found() -> object:
            return next(
                (
                    part
                    for message in self.heard
                    if message.WhichOneof("message") == kind and matches(part := getattr(message, kind))
                ),
                None,
            )

        return await self.until(found)

    def all_of(self, kind: str) -> list:
        return [getattr(message, kind) for message in self.heard if message.WhichOneof("message") == kind]

    async def _note(self, messages: list, message: object) -> None:
        async with self._news:
            messages.append(message)
            self._news.notify_all()

    async def Connect(self, request_iterator, context):
        first = await anext(aiter(request_iterator))
        await self._note(self.hellos, first.hello)
        yield self.first_answer or control_pb2.ConnectResponse(
            welcome=control_pb2.Welcome(epoch=1, heartbeat_period_s=self.heartbeat_period_s)
        )

        async def listen() -> None:
            async for message in request_iterator:
                await self._note(self.heard, message)

        listening = asyncio.create_task(listen())
        try:
            while (message := await self._outgoing.get()) is not None:
                yield message
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await listening

    async def FetchBlob(self, request, context):
        try:
            async for chunk in self.shelf.fetch(Digest(request.digest)):
                yield control_pb2.FetchBlobResponse(chunk=chunk)
        except NotFound as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, str(error), trailing_metadata(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeStatus:
    newest: Generation | None = None
    phase: str = "starting"
    reason: str = ""
    active: Generation | None = None
    pids: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    self_reliant: bool = False


class FakeServing:
    """Is ready with whatever it is given."""

    def __init__(self, **contract) -> None:
        self.contract = contract
        self.printed, self.taps = Printed(contract["clock"]), Taps(contract["clock"])
        self.calls: list[tuple[str, object]] = []
        self.called = asyncio.Event()
        self.windows: list[types_pb2.QueryWindow] = []
        self.episodes: list[control_pb2.StandByEpisode] = []
        self.apply_error: Exception | None = None
        self._status = FakeStatus()

    async def start(self, listen: str) -> str:
        return "127.0.0.1:9" if listen else ""

    async def apply(self, directive: Directive) -> None:
        self._note("apply", directive.generation)
        if self.apply_error is not None:
            raise self.apply_error
        pids = {entry.key: (4242,) for entry in directive.replica_sets}
        self._set(newest=directive.generation, phase="ready", pids=pids)

    def streams(self):
        return {}

    def running(self):
        return ServingFigures()

    def trace_with(self, tracer):
        self._note("trace_with", tracer)

    def equip(self, accelerators):
        self._note("equip", accelerators)

    async def activate(self, generation: Generation) -> None:
        self._note("activate", generation)
        self._set(active=generation, phase="drained")

    async def retire(self, below: Generation) -> None:
        self._note("retire", below)

    def status(self) -> FakeStatus:
        return self._status

    def take_episodes(self):
        episodes, self.episodes = self.episodes, []
        return episodes

    def take_windows(self):
        windows, self.windows = self.windows, []
        self.called.set()
        return windows, []

    async def stop(self, grace_s: float) -> None:
        self._note("stop", grace_s)

    def _note(self, name: str, value: object) -> None:
        self.calls.append((name, value))
        self.called.set()

    def _set(self, **fields) -> None:
        self._status = replace(self._status, **fields)
        self.contract["on_change"]()


def read_json(path: Path) -> object:
    return json.loads(path.read_text())
