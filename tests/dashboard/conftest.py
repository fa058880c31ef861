"""A real browser, and a planner with a dashboard whose devices are scripted; for every test of the dashboard."""

import sys
from pathlib import Path

import pytest

# The scripted agents, planning and small pipeline are the planner's own tests'.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "planner"))


@pytest.fixture(scope="session")
def chromium():
    """Chromium without a screen, started once."""
    from dashboard_browser import chromium

    # A planner's root is nobody's that it knows.
    with chromium(arguments=["--ignore-certificate-errors"]) as driver:
        yield driver


@pytest.fixture
def browser(chromium):
    """Chromium with an empty page and nothing to complain of; it leaves the page that it was at when the test ends."""
    from dashboard_browser import complaints

    complaints(chromium)
    yield chromium
    chromium.get("about:blank")


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A planner in the clear with three devices at two sites, one of them away, and two queries that are served."""
    from dashboard_fleet import Board

    with Board(tmp_path_factory.mktemp("board")) as found:
        yield found
