"""`circinus what-if`: the plan as it would be with other devices, rates, prices or SLOs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from circinus.cli import exits
from circinus.cli.diff_table import diff_view
from circinus.cli.output import Output, emit, lines
from circinus.cli.plugged import value_of
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask
from circinus.errors import InvalidInput
from circinus.model.what_if import (
    AddDevices,
    CordonDevice,
    Figure,
    RemoveDevice,
    SetPrice,
    SetRate,
    SetSlo,
    SetWeight,
    SloField,
    WhatIf,
)
from circinus.reports import WhatIfReport

_MISSING = "planning from files needs the planner: install it with pip install 'circinus[planner]'"
_NO_BOUND = "none"


def what_if(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="What the numbers of --add and --remove count.")
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option("--add", metavar="[N] CLASS[@SITE]", help="More devices like one, by its id or class."),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="[N] DEVICE", help="A device less; N machines of a type.")
    ] = None,
    cordon: Annotated[
        list[str] | None, typer.Option("--cordon", metavar="DEVICE", help="A device that takes nothing new.")
    ] = None,
    rate: Annotated[
        list[str] | None, typer.Option("--rate", metavar="QUERY=RATE", help="Another rate: 5, or 2x; QUERY *: all.")
    ] = None,
    weight: Annotated[
        list[str] | None, typer.Option("--weight", metavar="QUERY=WEIGHT", help="Another weight: 3, or 2x.")
    ] = None,
    price: Annotated[
        list[str] | None, typer.Option("--price", metavar="DEVICE=PRICE", help="Another price per hour: 0.2, or 2x.")
    ] = None,
    slo: Annotated[
        list[str] | None,
        typer.Option(
            "--slo",
            metavar="QUERY:BOUND=VALUE",
            help="Another bound: latency_ms, percentile, accuracy or cost_per_h; none: no bound.",
        ),
    ] = None,
    offline: Annotated[
        Path | None, typer.Option("--offline", metavar="FOLDER", help="From files, without a planner.")
    ] = None,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: OutputOption = Output.TABLE,
) -> int:
    """What would be planned if devices, rates, weights, prices or SLOs were different; nothing is applied.

    Changes are made in this order: devices added, removed, cordoned, rates, weights, prices, SLOs. Ends with 3 if fewer
    queries would have a plan than have one now.
    Example: circinus what-if --offline examples/offline --add 2 vm
    """
    changes = parse_changes(
        names or (),
        add=add or (),
        remove=remove or (),
        cordon=cordon or (),
        rate=rate or (),
        weight=weight or (),
        price=price or (),
        slo=slo or (),
    )
    if not changes:
        raise InvalidInput("nothing is different: say --add, --remove, --cordon, --rate, --weight, --price or --slo")
    report = _from_files(offline, changes) if offline is not None else ask(planner, lambda c: c.what_if(changes))
    emit(output, report, lambda: lines(*(f"if {line}" for line in report.told), "", diff_view(report.diff)))
    return exits.INFEASIBLE if report.diff.after.plans < report.diff.before.plans else exits.OK


def _from_files(folder: Path, changes: Sequence[WhatIf]) -> WhatIfReport:
    told, diff = value_of("what_if_offline", _MISSING, folder, changes)
    return WhatIfReport(told=told, diff=diff)


def parse_changes(
    names: Sequence[str],
    *,
    add: Iterable[str] = (),
    remove: Iterable[str] = (),
    cordon: Iterable[str] = (),
    rate: Iterable[str] = (),
    weight: Iterable[str] = (),
    price: Iterable[str] = (),
    slo: Iterable[str] = (),
) -> tuple[WhatIf, ...]:
    """Flags as changes. A number after --add or --remove counts the next of ``names``.

    Raises:
        InvalidInput: a flag is wrong; the message says how it should be.
    """
    left = list(names)
    changes: list[WhatIf] = []
    for text in add:
        count, name = _counted(text, left, "--add")
        like, at, site = name.rpartition("@")
        if not at:
            like, site = name, ""
        if not like:
            _wrong("--add", text, "N CLASS@SITE, such as 2 edge-small@shop-3")
        changes.append(AddDevices(count=1 if count is None else count, like=like, site=site))
    for text in remove:
        count, name = _counted(text, left, "--remove")
        changes.append(RemoveDevice(device=name, count=count))
    if left:
        raise InvalidInput(f"what of {left[0]!r}? Names stand after the number of --add or --remove")
    changes += [CordonDevice(device=text) for text in cordon]
    for text in rate:
        query, value = _pair("--rate", text, "QUERY=5 or QUERY=2x")
        changes.append(SetRate(query=query, rate_per_s=_figure("--rate", text, value)))
    for text in weight:
        query, value = _pair("--weight", text, "QUERY=3 or QUERY=2x")
        changes.append(SetWeight(query=query, weight=_figure("--weight", text, value)))
    for text in price:
        device, value = _pair("--price", text, "DEVICE=0.2 or DEVICE=2x")
        changes.append(SetPrice(device=device, price_per_h=_figure("--price", text, value)))
    changes += [_slo(text) for text in slo]
    return tuple(changes)


def _counted(text: str, left: list[str], flag: str) -> tuple[int | None, str]:
    if not text.isdecimal():
        return None, text
    if not left:
        _wrong(flag, text, f"{flag} {text} NAME: the name of what is counted is missing")
    return int(text[:9]), left.pop(0)


def _pair(flag: str, text: str, shape: str) -> tuple[str, str]:
    name, equals, value = text.rpartition("=")
    if not (name and equals and value):
        _wrong(flag, text, shape)
    return name, value


def _figure(flag: str, text: str, value: str) -> Figure:
    factor = value.endswith("x")
    number = _number(value.removesuffix("x"), lambda: _wrong(flag, text, "a number such as 5, or a factor such as 2x"))
    return Figure(value=number, factor=factor)


def _slo(text: str) -> SetSlo:
    shape = f"QUERY:BOUND=VALUE with one of {', '.join(SloField)}"
    name, value = _pair("--slo", text, shape)
    query, _, bound = name.rpartition(":")
    if not query or bound not in set(SloField):
        _wrong("--slo", text, shape)
    number = None if value == _NO_BOUND else _number(value, lambda: _wrong("--slo", text, "a number, or none"))
    return SetSlo(query=query, field=SloField(bound), value=number)


def _number(text: str, wrong: Callable[[], NoReturn]) -> float:
    try:
        return float(text)
    except ValueError:
        wrong()


def _wrong(flag: str, text: str, shape: str) -> NoReturn:
    raise InvalidInput(f"{flag} {text!r} must be {shape}")
