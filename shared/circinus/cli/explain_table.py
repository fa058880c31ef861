"""What `circinus explain` prints for people, from the document that says it (docs/explain.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
#: A machine of which at least this part of the cores is in use is called full.
_FULL_RATIO = 0.95
#: Full machines that are named.
_NAMED = 20


def explanation_text(document: Document) -> str:
    """Why one query has its plan, or none."""
    lines = [f"{document['query']}: {'placed' if document['placed'] else 'no plan'}", f"why: {document['why']}"]
    conflict, plan = document["conflict"], document["plan"]
    if conflict is not None:
        lines += _conflict_lines(conflict)
    elif plan is not None:
        lines += _plan_lines(document, plan)
    if not document["exact"]:
        lines.append("some plans were left out of this: there may be better ones")
    return "\n".join(lines) + "\n"


def _plan_lines(document: Document, plan: Document) -> list[str]:
    rows = [("", "WHERE", "CONFIGURATION", "LATENCY ms", "ACCURACY", "COST/h", "LOST SINCE", "WINS IF")]
    rows.append(("plan", *_figures(plan), "", ""))
    for place, rival in enumerate(document["rivals"], start=1):
        rows.append((f"rival {place}", *_figures(rival["plan"]), rival["reason"], rival["wins_if"]))
    lines = _columns(rows)
    margins = document["margins"]
    if margins:
        lines += ["", *_columns([("BOUND", "PLAN", "ROOM", "CHEAPER WITH"), *map(_margin, margins)])]
    told = [margin["cheaper_at"] for margin in margins]
    lines += [
        f"cheaper with {each['relaxation']['text']}: saves {_short(each['saves_per_h'])}/h"
        for each in document["binding"]
        if each["relaxation"] not in told
    ]
    return lines


def _margin(margin: Document) -> tuple[str, str, str, str]:
    cheaper = "-"
    if margin["cheaper_at"] is not None:
        cheaper = f"{margin['cheaper_at']['text']}: saves {_short(margin['saves_per_h'])}/h"
    room = _short(margin["slack"]) + (" (tight)" if margin["tight"] else "")
    return (margin["limit"]["text"], _short(margin["value"]), room, cheaper)


def _figures(plan: Document) -> tuple[str, str, str, str, str]:
    where = ", ".join(
        f"{part['operator']} {part['replicas']} x {part['cores']:g} cores on {part['machine']}"
        + (f" ({part['share_ratio']:.0%})" if part["share_ratio"] < 1.0 else "")
        for part in plan["operators"]
    )
    knobs = " ".join(f"{name}={value}" for name, value in plan["configuration"].items())
    return (where, knobs, _short(plan["latency_ms"]), _short(plan["accuracy"]), _short(plan["cost_per_h"]))


def _short(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.4g}"


def _conflict_lines(conflict: Document) -> list[str]:
    lines = []
    if conflict["relaxations"]:
        lines.append("any one of these would give it a plan:")
        lines += [f"  {each['text']}" for each in conflict["relaxations"]]
    if conflict["together"]:
        lines.append("no single limit does; these together would give it a plan:")
        lines += [f"  {each['text']}" for each in conflict["together"]]
    if conflict["displaces"]:
        lines.append(f"or in place of: {', '.join(conflict['displaces'])}")
    return lines


def fleet_text(document: Document) -> str:
    """What binds in the fleet."""
    full = [each for each in document["machines"] if each["used_ratio"] >= _FULL_RATIO]
    named = [f"{each['machine']} ({each['used_ratio']:.0%})" for each in full[:_NAMED]]
    more = f" and {len(full) - _NAMED} more" if len(full) > _NAMED else ""
    lines = [
        f"goodput: {document['goodput_per_s']:.6g}/s of at most {document['goodput_bound_per_s']:.6g}/s; "
        f"{document['placed']} placed, {document['unplaced']} not",
        f"full: {', '.join(named) or 'no machine'}{more}",
    ]
    if document["conflicts"]:
        rows = [("UNPLACED", "WHY", "WOULD DO")]
        rows += [(each["query"], each["reason"], _would_do(each)) for each in document["conflicts"]]
        lines += ["", *_columns(rows)]
    if document["marginal_values"]:
        worth = [(each["what"], each["worth"]) for each in document["marginal_values"]]
        lines += ["", *_columns([("ONE MORE", "IS WORTH"), *worth])]
    return "\n".join(lines) + "\n"


def _would_do(conflict: Document) -> str:
    return " or ".join(conflict["relaxations"]) or " and ".join(conflict["together"]) or "-"


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
