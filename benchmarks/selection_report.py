"""What came out of the selection benchmark: what must be shown, curves, every method, growth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from search_summary import machine
from selection_curves import TIMES_S, first, gap
from selection_figures import draw_gaps, draw_growth
from selection_must import bars
from selection_plan import OURS, Plan
from selection_rivals import CBC, GREEDY, HIGHS
from selection_runs import WORKERS, Line
from selection_summary import Summary, percent, seconds_text
from table_text import table_lines

if TYPE_CHECKING:
    from selection_instances import Size

_MIB = 2**20


def report(lines: Sequence[Line], plan: Plan, into: Path, elapsed_s: float, remark: str = "") -> int:
    """Prints everything, writes tables, JSON and pictures; 0 whatever came out."""
    if not any(line.case.method == OURS for line in lines):
        print("there are no lines of this code: run it, or ask for --any-code")
        return 1
    summary = Summary(lines=tuple(lines))
    parts = [*_head(summary, plan, remark), *_must(summary), *_curves(summary), *_methods(summary), *_growth(summary)]
    text = "\n".join(parts)
    print(text)
    _write(into / "results.md", plan.name, text)
    for size in summary.sizes():
        draw_gaps(summary, size, into / f"{plan.name}-{picture_name(size)}.png")
    draw_growth(summary, into / f"{plan.name}-growth.png")
    document = _document(summary, plan, elapsed_s, remark)
    _keep(into / "results.json", plan.name, document)
    print(f"\n{elapsed_s / 60.0:.1f} min")
    print(json.dumps({key: value for key, value in document.items() if key not in ("curves", "growth")}))
    return 0


def picture_name(size: Size) -> str:
    """Of a size's picture."""
    return size.name.replace(",", "").replace(" ", "-")


def _write(path: Path, name: str, text: str) -> None:
    """Puts the text between the marks of its plan, and leaves the rest as it is."""
    mark, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    there = path.read_text(encoding="utf-8") if path.exists() else "# Selections compared\n"
    head, found, rest = there.partition(mark)
    tail = rest.partition(end)[2] if found else "\n"
    if not found:
        head = head.rstrip("\n") + "\n\n"
    path.write_text(f"{head}{mark}\n\n{text}\n\n{end}{tail}", encoding="utf-8")


def _keep(path: Path, name: str, document: dict[str, object]) -> None:
    every = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    path.write_text(json.dumps({**every, name: document}, indent=1) + "\n", encoding="utf-8")


def _head(summary: Summary, plan: Plan, remark: str) -> list[str]:
    return [
        f"## {plan.name}: {len(summary.lines)} runs, seeds {', '.join(map(str, summary.seeds()))}",
        "",
        f"Machine: {machine()}. Ours has {WORKERS} workers, a process for linear programmes and one that leads; they "
        f"are warm when its time begins. Rivals have {WORKERS} threads; building their programmes is not counted. "
        "Templates and instances are made beforehand. Gaps are to the bound that was known at that time, over the "
        "whole plan space; the plain linear bound beside it. Figures are means over seeds, the worst in brackets.",
        "",
        *([remark, ""] if remark else []),
    ]


def _must(summary: Summary) -> list[str]:
    heading = ["| claim | at most | worst seed | mean | |", "|---|---|---|---|---|"]
    wrong = [f"- {one}" for one in summary.wrong()]
    return ["### Must be shown", "", *heading, *(bar.line() for bar in bars(summary)), "", *wrong, ""]


def _curves(summary: Summary) -> list[str]:
    found = ["### Ours over time", ""]
    rows = []
    for size in summary.sizes():
        for limit_s in summary.limits(size):
            for name, of in (
                ("to our bound", lambda point: point.gap_ratio),
                ("to the linear bound", lambda point: point.linear_gap_ratio),
                ("cost", lambda point: point.cost_gap_ratio),
            ):
                cells = []
                for elapsed_s in TIMES_S:
                    one = summary.spread_at(size, limit_s, elapsed_s, of)
                    none = elapsed_s > limit_s or one.worst >= 1.0
                    cells.append("-" if none else f"{percent(one.mean)} ({percent(one.worst)})")
                rows.append([size.name, f"{limit_s:g} s", name, *cells])
    columns = "size | limit | gap | " + " | ".join(f"{one:g} s" for one in TIMES_S)
    return [*found, *table_lines(columns, rows)]


def _methods(summary: Summary) -> list[str]:
    found = [
        "### Every method at its end",
        "",
        "The gap to the best bound is to the least that any method proved in any time.",
        "",
    ]
    rows = []
    for size in summary.sizes():
        for limit_s in (*summary.limits(size), 0.0):
            for method in (OURS, HIGHS, CBC) if limit_s else (GREEDY,):
                lines = [line for line in summary.compared(size, method) if line.case.seconds == limit_s]
                if lines:
                    rows.append([size.name, f"{limit_s:g} s", method, *_ending(summary, lines)])
    columns = (
        "size | limit | method | gap to the best bound | to its own | placed | cost per hour | gap in cost | "
        "took | CPU | building | memory"
    )
    notes = [f"- {line.case.key}: {'; '.join(line.notes)}" for line in summary.lines if line.notes]
    return [*found, *table_lines(columns, rows), *notes, ""]


def _ending(summary: Summary, lines: Sequence[Line]) -> list[str]:
    best = [summary.best_bound_per_s(line.case.size, line.case.seed) for line in lines]
    gaps = [gap(line.last.goodput_per_s, bound) for line, bound in zip(lines, best, strict=True)]
    own = fmean(line.last.gap_ratio for line in lines)
    cost = fmean(line.last.cost_gap_ratio for line in lines)
    return [
        f"{percent(fmean(gaps))} ({percent(max(gaps))})",
        percent(own) if own < 1.0 else "-",
        percent(fmean(line.placed / line.queries for line in lines), 0),
        f"{fmean(line.last.cost_per_h for line in lines):.2f}",
        percent(cost) if cost < 1.0 else "-",
        f"{fmean(line.elapsed_s for line in lines):.1f} s",
        f"{fmean(line.cpu_s for line in lines):.1f} s",
        f"{fmean(line.building_s for line in lines):.1f} s",
        f"{fmean(line.memory_bytes for line in lines) / _MIB:.0f} MiB",
    ]


def _growth(summary: Summary) -> list[str]:
    greedy = {line.queries: line for line in summary.growing(GREEDY)}
    rows = []
    for line in summary.growing(OURS):
        within = [first(line.points, most, lambda point: point.gap_ratio) for most in (0.03, 0.02, 0.01)]
        other = greedy.get(line.queries)
        rows.append(
            [
                f"{line.queries:,}",
                f"{line.plans:,}",
                seconds_text(line.points[0].elapsed_s),
                seconds_text(bounded_s(line)),
                *(seconds_text(one) for one in within),
                percent(line.last.gap_ratio),
                seconds_text(line.elapsed_s),
                f"{line.cpu_s:.1f} s",
                f"{line.memory_bytes / _MIB:.0f} MiB",
                "-" if other is None else percent(gap(other.last.goodput_per_s, line.last.bound_per_s), 1),
            ]
        )
    columns = (
        "queries | plans | a selection after | a bound after | gap 3% after | 2% | 1% | gap at the end | took | CPU | "
        "memory | gap of the greedy"
    )
    return ["### Growth at constant tightness", "", *table_lines(columns, rows)] if rows else []


def bounded_s(line: Line) -> float:
    """Seconds until it knew a bound that is better than all that there is."""
    least = line.worth_per_s * (1.0 - 1e-9)
    return next((point.elapsed_s for point in line.points if point.bound_per_s < least), line.elapsed_s)


def _document(summary: Summary, plan: Plan, elapsed_s: float, remark: str) -> dict[str, object]:
    found = bars(summary)
    return {
        "benchmark": "selection",
        "plan": plan.name,
        "machine": machine(),
        "remark": remark,
        "seeds": summary.seeds(),
        "minutes": round(elapsed_s / 60.0, 1),
        "missed": [bar.name for bar in found if bar.kept is False],
        "bars": [bar.document() for bar in found],
        "curves": [_curve(summary, line) for line in summary.lines if not line.case.growth],
        "growth": [_grown(line) for line in summary.growing(OURS)],
    }


def _curve(summary: Summary, line: Line) -> dict[str, object]:
    best = summary.best_bound_per_s(line.case.size, line.case.seed)
    return {
        "size": line.case.size.name,
        "seed": line.case.seed,
        "method": line.case.method,
        "limit_s": line.case.seconds,
        "placed": line.placed,
        "best_bound_per_s": best,
        "memory_bytes": line.memory_bytes,
        "cpu_s": round(line.cpu_s, 2),
        "building_s": round(line.building_s, 2),
        "elapsed_s": round(line.elapsed_s, 2),
        "notes": list(line.notes),
        "points": [
            [
                round(point.elapsed_s, 3),
                round(gap(point.goodput_per_s, best), 5),
                round(point.gap_ratio, 5),
                round(point.linear_gap_ratio, 5),
                round(point.cost_gap_ratio, 5),
            ]
            for point in line.points
        ],
    }


def _grown(line: Line) -> dict[str, object]:
    return {
        "queries": line.queries,
        "plans": line.plans,
        "gap_ratio": round(line.last.gap_ratio, 5),
        "bound_s": round(bounded_s(line), 2),
        "elapsed_s": round(line.elapsed_s, 2),
        "cpu_s": round(line.cpu_s, 2),
        "memory_bytes": line.memory_bytes,
    }
