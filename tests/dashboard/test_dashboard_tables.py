"""Sort, filter and pages of tables; figures as people read them."""

import math
from dataclasses import dataclass

import pytest

from cloud_planner.dashboard.table import Column, Wanted, cut
from cloud_planner.dashboard.templating import number, percent, span


@dataclass(frozen=True)
class Row:
    id: str
    load: float | None
    site: str = "a"


COLUMNS = (
    Column(key="id", label="Id", sort=lambda row: row.id),
    Column(key="load", label="Load", sort=lambda row: row.load, numeric=True),
    Column(key="note", label="Note"),
)
ROWS = tuple(
    Row(f"r{number:03}", None if number % 10 == 9 else float(number % 7), "ab"[number % 2]) for number in range(120)
)


def table(query):
    wanted = Wanted.read(query, COLUMNS, sort="id", only=("site",))
    return cut(ROWS, wanted, COLUMNS, lambda row: f"{row.id}\n{row.site}", {"site": lambda row: row.site})


def test_what_has_no_figure_stands_last_either_way():
    for query in ("sort=load&size=250", "sort=-load&size=250"):
        loads = [row.load for row in table(query).rows]
        assert loads[-12:] == [None] * 12
        known = loads[:-12]
        assert known == sorted(known, reverse="-" in query)


def test_ties_go_by_id_whichever_way():
    for query in ("sort=load", "sort=-load"):
        rows = [row.id for row in table(query).rows if row.load == table(query).rows[0].load]
        assert rows == sorted(rows)


def test_all_words_of_a_filter_must_be_there_in_any_case():
    assert [row.id for row in table("q=R01+A").rows] == ["r010", "r012", "r014", "r016", "r018"]


def test_pages_have_each_row_once():
    seen = [row.id for page in (1, 2, 3) for row in table(f"page={page}").rows]
    assert seen == [row.id for row in ROWS]
    assert table("page=3").pages == 3


def test_a_choice_leaves_out_the_others():
    found = table("site=b")
    assert {row.site for row in found.rows} == {"b"}
    assert (found.matching, found.total) == (60, 120)


@pytest.mark.parametrize(
    "query",
    [
        "page=99",
        "page=0",
        "page=-1",
        "page=x",
        "sort=note",
        "sort=__class__",
        "size=7",
        "size=9e9",
        "%00=%ff",
        "page=²",
    ],
)
def test_nonsense_counts_as_not_said(query):
    found = table(query)
    assert found.wanted.sort == "id"
    assert found.rows
    assert found.wanted.page in (1, 3)


def test_an_address_says_the_same_again():
    wanted = Wanted.read("q=a%26b&sort=-load&page=2&site=b", COLUMNS, sort="id", only=("site",))
    assert Wanted.read(wanted.query(), COLUMNS, sort="id", only=("site",)) == wanted
    assert Wanted.read(wanted.sorted_by("load"), COLUMNS, sort="id").descending is False


def test_what_is_not_all_is_not_rounded_to_all():
    assert percent(0.99999) == "99.9\u202f%"
    assert percent(1.0) == "100.0\u202f%"
    assert percent(None) == "–"


def test_figures_keep_the_digits_that_mean_something():
    texts = [number(value) for value in (0.0, 0.012345, 4.5678, 12345.6, -3.0, math.inf, None)]
    assert texts == ["0", "0.0123", "4.57", "12,300", "−3", "∞", "–"]


def test_a_span_has_its_two_largest_units():
    assert [span(value).replace("\u202f", "") for value in (0.2, 61, 3_600, 90_061)] == ["0s", "1min 1s", "1h", "1d 1h"]
