"""What all commands share: their options, and one connection to the planner for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from circinus.cli.output import Output
from circinus.client import DEFAULT_ADDRESS, Client

R = TypeVar("R")

PlannerOption = Annotated[
    str, typer.Option("--planner", envvar="CIRCINUS_PLANNER", metavar="HOST:PORT", help="Where the planner listens.")
]
OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print what is found.")]

__all__ = ["DEFAULT_ADDRESS", "OutputOption", "PlannerOption", "ask"]


def ask(planner: str, action: Callable[[Client], Awaitable[R]]) -> R:
    """Runs one action with a client of the planner at an address."""

    async def run() -> R:
        async with Client(planner) as client:
            return await action(client)

    return asyncio.run(run())
