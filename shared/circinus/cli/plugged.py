"""Commands that other packages plug in, since this one may not import them by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import Any

from circinus.errors import CircinusError, InvalidInput

_GROUP = "circinus.commands"


def plugged(name: str, missing: str) -> Callable[..., Any]:
    """What is plugged in under a name. ``missing`` says how to install what brings it.

    Raises:
        CircinusError: it is not installed, or can't be imported.
    """
    entry = next(iter(metadata.entry_points(group=_GROUP, name=name)), None)
    if entry is None:
        raise CircinusError(missing)
    try:
        command: Callable[..., Any] = entry.load()
    except ImportError as error:
        raise CircinusError(f"{missing} ({error})") from error
    return command


def value_of(name: str, missing: str, *arguments: Any) -> Any:
    """What a plugged-in function gives. Its errors are told with all their violations.

    Raises:
        CircinusError: it is not installed, or what it says.
    """
    try:
        return plugged(name, missing)(*arguments)
    except ModuleNotFoundError as error:
        # The solver is imported when it is first used.
        raise CircinusError(f"{missing} ({error})") from error
    except InvalidInput as error:
        if not error.violations:
            raise
        lines = [*(str(violation) for violation in error.violations), error.message]
        raise InvalidInput("\n".join(lines), error.violations) from error
