"""A child process that was killed is waited for."""

import asyncio
import signal
import sys

import pytest

from circinus.child_end import reap


async def sleeping():
    return await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)")


async def used(process):
    try:
        await process.wait()
    finally:
        process.kill()
        await reap(process)


async def test_who_is_called_off_twice_still_waits_for_the_child():
    process = await sleeping()
    using = asyncio.create_task(used(process))
    await asyncio.sleep(0)
    using.cancel()
    await asyncio.sleep(0)
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert process.returncode == -signal.SIGKILL


def test_a_loop_that_ends_waits_for_the_child():
    codes = []

    async def use():
        process = await sleeping()
        try:
            await used(process)
        finally:
            codes.append(process.returncode)

    async def end():
        using = asyncio.create_task(use())
        await asyncio.wait((using,), timeout=0.2)

    asyncio.run(end())
    assert codes == [-signal.SIGKILL]
