"""Whether what the planner needs is installed; nothing of it is loaded to find out."""

from __future__ import annotations

from importlib.util import find_spec

from circinus.errors import CircinusError

#: What the extra `planner` brings, by the name that it is imported by.
_NEEDED = ("mip", "numpy", "scipy", "yaml")


def check() -> None:
    """Does nothing where a planner can be started.

    Raises:
        CircinusError: something is not installed.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise CircinusError(
            f"the planner needs {', '.join(missing)}, not installed here: pip install 'circinus[planner]'"
        )
