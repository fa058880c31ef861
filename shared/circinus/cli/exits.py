"""Exit codes, the same for every command."""

from __future__ import annotations

from circinus.errors import (
    AgainstPolicy,
    CircinusError,
    InvalidInput,
    NotAllowed,
    NotKnown,
    TimedOut,
    Unreachable,
    WrongAuthority,
)

OK = 0
ERROR = 1
#: A wrong flag, or a file with errors.
USAGE = 2
#: A query that can't be placed.
INFEASIBLE = 3
UNREACHABLE = 4
NOT_ALLOWED = 5
TIMED_OUT = 6
#: Of several things asked for, some were done.
PARTIAL = 7
INTERRUPTED = 130

_BY_KIND: tuple[tuple[type[CircinusError], int], ...] = (
    (InvalidInput, USAGE),
    (Unreachable, UNREACHABLE),
    (NotAllowed, NOT_ALLOWED),
    (AgainstPolicy, NOT_ALLOWED),
    (NotKnown, NOT_ALLOWED),
    (WrongAuthority, NOT_ALLOWED),
    (TimedOut, TIMED_OUT),
)


def exit_code_of(error: CircinusError) -> int:
    """The exit code that an error ends a command with."""
    return next((code for kind, code in _BY_KIND if isinstance(error, kind)), ERROR)
