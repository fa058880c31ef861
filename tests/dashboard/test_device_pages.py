import pytest
from dashboard_browser import complaints, every, one, text, until
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.slow


def shown(browser):
    return browser.execute_script("return [...document.querySelectorAll('tbody a.row')].map(a => a.textContent)")


def test_the_table_sorts_by_a_click(board, browser):
    browser.get(f"{board.address}/devices")
    assert shown(browser) == ["away-1", "box", "camera"]
    one(browser, "thead th a").click()
    until(browser, lambda: shown(browser) == ["camera", "box", "away-1"])
    assert "sort=-id" in browser.current_url
    assert one(browser, "th[aria-sort]").get_attribute("aria-sort") == "descending"


def test_a_slash_goes_to_the_filter_which_narrows_as_one_types(board, browser):
    browser.get(f"{board.address}/devices")
    one(browser, "body").send_keys("/")
    browser.switch_to.active_element.send_keys("shop")
    until(browser, lambda: shown(browser) == ["away-1"])
    assert browser.execute_script("return document.activeElement.name") == "q"
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    one(browser, "body").send_keys("j")
    assert browser.execute_script("return document.activeElement.textContent") == "away-1"
    assert complaints(browser) == []


def test_a_row_keeps_the_focus_when_the_filters_answer_comes_late(board, browser):
    browser.get(f"{board.address}/devices")
    one(browser, "body").send_keys("j")
    assert browser.execute_script("return document.activeElement.textContent") == "away-1"
    browser.execute_script(
        "window.settled = 0; document.addEventListener('htmx:afterSettle', () => { window.settled += 1; });"
        "document.querySelector('form.filter').dispatchEvent(new Event('change', {bubbles: true}));"
    )
    until(browser, lambda: browser.execute_script("return window.settled") == 1)
    assert browser.execute_script("return document.activeElement.textContent") == "away-1"
    assert complaints(browser) == []


def test_a_device_tells_what_it_can_do_and_what_runs_there(board, browser):
    browser.get(f"{board.address}/devices/camera")
    assert text(browser, "h1") == "camera"
    assert "gate" in text(browser, "#device-runs")
    assert "read" in text(browser, "#device-runs")
    assert "8" in text(browser, "dl.facts")
    assert "agent connected" in text(browser, "#device-events")
    assert complaints(browser) == []


def test_cordon_asks_first_and_shows_why(board, browser):
    browser.get(f"{board.address}/devices/box")
    assert every(browser, "details.act[open]") == []
    one(browser, "details.act summary").click()
    one(browser, "details.act[open] input[name=why]").send_keys("a <new> fan")
    one(browser, "details.act[open] button").click()
    until(browser, lambda: "a <new> fan" in text(browser, "#device-problems"))
    assert text(browser, "#device-state").startswith("cordoned")
    one(browser, "details.act summary").click()
    one(browser, "details.act[open] button").click()
    until(browser, lambda: text(browser, "#device-state").startswith("connected"))


def test_an_unknown_device_is_a_page_that_says_so(board, browser):
    browser.get(f"{board.address}/devices/kamera")
    assert "kamera" in text(browser, ".message")
    assert "camera" in text(browser, ".message")
