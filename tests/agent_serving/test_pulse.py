import asyncio

import pytest

from circinus.errors import Unreachable
from edge_agent.dataplane.frames import Parts
from edge_agent.dataplane.pulse import PULSE_S, Pulse


class SteppedClock:
    """Time goes on by what is slept, and by ``late_s`` more: a process that stands still now and then."""

    def __init__(self, late_s: float = 0.0) -> None:
        self.now_s, self.late_s = 0.0, late_s

    def monotonic_s(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds + self.late_s
        await asyncio.sleep(0)


async def written(frames: list[Parts], frame: Parts) -> None:
    frames.append(frame)


async def test_a_silent_peer_is_out_of_reach_after_as_long_as_it_may_be_silent() -> None:
    clock = SteppedClock()
    pulse = Pulse(lambda frame: written([], frame), clock, lambda: 1.0)
    with pytest.raises(Unreachable):
        await pulse.listen()
    assert 1.0 < clock.now_s <= 1.0 + 2 * PULSE_S


async def test_a_peer_that_is_heard_stays() -> None:
    pulse = Pulse(lambda frame: written([], frame), SteppedClock(), lambda: 1.0)
    listening = asyncio.create_task(pulse.listen())
    for _ in range(100):
        pulse.heard()
        await asyncio.sleep(0)
    assert not listening.done()
    listening.cancel()


async def test_time_in_which_this_process_stood_still_is_no_silence() -> None:
    clock = SteppedClock(late_s=5.0)
    pulse = Pulse(lambda frame: written([], frame), clock, lambda: 1.0)
    with pytest.raises(Unreachable):
        await pulse.listen()
    assert clock.now_s >= 2 * (PULSE_S + 5.0)


async def test_signs_of_life_are_sent_where_nothing_else_is() -> None:
    frames: list[Parts] = []
    pulse = Pulse(lambda frame: written(frames, frame), SteppedClock())
    beating = asyncio.create_task(pulse.beat())
    for _ in range(20):
        await pulse.write([b"frame"])
        await asyncio.sleep(0)
    assert frames.count([]) <= 1
    for _ in range(20):
        await asyncio.sleep(0)
    beating.cancel()
    assert frames.count([]) >= 5
