"""Every page: no serious finding of axe, dark and light; all of it by keyboard; no sideways scrolling on a phone."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from dashboard_accounts import put, records
from dashboard_browser import complaints, until
from dashboard_fleet import Board
from planner_fleet import FirstFit
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.keys import Keys

from cloud_planner.solving import explain_live

pytestmark = pytest.mark.slow

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
PAGES = (
    "/",
    "/devices",
    "/devices/camera",
    "/queries",
    "/queries/gate",
    "/submit",
    "/plans",
    "/unplaced",
    "/pipelines",
    "/pipelines/words",
    "/ledger",
    "/ledger/operators",
    "/what-if?query=gate&asked=1&devices=1",
    "/pipelines/words?axis=latency",
    "/nowhere",
)
PHONE = {"width": 360, "height": 720, "deviceScaleFactor": 1, "mobile": True}
_RUN = """
const done = arguments[arguments.length - 1];
const place = (node) => node.target.join(" ") + ": " + node.failureSummary;
axe.run(document, arguments[0]).then(
  (found) => done(found.violations.map((one) => [one.impact, one.id, one.help, one.nodes.map(place)])),
  (error) => done([["critical", "axe", String(error), []]]));
"""
#: How wide the page is, and what sticks out of it, but for what scrolls in a place of its own.
_SIDEWAYS = """
const apart = (one) => ["auto", "scroll", "hidden"].includes(getComputedStyle(one).overflowX);
const scrolls = (one) => one && (apart(one) || scrolls(one.parentElement));
const beyond = (one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1;
const out = [...document.querySelectorAll("main *")].filter((one) => beyond(one) && !scrolls(one.parentElement));
return [document.documentElement.scrollWidth, out.slice(0, 5).map((one) => one.outerHTML.slice(0, 160))];
"""
#: How many elements take the focus.
_COUNT = """
const able = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
return [...document.querySelectorAll(able)].filter((one) => !one.disabled && one.checkVisibility()).length;
"""
#: Which has it: how often it was come by, what it is, and whether that can be seen.
_HERE = """
const one = document.activeElement;
one.dataset.walked = Number(one.dataset.walked || 0) + 1;
const seen = getComputedStyle(one).outlineStyle !== "none" || one.matches(".fleet a");
return [one.dataset.walked, one.outerHTML.slice(0, 120), seen];
"""


class _Explaining(FirstFit):
    async def explain(self, task):
        return await asyncio.to_thread(explain_live, task)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    with Board(tmp_path_factory.mktemp("told"), planning=_Explaining()) as board:
        put(board, records(8))
        yield board


def grave(browser, **options):
    """What axe finds that keeps somebody from using the page."""
    found = browser.execute_async_script(_RUN, options)
    return [(rule, what, places[:4]) for impact, rule, what, places in found if impact in ("serious", "critical")]


def paint(browser, theme):
    browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    browser.execute_script("document.dispatchEvent(new CustomEvent('circinus:theme'))")
    # Colours move over to their new values.
    until(browser, lambda: browser.execute_script("return document.getAnimations().length === 0"))


@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_used_by_everybody_dark_and_light_and_on_a_phone(told, browser, page):
    browser.get(told.address + page)
    browser.execute_script(AXE)
    paint(browser, "light")
    assert grave(browser) == []
    paint(browser, "dark")
    assert grave(browser, runOnly=["color-contrast", "link-in-text-block"]) == []
    assert [text for text in complaints(browser) if "404" not in text] == []
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    try:
        # A chart takes its new width a moment after its place has.
        fits = [PHONE["width"], []]
        with contextlib.suppress(TimeoutException):
            until(browser, lambda: browser.execute_script(_SIDEWAYS) == fits, timeout_s=5)
        assert browser.execute_script(_SIDEWAYS) == fits
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("page", ["/", "/pipelines/words", "/what-if?query=gate"])
def test_the_tab_key_walks_through_all_of_a_page_and_shows_where_it_is(told, browser, page):
    browser.get(told.address + page)
    expected = browser.execute_script(_COUNT)
    seen = []
    for _ in range(min(expected, 60)):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        seen.append(browser.execute_script(_HERE))
    assert all(times == "1" for times, _, _ in seen)
    assert [tag for _, tag, visible in seen if not visible] == []
    assert browser.execute_script("return document.querySelector('.skip').dataset.walked") == "1"
