import gc
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
from serving_fleet import Fleet


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    """A fleet that must leave no process behind."""
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    made = Fleet(tmp_path)
    try:
        yield made
    finally:
        await made.stop()
    gc.collect()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
