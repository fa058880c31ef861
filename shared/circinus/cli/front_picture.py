"""A picture of configurations, accuracy against time: one panel for each content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from circinus.errors import CircinusError

_MISSING = "a picture needs matplotlib: install it with pip install 'circinus[plots]'"
_PANEL_INCHES = (4.2, 3.4)
_COLUMNS = 2
_FRONT_COLOUR, _OTHER_COLOUR = "#c8102e", "#8a8f98"


def draw_fronts(report: Any, path: Path) -> None:
    """Draws every configuration of a profile report, the Pareto front in red; ``path`` ends in .png or .svg.

    Raises:
        CircinusError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
    except ImportError as error:
        raise CircinusError(_MISSING) from error
    columns = min(_COLUMNS, len(report.contents))
    rows = -(-len(report.contents) // columns)
    figure = Figure(figsize=(_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for panel in panels.flat[len(report.contents) :]:
        panel.set_visible(False)
    for panel, summary in zip(panels.flat, report.contents, strict=False):
        times = [row.cpu_ms for row in summary.rows]
        values = [row.accuracy.value for row in summary.rows]
        panel.scatter(times, values, s=12, color=_OTHER_COLOUR, label="configuration", zorder=2)
        front = [summary.rows[at] for at in summary.front]
        below = [row.accuracy.value - row.accuracy.low for row in front]
        above = [row.accuracy.high - row.accuracy.value for row in front]
        panel.errorbar(
            [row.cpu_ms for row in front],
            [row.accuracy.value for row in front],
            yerr=[below, above],
            color=_FRONT_COLOUR,
            marker="o",
            markersize=4,
            linewidth=1.2,
            capsize=2,
            label="front, 95% interval",
            zorder=3,
        )
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_title(f"{summary.content} ({summary.samples} samples)", fontsize=10)
        panel.grid(alpha=0.3, which="both")
    for panel in panels[-1]:
        panel.set_xlabel("CPU ms an item")
    for panel in panels[:, 0]:
        panel.set_ylabel(report.metric)
    panels[0][0].legend(fontsize=8, loc="lower right")
    figure.suptitle(f"{report.pipeline_id} on {report.machine.get('cpu', '?')}", fontsize=11)
    # Without a date: the same figures give the same file.
    figure.savefig(path, dpi=130, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
