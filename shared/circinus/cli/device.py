"""`circinus device`: what the planner knows of the fleet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from circinus.cli import exits
from circinus.cli.output import Output, ago, amount, emit, lines, size, table
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.errors import NotFound
from circinus.model.device import Accelerator, Link
from circinus.reports import DeviceState

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(no_args_is_help=True, help="Devices: machines with an agent.")

_COLUMNS = ("DEVICE", "TIER", "SITE", "STATE", "CORES", "SPEED", "MEMORY", "PRICE/h", "GEN", "LAST SEEN")


@app.command("ls")
def ls(planner: PlannerOption = DEFAULT_ADDRESS, output: OutputOption = Output.TABLE) -> int:
    """All devices that the planner knows."""
    states = ask(planner, lambda client: client.devices())
    now = datetime.now(UTC)
    emit(output, states, lambda: table(_COLUMNS, (_row(state, now) for state in states), right=("CORES", "GEN")))
    return exits.OK


def _row(state: DeviceState, now: datetime) -> tuple[str, ...]:
    device = state.device
    return (
        device.id,
        device.tier.value,
        device.site,
        "connected" if state.connected else "away",
        amount(device.cores),
        f"{device.speed_ratio:g}",
        size(device.memory_bytes),
        amount(device.price_per_h),
        str(state.active_generation or "-"),
        ago(state.last_seen_at, now),
    )


@app.command("show")
def show(
    device_id: Annotated[str, typer.Argument(metavar="DEVICE")],
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """One device: what it is, what it can run, what runs on it."""
    states = ask(planner, lambda client: client.devices())
    state = next((state for state in states if state.device.id == device_id), None)
    if state is None:
        known = ", ".join(state.device.id for state in states) or "none"
        raise NotFound(f"there is no device {device_id!r}; known: {known}")
    emit(output, state, lambda: _details(state))
    return exits.OK


def _details(state: DeviceState) -> RenderableType:
    device = state.device
    facts = (
        ("device", device.id),
        ("tier", device.tier.value),
        ("site", device.site),
        ("class", device.device_class),
        ("state", "connected" if state.connected else "away"),
        ("last seen", ago(state.last_seen_at, datetime.now(UTC))),
        ("generation", f"accepted {state.accepted_generation}, active {state.active_generation}"),
        ("phase", state.generation_phase + (f": {state.reason}" if state.reason else "")),
        ("cpu", f"{device.cpu_model}, {device.logical_cores} logical cores, {device.cores:g} for plans"),
        ("speed", f"{device.speed_ratio:g}" + (" (emulated)" if device.speed_ratio < 1 else "")),
        ("memory", size(device.memory_bytes)),
        ("disk free", size(device.disk_free_bytes)),
        ("price/h", amount(device.price_per_h)),
        ("data address", device.data_address or "-"),
        ("agent", device.agent_version),
        *(("accelerator", _accelerator(accelerator)) for accelerator in device.accelerators),
        *(("link", _link(link)) for link in device.links),
        *(("environment", f"{e.digest[:19]} {'ready' if e.ready else e.reason}") for e in device.environments),
        *(("process", f"{key}: pid {pid}") for key, pid in state.pids.items()),
    )
    return lines(table(("FACT", "VALUE"), facts))


def _accelerator(accelerator: Accelerator) -> str:
    text = f"{accelerator.model} ({accelerator.kind}), {accelerator.slots} slots, {size(accelerator.memory_bytes)}"
    return text + (", emulated" if accelerator.emulated else "")


def _link(link: Link) -> str:
    rate = f"{link.bandwidth_bit_per_s / 1e6:g} Mbit/s" if link.bandwidth_bit_per_s else "unlimited"
    price = f", {link.price_per_gb:g}/GB" if link.price_per_gb else ""
    return f"to {link.peer}: {rate}, round trip {link.rtt_ms:g} ms{price}" + (", emulated" if link.emulated else "")
