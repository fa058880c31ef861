"""What pages wait for, and what is made behind them."""

import asyncio
from types import SimpleNamespace

from circinus.clock import SystemClock
from cloud_planner.dashboard.desk import Desk


def desk():
    return Desk(SimpleNamespace(clock=SystemClock(), trials=None), None, None)


async def test_what_takes_longer_than_a_page_waits_is_found_by_who_asks_next():
    found, free, made = desk(), asyncio.Event(), []

    async def make():
        await free.wait()
        made.append(1)
        return "made"

    assert await found.within(found.remembered("key", make), 0.01) is None
    assert found.known("key") is None
    asked_again = asyncio.create_task(found.within(found.remembered("key", make), 5.0))
    await asyncio.sleep(0)
    free.set()
    assert await asked_again == "made"
    assert await found.within(found.remembered("key", make), 5.0) == "made"
    assert found.known("key") == "made"
    assert made == [1]


async def test_with_no_time_left_nothing_is_begun():
    async def make():
        raise AssertionError("begun")

    assert await desk().within(make(), 0.0) is None


async def test_what_is_made_behind_pages_ends_with_them():
    found, ended = desk(), []

    async def make():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    assert await found.within(make(), 0.01) is None
    await found.close()
    assert ended == [True]
