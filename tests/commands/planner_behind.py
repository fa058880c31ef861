"""A real planner with an identity, and three devices, on a loop in a thread: commands run beside it as people do."""

import asyncio
import threading
from contextlib import AsyncExitStack, contextmanager

from identity_fleet import Doors
from planner_fleet import PIPELINE, FakeAgent, People, device, query, settings

from circinus.clock import SystemClock
from circinus.model.device import Tier
from circinus.v1 import control_pb2, planner_pb2, types_pb2
from cloud_planner.daemon import running

DEVICES = ("camera-1", "gateway-1", "cloud-1", "old-1", "old-2")
#: The names of the examples: pipeline documents, query gate.
DOCUMENTS = PIPELINE.replace("pipeline: words", "pipeline: documents")


class Behind:
    """What there is. ``context_file``: whose current context is the planner's admin."""

    def __init__(self, state_dir):
        self.state_dir = state_dir
        self.context_file = state_dir / "identity" / "admin.toml"
        self.address = ""
        self._ready = threading.Event()
        self._loop = None
        self._stop = None
        self.error = None

    async def _serve(self, tmp_path):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncExitStack() as stack:
            how = settings(tmp_path, insecure_loopback=False)
            self.address, overview = await stack.enter_async_context(running(how, SystemClock()))
            doors = Doors(self.state_dir)
            for name in DEVICES:
                box = await doors.box(name)
                tier = Tier.CLOUD if name == "cloud-1" else Tier.EDGE
                links = [other for other in DEVICES if other != name]
                made = device(name, tier=tier, links=links, address=f"{name}:7410")
                await stack.enter_async_context(FakeAgent(self.address, made, tls=box.tls))
            people = await stack.enter_async_context(People(self.address, doors.admin_context.credentials))
            await people.add_pipeline(DOCUMENTS)
            asked = query("gate", source="camera-1", latency_ms=5_000.0, accuracy_ratio=0.4)
            asked.pipeline_id = "documents"
            spare = query("spare", source="camera-1")
            spare.pipeline_id = "documents"
            await people.submit(asked, spare)
            # A real search and a real solver: longer than the scripted ones, on a machine that does other things, too.
            async with asyncio.timeout(120):
                async for progress in people.stub.WatchProgress(planner_pb2.WatchProgressRequest()):
                    if progress.settled:
                        break
            overview.telemetry.put("camera-1", self._seen(overview))
            self._ready.set()
            await self._stop.wait()

    def _seen(self, overview):
        window = types_pb2.QueryWindow(query_id="gate", duration_s=1.0, emitted=2, answered=2)
        window.generation = overview.rollout.newest.generation.number
        window.start.FromDatetime(overview.clock.now())
        return control_pb2.Telemetry(sequence=1, queries=[window])

    def run(self, tmp_path):
        try:
            asyncio.run(self._serve(tmp_path))
        except BaseException as error:  # whoever waits is told
            self.error = error
        finally:
            self._ready.set()

    def wait(self):
        assert self._ready.wait(180)
        if self.error is not None:
            raise self.error

    def stop(self):
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)


@contextmanager
def planner_behind(tmp_path):
    """The planner, until the block ends."""
    behind = Behind(tmp_path / "state")
    thread = threading.Thread(target=behind.run, args=(tmp_path,))
    thread.start()
    try:
        behind.wait()
        yield behind
    finally:
        behind.stop()
        thread.join(60)
