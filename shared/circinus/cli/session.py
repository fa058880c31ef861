"""What all commands share: their options, and one connection to the planner for each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

import typer

from circinus import client, contexts
from circinus.cli.output import Output, say
from circinus.client import Client

R = TypeVar("R")

#: Where the context says; with --insecure-loopback the usual port of this machine.
DEFAULT_ADDRESS = ""

PlannerOption = Annotated[
    str,
    typer.Option(
        "--planner",
        envvar="CIRCINUS_PLANNER",
        metavar="HOST:PORT",
        show_default=False,
        help="Where the planner listens, if not where the context says.",
    ),
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print what is found.")]

__all__ = ["DEFAULT_ADDRESS", "OutputOption", "PlannerOption", "address_of", "ask", "choose", "connect"]


@dataclass(slots=True)
class _Choice:
    """Which planner is asked, and how; one for the command that runs."""

    context: str = ""
    insecure: bool = False


_choice = _Choice()


def choose(context: str, *, insecure: bool) -> None:
    """Notes what was said before the command: a context's name (empty: the current one), or none at all."""
    _choice.context, _choice.insecure = context, insecure


def is_insecure() -> bool:
    """Whether the planner is asked in the clear."""
    return _choice.insecure


def connect(planner: str = DEFAULT_ADDRESS) -> Client:
    """A client of the planner that was chosen; ``planner``: dialled there instead.

    Raises:
        InvalidInput: no context is chosen, or the context file is wrong.
        NotFound: there is no context of the name.
    """
    if _choice.insecure:
        return Client(planner or client.DEFAULT_ADDRESS)
    context = _context()
    return Client(planner or context.planner, credentials=context.credentials)


def address_of(planner: str) -> str:
    """Where the planner that was chosen is dialled."""
    if planner or _choice.insecure:
        return planner or client.DEFAULT_ADDRESS
    return _context().planner


def _context() -> contexts.Context:
    path = contexts.default_path(os.environ)
    context = contexts.chosen(path, _choice.context)
    if contexts.others_may_read(path):
        say(f"circinus: {path} has secrets, and others may read it: chmod 600 {path}", style="yellow")
    return context


def ask(planner: str, action: Callable[[Client], Awaitable[R]]) -> R:
    """Runs one action with a client of the planner that was chosen."""

    async def run() -> R:
        async with connect(planner) as opened:
            return await action(opened)

    return asyncio.run(run())
