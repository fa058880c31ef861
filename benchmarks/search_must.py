"""What this benchmark must show, each with its figure: kept or MISSED."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from statistics import median

from search_curves import MOST_VIOLATIONS, Curve, equal_regret, ratio_spread
from search_methods import FAITHFUL, OURS, POPULATION, QUICK_NAME, REINFORCED, THOROUGH_NAME, Method
from search_queries import DRAWS, MISLEADING, PRICES
from search_summary import Figured, Summary, repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One of them; ``kept`` None: nothing was measured, or there is no bar."""

    text: str
    figure: str
    kept: bool | None

    def line(self) -> str:
        """As text."""
        mark = {True: "kept", False: "MISSED", None: "not shown"}[self.kept]
        return f"| {self.text} | {self.figure} | {mark} |"


def must(summary: Summary, every: Sequence[Method], into: Path, similarity: float) -> list[str]:
    """The section; ``similarity``: the largest that was run."""
    chosen = {method.name: method.label(method.chosen) for method in every}

    def of(draw: str, name: str, share: float = 0.0, *, warm: bool = False, repeats: bool = False) -> Figured:
        return summary.figures(
            draw,
            share,
            warm=warm,
            method=name,
            setting=chosen.get(name, ""),
            choice=repeated if repeats else None,
        )

    bars = [
        _equal(summary, FAITHFUL, 4.0, "5.8x is the aim, 10.5x the dream"),
        _equal(summary, REINFORCED, 2.0, "3x is the aim"),
        _simulated(into),
    ]
    for name in OURS:
        figures = {draw: of(draw, name) for draw in DRAWS}
        bars += [
            _most(f"{name}: violations on the real tables at most 1%", figures, "violations", MOST_VIOLATIONS),
            _least(f"{name}: recall of feasible queries at least 98%", figures, "recall", 0.98),
        ]
    quick, thorough = ({draw: of(draw, name) for draw in DRAWS} for name in OURS)
    bars += [
        _most(f"{QUICK_NAME}: executions at least 95% fewer than exhaustive", quick, "executions_ratio", 0.05),
        _most(f"{THOROUGH_NAME}: regret at most 1%", thorough, "regret", 0.01),
        _most(f"{THOROUGH_NAME}: at most 1/15 of the exhaustive seconds", thorough, "seconds_ratio", 1.0 / 15.0),
        _shortfalls(quick, of),
        _prices(of(PRICES, QUICK_NAME, warm=True, repeats=True)),
        _ratio(
            "new SLO on known content: at least 1.7x fewer seconds than cold",
            [
                (
                    of(draw, QUICK_NAME, similarity, repeats=True),
                    of(draw, QUICK_NAME, similarity, warm=True, repeats=True),
                )
                for draw in DRAWS
            ],
            1.7,
        ),
        _ratio(
            f"similarity {similarity:g}: at least 5x fewer seconds a query (10x is the aim)",
            [(of(draw, QUICK_NAME, similarity), of(draw, QUICK_NAME, similarity, warm=True)) for draw in DRAWS],
            5.0,
        ),
        _ratio(
            "similarity 0: sharing costs at most 1% more seconds than none",
            [(of(draw, QUICK_NAME), of(draw, QUICK_NAME, warm=True)) for draw in DRAWS],
            1.0 / 1.01,
        ),
        _ratio(
            "contents that mislead: sharing costs at most 1% more seconds than none",
            [(of(MISLEADING, QUICK_NAME), of(MISLEADING, QUICK_NAME, warm=True))],
            1.0 / 1.01,
        ),
    ]
    heading = ["| what it must show | figure | |", "|---|---|---|"]
    return ["### What it must show", "", *heading, *(bar.line() for bar in bars)]


def _equal(summary: Summary, rival: str, least: float, aim: str) -> Bar:
    ours = {draw: merged(summary, draw, OURS) for draw in DRAWS}
    theirs = {draw: summary.curve(draw, rival) for draw in DRAWS}
    text = f"seconds at equal regret: at least {least:g}x fewer than {rival} ({aim})"
    if not all(curve.settings for curve in (*ours.values(), *theirs.values())):
        return Bar(text=text, figure="-", kept=None)
    by_draw, ratio, low, high = equal_regret(ours, theirs, len(summary.seeds))
    notes = sorted({one.note for one in by_draw.values() if one.note})
    figure = "; ".join([f"{ratio:.2f}x ({low:.2f} to {high:.2f})", *notes])
    # Where no setting of ours is sound, nothing was shown.
    sound = all(any(point.sound for point in curve.points()) for curve in ours.values())
    return Bar(text=text, figure=figure, kept=None if isnan(ratio) else ratio >= least and sound)


def merged(summary: Summary, draw: str, names: Sequence[str]) -> Curve:
    """One curve of the settings of several methods."""
    settings = {
        f"{name} {setting}": figures
        for name in names
        for setting, figures in summary.curve(draw, name).settings.items()
    }
    return Curve(method="circinus", settings=settings)


def _simulated(into: Path) -> Bar:
    text = "violations over simulated searches with known truth at most 5%"
    path = into / "validity.json"
    if not path.exists():
        return Bar(text=text, figure="run --validity", kept=None)
    found = json.loads(path.read_text(encoding="utf-8"))["all"]
    ratio = found["violations"] / found["searches"]
    figure = f"{ratio:.2%} of {found['searches']} ({found['low']:.2%} to {found['high']:.2%})"
    return Bar(text=text, figure=figure, kept=found["high"] <= 0.05)


def _by_draw(figures: dict[str, Figured], name: str) -> dict[str, float]:
    return {draw: of.mean(name) for draw, of in figures.items() if of and not isnan(of.mean(name))}


def _text(values: dict[str, float]) -> str:
    return ", ".join(f"{draw} {value:.2%}" for draw, value in values.items())


def _most(text: str, figures: dict[str, Figured], name: str, most: float) -> Bar:
    values = _by_draw(figures, name)
    return Bar(text=text, figure=_text(values), kept=max(values.values()) <= most + 1e-9 if values else None)


def _least(text: str, figures: dict[str, Figured], name: str, least: float) -> Bar:
    values = _by_draw(figures, name)
    return Bar(text=text, figure=_text(values), kept=min(values.values()) >= least - 1e-9 if values else None)


def _ratio(text: str, pairs: Sequence[tuple[Figured, Figured]], least: float) -> Bar:
    """Seconds of the first over those of the second, paired by seed and draw."""
    above = [value for one, other in pairs if one and other for value in one.of("seconds")]
    below = [value for one, other in pairs if one and other for value in other.of("seconds")]
    if not above or len(above) != len(below):
        return Bar(text=text, figure="-", kept=None)
    if not any(below):
        return Bar(text=text, figure="nothing at all", kept=True)
    # Of sums, since some seeds may need nothing.
    ratio = sum(above) / sum(below)
    _, low, high = ratio_spread(above, below)
    return Bar(text=text, figure=f"{ratio:.3g}x ({low:.3g} to {high:.3g})", kept=ratio >= least)


def _prices(of: Figured) -> Bar:
    text = "new prices on known content: no sample in the median"
    if not of:
        return Bar(text=text, figure="-", kept=None)
    # Of the seeds' medians: a mean of them would be none of any query.
    middle = median(of.of("median_executions"))
    return Bar(text=text, figure=f"{middle:.2g} samples, {of.mean('seconds'):.2g} s in the mean", kept=middle == 0.0)


def _shortfalls(quick: dict[str, Figured], of: object) -> Bar:
    """On test contents there is no bar."""
    assert callable(of)
    parts = []
    for draw, figures in quick.items():
        if not figures:
            continue
        population = of(draw, POPULATION)
        parts.append(
            f"{draw} {figures.mean('shortfalls'):.0%} by {figures.mean('shortfall_ratio'):.3f}"
            + (f" (population {population.mean('shortfalls'):.0%})" if population else "")
        )
    return Bar(text="shortfalls on test contents: rate and mean size, no bar", figure=", ".join(parts), kept=None)
