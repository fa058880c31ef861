import sys
from pathlib import Path

import pytest

BUNDLE = Path(__file__).parents[2] / "examples" / "meeting"

# As an agent does it: the bundle's folder is on the path, and its modules go by their plain names.
sys.path.insert(0, str(BUNDLE))


@pytest.fixture(scope="session")
def bundle():
    return BUNDLE
