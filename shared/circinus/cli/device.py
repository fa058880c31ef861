"""`circinus device`: what the planner knows of the fleet."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from circinus.cli import device_keep, exits
from circinus.cli.device_facts import accelerator_text, measured_facts
from circinus.cli.device_keep import labels_text
from circinus.cli.output import Output, ago, amount, emit, lines, size, table
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.model.device import Link
from circinus.reports import DeviceState

if TYPE_CHECKING:
    from rich.console import RenderableType

app = typer.Typer(no_args_is_help=True, help="Devices: machines with an agent.")

_COLUMNS = ("DEVICE", "TIER", "SITE", "STATE", "CORES", "SPEED", "MEMORY", "PRICE/h", "GEN", "LAST SEEN", "LABELS")
_WIDE = ("CLASS", "CPU", "DISK FREE", "ACCELERATORS", "AGENT", "REASON")
SelectorOption = Annotated[
    str, typer.Option("--selector", "-l", metavar="SELECTOR", help="Only those that it means: 'site=shop-1,gpu'.")
]


@app.command("ls")
def ls(
    selector: SelectorOption = "",
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """All devices that the planner knows, or those that a selector means.

    Example: circinus device ls -o json
    """
    states = ask(planner, lambda client: client.devices(selector))
    now = datetime.now(UTC)
    emit(
        output,
        states,
        lambda: table(_COLUMNS, (_row(state, now) for state in states), right=("CORES", "GEN")),
        wide=lambda: table(
            (*_COLUMNS, *_WIDE), ((*_row(state, now), *_more(state)) for state in states), right=("CORES", "GEN")
        ),
    )
    return exits.OK


def _more(state: DeviceState) -> tuple[str, ...]:
    device = state.device
    return (
        device.device_class,
        device.cpu_model,
        size(device.disk_free_bytes),
        ", ".join(one.model for one in device.accelerators) or "-",
        device.agent_version,
        state.reason or "-",
    )


def _row(state: DeviceState, now: datetime) -> tuple[str, ...]:
    device = state.device
    return (
        device.id,
        device.tier.value,
        device.site,
        state_text(state),
        amount(device.cores),
        f"{device.speed_ratio:g}",
        size(device.memory_bytes),
        amount(device.price_per_h),
        str(state.active_generation or "-"),
        ago(state.last_seen_at, now),
        ",".join(labels_text(state.labels)) or "-",
    )


def state_text(state: DeviceState) -> str:
    """Whether a device is there, and whether plans use it."""
    found = "connected" if state.connected else "away"
    kept = "leaving" if state.leaving else "draining" if state.draining else "cordoned" if state.cordoned else ""
    return f"{found}, {kept}" if kept else found


@app.command("show")
def show(
    device_id: Annotated[str, typer.Argument(metavar="DEVICE")],
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """One device: what it is, what it can run, what runs on it.

    Example: circinus device show camera-1
    """
    state = ask(planner, lambda client: client.device(device_id))
    emit(output, state, lambda: _details(state))
    return exits.OK


def _details(state: DeviceState) -> RenderableType:
    device = state.device
    facts = (
        ("device", device.id),
        ("tier", device.tier.value),
        ("site", device.site),
        ("class", device.device_class),
        ("state", state_text(state)),
        *_cordon(state),
        ("labels", ", ".join(labels_text(state.labels)) or "-"),
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
        *measured_facts(device),
        *(("accelerator", accelerator_text(accelerator)) for accelerator in device.accelerators),
        *(("link", _link(link, measured=link.peer in device.measured_peers)) for link in device.links),
        *(("environment", f"{e.digest[:19]} {'ready' if e.ready else e.reason}") for e in device.environments),
        *(("isolation", f"{about}: {said}") for about, said in device.isolation.items()),
        *(("trouble", trouble) for trouble in state.troubles),
        *(("process", f"{key}: pid {pid}") for key, pid in state.pids.items()),
    )
    return lines(table(("FACT", "VALUE"), facts))


def _cordon(state: DeviceState) -> list[tuple[str, str]]:
    """Why and since when plans leave it alone."""
    if not state.cordoned:
        return []
    return [("cordoned", f"{ago(state.since, datetime.now(UTC))}" + (f": {state.why}" if state.why else ""))]


for _command in (device_keep.cordon, device_keep.uncordon, device_keep.drain, device_keep.leave, device_keep.label):
    app.command(_command.__name__)(_command)


def _link(link: Link, *, measured: bool = False) -> str:
    rate = f"{link.bandwidth_bit_per_s / 1e6:g} Mbit/s" if link.bandwidth_bit_per_s else "unlimited"
    price = f", {link.price_per_gb:g}/GB" if link.price_per_gb else ""
    how = ", emulated" if link.emulated else ", measured" if measured else ""
    return f"to {link.peer}: {rate}, round trip {link.rtt_ms:g} ms{price}{how}"
