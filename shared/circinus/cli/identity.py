"""`circinus identity` and `circinus device revoke`: certificates of boxes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from circinus.admin import Identity
from circinus.cli import exits
from circinus.cli.output import Output, emit, lines, table
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.cli.tokens import moment

app = typer.Typer(no_args_is_help=True, help="Identities: the certificates of devices.")

_COLUMNS = ("DEVICE", "STATE", "ENROLLED", "ENDS", "SERIAL")


@app.command("ls")
def ls(planner: PlannerOption = DEFAULT_ADDRESS, output: OutputOption = Output.TABLE) -> int:
    """The certificate of each device that ever enrolled.

    Example: circinus identity ls -o wide
    """
    found = ask(planner, lambda client: client.admin.identities())
    now = datetime.now(UTC)
    emit(output, found, lambda: table(_COLUMNS, (_row(identity, now) for identity in found)))
    return exits.OK


def _row(identity: Identity, now: datetime) -> tuple[str, ...]:
    return (
        identity.device_id,
        state_text(identity, now),
        moment(identity.enrolled_at),
        moment(identity.ends_at),
        identity.serial,
    )


def state_text(identity: Identity, now: datetime) -> str:
    """Whether a certificate is worth something."""
    if identity.revoked_at is not None:
        return f"revoked: {identity.revoked_why}" if identity.revoked_why else "revoked"
    if identity.doubled_at is not None:
        return "two boxes have it"
    if identity.ends_at is not None and identity.ends_at < now:
        return "over"
    return "good"


def revoke(
    device_id: Annotated[str, typer.Argument(metavar="DEVICE")],
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="For the audit log.")],
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Takes a device's identity back: it is cut off, and comes back only with a new token.

    Example: circinus device revoke camera-1 --why "stolen on Monday"
    """
    ask(planner, lambda client: client.admin.revoke(device_id, why))
    told = f"device {device_id} is revoked; to let it in again: circinus token create --device {device_id}"
    emit(output, {"device_id": device_id, "revoked": True, "why": why}, lambda: lines(told))
    return exits.OK
