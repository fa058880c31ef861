"""`circinus device cordon`, `uncordon`, `drain`, `leave` and `label`: which devices plans may use, and for whom."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from circinus.cli import exits
from circinus.cli.confirmation import confirm
from circinus.cli.dry_run import DryRunOption, tell_plans
from circinus.cli.output import Output, document_of, emit, lines, say
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.client import Client
from circinus.device_calls import DRAIN_TIMEOUT_S, DrainProgress
from circinus.errors import InvalidInput
from circinus.model.label import key_fault, label_fault
from circinus.model.what_if import CordonDevice, RemoveDevice
from circinus.reports import DeviceState

if TYPE_CHECKING:
    from rich.console import RenderableType

DeviceArgument = Annotated[str, typer.Argument(metavar="DEVICE")]
WhyOption = Annotated[str, typer.Option("--why", help="Why, for whoever looks at it later.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.1, help="Longest wait in seconds.")]


def cordon(
    device_id: DeviceArgument,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Puts nothing new on a device; what runs there stays.

    Example: circinus device cordon gateway-1
    """
    if dry_run:
        return tell_plans(output, ask(planner, lambda client: client.what_if([CordonDevice(device=device_id)])).diff)
    state = ask(planner, lambda client: client.cordon(device_id, why))
    emit(output, state, lambda: lines(f"{device_id} is cordoned: nothing new is put on it"))
    return exits.OK


def uncordon(
    device_id: DeviceArgument, planner: PlannerOption = DEFAULT_ADDRESS, output: OutputOption = Output.TABLE
) -> int:
    """Ends a cordon, a drain or a leave: plans use the device as before.

    Example: circinus device uncordon gateway-1
    """
    state = ask(planner, lambda client: client.uncordon(device_id))
    emit(output, state, lambda: lines(f"{device_id} is used as before"))
    return exits.OK


def drain(
    device_id: DeviceArgument,
    why: WhyOption = "",
    dry_run: DryRunOption = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until nothing moves any more.")] = True,
    timeout_s: TimeoutOption = DRAIN_TIMEOUT_S,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Moves all that runs on a device to others, new before old; 7 if something has to stay.

    Example: circinus device drain gateway-1 --wait
    """
    if dry_run:
        return _without(device_id, planner, output)

    async def action(client: Client) -> DrainProgress:
        return await _followed(client.drain(device_id, why, wait=wait, timeout_s=timeout_s))

    last = ask(planner, action)
    emit(output, last, lambda: _drained(last))
    return exits.PARTIAL if last.ended and last.staying else exits.OK


def leave(
    device_id: DeviceArgument,
    why: WhyOption = "",
    force: Annotated[
        bool, typer.Option("--force", help="The box is gone for good: forget it now, whatever runs there.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --force: it is meant.")] = False,
    dry_run: DryRunOption = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until it is gone.")] = True,
    timeout_s: TimeoutOption = DRAIN_TIMEOUT_S,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Drains a device, tells its agent goodbye and forgets it; its name is free then. 7 if something has to stay.

    Example: circinus device leave gateway-1
    """
    if dry_run:
        return _without(device_id, planner, output)
    if force and not yes:
        confirm(
            f"--force forgets {device_id} at once, whatever runs there, for good", "without --force it is drained first"
        )

    async def action(client: Client) -> DrainProgress:
        return await _followed(client.leave(device_id, why, force=force, wait=wait, timeout_s=timeout_s))

    last = ask(planner, action)
    emit(output, last, lambda: lines(f"{device_id} has left; its name is free") if last.gone else _drained(last))
    return exits.PARTIAL if last.ended and last.staying else exits.OK


def _without(device_id: str, planner: str, output: Output) -> int:
    """What plans would change if a device were not there: what is bound to it, such as a source, has none then."""
    return tell_plans(output, ask(planner, lambda client: client.what_if([RemoveDevice(device=device_id)])).diff)


async def _followed(progress: AsyncIterator[DrainProgress]) -> DrainProgress:
    """The last of a drain's progress; what it waits for meanwhile is said."""
    last: DrainProgress | None = None
    async for one in progress:
        if one.waits_for and (last is None or one.waits_for != last.waits_for):
            say(f"waits for {one.waits_for}")
        last = one
    if last is None:
        raise InvalidInput("the planner said nothing of the drain")
    return last


def _drained(progress: DrainProgress) -> RenderableType:
    stays = [
        f"stays: {one.query_id}/{one.operator_id or 'source'}: {one.reason}"
        for one in (progress.staying if progress.ended else ())
    ]
    if progress.empty:
        return lines(f"{progress.device_id} is empty: nothing runs there, nothing new is put on it")
    if progress.ended:
        return lines(f"{progress.device_id} is drained, but for {len(stays)} that can't be moved", *stays)
    moving = [f"runs there still: {name}" for name in progress.moving]
    return lines(f"{progress.device_id} is being drained", *moving)


def label(
    device_id: DeviceArgument,
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="[LABEL]...", help="KEY=VALUE, or KEY; KEY- takes a label away.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Forget first what people set before.")] = False,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """Sets labels of a device over those that it has by itself; without any, shows them.

    Example: circinus device label gateway-1 zone=north
    """
    put, remove = _changes(changes or ())

    async def action(client: Client) -> DeviceState:
        if not put and not remove and not reset:
            return await client.device(device_id)
        return await client.label(device_id, put, remove, reset=reset)

    state = ask(planner, action)
    emit(output, document_of(state.labels), lambda: lines(*(labels_text(state.labels) or ["no labels"])))
    return exits.OK


def _changes(texts: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What is set and what is taken away.

    Raises:
        InvalidInput: one of the texts is neither.
    """
    put: dict[str, str] = {}
    remove: list[str] = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals and text.endswith("-"):
            fault = key_fault(text[:-1])
            remove.append(text[:-1])
        else:
            fault = label_fault(key, value)
            put[key] = value
        if fault:
            raise InvalidInput(f"label {text!r}: {fault}")
    return put, remove


def labels_text(labels: Mapping[str, str]) -> list[str]:
    """Labels, one each."""
    return [f"{key}={value}" if value else key for key, value in sorted(labels.items())]
