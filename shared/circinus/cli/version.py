"""`circinus version`: of which versions all is, and whether they fit together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import circinus
from circinus.cli import exits
from circinus.cli.output import Output, document_of, emit, lines, table
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, address_of, ask
from circinus.declared_calls import Versions
from circinus.errors import CircinusError

if TYPE_CHECKING:
    from rich.console import RenderableType

PROTOCOL = "circinus.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What does not fit. ``fatal``: it does not work; else something may be missing."""

    text: str
    fatal: bool = False


def version(planner: PlannerOption = DEFAULT_ADDRESS, output: OutputOption = Output.TABLE) -> int:
    """The versions of this command, the planner and its agents, and whether they fit together.

    Ends with 0 also where no planner can be asked: then it is told why.
    Example: circinus version -o json
    """
    found: Versions | None = None
    why = ""
    try:
        found = ask(planner, lambda client: client.versions())
    except CircinusError as error:
        why = error.message
    findings = fit(circinus.__version__, found) if found is not None else ()
    document: dict[str, Any] = {
        "client": {"version": circinus.__version__, "protocol": PROTOCOL},
        "planner": None,
        "agents": [],
        "unreachable": why,
        "fits": None if found is None else not any(one.fatal for one in findings),
        "findings": document_of(findings),
    }
    if found is not None:
        document["planner"] = {
            "address": address_of(planner),
            "version": found.planner,
            "protocol": found.protocol,
            "schemas": {"planner": found.planner_schema, "identity": found.identity_schema},
            "epoch": found.epoch,
        }
        document["agents"] = document_of(found.agents)
    emit(output, document, lambda: _view(document, found))
    return exits.ERROR if any(one.fatal for one in findings) else exits.OK


def _view(document: dict[str, Any], found: Versions | None) -> RenderableType:
    rows = [("circinus", circinus.__version__, f"protocol {PROTOCOL}")]
    told = [one["text"] for one in document["findings"]]
    if found is None:
        told.append(f"no planner could be asked: {document['unreachable']}")
    else:
        identity = f", {found.identity_schema} of identity" if found.identity_schema else ""
        schemas = f"schema {found.planner_schema} of state{identity}"
        rows.append(("planner", found.planner, f"protocol {found.protocol}, {schemas}, epoch {found.epoch}"))
        for one in found.agents:
            away = one.devices - one.connected
            rows.append(("agents", one.version or "?", f"{one.devices}" + (f", {away} of them away" if away else "")))
        if not told:
            told.append("they fit together")
    return lines(table(("WHAT", "VERSION", ""), rows), "", *told)


def fit(client: str, found: Versions) -> tuple[Finding, ...]:
    """What does not fit, worst first. One protocol works throughout; of one minor version all is there on both sides.

    Agents follow the planner: it is upgraded first.
    """
    findings: list[Finding] = []
    if found.protocol != PROTOCOL:
        text = f"this command speaks {PROTOCOL}, the planner {found.protocol}: install circinus=={found.planner}"
        findings.append(Finding(text=text, fatal=True))
    elif _minor(client) != _minor(found.planner):
        findings.append(
            Finding(
                text=f"this command is {client}, the planner {found.planner}: it works, but the newer one has more; "
                f"pip install circinus=={found.planner}"
            )
        )
    for one in found.agents:
        if _minor(one.version) > _minor(found.planner):
            text = f"{one.devices} agents are {one.version}, newer than the planner: upgrade the planner first"
            findings.append(Finding(text=text))
        elif _minor(one.version) < _minor(found.planner):
            text = (
                f"{one.devices} agents are {one.version}, older than the planner: scripts/fleet upgrade brings them up"
            )
            findings.append(Finding(text=text))
    return tuple(findings)


def _minor(text: str) -> tuple[int, int]:
    """The first two numbers of a version; of what is none, zeros."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)
