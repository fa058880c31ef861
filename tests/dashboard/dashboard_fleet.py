"""A planner with a dashboard, in a thread of its own, so that a browser can be waited for beside it."""

import asyncio
import contextlib
import dataclasses
import threading
import urllib.error
import urllib.request

from planner_fleet import FakeAgent, FirstFit, Here, People, device, query, settings

from circinus.clock import SystemClock
from circinus.sketch import Sketch
from circinus.v1 import control_pb2, types_pb2
from cloud_planner.daemon import DASHBOARD_ADDRESS_FILE, running
from cloud_planner.dashboard.place import Place


class Loop:
    """An event loop in a thread. ``run`` is called from outside of it."""

    def __enter__(self):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="board")
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def run(self, coroutine, timeout_s=30):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)


class Board(Loop):
    """A planner with a dashboard. ``fleet`` False: no devices and no queries.

    ``address``: where the browser goes. ``overview``: the planner's parts; touch them in ``run`` only.
    """

    def __init__(self, folder, *, fleet=True, planning=None, **changes):
        self.folder = folder
        self.fleet = fleet
        self.planning = planning or FirstFit()
        self.changes = changes

    def __enter__(self):
        super().__enter__()
        self._ending = None
        self._begun = threading.Event()
        self._fault = None
        self._task = asyncio.run_coroutine_threadsafe(self._live(), self._loop)
        if not self._begun.wait(30) or self._fault:
            super().__exit__()
            raise self._fault or TimeoutError("the planner did not start")
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._ending.set)
        try:
            self._task.result(30)
        finally:
            super().__exit__()

    async def _live(self):
        self._ending = asyncio.Event()
        how = dataclasses.replace(settings(self.folder), dashboard=Place(listen="127.0.0.1:0"), **self.changes)
        try:
            async with running(how, SystemClock(), self.planning, Here()) as (address, self.overview):
                told = how.state_dir / DASHBOARD_ADDRESS_FILE
                self.address = told.read_text().strip() if told.exists() else ""
                self.planner = address
                async with contextlib.AsyncExitStack() as stack:
                    if self.fleet:
                        await self._fill(address, stack)
                    self._begun.set()
                    await self._ending.wait()
        except BaseException as error:
            self._fault = error
            raise
        finally:
            self._begun.set()

    async def _fill(self, address, stack):
        agents = {}
        for found in (device("camera"), device("box", speed_ratio=0.5), device("away-1", site="shop")):
            agents[found.id] = await stack.enter_async_context(FakeAgent(address, found))
        self.agents = agents
        async with People(address) as people:
            await people.add_pipeline()
            await people.submit(query("gate"), query("yard", latency_ms=200.0))
            await people.settled()
        await agents.pop("away-1").__aexit__()
        await self.tell()

    async def tell(self, sequence=1, answered=95, late=5):
        """Has the camera tell of a window of query "gate"."""
        window = types_pb2.QueryWindow(
            query_id="gate",
            generation=self.overview.rollout.newest.generation.number,
            duration_s=10.0,
            emitted=answered + late,
            answered=answered,
            late=late,
            latency_ms=Sketch([40.0 + one for one in range(answered + late)]).message(),
        )
        window.start.FromDatetime(SystemClock().now())
        await self.agents["camera"].send(telemetry=control_pb2.Telemetry(sequence=sequence, queries=[window]))
        async with asyncio.timeout(10):
            # Telemetry rings no bell: what comes after it on the same connection does.
            await self.agents["camera"].send_status(self.agents["camera"].status.phase)
            heard = self.overview.watched.rings
            while not self.overview.recent.lately("gate").spans.short.ended:
                heard = await self.overview.watched.wait(heard, 0.05)


class Answer:
    """What came of a request that no browser made."""

    def __init__(self, status, headers, text):
        self.status, self.headers, self.text = status, headers, text


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def ask(url, *, data=None, headers=None, context=None):
    """One request, without following where it leads."""
    opener = urllib.request.build_opener(_Stay, urllib.request.HTTPSHandler(context=context))
    request = urllib.request.Request(url, data=data, headers=headers or {})
    try:
        with opener.open(request, timeout=10) as response:
            return Answer(response.status, response.headers, response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.headers, error.read().decode())
