"""A scripted agent, a planning without a solver and a small pipeline, for the planner's tests."""

import asyncio
import contextlib
import hashlib

import grpc.aio

from circinus import wire
from circinus.bundle import digest_of
from circinus.channel import open_channel, open_secure_channel
from circinus.clock import SystemClock
from circinus.model.device import Accelerator, Device, Environment, Link, Tier
from circinus.model.plan import Interval, OperatorPlan, Plan, Selection, UnplacedQuery
from circinus.v1 import control_pb2, control_pb2_grpc, planner_pb2, planner_pb2_grpc, types_pb2
from cloud_planner.core.live_search import search_step
from cloud_planner.core.needs import ProfilePolicy
from cloud_planner.core.planning import PlanResult
from cloud_planner.daemon import Settings, running
from cloud_planner.planning_loop import LoopTimes
from cloud_planner.rollout import RolloutTimes

PIPELINE = """
pipeline: words
description: Two steps.
environment:
  python: [numpy>=2.0]
source: words:Words
scorer: words:Same
operators:
  - id: cut
    class: words:Cut
    inputs: [source]
    knobs:
      length: [1, 2]
  - id: read
    class: words:Read
    inputs: [cut]
outputs: [read]
contents:
  plain: {seed: 1, samples: 4}
"""
BUNDLE = b"the bundle"
SAMPLES = b"the sample set"


def device(device_id, *, tier=Tier.EDGE, speed_ratio=1.0, links=(), environments=(), address="", **changes):
    values = {
        "id": device_id,
        "tier": tier,
        "site": "home",
        "device_class": f"class-{speed_ratio:g}",
        "cpu_model": "cpu",
        "logical_cores": 2,
        "max_frequency_mhz": 0.0,
        "cpu_flags": (),
        "cores": 2.0,
        "memory_bytes": 8 * 2**30,
        "disk_free_bytes": 2**30,
        "accelerators": (),
        "links": tuple(Link(peer=peer, bandwidth_bit_per_s=10_000_000, rtt_ms=10.0) for peer in links),
        "price_per_h": 0.0 if tier is Tier.EDGE else 1.0,
        "speed_ratio": speed_ratio,
        "environments": tuple(Environment(digest=digest, ready=True) for digest in environments),
        "data_address": address,
        "agent_version": "1",
    }
    return Device(**(values | changes))


def accelerator(slots=2):
    return Accelerator(
        kind="cuda", model="gpu", provider="CUDAExecutionProvider", slots=slots, memory_bytes=8 * 2**30, emulated=True
    )


def settings(tmp_path, **changes):
    values = {
        "listen": "127.0.0.1:0",
        "state_dir": tmp_path / "state",
        "insecure_loopback": True,
        "profile_policy": ProfilePolicy(time_samples=2),
        "loop_times": LoopTimes(debounce_s=0.01, tick_s=0.1),
        "rollout_times": RolloutTimes(failed_s=0.2, starting_s=60.0, drain_s=60.0, hold_s=0.0),
        "unseen_s": 60.0,
    }
    return Settings(**(values | changes))


class Here:
    """Steps of searches, in this process; ``tasks`` are those that were made."""

    def __init__(self):
        self.tasks = []

    async def run(self, task):
        self.tasks.append(task)
        return await asyncio.to_thread(search_step, task)

    async def start(self):
        pass

    async def close(self):
        pass


class FirstFit:
    """Places each query's first good configuration, each operator on ``prefer`` if it can, the first on ``first``."""

    def __init__(self, prefer="", first=""):
        self.prefer = prefer
        self.first = first or prefer
        self.problems = []
        self.findings = ()

    async def plan(self, problem, held=frozenset()):
        self.problems.append(problem)
        plans, unplaced = [], []
        for query in problem.queries:
            good = [c for c in query.candidates if c.accuracy.low >= (query.slo.accuracy_ratio or 0.0)]
            if not good:
                unplaced.append(UnplacedQuery(query_id=query.id, reason=query.impossible or "accuracy"))
                continue
            plans.append(self._plan(query, good[0]))
        total = sum(query.weight * query.rate_per_s for query in problem.queries)
        selection = Selection(
            plans=tuple(plans),
            unplaced=tuple(unplaced),
            machines=(),
            traffic_cost_per_h=0.0,
            goodput_per_s=total,
            goodput_bound_per_s=total,
            gap_ratio=0.0,
            cost_per_h=0.0,
            cost_bound_per_h=0.0,
            cost_gap_ratio=0.0,
            solver_status="first fit",
        )
        return PlanResult(selection=selection, findings=self.findings)

    def _plan(self, query, candidate):
        operators = []
        for number, step in enumerate(candidate.steps):
            wanted = self.prefer if number else self.first
            option = next((o for o in step.options if o.machine == wanted), step.options[0])
            operators.append(
                OperatorPlan(
                    operator_id=step.operator_id,
                    device_id=option.machine,
                    replicas=1,
                    share_ratio=1.0,
                    cores=option.cores,
                    accelerator_slots=0,
                    accelerator_memory_bytes=0,
                    memory_bytes=option.memory_bytes,
                    batch=1,
                    service_ms=option.service.mean_ms,
                )
            )
        return Plan(
            query_id=query.id,
            configuration=candidate.configuration,
            operators=tuple(operators),
            latency_ms=Interval(value=50.0, low=40.0, high=60.0),
            latency_p50_ms=40.0,
            accuracy_ratio=candidate.accuracy,
            cost_per_h=0.1,
            slo_probability_ratio=1.0,
            item_goodput_per_s=query.rate_per_s,
        )

    async def close(self):
        pass


def profile_parts(request):
    """Results for all that a profile request asks: scores by configuration, 20 ms for each operator."""
    for configuration in request.configurations:
        length = configuration.values["cut.length"].integer
        yield control_pb2.ConfigurationProfile(
            configuration=configuration,
            samples=[
                control_pb2.SampleResult(
                    sample_index=index,
                    score_ratio=(0.5 if length == 1 else 0.9) if request.score else None,
                    operators=[
                        control_pb2.OperatorSample(
                            operator_id=name, cpu_ms=20.0, wall_ms=20.0 + index, output_bytes=1000 * length
                        )
                        for name in ("cut", "read")
                    ],
                )
                for index in request.sample_indices
            ],
            memory_bytes={"cut": 50 * 2**20, "read": 60 * 2**20},
            source_bytes=5000,
        )


def measurements(requests):
    """What is scored by requests: (configuration, sample index), as often as it is asked for."""
    return [
        (configuration.SerializeToString(deterministic=True), index)
        for request in requests
        if request.score
        for configuration in request.configurations
        for index in request.sample_indices
    ]


class FakeAgent:
    """Speaks the control protocol of an agent that does all it is told, or what the test tells it instead."""

    def __init__(self, address, found, *, generation_status=None, tls=None):
        self.address = address
        self.tls = tls
        self.device = found
        self.status = generation_status or control_pb2.GenerationStatus()
        self.received = []
        self.arrived = asyncio.Condition()
        self.ready_environment = True
        self.answers_environments = True
        self.profile_error = ""
        self.runs_profiles = True
        self.becomes_ready = True
        self.drains = True
        self.verdict = control_pb2.DIRECTIVE_VERDICT_ACCEPTED
        self.fails_with = ""
        self.directives = {}

    async def __aenter__(self):
        self._channel = open_secure_channel(self.address, self.tls) if self.tls else open_channel(self.address)
        self._call = control_pb2_grpc.ControlServiceStub(self._channel).Connect()
        hello = control_pb2.Hello(
            fingerprint=wire.device_to_message(self.device), session_id=f"s-{id(self)}", generation_status=self.status
        )
        await self.send(hello=hello)
        self.welcome = (await self._call.read()).welcome
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_):
        self._task.cancel()
        # A planner that was killed is part of what is tested.
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await self._task
        self._call.cancel()
        await self._channel.close()

    async def send(self, **message):
        await self._call.write(control_pb2.ConnectRequest(**message))

    async def send_status(self, phase, **changes):
        self.status.phase = phase
        for name, value in changes.items():
            setattr(self.status, name, value)
        await self.send(generation_status=self.status)

    async def _serve(self):
        while (message := await self._call.read()) is not grpc.aio.EOF:
            await self._obey(message)
            async with self.arrived:
                self.received.append(message)
                self.arrived.notify_all()

    async def _obey(self, message):
        match message.WhichOneof("message"):
            case "prepare_environment" if self.answers_environments:
                await self.answer_environment(message.prepare_environment.environment_digest)
            case "profile" if self.runs_profiles:
                await self.run_profile(message.profile)
            case "directive":
                await self._accept(message.directive)
            case "signed_directive":
                await self._accept(types_pb2.Directive.FromString(message.signed_directive.body))
            case "activate":
                number = message.activate.generation
                await self.send_status(control_pb2.GENERATION_PHASE_ACTIVE, active_generation=number)
                if self.drains:
                    await self.send_status(control_pb2.GENERATION_PHASE_DRAINED)

    async def answer_environment(self, digest):
        environment = types_pb2.Environment(digest=digest, ready=self.ready_environment)
        if not self.ready_environment:
            environment.reason = "install: apt-get install tesseract-ocr"
        await self.send(environment_status=control_pb2.EnvironmentStatus(environment=environment))

    async def run_profile(self, request):
        total = len(request.configurations) * len(request.sample_indices)
        await self.send(
            profile_progress=control_pb2.ProfileProgress(id=request.id, samples_done=total // 2, samples_total=total)
        )
        parts = [] if self.profile_error else list(profile_parts(request))
        for part in parts:
            await self.send(profile_report=control_pb2.ProfileReport(id=request.id, configurations=[part]))
        await self.send(profile_report=control_pb2.ProfileReport(id=request.id, done=True, error=self.profile_error))

    async def _accept(self, directive):
        answer = control_pb2.DirectiveAnswer(
            epoch=directive.epoch, generation=directive.generation, verdict=self.verdict, reason="as scripted"
        )
        await self.send(directive_answer=answer)
        if self.verdict != control_pb2.DIRECTIVE_VERDICT_ACCEPTED:
            return
        assert wire.directive_digest(directive) == directive.digest
        self.directives[directive.generation] = wire.directive_from_message(directive)
        self.status.epoch, self.status.generation = directive.epoch, directive.generation
        self.status.digest = directive.digest
        await self.send_status(control_pb2.GENERATION_PHASE_STARTING)
        if self.fails_with:
            await self.send_status(control_pb2.GENERATION_PHASE_FAILED, reason=self.fails_with)
        elif self.becomes_ready:
            await self.send_status(control_pb2.GENERATION_PHASE_READY)

    async def until(self, kind, test=lambda message: True):
        """The first message of a kind that passes the test, waited for."""

        def found():
            return [
                getattr(message, kind)
                for message in self.received
                if message.WhichOneof("message") == kind and test(getattr(message, kind))
            ]

        async with asyncio.timeout(10), self.arrived:
            await self.arrived.wait_for(found)
        return found()[0]

    def asked(self):
        """Every profile request so far."""
        return [message.profile for message in self.received if message.WhichOneof("message") == "profile"]

    def count(self, kind):
        return sum(message.WhichOneof("message") == kind for message in self.received)


class People:
    """A client of PlannerService."""

    def __init__(self, address, tls=None):
        self.address = address
        self._channel = open_secure_channel(address, tls) if tls else open_channel(address)
        self.stub = planner_pb2_grpc.PlannerServiceStub(self._channel)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self._channel.close()

    async def upload(self, data, digest=None):
        digest = digest or digest_of(data)
        half = len(data) // 2
        return await self.stub.UploadBlob(
            iter(
                [
                    planner_pb2.UploadBlobRequest(digest=digest, total_bytes=len(data), chunk=data[:half]),
                    planner_pb2.UploadBlobRequest(chunk=data[half:]),
                ]
            )
        )

    async def add_pipeline(self, text=PIPELINE, samples=4):
        await self.upload(BUNDLE)
        await self.upload(SAMPLES)
        content = planner_pb2.ContentRef(name="plain", digest=digest_of(SAMPLES), samples=samples)
        return await self.stub.AddPipeline(
            planner_pb2.AddPipelineRequest(spec_yaml=text, bundle_digest=digest_of(BUNDLE), contents=[content])
        )

    async def submit(self, *queries):
        return list((await self.stub.SubmitQueries(planner_pb2.SubmitQueriesRequest(queries=queries))).query_ids)

    async def queries(self):
        response = await self.stub.ListQueries(planner_pb2.ListQueriesRequest())
        return {state.query.id: state for state in response.queries}

    async def settled(self):
        """All progress until settled; the last one is."""
        async with asyncio.timeout(15):
            return [progress async for progress in self.stub.WatchProgress(planner_pb2.WatchProgressRequest())]

    async def status(self):
        return await self.stub.GetStatus(planner_pb2.GetStatusRequest())


@contextlib.asynccontextmanager
async def serving(how, planning=None, steps=None):
    """A planner on real gRPC: a client of it, and its parts. Without a planning: the real solver and searches."""
    if steps is None and planning is not None:
        steps = Here()
    async with running(how, SystemClock(), planning, steps) as (address, parts), People(address) as people:
        yield people, parts


def query(query_id="q1", *, source="camera", rate_per_s=2.0, **slo):
    return types_pb2.Query(
        id=query_id,
        pipeline_id="words",
        content="plain",
        source_device_id=source,
        rate_per_s=rate_per_s,
        slo=types_pb2.Slo(**slo),
    )


def fake_digest(text):
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
