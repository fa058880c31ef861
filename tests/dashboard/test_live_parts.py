"""What open pages are sent: only what is another, the newest of it, within a share of a core."""

import asyncio
import contextlib
import json

import pytest

from circinus.errors import InvalidInput, NotFound, TooLarge
from cloud_planner.bell import Bell
from cloud_planner.dashboard import live
from cloud_planner.dashboard.live import Hub
from cloud_planner.dashboard.page import Part


class Clock:
    """Moves by itself when somebody sleeps."""

    def __init__(self):
        self.s = 0.0
        self.slept = asyncio.Queue()

    def monotonic_s(self):
        return self.s

    async def sleep(self, seconds):
        self.slept.put_nowait(seconds)
        self.s += seconds
        await asyncio.sleep(0)


class Shown:
    """A part whose elements the test sets; ``asked``: with which arguments it was rendered."""

    def __init__(self):
        self.elements = {"a": "1", "b": "1"}
        self.asked = []
        self.fault = None

    async def render(self, desk, argument):
        self.asked.append(argument)
        if self.fault:
            raise self.fault
        return dict(self.elements)


def hub_of(shown, clock=None):
    return Hub(None, [Part(name="p", render=shown.render, period_s=0.0)], clock or Clock(), [Bell()])


class Page:
    """One open page."""

    def __init__(self, hub, *texts, stands=lambda: True):
        self.stream = hub.follow(hub.chosen(texts or ["p"]), stands)

    async def __aenter__(self):
        assert (await anext(self.stream)).startswith(b"retry")
        return self

    async def __aexit__(self, *_):
        await self.stream.aclose()

    async def event(self):
        async with asyncio.timeout(5):
            data = (await anext(self.stream)).decode()
        name, _, rest = data.partition("\n")
        return name.removeprefix("event: "), json.loads(rest.removeprefix("data: ").strip())


async def test_only_elements_that_are_another_are_sent():
    shown = Shown()
    hub = hub_of(shown)
    async with Page(hub) as page:
        await hub.round()
        assert await page.event() == ("parts", {"a": "1", "b": "1"})
        await hub.round()
        shown.elements["b"] = "2"
        await hub.round()
        assert await page.event() == ("parts", {"b": "2"})


async def test_a_part_is_rendered_once_for_all_who_look():
    shown = Shown()
    hub = hub_of(shown)
    async with Page(hub) as one, Page(hub) as other, Page(hub, "p?x=1") as third:
        await hub.round()
        assert sorted(shown.asked) == ["", "x=1"]
        assert await one.event() == await other.event() == await third.event()


async def test_whoever_reads_slowly_gets_the_newest():
    shown = Shown()
    hub = hub_of(shown)
    async with Page(hub) as page:
        for number in range(5):
            shown.elements["a"] = str(number)
            await hub.round()
        assert await page.event() == ("parts", {"a": "4", "b": "1"})


async def test_a_fault_of_one_part_leaves_the_stream_open():
    shown = Shown()
    hub = hub_of(shown)
    async with Page(hub) as page:
        for fault in (RuntimeError("no"), NotFound("gone")):
            shown.fault = fault
            await hub.round()
        shown.fault = None
        await hub.round()
        assert (await page.event())[0] == "parts"


async def test_nobody_looks_nothing_is_rendered():
    shown = Shown()
    hub = hub_of(shown)
    async with Page(hub):
        await hub.round()
    await hub.round()
    assert len(shown.asked) == 1


async def test_a_stream_ends_when_its_session_does():
    stands = True
    hub = hub_of(Shown())
    async with Page(hub, stands=lambda: stands) as page:
        await hub.round()
        await page.event()
        stands = False
        assert await page.event() == ("over", {})
        with pytest.raises(StopAsyncIteration):
            await anext(page.stream)


async def test_a_closed_hub_ends_its_streams():
    hub = hub_of(Shown())
    async with Page(hub) as page:
        hub.close()
        with pytest.raises(StopAsyncIteration):
            async with asyncio.timeout(5):
                await anext(page.stream)


async def test_streams_and_parts_are_bounded(monkeypatch):
    hub = hub_of(Shown())
    monkeypatch.setattr(live, "MOST_STREAMS", 1)
    async with Page(hub):
        with pytest.raises(TooLarge):
            await anext(hub.follow(hub.chosen(["p"]), lambda: True))
    for texts in ([], ["other"], ["p?" + "x" * 1_000], [f"p?{number}" for number in range(20)]):
        with pytest.raises(InvalidInput):
            hub.chosen(texts)


async def test_the_hub_rests_for_many_times_what_a_round_took(monkeypatch):
    clock, cpu_s = Clock(), iter(range(100))
    # Each look at the processor's time is a second after the one before.
    monkeypatch.setattr(live.time, "process_time", lambda: float(next(cpu_s)))

    async def slow(desk, argument):
        clock.s += 0.15
        return {"a": str(clock.s)}

    hub = Hub(None, [Part(name="p", render=slow, period_s=0.0)], clock, [Bell()])
    async with Page(hub) as page:
        running = asyncio.create_task(hub.run())
        await page.event()
        rested_s = await clock.slept.get()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert rested_s == pytest.approx(0.15 / live.SHARE_RATIO)
