import sys
from itertools import islice
from pathlib import Path

import pytest

BUNDLE = Path(__file__).parents[2] / "examples" / "traffic"

# As an agent does it: the bundle's folder is on the path, and its modules go by their plain names.
sys.path.insert(0, str(BUNDLE))


@pytest.fixture(scope="session")
def bundle():
    return BUNDLE


@pytest.fixture(scope="session")
def film():
    """The first frames of a content, made once."""
    from road import RoadCamera

    made = {}

    def frames(content, count, seed=11):
        key = (content, seed)
        if len(made.get(key, ())) < count:
            made[key] = list(islice(RoadCamera(content, seed).samples(), count))
        return made[key][:count]

    return frames
