"""`circinus completion`: what a shell needs to complete commands, options and their values."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from circinus.cli import exits

#: The shell sets it to ask for completions.
VARIABLE = "_CIRCINUS_COMPLETE"


class Shell(StrEnum):
    """The shells that can be served."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish")]) -> int:
    """Prints a script that makes the shell complete commands and options.

    For good: eval "$(circinus completion bash)" in ~/.bashrc, the same with zsh in ~/.zshrc; for fish:
    circinus completion fish > ~/.config/fish/completions/circinus.fish
    Example: circinus completion bash
    """
    # typer offers them by --show-completion alone, which can't be a command.
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    script = get_completion_script(prog_name="circinus", complete_var=VARIABLE, shell=shell.value)
    if shell is Shell.ZSH:
        # Read by eval, a script must load what it calls.
        script = "autoload -Uz compinit && compinit -u\n" + script
    sys.stdout.write(script + "\n")
    return exits.OK


def prepare() -> None:
    """Lets the next command answer a shell that asks for completions."""
    from typer.completion import completion_init  # type: ignore[attr-defined]  # as above

    completion_init()
