"""`circinus token`: what a box enrols with, once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from circinus.admin import IssuedToken, Token
from circinus.cli import exits
from circinus.cli.durations import seconds_of
from circinus.cli.output import Output, emit, lines, say, table
from circinus.cli.removal import remove_each
from circinus.cli.secret_file import check_writable, write_secret
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.errors import InvalidInput

app = typer.Typer(no_args_is_help=True, help="Enrolment tokens: a box joins the fleet with one, once.")

_COLUMNS = ("TOKEN", "FOR", "STATE", "ENDS", "BY")


@app.command("create")
def create(
    device: Annotated[str, typer.Option("--device", metavar="NAME", help="Only the box of this id may use it.")] = "",
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Only a box with this label may use it.")
    ] = None,
    ttl: Annotated[str, typer.Option("--ttl", metavar="TIME", help="How long it is good for: 30m, 1h, 7d.")] = "1h",
    output_file: Annotated[
        Path | None, typer.Option("--output-file", metavar="FILE", help="Writes it there, for its owner only.")
    ] = None,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Makes a token for one box. It is told only now; the planner keeps but a hash of it.

    Example: circinus token create --device camera-1 --ttl 1h --output-file camera-1.token
    """
    if not device and not label:
        raise InvalidInput("a token is for one box, or for boxes with labels: --device NAME, or --label KEY=VALUE")
    labels, ttl_s = labels_of(label or ()), seconds_of(ttl, "--ttl")
    if output_file is not None:
        check_writable(output_file)
    issued = ask(planner, lambda client: client.admin.create_token(device, labels=labels, ttl_s=ttl_s))
    _tell(issued, output_file, output)
    return exits.OK


def _tell(issued: IssuedToken, file: Path | None, output: Output) -> None:
    shown = str(file) if file is not None else "FILE"
    if file is not None:
        write_secret(file, issued.token + "\n")
        emit(output, {"file": file, "about": issued.about}, lambda: lines(f"token {issued.about.id} is in {file}"))
    elif output in (Output.TABLE, Output.WIDE):
        # Bare, so that a script can take it as it is.
        sys.stdout.write(issued.token + "\n")
    else:
        emit(output, {"id": issued.about.id, "token": issued.token, "about": issued.about}, lines)
    say(f"on the box: edge-agent join --config agent.toml --token-file {shown}")


def labels_of(texts: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE texts as a mapping.

    Raises:
        InvalidInput: one is no such text, or a key comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise InvalidInput(f"--label {text!r} must be KEY=VALUE, such as site=shop-3")
        if key in found:
            raise InvalidInput(f"--label {key} is given twice")
        found[key] = value
    return found


@app.command("ls")
def ls(planner: PlannerOption = DEFAULT_ADDRESS, output: OutputOption = Output.TABLE) -> int:
    """All tokens, used ones too; their secrets are known to nobody any more.

    Example: circinus token ls -o json
    """
    found = ask(planner, lambda client: client.admin.tokens())
    now = datetime.now(UTC)
    emit(output, found, lambda: table(_COLUMNS, (_row(token, now) for token in found)))
    return exits.OK


def _row(token: Token, now: datetime) -> tuple[str, ...]:
    labels = ",".join(f"{key}={value}" for key, value in token.labels.items())
    if token.used_at is not None:
        state = f"used by {token.used_by}"
    elif token.ends_at is not None and token.ends_at < now:
        state = "over"
    else:
        state = "open"
    return (token.id, " ".join(filter(None, (token.device_id, labels))), state, moment(token.ends_at), token.created_by)


def moment(at: datetime | None) -> str:
    """A moment to the minute; a dash for none."""
    return at.isoformat(timespec="minutes") if at is not None else "-"


@app.command("rm")
def rm(
    token_ids: Annotated[list[str], typer.Argument(metavar="TOKEN...")],
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Takes tokens back, by id. A box that used one stays in the fleet: circinus device revoke.

    Example: circinus token rm 4f1c09d2
    """
    return ask(planner, lambda client: remove_each(client.admin.remove_token, "token", token_ids, output))
