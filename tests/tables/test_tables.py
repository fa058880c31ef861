"""What benchmarks/tables holds of the example pipelines is whole, shows what it must, and is what the READMEs say."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("documents", "meeting", "traffic")


@pytest.fixture(scope="module")
def tables():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import tables

        yield tables
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        for name in ("tables", "table_text"):
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def reports(tables):
    return {name: tables.stored(name) for name in NAMES}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_table_is_whole_and_shows_what_it_must(name, tables, reports):
    report = reports[name]
    assert tables.promised(name, report) == []
    for summary in report.contents:
        assert {row.samples for row in summary.rows} == {summary.samples}
        assert not any(row.failures for row in summary.rows)
        assert all(row.corpus for row in summary.rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_readme_has_the_table_that_is_stored(name, tables, reports):
    text = (ROOT / "examples" / name / "README.md").read_text(encoding="utf-8")
    assert tables.readme_table(reports[name]) in text


@pytest.mark.slow
def test_a_result_that_is_off_is_found_and_the_same_one_is_not(tables, reports):
    report = reports["documents"]
    compared, outside, worst = tables.against(report, report)
    assert (compared, outside, worst) == (sum(len(one.rows) for one in report.contents), [], 0.0)
