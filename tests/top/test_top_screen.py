"""`circinus top` in a terminal, by textual's own pilot."""

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from fake_fleet import FakeClock, FakeFleet, happened

pytest.importorskip("textual", reason="pip install 'circinus[top]'")

from circinus.top.picture import Page
from circinus.top.screen import TopApp
from circinus.top.view import View, wants_of

pytestmark = pytest.mark.slow
SMALL, LARGE = (80, 24), (120, 40)


@asynccontextmanager
async def showing(fleet, size=SMALL, clock=None):
    app = TopApp(fleet, fleet.now_picture(wants_of(View())), clock or FakeClock(), period_s=0.2)
    async with app.run_test(size=size) as pilot:
        yield app, pilot


def text(app):
    strips = [app._sheet.render_line(y) for y in range(app.size.height)]
    return "\n".join(strip.text for strip in strips)


async def until(app, pilot, said):
    """Waits until the screen says something."""
    async with asyncio.timeout(20.0):
        while said not in text(app):
            await pilot.pause(0.02)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_each_page_is_shown_at_each_size(size):
    fleet = FakeFleet(devices=60, queries=60)
    async with showing(fleet, size) as (app, pilot):
        assert (app.view.width, app.view.height) == size
        await until(app, pilot, f"camera-{size[1] - 7:04}")
        await pilot.press("2")
        await until(app, pilot, "GOODPUT/s")
        await until(app, pilot, "q-00059")
        await pilot.press("slash", *"q-00000", "enter", "enter")
        await until(app, pilot, "└ cut")
        await fleet.happened.put(happened(7, device="camera-0042"))
        await pilot.press("4")
        await until(app, pilot, "device=camera-0042")
        await pilot.press("question_mark")
        await until(app, pilot, "KEYS AND WORDS")
        await pilot.press("x", "q")
    assert app.return_code == 0


async def test_of_a_large_fleet_only_the_screen_is_asked_for():
    fleet = FakeFleet(devices=1_000, queries=10_000)
    async with showing(fleet) as (app, pilot):
        await pilot.press("2", "end")
        await until(app, pilot, f"{app.known.picture.queries.lines[-1].query_id}")
        await pilot.press("pageup", "pageup", "pageup", "pageup")
        await pilot.pause(0.1)
        assert "…" not in [line.strip() for line in text(app).split("\n")]
    assert max(wants.queries.limit for wants in fleet.asked) <= 3 * SMALL[1]
    assert max(wants.devices.limit for wants in fleet.asked) <= 3 * SMALL[1]


async def test_a_planner_that_goes_away_and_comes_back():
    fleet, clock = FakeFleet(), FakeClock()
    async with showing(fleet, clock=clock) as (app, pilot):
        await fleet.happened.put(happened(7, "agent_connected"))
        await pilot.press("4")
        await until(app, pilot, "agent_connected")
        await pilot.press("1")
        fleet.away = "no planner answers at 10.0.0.1:7400"
        await fleet.happened.put(None)
        await until(app, pilot, "AWAY for 0 s")
        clock.at += timedelta(seconds=90)
        await until(app, pilot, "AWAY for 1 min, this is 1 min old: no planner answers at 10.0.0.1:7400")
        # The last picture is there still, and can be walked in.
        assert "camera-0000" in text(app)
        await pilot.press("down")
        assert app.view.fleet.cursor == 1
        fleet.away, fleet.at = "", clock.at
        await until(app, pilot, "3/3 devices")
        assert "AWAY" not in text(app)
        # Events go on after the last that came.
        await fleet.happened.put(happened(8, "drift_found"))
        await pilot.press("4")
        await until(app, pilot, "drift_found")
        assert fleet.followed_after == [0, 7]


async def test_another_planners_events_take_the_place_of_the_old_ones():
    fleet = FakeFleet()
    async with showing(fleet) as (app, pilot):
        await fleet.happened.put(happened(900, "old_one"))
        await pilot.press("4")
        await until(app, pilot, "old_one")
        await fleet.happened.put(happened(3, "new_one"))
        await until(app, pilot, "new_one")
        assert "old_one" not in text(app)


async def test_a_terminal_that_changes_its_size_is_filled():
    async with showing(FakeFleet(devices=60)) as (app, pilot):
        await pilot.resize_terminal(*LARGE)
        await until(app, pilot, "camera-0030")
        await pilot.resize_terminal(30, 8)
        await until(app, pilot, "camera-0001")


def colours(app):
    """The colours that are written, after textual's own filters."""
    strips = app._sheet.render_lines(app._sheet.region.reset_offset)
    return {segment.style.color.name for strip in strips for segment in strip if segment.style and segment.style.color}


@pytest.mark.parametrize("without", [False, True])
async def test_colours_are_of_the_sixteen_or_none(monkeypatch, without):
    monkeypatch.setenv("NO_COLOR", "1") if without else monkeypatch.delenv("NO_COLOR", raising=False)
    fleet = FakeFleet()
    async with showing(fleet) as (app, pilot):
        await pilot.press("2")
        await until(app, pilot, "98.0%")
        found = {name for name in colours(app) if name != "default"}
        assert found <= {"green", "red", "yellow"}
        assert bool(found) is not without
        assert app.view.page is Page.QUERIES
