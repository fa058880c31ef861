"""The pages about queries and plans, in a browser."""

import asyncio

import pytest
from dashboard_browser import complaints, every, one, text, until
from dashboard_fleet import Board, ask
from planner_fleet import FirstFit

from cloud_planner.solving import explain_live

pytestmark = pytest.mark.slow


class Explaining(FirstFit):
    """One that can say why."""

    async def explain(self, task):
        return await asyncio.to_thread(explain_live, task)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A planner whose plans are explained by the real solver, which is too slow for every test."""
    with Board(tmp_path_factory.mktemp("board"), planning=Explaining()) as found:
        yield found


def shown(browser):
    return browser.execute_script(
        "return [...document.querySelectorAll('#queries tbody a.row')].map(a => a.textContent)"
    )


def test_queries_are_listed_with_their_budgets(board, browser):
    browser.get(f"{board.address}/queries")
    assert shown(browser) == ["gate", "yard"]
    # One of the devices left: until there is a plan without it, this one is placed, and not served yet.
    until(browser, lambda: "serving" in text(browser, "#queries-body tr"))
    # 95 of 100 in time, of 95%: exactly as fast as allowed.
    assert "1× / 1×" in text(browser, "#queries-body tr")
    assert text(browser, "#queries-states").startswith("2\n")
    one(browser, "select[name=state] option[value=unplaced]").click()
    until(browser, lambda: shown(browser) == [])
    assert "state=unplaced" in browser.current_url
    assert complaints(browser) == []


def test_a_query_shows_where_it_runs_and_what_was_promised(board, browser):
    browser.get(f"{board.address}/queries/gate")
    assert [box.text.split("\n")[0] for box in every(browser, "svg.dag .dag-box .dag-name")] == ["cut", "read"]
    assert "cut runs on" in browser.execute_script("return document.getElementById('dag-desc').textContent")
    assert "end to end" in text(browser, "table.plan tfoot")
    assert "length=" in text(browser, "table.plan")
    until(browser, lambda: "Working" not in text(browser, "#explained"))
    assert every(browser, "#latency-chart canvas")
    until(browser, lambda: "p95 was" in text(browser, "#latency-words"))
    assert "late: after its deadline" in text(browser, "#query-losses")
    assert "pipeline: words" in browser.execute_script("return document.querySelector('details.text pre').textContent")
    assert complaints(browser) == []


def test_what_is_seen_changes_by_itself(board, browser):
    browser.get(f"{board.address}/queries/gate")
    until(browser, lambda: text(browser, "#touch") == "live")
    before = text(browser, "#query-attained")
    board.run(board.tell(sequence=2, answered=10, late=90))
    until(browser, lambda: text(browser, "#query-attained") != before)
    until(browser, lambda: "burns fast" in text(browser, "#query-state"))
    assert complaints(browser) == []


def test_what_is_wrong_with_a_query_is_said_line_by_line_and_nothing_is_lost(board, browser):
    browser.get(f"{board.address}/submit")
    area = one(browser, "textarea")
    area.clear()
    area.send_keys("- id: third\n  pipeline: words\n  content: plain\n  source: camera\n  rate: 2\n")
    one(browser, "form.submit button").click()
    until(browser, lambda: every(browser, "#faults"))
    said = text(browser, "#faults")
    assert "rate_per_s" in said
    assert "line " in said
    assert "third" in one(browser, "textarea").get_attribute("value")
    assert {query.id for query in board.overview.catalog.queries} == {"gate", "yard"}
    # The page of the refusal, and nothing else.
    assert all("400" in complaint for complaint in complaints(browser))


def test_a_query_is_submitted_and_removed_after_a_question(board, browser):
    browser.get(f"{board.address}/submit")
    area = one(browser, "textarea")
    area.clear()
    area.send_keys("- id: third\n  pipeline: words\n  content: plain\n  source: camera\n  rate_per_s: 1\n")
    one(browser, "button[formaction]").click()
    until(browser, lambda: every(browser, "#tried"))
    assert "Nothing was submitted" in text(browser, "#tried")
    assert "third" in text(browser, "#tried table")
    assert len(board.overview.catalog.queries) == 2
    one(browser, "form.submit button.main").click()
    until(browser, lambda: browser.current_url.endswith("/queries/third"))
    assert text(browser, "h1") == "third"
    assert not every(browser, "details.act[open]")
    one(browser, "details.act summary").click()
    assert "Remove query third?" in text(browser, "details.act[open] p")
    one(browser, "details.act[open] form button").click()
    until(browser, lambda: browser.current_url.endswith("/queries"))
    assert "third" not in {query.id for query in board.overview.catalog.queries}
    answer = ask(f"{board.address}/queries/third", headers={"Accept": "text/html"})
    assert answer.status == 404
    assert "third" in answer.text


def test_generations_tell_what_they_changed_and_why(board, browser):
    browser.get(f"{board.address}/plans")
    assert "submitted" in text(browser, "#plans-body")
    assert "placed" in text(browser, "#plans-body")
    last = text(browser, "#plans-body a.row")
    browser.get(f"{board.address}/plans/{last}?against=1")
    assert f"→ 1.{last}" in text(browser, "table.totals caption")
    assert text(browser, "h1") == f"Generation {last}"
    assert complaints(browser) == []
    browser.get(f"{board.address}/plans/1?against=999")
    assert "there is no generation 1.999" in text(browser, ".note")
    assert ask(f"{board.address}/plans/none").status == 404
    # What a list of a large fleet did not wait for.
    assert ask(f"{board.address}/plans/1/row").text.strip().startswith("<tr><th")


def test_queries_without_a_plan_are_told_with_what_would_help(board, browser):
    browser.get(f"{board.address}/unplaced")
    assert "Every query that could be decided has a plan" in text(browser, "#unplaced-reasons")
    assert complaints(browser) == []
