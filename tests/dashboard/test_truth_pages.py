"""The ledger, a pipeline's configurations and what-if, in a browser."""

import pytest
from dashboard_accounts import put, records
from dashboard_browser import complaints, every, one, text, until
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def told(board):
    put(board, records(60))
    return board


def drawn(browser, selector):
    """Whether anything was painted on a chart's canvas."""
    return browser.execute_script(
        "const one = document.querySelector(arguments[0] + ' canvas'); if (!one) return false;"
        "return one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some((value) => value > 0)",
        selector,
    )


def test_the_ledger_shows_promises_beside_what_was_seen(told, browser):
    browser.get(f"{told.address}/ledger?size=25")
    until(browser, lambda: drawn(browser, "[data-figure=reliability-data]"))
    assert drawn(browser, "[data-figure=latency-data]")
    assert "promises judged" in text(browser, ".tiles").lower()
    assert len(every(browser, "#rows tbody tr")) == 25
    one(browser, "#rows th a[href*='sort=seen'], #rows th a[href*='sort=-seen']").click()
    until(browser, lambda: "sort=seen" in browser.current_url)
    one(browser, "#rows th a[href*='sort=-seen']").click()
    until(browser, lambda: "sort=-seen" in browser.current_url)
    seen = [cell.text for cell in every(browser, "#rows tbody tr td:nth-child(6)")]
    figures = [float(cell.split()[0].replace(",", "")) for cell in seen if cell[0].isdigit()]
    assert figures == sorted(figures, reverse=True)
    browser.get(f"{told.address}/ledger?verdict=missed&q=yard")
    rows = [row.text for row in every(browser, "#rows tbody tr")]
    assert rows
    assert all("yard" in row and "missed" in row for row in rows)
    browser.get(f"{told.address}/ledger/operators?device=box")
    assert {row.text for row in every(browser, "#rows tbody td:nth-child(4)")} == {"box"}
    assert complaints(browser) == []


def test_a_configuration_is_picked_by_keyboard_and_its_plan_is_shown(told, browser):
    browser.get(f"{told.address}/pipelines/words?query=gate")
    until(browser, lambda: drawn(browser, "[data-figure=front-data]"))
    assert len(every(browser, "#rows tbody tr")) == 2
    one(browser, "body").send_keys("j")
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    until(browser, lambda: "pick=" in browser.current_url and every(browser, "#picked table"))
    assert [row.text.split()[0] for row in every(browser, "tr.picked")] == ["length"]
    picked = text(browser, "#picked")
    assert "camera" in picked
    assert "fits beside what runs" in picked
    assert complaints(browser) == []


def test_a_configuration_is_picked_by_its_point(told, browser):
    browser.get(f"{told.address}/pipelines/words?query=gate&axis=latency")
    until(browser, lambda: drawn(browser, "[data-figure=front-data]"))
    left, top = browser.execute_script(
        "const u = document.querySelector('[data-figure]').chart, n = u.data[1].findIndex((one) => one != null);"
        "const box = u.over.getBoundingClientRect();"
        "return [box.left + u.valToPos(u.data[0][n], 'x'), box.top + u.valToPos(u.data[1][n], 'y')].map(Math.round)"
    )
    pointer = ActionBuilder(browser)
    pointer.pointer_action.move_to_location(left, top).click()
    pointer.perform()
    until(browser, lambda: "pick=" in browser.current_url)
    until(browser, lambda: every(browser, "#picked dl"))


def test_sliders_ask_what_if_and_the_address_says_what_was_asked(told, browser):
    generation = told.overview.rollout.newest.generation
    browser.get(f"{told.address}/what-if?query=yard")
    assert "As things are" in text(browser, "#answer")
    slider = one(browser, "#s-weight")
    assert "1" in slider.get_attribute("aria-valuetext")
    slider.send_keys(Keys.ARROW_RIGHT * 3)
    until(browser, lambda: "--weight yard=" in text(browser, "#asked"))
    assert "All queries together" in text(browser, "#answer")
    assert "weight=" in browser.current_url
    # A bound that is taken away.
    one(browser, "input[name=latency_on]").click()
    until(browser, lambda: "latency_ms 200 -> none" in text(browser, "#asked"))
    assert text(browser, "output[for=s-latency]") == "no bound"
    # The address brings the sliders back.
    browser.get(browser.current_url)
    assert not one(browser, "input[name=latency_on]").is_selected()
    assert "--weight yard=" in text(browser, "#asked")
    assert told.overview.rollout.newest.generation == generation
    assert complaints(browser) == []


def test_a_device_less_takes_the_plan_away_and_says_why(told, browser):
    browser.get(f"{told.address}/what-if?query=gate&asked=1&like=class-1@home&devices=-1")
    answer = text(browser, "#answer")
    assert "It would lose its plan" in answer
    assert "camera is gone" in answer


def test_a_slider_that_means_nothing_is_refused_in_words(told, browser):
    browser.get(f"{told.address}/what-if?query=gate&rate=fast")
    assert "'fast' is no number" in text(browser, "main")
