"""Asking whether something is meant: only whoever sits at a terminal is asked."""

from __future__ import annotations

import sys

import typer

from circinus.errors import InvalidInput


def confirm(what: str, otherwise: str) -> None:
    """Goes on if whoever sits there says so. ``otherwise``: what to do instead of saying --yes.

    Raises:
        InvalidInput: nobody sits there.
        typer.Abort: they say no.
    """
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise InvalidInput(f"{what}; add --yes if that is meant ({otherwise})")
    typer.confirm(f"{what}. Go on?", abort=True, err=True)
