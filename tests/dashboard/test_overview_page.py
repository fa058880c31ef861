import pytest
from dashboard_browser import complaints, every, one, text, until

pytestmark = pytest.mark.slow


def drawn(browser):
    """Of each device on the map, whether somebody would see it."""
    return browser.execute_script(
        "return [...document.querySelectorAll('svg.fleet rect')].map(one => {"
        "const box = one.getBoundingClientRect(), style = getComputedStyle(one);"
        "return box.width > 4 && box.height > 4 && style.fill !== 'none' && style.visibility === 'visible';})"
    )


def test_the_overview_shows_the_fleet_by_site(board, browser):
    browser.get(f"{board.address}/")
    assert text(browser, "#total-devices").startswith("2\n")
    assert text(browser, "#total-queries").startswith("2\n")
    assert {"home", "shop"} <= set(text(browser, ".sites").split())
    assert len(every(browser, "svg.fleet rect")) == 3
    assert len(every(browser, "svg.fleet rect.away")) == 1
    assert drawn(browser) == [True] * 3
    assert complaints(browser) == []


def test_dark_or_light_is_kept_from_page_to_page(board, browser):
    browser.get(f"{board.address}/")
    before = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    one(browser, "body").send_keys("t")
    until(browser, lambda: browser.execute_script("return getComputedStyle(document.body).backgroundColor") != before)
    chosen = browser.execute_script("return document.documentElement.dataset.theme")
    browser.get(f"{board.address}/devices")
    assert browser.execute_script("return document.documentElement.dataset.theme") == chosen
    browser.execute_script("localStorage.clear()")


def test_what_changes_shows_by_itself(board, browser):
    browser.get(f"{board.address}/")
    until(browser, lambda: text(browser, "#touch") == "live")
    board.run(board.overview.departures.cordon("box", "being mended"))
    until(browser, lambda: "1 cordoned" in text(browser, "#total-devices"))
    until(browser, lambda: "device kept" in text(browser, "#events"))
    board.run(board.overview.departures.lift("box"))
    until(browser, lambda: "cordoned" not in text(browser, "#total-devices"))
    assert drawn(browser) == [True] * 3
