"""Pictures of the selection benchmark: gaps over time by method; growth of time and memory."""

from __future__ import annotations

from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING

from selection_curves import Point, first
from selection_plan import OURS
from selection_rivals import CBC, GREEDY, HIGHS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from selection_instances import Size
    from selection_runs import Line
    from selection_summary import Summary

_DPI = 140
_COLOURS = {OURS: "#d62728", HIGHS: "#1f77b4", CBC: "#2ca02c", GREEDY: "#666666"}
#: Gaps are drawn between these, in percent.
_LEAST, _MOST = 0.05, 100.0
_GIB = 2**30


def draw_gaps(summary: Summary, size: Size, into: Path) -> None:
    """Gap over time, to the best bound that is known at the end; ours also to what it knew then. A line a seed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.8), layout="constrained")
    axes = figure.add_subplot()
    limits = summary.limits(size)
    last_s = limits[-1] if limits else 60.0
    for method in (GREEDY, CBC, HIGHS, OURS):
        lines = summary.compared(size, method)
        longest = max((line.case.seconds for line in lines), default=0.0)
        for line in lines:
            if method == CBC:
                # Only its end is known.
                gap_percent = _drawn(_best(summary, line, line.last))
                axes.plot(line.elapsed_s, gap_percent, "s", color=_COLOURS[method], label=method)
            elif line.case.seconds == longest:
                _steps(axes, summary, line, last_s)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(0.05, last_s * 1.1)
    axes.set_ylim(_LEAST, _MOST)
    axes.set_xlabel("seconds")
    axes.set_ylabel("gap in goodput, %")
    axes.set_title(f"{size.name}: gap to the best bound known at the end", fontsize=10)
    axes.grid(visible=True, which="major", alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    axes.legend(list(unique.values()), list(unique), fontsize=8)
    FigureCanvasAgg(figure).print_figure(str(into), dpi=_DPI, metadata={"Software": None})


def _steps(axes: Axes, summary: Summary, line: Line, last_s: float) -> None:
    colour = _COLOURS[line.case.method]
    times = [point.elapsed_s for point in line.points]
    best = [_drawn(_best(summary, line, point)) for point in line.points]
    axes.step([*times, last_s], [*best, best[-1]], where="post", color=colour, linewidth=1.6, label=line.case.method)
    if line.case.method == OURS:
        own = [_drawn(point.gap_ratio) for point in line.points]
        cost = [_drawn(point.cost_gap_ratio) for point in line.points]
        for values, style, name in ((own, ":", "ours, to the bound known then"), (cost, "--", "ours, gap in cost")):
            drawn = [*values, values[-1]]
            axes.step([*times, last_s], drawn, style, where="post", color=colour, linewidth=0.9, label=name)


def _best(summary: Summary, line: Line, point: Point) -> float:
    bound = summary.best_bound_per_s(line.case.size, line.case.seed)
    return (bound - point.goodput_per_s) / bound


def _drawn(gap_ratio: float) -> float:
    return min(max(100.0 * gap_ratio, _LEAST), _MOST)


def draw_growth(summary: Summary, into: Path) -> None:
    """Seconds and memory over the number of queries."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = summary.growing(OURS)
    if not lines:
        return
    figure = Figure(figsize=(10.0, 4.4), layout="constrained")
    queries = [line.queries for line in lines]
    axes = figure.add_subplot(1, 2, 1)
    least = [next((p.elapsed_s for p in line.points if p.bound_per_s < line.worth_per_s), nan) for line in lines]
    axes.plot(queries, least, "o-", label="until there is a bound")
    for most, style in ((0.03, "s-"), (0.02, "^-"), (0.01, "v-")):
        values = [first(line.points, most, lambda point: point.gap_ratio) for line in lines]
        axes.plot(
            queries, [one if isfinite(one) else nan for one in values], style, label=f"until the gap is {most:.0%}"
        )
    axes.plot(queries, [line.cpu_s for line in lines], "x:", color="#666666", label="CPU, to the end")
    greedy = summary.growing(GREEDY)
    axes.plot([line.queries for line in greedy], [line.elapsed_s for line in greedy], "--", color="black", label=GREEDY)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("queries, ten devices a hundred")
    axes.set_ylabel("seconds")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8)
    memory = figure.add_subplot(1, 2, 2)
    memory.plot(queries, [line.memory_bytes / _GIB for line in lines], "o-", color=_COLOURS[OURS])
    memory.axhline(2.0, linestyle=":", color="black")
    memory.set_xscale("log")
    memory.set_ylim(bottom=0.0)
    memory.set_xlabel("queries")
    memory.set_ylabel("peak memory of all processes, GiB")
    memory.grid(visible=True, alpha=0.3)
    FigureCanvasAgg(figure).print_figure(str(into), dpi=_DPI, metadata={"Software": None})
