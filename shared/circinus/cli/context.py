"""`circinus context`: the planners of a person, and which of them is asked."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from circinus import contexts
from circinus.cli import exits
from circinus.cli.output import Output, emit, lines, say, table
from circinus.cli.session import OutputOption
from circinus.contexts import Context, Contexts
from circinus.errors import AlreadyExists, InvalidInput
from circinus.spec.folder import read_text
from circinus.tls_probe import over, window

app = typer.Typer(no_args_is_help=True, help="Contexts: the planners that you use, and who you are to each.")

_COLUMNS = ("CURRENT", "CONTEXT", "PLANNER", "KNOWN BY", "ENDS")
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A context, as `circinus context ls` shows it.")]


def _path() -> Path:
    return contexts.default_path(os.environ)


def facts_of(context: Context, current: str) -> dict[str, Any]:
    """What may be told of a context: never its key or token."""
    ends_at: datetime | None = None
    state = ""
    if context.certificate:
        try:
            _, ends_at = window(context.certificate.encode())
            state = over(context.certificate.encode(), datetime.now(UTC))
        except ValueError:
            state = "can't be read"
    return {
        "name": context.name,
        "current": context.name == current,
        "planner": context.planner,
        "known_by": context.kind,
        "ends_at": ends_at,
        "fault": state,
    }


@app.command("ls")
def ls(output: OutputOption = Output.TABLE) -> int:
    """All contexts of your file.

    Example: circinus context ls
    """
    found = contexts.load(_path())
    facts = [facts_of(context, found.current) for context in found.contexts]
    emit(output, facts, lambda: table(_COLUMNS, map(_row, facts)))
    if not facts:
        say(f"{_path()} has none; circinus context add FILE adds what an admin of a planner gave you")
    return exits.OK


def _row(facts: dict[str, Any]) -> tuple[str, ...]:
    ends_at = facts["ends_at"]
    ends = ends_at.isoformat(timespec="minutes") if ends_at else "-"
    return (
        "*" if facts["current"] else "",
        facts["name"],
        facts["planner"],
        facts["known_by"],
        f"{ends} ({facts['fault']})" if facts["fault"] else ends,
    )


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="The current one, if not given.")] = "",
    output: OutputOption = Output.TABLE,
) -> int:
    """One context; keys and tokens are not printed.

    Example: circinus context show
    """
    path = _path()
    context = contexts.chosen(path, name)
    facts = facts_of(context, contexts.load(path).current) | {"root": context.root, "certificate": context.certificate}
    emit(output, facts, lambda: table(("FACT", "VALUE"), [(key, _told(value)) for key, value in facts.items()]))
    return exits.OK


def _told(value: Any) -> str:
    return (
        value.isoformat(timespec="minutes")
        if isinstance(value, datetime)
        else "-"
        if value in ("", None)
        else str(value).strip()
    )


@app.command("use")
def use(name: NameArgument) -> int:
    """Makes a context the current one: commands without --context ask its planner.

    Example: circinus context use shop
    """
    contexts.save(_path(), contexts.load(_path()).using(name))
    say(f"{name} is the current context")
    return exits.OK


@app.command("add")
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A context file as an admin gave it; -: from stdin.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Also one of the same name that has another root.")
    ] = False,
    use_it: Annotated[bool, typer.Option("--use", help="Makes it the current one.")] = False,
    output: OutputOption = Output.TABLE,
) -> int:
    """Adds the contexts of a file to yours; the first becomes the current one. The file is not needed any more then.

    Example: circinus context add shop.toml --use
    """
    text = sys.stdin.read() if str(file) == "-" else read_text(file)
    found = contexts.parse(text, str(file))
    if not found.contexts:
        raise InvalidInput(f"{file} has no context; it must have [contexts.NAME] with planner and root")
    mine = contexts.load(_path())
    for context in found.contexts:
        mine = _with(mine, context, replace=replace)
    if use_it:
        mine = mine.using(found.current or found.contexts[0].name)
    contexts.save(_path(), mine)
    emit(output, {"added": found.names(), "current": mine.current}, lambda: lines(*_added(found, mine)))
    return exits.OK


def _with(mine: Contexts, context: Context, *, replace: bool) -> Contexts:
    before = next((one for one in mine.contexts if one.name == context.name), None)
    if before is not None and before.root.split() != context.root.split() and not replace:
        raise AlreadyExists(
            f"there is a context {context.name!r} of another planner ({before.planner}); --replace puts this "
            "one in its place"
        )
    return mine.plus(context)


def _added(found: Contexts, mine: Contexts) -> list[str]:
    return [*(f"context {name} is added" for name in found.names()), f"current: {mine.current}"]


@app.command("rm")
def rm(name: NameArgument) -> int:
    """Forgets a context, with its key or token.

    Example: circinus context rm shop
    """
    left = contexts.load(_path()).minus(name)
    contexts.save(_path(), left)
    say(f"context {name} is removed" + ("" if left.current else "; none is current now"))
    return exits.OK
