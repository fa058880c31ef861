"""Draws the pictures of docs/benchmarks.md from what benchmarks/ has measured, into docs/images/benchmarks.

Usage: .venv/bin/python scripts/benchmark_pictures.py  (extra: plots). Same figures and matplotlib, same bytes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
INTO = ROOT / "docs" / "images" / "benchmarks"
OURS, OTHERS, QUIET = "#d62728", "#1f77b4", "#999999"
_DRAWS = ("multiple", "witness", "independent")
_SEARCHES = {
    "exhaustive": QUIET,
    "vulcan": OTHERS,
    "vulcan reinforced": "#aec7e8",
    "circinus thorough": "#ff9896",
    "circinus quick": OURS,
}


def search() -> Figure:
    """Profile seconds a query, and how many answers are below their accuracy bound."""
    cells = json.loads((BENCHMARKS / "search" / "quick.json").read_text())["cells"]
    figure = Figure(figsize=(8.0, 3.8), layout="constrained")
    panels = figure.subplots(1, len(_DRAWS), sharey=True)
    for axes, draw in zip(panels, _DRAWS, strict=True):
        cell = cells[f"{draw}, similarity 0, cold, 60"]
        for at, (method, colour) in enumerate(_SEARCHES.items()):
            found = next(iter(cell.get(method, cell["circinus quick"]).values()))
            seconds = found["exhaustive_s" if method == "exhaustive" else "seconds"][0]
            said = f" {seconds:.0f} s"
            if method != "exhaustive":
                said += f", {found['violations'][0]:.0%} wrong"
            axes.barh(at, seconds, color=colour)
            axes.text(seconds, at, said, va="center", fontsize=7)
        axes.set_xlim(0, 950)
        axes.set_title(draw, fontsize=9)
        axes.set_yticks(range(len(_SEARCHES)), list(_SEARCHES))
        axes.set_xlabel("profile seconds a query")
    return figure


def changes() -> Figure:
    """Twenty forced plan changes under load."""
    found = json.loads((BENCHMARKS / "results" / "plan_changes.json").read_text())
    seconds = [entry[0] for entry in found["seconds_and_steps"]]
    figure = Figure(figsize=(8.0, 2.6), layout="constrained")
    axes = figure.add_subplot()
    axes.bar(range(1, len(seconds) + 1), seconds, color=OURS)
    axes.set_xticks(range(1, len(seconds) + 1))
    axes.set_xlabel("change")
    axes.set_ylabel("seconds")
    exactly_one = found["outcomes_of_an_item"].get("1", 0)
    outcomes = f"{exactly_one:,} of {found['items']:,} items with exactly one outcome"
    axes.set_title(
        f"{found['changes']} forced plan changes: {outcomes}, {found['answered_twice']} answered twice", fontsize=9
    )
    return figure


def uplink() -> Figure:
    """An uplink that is cut: until the first local answer, and until the plan serves again."""
    found = json.loads((BENCHMARKS / "results" / "uplink.json").read_text())
    figure = Figure(figsize=(8.0, 2.2), layout="constrained")
    axes = figure.add_subplot()
    ways: list[dict[str, Any]] = found["cuts"]
    names = {"reset": "by a reset", "stall": "by silence"}
    for at, way in enumerate(ways):
        answered, again = max(way["first_local_answer_s"].values()), max(way["plan_serves_again_s"].values())
        axes.barh(at - 0.2, answered, height=0.35, color=OURS)
        axes.text(answered, at - 0.2, f"  first local answer after the cut: {answered:.2f} s", va="center", fontsize=8)
        axes.barh(at + 0.2, again, height=0.35, color=OTHERS)
        axes.text(again, at + 0.2, f"  plan serves again after it is back: {again:.1f} s", va="center", fontsize=8)
    axes.set_yticks(range(len(ways)), [names.get(way["way"], way["way"]) for way in ways])
    axes.set_xlim(0, 10)
    axes.set_xlabel("seconds")
    axes.set_title(
        f"uplink cut for {found['cut_s']:g} s: {found['in_ledger']:,} of {found['emitted']:,} items in the ledger",
        fontsize=9,
    )
    return figure


def main() -> int:
    """Draws all of them; gives the exit code."""
    mpl.rcParams.update({"svg.hashsalt": "circinus", "svg.fonttype": "none", "font.family": "sans-serif"})
    INTO.mkdir(parents=True, exist_ok=True)
    for draw in (search, changes, uplink):
        FigureCanvasSVG(draw()).print_svg(str(INTO / f"{draw.__name__}.svg"), metadata={"Date": None, "Creator": None})
    return 0


if __name__ == "__main__":
    sys.exit(main())
