"""Pictures: seconds against regret of every method, and ours without each ingredient."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from search_curves import MOST_VIOLATIONS, Curve, Point, hull
from search_methods import OURS, POPULATION, QUICK_NAME

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from search_summary import Figured

_DPI = 140
#: Regret is drawn from here on, in parts of the least cost; less is drawn here.
_LEAST_REGRET = 1e-3
_COLOURS = ("#666666", "#8c564b", "#1f77b4", "#9467bd", "#e377c2", "#2ca02c", "#bcbd22", "#17becf")
_MARKERS = "osD^vPX*"


def draw_curves(curves: Sequence[Curve], draw: str, into: Path) -> None:
    """All methods on one picture; hollow: more violations than the promise allows, small: refuses too many."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    figure = Figure(figsize=(11.0, 6.5), layout="constrained")
    axes = figure.add_subplot()
    bases: list[str] = []
    for curve in curves:
        points = [point for point in curve.points() if point.regret == point.regret and point.seconds > 0.0]
        if not points or curve.method.startswith(("without", "thorough without", POPULATION)):
            continue
        ours = curve.method in OURS
        base = curve.method.removesuffix(" reinforced")
        if not ours and base not in bases:
            bases.append(base)
        number = 0 if ours else bases.index(base)
        colour = "#d62728" if ours else _COLOURS[number % len(_COLOURS)]
        line = "-" if ours or base != curve.method else ":"
        marker = "o" if curve.method == QUICK_NAME else "s" if ours else _MARKERS[number % len(_MARKERS)]
        # What is reinforced is larger.
        size = 8.0 if ours or base != curve.method else 4.5
        _points(axes, points, colour, marker, size=size)
        front = hull([point for point in points if point.sound])
        along = [_at(point) for point in front]
        axes.plot(along, [point.seconds for point in front], line, color=colour, linewidth=2.2 if ours else 1.1)
        axes.plot([], [], line, color=colour, marker=marker, markersize=size, label=curve.method)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("mean regret: cost above the least (0.1% and less: at 0.1%)")
    axes.set_ylabel("mean profile seconds of a query")
    axes.set_title(
        f"{draw}, cold, similarity 0. Filled: at most {MOST_VIOLATIONS:.0%} violations and few refusals; "
        "lines: lower hulls of these",
        fontsize=9,
    )
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
    if axes.lines:
        figure.legend(fontsize=8, loc="outside right center")
    FigureCanvasAgg(figure).print_figure(str(into), dpi=_DPI, metadata={"Software": None})


def _points(axes: Axes, points: Sequence[Point], colour: str, marker: str, *, size: float) -> None:
    for point in points:
        axes.plot(
            _at(point),
            point.seconds,
            marker,
            markersize=size,
            markeredgecolor=colour,
            markerfacecolor=colour if point.sound else "none",
        )


def _at(point: Point) -> float:
    return max(point.regret, _LEAST_REGRET)


def draw_ablation(ablated: Sequence[tuple[str, str, Figured]], into: Path) -> None:
    """Seconds and regret of ours without each ingredient, a group of bars for each draw."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    draws = list(dict.fromkeys(draw for draw, _, _ in ablated))
    names = list(dict.fromkeys(name for _, name, _ in ablated))
    if not names:
        return
    figure = Figure(figsize=(11.0, 0.45 * len(names) * len(draws) / 2 + 2.0), layout="constrained")
    for place, (what, label) in enumerate((("seconds", "mean profile seconds"), ("regret", "mean regret, %"))):
        axes = figure.add_subplot(1, 2, place + 1)
        scale = 100.0 if what == "regret" else 1.0
        for number, draw in enumerate(draws):
            of = {name: figured for one, name, figured in ablated if one == draw}
            spreads = [of[name].spread(what) for name in names if name in of]
            at = [at + 0.25 * number for at, name in enumerate(names) if name in of]
            axes.barh(
                at,
                [scale * one.mean for one in spreads],
                height=0.23,
                xerr=[scale * float(np.nan_to_num(one.half)) for one in spreads],
                label=draw,
                error_kw={"elinewidth": 0.8},
            )
        axes.set_yticks([at + 0.25 for at in range(len(names))], names if place == 0 else [""] * len(names))
        axes.invert_yaxis()
        axes.set_xlabel(label)
        axes.grid(visible=True, axis="x", alpha=0.3)
        axes.legend(fontsize=8)
    FigureCanvasAgg(figure).print_figure(str(into), dpi=_DPI, metadata={"Software": None})
