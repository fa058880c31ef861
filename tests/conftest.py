"""Which tests run beside few others."""

from pathlib import Path

import pytest

_TESTS = Path(__file__).parent
#: Folders whose real processes are held to times.
_TIMED = frozenset({"agent_serving", "agent_shell", "benchmarks", "guide", "system"})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what real processes do there, before anything is chosen by marks."""
    for item in items:
        if item.get_closest_marker("system") and item.path.relative_to(_TESTS).parts[0] in _TIMED:
            item.add_marker("timed")
