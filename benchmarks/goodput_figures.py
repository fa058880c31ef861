"""Pictures of the goodput benchmark: goodput over load of every method, with the bound."""

from __future__ import annotations

from pathlib import Path

from goodput_methods import EXACT, OURS, Kind
from goodput_summary import Spot, Summary

_DPI = 140
_COLOURS = {Kind.OURS: "#d62728", Kind.REINFORCED: "#1f77b4", Kind.FAITHFUL: "#8c8c8c", Kind.HINDSIGHT: "#bcbd22"}
_SAID = {
    Kind.REINFORCED: "reinforced rivals (thick: the best)",
    Kind.FAITHFUL: "faithful rivals (thick: the best)",
    Kind.HINDSIGHT: "best static, in hindsight",
}


def draw_layout(summary: Summary, layout: str, into: Path) -> None:
    """One panel a draw."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    loads = summary.loads()
    draws = [draw for draw in summary.draws() if summary.rows(Spot(layout=layout, draw=draw, load=loads[0]), OURS)]
    figure = Figure(figsize=(4.6 * max(1, len(draws)), 4.8), layout="constrained")
    for place, draw in enumerate(draws):
        axes = figure.add_subplot(1, len(draws), place + 1)
        spots = [Spot(layout=layout, draw=draw, load=load) for load in loads]
        for kind in (Kind.FAITHFUL, Kind.REINFORCED, Kind.HINDSIGHT):
            best = [summary.best(spot, kind).goodput for spot in spots]
            for name in summary.names(kind):
                values = [summary.goodput(spot, name) for spot in spots]
                axes.plot(loads, values, color=_COLOURS[kind], linewidth=0.7, alpha=0.6)
            label = _SAID[kind] if place == 0 else None
            axes.plot(loads, best, color=_COLOURS[kind], linewidth=2.4, label=label)
        for number, name in enumerate(summary.names(Kind.OURS)):
            values = [summary.goodput(spot, name) for spot in spots]
            line = "-" if number == 0 else "--"
            label = name if place == 0 else None
            axes.plot(loads, values, line, color=_COLOURS[Kind.OURS], marker="o", linewidth=2.2, label=label)
        exact = [summary.goodput(spot, EXACT) for spot in spots]
        axes.plot(loads, exact, ":", color="black", label="exact knowledge, selected" if place == 0 else None)
        bound = [summary.bound(spot) for spot in spots]
        axes.plot(loads, bound, color="black", linewidth=1.6, label="bound" if place == 0 else None)
        axes.set_xscale("log")
        axes.set_xticks(loads, [f"{load:g}" for load in loads])
        axes.minorticks_off()
        axes.set_ylim(bottom=0.0)
        axes.set_xlabel("load: work of the cheapest plans / capacity")
        axes.set_title(f"{layout}, {draw}", fontsize=10)
        axes.grid(visible=True, alpha=0.3)
        if place == 0:
            axes.set_ylabel("query goodput, summed over seeds")
    figure.legend(fontsize=8, loc="outside lower center", ncols=3)
    FigureCanvasAgg(figure).print_figure(str(into), dpi=_DPI, metadata={"Software": None})
