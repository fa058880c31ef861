"""Removing several things by name, one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from circinus.cli import exits
from circinus.cli.output import Output, emit, lines, say
from circinus.errors import CircinusError, Unreachable


async def remove_each(remove: Callable[[str], Awaitable[None]], noun: str, names: Sequence[str], output: Output) -> int:
    """Removes each; goes on after one that can't be. The exit code says whether all, some or none were removed."""
    removed: list[str] = []
    failed: dict[str, CircinusError] = {}
    for name in dict.fromkeys(names):
        try:
            await remove(name)
        except Unreachable:
            raise
        except CircinusError as error:
            failed[name] = error
        else:
            removed.append(name)
    if failed and not removed and len(failed) == 1:
        raise next(iter(failed.values()))
    for name, reason in failed.items():
        say(f"circinus: {noun} {name}: {reason.message}", style="red")
    document = {"removed": removed, "failed": {name: reason.message for name, reason in failed.items()}}
    emit(output, document, lambda: lines(*(f"{noun} {name} is removed" for name in removed)))
    if not failed:
        return exits.OK
    return exits.PARTIAL if removed else exits.exit_code_of(next(iter(failed.values())))
