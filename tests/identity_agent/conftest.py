import sys
from pathlib import Path

import pytest

# The scripted planner and the toy bundle are the agent's own tests'.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "agent_shell"))

from identity_fakes import Root


@pytest.fixture(scope="module")
def root() -> Root:
    return Root()


@pytest.fixture(scope="module")
def other_root() -> Root:
    return Root()
