"""What the selection benchmark must show, each with its figure: kept or MISSED. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan
from typing import TYPE_CHECKING

from selection_plan import LARGE, OURS, SIZES
from selection_summary import Spread, Summary, percent

if TYPE_CHECKING:
    from selection_instances import Size

_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One claim: a figure is at most so much for every seed. ``worst`` NaN: nothing was measured."""

    name: str
    text: str
    figure: Spread
    most: float
    aim: float | None = None
    ratio: bool = True

    @property
    def kept(self) -> bool | None:
        """None: nothing was measured."""
        return None if isnan(self.figure.worst) else self.figure.worst <= self.most

    def line(self) -> str:
        """As a row of a table."""
        said = {True: "kept", False: "MISSED", None: "not measured"}[self.kept]
        aim = "" if self.aim is None else f" (aim {self._text(self.aim)})"
        cells = [
            self.text,
            f"{self._text(self.most)}{aim}",
            self._text(self.figure.worst),
            self._text(self.figure.mean),
        ]
        return f"| {' | '.join(cells)} | **{said}** |"

    def document(self) -> dict[str, object]:
        """As JSON."""
        figures = {"worst": self.figure.worst, "mean": self.figure.mean}
        known = {name: None if isnan(value) else round(value, 5) for name, value in figures.items()}
        return {"name": self.name, "text": self.text, "most": self.most, **known, "kept": self.kept}

    def _text(self, value: float) -> str:
        return percent(value) if self.ratio else f"{value:.3g}"


def bars(summary: Summary) -> list[Bar]:
    """All of them. A gap at a time is to the bound that was known then, and what is known then counts."""
    found: list[Bar] = []
    for size in SIZES:
        limits = summary.limits(size)
        if not limits:
            continue
        short_s = limits[0]
        found += [
            _gap(summary, size, short_s, 1.0, 0.02),
            _gap(summary, size, short_s, 15.0, 0.01),
            _gap(summary, size, limits[-1], 10.0, 0.01, aim=0.005),
            _cost(summary, size, limits[-1]),
        ]
    if summary.limits(LARGE):
        long_s = summary.limits(LARGE)[-1]
        found += [_gap(summary, LARGE, long_s, 10.0, 0.03), _gap(summary, LARGE, long_s, 60.0, 0.015, aim=0.01)]
    wrong = float(len(summary.wrong()))
    memory = summary.memory_bytes(OURS) / _GIB
    return [
        *found,
        Bar(
            name="memory",
            text="most memory of any run, growth to 30,000 queries among them, all processes, GiB",
            figure=Spread(mean=memory, worst=memory),
            most=2.0,
            ratio=False,
        ),
        Bar(
            name="wrong",
            text="selections that the independent check finds fault with, and bounds that a selection exceeds",
            figure=Spread(mean=wrong, worst=wrong),
            most=0.0,
            ratio=False,
        ),
    ]


def _gap(summary: Summary, size: Size, limit_s: float, elapsed_s: float, most: float, aim: float | None = None) -> Bar:
    return Bar(
        name=f"gap, {size.name}, {elapsed_s:g} s of {limit_s:g} s",
        text=f"{size.name}: gap in goodput after {elapsed_s:g} s of {limit_s:g} s",
        figure=summary.spread_at(size, limit_s, elapsed_s, lambda point: point.gap_ratio),
        most=most,
        aim=aim,
    )


def _cost(summary: Summary, size: Size, limit_s: float) -> Bar:
    return Bar(
        name=f"cost gap, {size.name}, {limit_s:g} s",
        text=f"{size.name}: gap in cost at that goodput after {limit_s:g} s",
        figure=summary.spread_at(size, limit_s, limit_s, lambda point: point.cost_gap_ratio),
        most=0.03,
    )
