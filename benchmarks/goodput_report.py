"""What came out of the goodput benchmark, in tables: what must be shown, every cell, where we lose, who pays what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from math import isnan
from pathlib import Path

from goodput_figures import draw_layout
from goodput_methods import OURS, POPULATION, Kind
from goodput_must import bars, beside, over_each
from goodput_runs import EQUAL, JUDGED, Line, Plan
from goodput_summary import ERROR, POOL, Spot, Summary, geometric_mean, ratio
from search_curves import spread
from search_summary import machine
from table_text import table_lines

_ALL = (Kind.OURS, Kind.REINFORCED, Kind.FAITHFUL, Kind.HINDSIGHT, Kind.EXACT)


def report(lines: Sequence[Line], plan: Plan, into: Path, elapsed_s: float) -> int:
    """Prints everything, writes tables, JSON and pictures; 0 whatever came out."""
    # Of a cell that is not through, some methods would lack where others have figures.
    through = {line.cell for line in lines if line.method == EQUAL}
    lines = [line for line in lines if line.cell in through]
    if not lines:
        print("there is no cell of this code that is through: run it, or ask for --any-code")
        return 1
    summary = Summary(lines=tuple(sorted(lines, key=lambda line: (line.cell, line.method != OURS))))
    parts = [
        *_head(summary, plan),
        *_must(summary),
        *_headline(summary),
        *_cells(summary),
        *_losses(summary),
        *_methods(summary),
        *_equal(summary),
    ]
    text = "\n".join(parts)
    print(text)
    _write(into / "results.md", plan.name, text)
    for layout in summary.layouts():
        draw_layout(summary, layout, into / f"{plan.name}-{layout.replace(' + ', '-')}.png")
    document = _document(summary, plan, elapsed_s)
    (into / f"{plan.name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"\n{elapsed_s / 60.0:.1f} min")
    print(json.dumps({key: value for key, value in document.items() if key != "cells"}))
    return 0


def _write(path: Path, name: str, text: str) -> None:
    """Puts the text between the marks of its plan, and leaves the rest as it is."""
    mark, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    there = path.read_text(encoding="utf-8") if path.exists() else "# Goodput compared\n"
    head, found, rest = there.partition(mark)
    tail = rest.partition(end)[2] if found else "\n"
    if not found:
        head = head.rstrip("\n") + "\n\n"
    path.write_text(f"{head}{mark}\n\n{text}\n\n{end}{tail}", encoding="utf-8")


def _head(summary: Summary, plan: Plan) -> list[str]:
    cells = len({line.cell for line in summary.lines})
    return [
        f"## {plan.name}: {cells} of {len(plan.cells())} cells, seeds {', '.join(map(str, summary.seeds()))}",
        "",
        f"Machine: {machine()}. What is compared, how profiling is charged and what is unfair to whom: "
        "[docs/goodput.md](../../docs/goodput.md). Goodput is queries whose three bounds hold on samples that no "
        "search runs, summed over seeds, by the part of their lifetime that they are served for.",
        "",
    ]


def _must(summary: Summary) -> list[str]:
    rows = [bar.line() for bar in bars(summary)]
    extra = [[name, _number(value)] for name, value in beside(summary).items()]
    return [
        "### Must be shown",
        "",
        "| claim | bar | on held-out samples | | the same, within their error | by the pool |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        "Beside it:",
        "",
        *table_lines("what | figure", extra),
        "Ours over each rival, both tiers, load 1 to 3, geometric mean over draws and loads:",
        "",
        *table_lines(
            "rival | on held-out samples | within their error | by the pool | worst cell, held-out",
            [[name, *map(_number, values)] for name, *values in over_each(summary)],
        ),
    ]


def _headline(summary: Summary) -> list[str]:
    found = ["### Ours, the best rival of each kind, and the bound", ""]
    rows = []
    for spot in summary.spots():
        mine, bound = summary.goodput(spot, OURS), summary.bound(spot)
        faithful, reinforced = summary.best(spot, Kind.FAITHFUL), summary.best(spot, Kind.REINFORCED)
        rows.append(
            [
                spot.layout,
                spot.draw,
                f"{spot.load:g}",
                f"{summary.total([spot], OURS, 'queries'):.0f}",
                f"{bound:.1f}",
                f"{mine:.1f}",
                _percent(mine / bound if bound else float("nan")),
                f"{faithful.name} {faithful.goodput:.1f}",
                f"{ratio(mine, faithful.goodput):.2f}",
                f"{reinforced.name.removesuffix(' reinforced')} {reinforced.goodput:.1f}",
                f"{ratio(mine, reinforced.goodput):.2f}",
                _percent(summary.false_admits([spot])),
                f"{summary.goodput(spot, OURS, ERROR):.1f}, {summary.goodput(spot, OURS, POOL):.1f}",
            ]
        )
    columns = (
        "layout | draw | load | queries | bound | ours | of the bound | best faithful | ours over it | "
        "best reinforced | ours over it | false admits | ours within error, by the pool"
    )
    return [*found, *table_lines(columns, rows)]


def _cells(summary: Summary) -> list[str]:
    found = ["### Every cell", "", "Goodput; **bold**: more than ours.", ""]
    loads = summary.loads()
    for layout in summary.layouts():
        for draw in summary.draws():
            spots = [Spot(layout=layout, draw=draw, load=load) for load in loads]
            rows = []
            for name in summary.names(*_ALL):
                cells = [_cell(summary, spot, name) for spot in spots]
                if any(cells):
                    rows.append([name, *cells])
            if rows:
                rows.append(["bound", *(f"{summary.bound(spot):.1f}" for spot in spots)])
                found += [f"{layout}, {draw}:", ""]
                found += table_lines("method | " + " | ".join(f"load {load:g}" for load in loads), rows)
    return found


def _cell(summary: Summary, spot: Spot, name: str) -> str:
    value = summary.goodput(spot, name)
    if isnan(value):
        return ""
    more = name != OURS and value > summary.goodput(spot, OURS) + 1e-9
    return f"**{value:.1f}**" if more else f"{value:.1f}"


def _losses(summary: Summary) -> list[str]:
    found = ["### Where a rival serves more than ours", ""]
    losses = [one for one in summary.losses(summary.spots()) if one[0] < 0.98]
    if not losses:
        return [*found, "Nowhere by more than 2%.", ""]
    spots = {spot for _, spot, _ in losses}
    rows = [[spot.layout, spot.draw, f"{spot.load:g}", name, f"{over:.2f}"] for over, spot, name in losses[:40]]
    said = f"In {len(spots)} of {len(summary.spots())} cells, by more than 2%; the worst:"
    return [*found, said, "", *table_lines("layout | draw | load | rival | ours over it", rows)]


def _methods(summary: Summary) -> list[str]:
    found = ["### Methods over all cells", ""]
    rows = []
    for name in summary.names(*_ALL):
        spots = [spot for spot in summary.spots() if summary.rows(spot, name)]
        placed, queries = summary.total(spots, name, "placed"), summary.total(spots, name, "queries")
        cells = len([row for spot in spots for row in summary.rows(spot, name)])
        parts = [summary.false_admits(spots, name, key) for key in _ADMITS]
        rows.append(
            [
                name,
                f"{placed:.0f} of {queries:.0f}",
                f"{summary.total(spots, name, 'goodput'):.1f}",
                f"{summary.total(spots, name, ERROR):.1f}",
                f"{summary.total(spots, name, POOL):.1f}",
                *map(_percent, parts),
                f"{summary.total(spots, name, 'profile_s') / queries:.0f}",
                f"{summary.total(spots, name, 'ready_mean_s') / cells:.0f}, "
                f"{summary.total(spots, name, 'ready_p99_s') / cells:.0f}",
                f"{summary.total(spots, name, 'lost_to_profiling'):.1f}",
                f"{1e3 * summary.total(spots, name, 'search_cpu_s') / queries:.0f}",
                f"{summary.total(spots, name, 'plan_s') / cells:.2f}",
            ]
        )
    columns = (
        "method | placed | goodput | within error | by the pool | false admits | short | surely short | late | dear | "
        "false by the pool | profile s a query | decided after s: mean, p99 | lost to profiling | "
        "search CPU ms a query | planning s"
    )
    return [*found, *table_lines(columns, rows)]


_ADMITS = ("false_admits", "short", "surely_short", "late", "dear", "pool_false_admits")


def _equal(summary: Summary) -> list[str]:
    found = [
        "### Cost at equal goodput",
        "",
        "The least multiple of the fleet with which a method serves as much as the best faithful rival does on the "
        "whole fleet at load 1; geometric means of the rival's over the method's, by cell: above 1, it needs less.",
        "",
    ]
    rows = []
    for layout in summary.layouts():
        cells = len([line for line in summary.lines if line.method == EQUAL and line.cell.layout == layout])
        for figure, said in zip(JUDGED, ("held-out", "within their error", "the pool"), strict=True):
            for method in (OURS, POPULATION):
                taken = [
                    summary.equal_ratios(kind, method, key, layout, figure)
                    for kind in ("faithful", "reinforced")
                    for key in ("price_per_h", "used_per_h")
                ]
                if taken[0]:
                    ratios = [_number(geometric_mean(one)) for one in taken]
                    rows.append([layout, said, method, f"{len(taken[0])} of {cells}", *ratios])
    columns = (
        "layout | judged by | method | cells where it gets there | best faithful: price of the fleet | of its use | "
        "best reinforced: price of the fleet | of its use"
    )
    return [*found, *table_lines(columns, rows)]


# JSON


def _document(summary: Summary, plan: Plan, elapsed_s: float) -> dict[str, object]:
    """All figures; ``cells`` apart from the rest, which fits a line."""
    return {
        "benchmark": "goodput",
        "plan": plan.name,
        "machine": machine(),
        "code": summary.lines[0].code,
        "cells_done": len({line.cell for line in summary.lines}),
        "cells_planned": len(plan.cells()),
        "seeds": summary.seeds(),
        "minutes": round(elapsed_s / 60.0, 1),
        "cpu_minutes": round(sum(line.process_s for line in summary.lines) / 60.0, 1),
        "must": {
            bar.name: {
                "figure": _json(bar.value),
                "bar": round(bar.bar, 4),
                "kept": bar.kept,
                "within_error": _json(bar.within_error),
                "by_pool": _json(bar.by_pool),
                "kept_by_pool": bar.holds(bar.by_pool),
            }
            for bar in bars(summary)
        },
        "beside": {name: _json(value) for name, value in beside(summary).items()},
        "over_best_faithful_by_seed": _by_seed(summary),
        "cells": [
            {
                "layout": spot.layout,
                "draw": spot.draw,
                "load": spot.load,
                "bound": _json(summary.bound(spot)),
                "goodput": {
                    name: _json(summary.goodput(spot, name))
                    for name in summary.names(*_ALL)
                    if summary.rows(spot, name)
                },
            }
            for spot in summary.spots()
        ],
    }


def _by_seed(summary: Summary) -> dict[str, float | None]:
    """Of each seed, ours over the faithful rival that is best over all of its claimed cells; mean and half interval."""
    ratios = []
    for seed in summary.seeds():
        spots = summary.spots(claimed=True)
        mine = summary.total(spots, OURS, "goodput", seed)
        others = [summary.total(spots, name, "goodput", seed) for name in summary.names(Kind.FAITHFUL)]
        ratios.append(ratio(mine, max(others, default=float("nan"))))
    of = spread(ratios)
    return {"mean": _json(of.mean), "half_95": _json(of.half)}


def _json(value: float) -> float | None:
    return None if isnan(value) else round(value, 4)


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.3g}"


def _percent(value: float) -> str:
    return "-" if isnan(value) else f"{100.0 * value:.0f}%"
