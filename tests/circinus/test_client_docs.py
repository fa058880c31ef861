"""docs/python-client.md: its programs run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_planner import FakePlanner, a_plan, a_query_state, serve

TEXT = (Path(__file__).parents[2] / "docs" / "python-client.md").read_text()
EXAMPLES = dict(re.findall(r"^```python example=(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))


@pytest.fixture
def address():
    planner = FakePlanner()
    state = a_query_state(None, serving=True)
    state.plan.CopyFrom(a_plan())
    planner.watched = [a_query_state(None), state]
    server, address = serve(planner)
    yield address
    server.stop(None).wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("submit", ["profiling", "placed 0.0312", "there is no query 'gate'"]),
        ("asynchronous", ["camera-1", "connected", "of at most"]),
    ],
)
def test_an_example_does_what_it_says(name, says, address):
    program = f"ADDRESS = {address!r}\n{EXAMPLES[name]}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    for text in says:
        assert text in done.stdout


def test_every_example_is_run():
    assert set(EXAMPLES) == {"submit", "asynchronous"}
    assert TEXT.count("```python") == len(EXAMPLES)
