"""What the owner of a device says of isolation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

#: A variable of the environment, by name.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
#: Variables that would undo what is done: they name code that a process loads before it has given anything up.
REFUSED_VARIABLES = ("LD_PRELOAD", "LD_AUDIT", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "CIRCINUS_TOKEN")


class SandboxKind(StrEnum):
    """What serving processes run in, beside what always holds."""

    NONE = "none"
    BUBBLEWRAP = "bwrap"


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolationConfig:
    """``tasks``: processes and threads that one replica may have. ``variables``: which of the agent's it sees, too.

    ``system_calls`` false: none is refused, and so no network either.
    """

    sandbox: SandboxKind = SandboxKind.NONE
    tasks: int = 1024
    variables: tuple[str, ...] = ()
    system_calls: bool = True


#: Where an owner says nothing.
USUAL = IsolationConfig()
