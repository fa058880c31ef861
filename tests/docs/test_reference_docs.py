"""The pages of the reference are what the code says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import api_docs  # noqa: E402 - scripts, found where scripts are
import config_docs  # noqa: E402
import python_docs  # noqa: E402

sys.path.remove(str(ROOT / "scripts"))
pytestmark = pytest.mark.slow
PAGES = {"api.md": api_docs.page, "config.md": config_docs.page, "python-reference.md": python_docs.page}
#: What processes of our own tell each other.
_OWN = {"CIRCINUS_ACCELERATOR_PART", "CIRCINUS_ORDERS_FD", "CIRCINUS_COMPLETE"}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_as_the_code_says(name: str) -> None:
    assert (ROOT / "docs" / name).read_text() == PAGES[name](), "run make reference"


def test_every_variable_that_people_may_set_is_told() -> None:
    read = {
        name
        for package in ("shared/circinus", "edge_agent", "cloud_planner")
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(r"[\"'](CIRCINUS_[A-Z_]+)[\"']", path.read_text())
    }
    told = set(re.findall(r"`(CIRCINUS_[A-Z_]+)`", (ROOT / "docs/config.md").read_text()))
    assert read - _OWN - told == set()


def test_every_call_of_the_planner_has_a_role() -> None:
    for stem in ("planner", "identity", "control"):
        page = (ROOT / "docs/api.md").read_text()
        part = page.partition(f"\n## {stem}.proto")[2].partition("\n## ")[0]
        rows = re.findall(r"^\| `\w+` \| .*? \| .*? \| (\S+) \|", part, re.MULTILINE)
        assert rows, stem
        assert "-" not in rows, stem
