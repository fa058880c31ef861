"""What each key does."""

from dataclasses import replace

import pytest
from fake_fleet import FakeFleet

from circinus.top.draw import length_of
from circinus.top.picture import Known, Page
from circinus.top.view import View, pressed, settled, wants_of


def known_of(fleet, view):
    return Known(picture=fleet.now_picture(wants_of(view)))


def after(keys, view=None, fleet=None):
    """The view after these keys, with pictures that follow at once."""
    view, fleet = view or View(), fleet or FakeFleet(devices=100, queries=200)
    for key in keys:
        known = known_of(fleet, view)
        character = key if len(key) == 1 else None
        view = pressed(view, key, character, known, length_of(view, known))
    return view


@pytest.mark.parametrize(
    ("keys", "page"),
    [(["2"], Page.QUERIES), (["tab", "tab"], Page.QUERY), (["shift+tab"], Page.EVENTS), (["4", "1"], Page.FLEET)],
)
def test_pages_are_opened_by_number_and_in_turn(keys, page):
    assert after(keys).page is page


def test_the_cursor_moves_and_the_list_with_it():
    view = after(["down"] * 20)
    assert (view.fleet.cursor, view.fleet.top) == (20, 3)
    view = after(["up"] * 18, view)
    assert (view.fleet.cursor, view.fleet.top) == (2, 2)


def test_the_cursor_stays_within_the_list():
    assert after(["up"]).fleet.cursor == 0
    assert after(["end"]).fleet.cursor == 99
    assert after(["end", "down"]).fleet.cursor == 99
    assert after(["pagedown"] * 50 + ["home"]).fleet.cursor == 0


def test_a_list_that_has_become_shorter_takes_the_cursor_along():
    view = settled(after(["end"]), 10)
    assert (view.fleet.cursor, view.fleet.top) == (9, 0)


def test_columns_to_sort_by_are_gone_through_both_ways():
    view = after(["2", ">"])
    assert (view.queries.sort, view.queries.descending) == ("burn_hour_ratio", True)
    view = after(["<"], view)
    assert view.queries.sort == "burn_ratio"
    assert not after(["r"], view).queries.descending
    assert after(["<"]).fleet.sort == "generation"


def test_a_filter_holds_while_it_is_typed_and_is_kept_by_enter():
    view = after(["/", "4", "2"])
    assert (view.typing, view.fleet.text) == ("42", "42")
    kept = after(["enter"], view)
    assert (kept.typing, kept.fleet.text) == (None, "42")
    assert after(["backspace"], view).fleet.text == "4"
    assert after(["escape"], view).fleet.text == ""
    assert after(["escape"], kept).fleet.text == ""


def test_keys_that_mean_something_are_only_letters_in_a_filter():
    view = after(["2", "/", "q", "?", "1"])
    assert (view.page, view.over, view.help) == (Page.QUERIES, False, False)
    assert view.queries.text == "q?1"


def test_a_query_is_opened_and_left():
    view = after(["2", "down", "down", "enter"])
    assert view.page is Page.QUERY
    # Sorted by burn rate, the largest first: q-00099, q-00199, q-00098.
    assert view.query_id == "q-00098"
    assert after(["escape"], view).page is Page.QUERIES


def test_enter_on_a_device_shows_its_queries():
    view = after(["down", "enter"])
    assert (view.page, view.queries.text) == (Page.QUERIES, "camera-0001")


def test_help_is_over_with_any_key():
    view = after(["?"])
    assert view.help
    assert not after(["2"], view).help
    assert after(["2"], view).page is Page.FLEET


@pytest.mark.parametrize("key", ["q", "ctrl+c", "ctrl+q"])
def test_it_ends(key):
    assert after([key]).over


@pytest.mark.parametrize("key", ["x", "f5", "ctrl+z", "é"])
def test_other_keys_do_nothing(key):
    assert after([key]) == View()


def test_only_lines_around_the_screen_are_asked_for():
    fleet = FakeFleet(devices=1_000, queries=10_000)
    view = after(["2", "end"], fleet=fleet)
    wants = wants_of(view)
    assert wants.queries.limit == 3 * view.rows
    assert wants.queries.offset <= view.queries.top < wants.queries.offset + wants.queries.limit - view.rows
    assert wants.devices.limit == 1
    assert wants_of(replace(view, page=Page.EVENTS)).queries.limit == 1


def test_a_step_of_the_cursor_asks_for_nothing_anew():
    view = after(["2"])
    assert wants_of(after(["down"], view)) == wants_of(view)


def test_the_page_of_a_query_scrolls_as_a_whole():
    view = after(["2", "end", "enter"], replace(View(), height=12))
    view = replace(view, query_id="q-00000")
    moved = after(["down"], view)
    assert moved.query.top == 1
    assert after(["up"], moved).query.top == 0
    assert after(["pageup"], view).query.top == 0
