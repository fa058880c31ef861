"""What the goodput benchmark must show, each with its figure: kept or MISSED."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isnan, nan

from goodput_fleet import Layout
from goodput_methods import EXACT, EXACT_FIRST, EXACT_POOL, OURS, POPULATION, Kind
from goodput_summary import ERROR, POOL, Spot, Summary, geometric_mean, ratio

MOST_BEHIND_RATIO = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One claim. ``least``: whether the figure must be at least the bar, or at most; NaN: nothing was measured.

    ``value`` is judged on held-out samples and decides. ``within_error``: where only what these show beyond their own
    error is a miss. ``by_pool``: by the accuracy over the whole pool.
    """

    name: str
    text: str
    value: float
    within_error: float
    by_pool: float
    bar: float
    least: bool
    aim: str = ""

    @property
    def kept(self) -> bool | None:
        """None: nothing was measured."""
        return self.holds(self.value)

    def holds(self, value: float) -> bool | None:
        """Whether a figure keeps the bar; None: nothing was measured."""
        if isnan(value):
            return None
        return value >= self.bar if self.least else value <= self.bar

    def line(self) -> str:
        """As a row of a table."""
        said = {True: "kept", False: "MISSED", None: "not measured"}
        sign = "at least" if self.least else "at most"
        aim = f" (aim {self.aim})" if self.aim else ""
        others = [
            "-" if isnan(one) else f"{one:.3g}, {said[self.holds(one)]}" for one in (self.within_error, self.by_pool)
        ]
        cells = [self.text, f"{sign} {self.bar:.3g}{aim}", f"{self.value:.3g}", f"**{said[self.kept]}**", *others]
        return f"| {' | '.join(cells)} |"


def bars(summary: Summary) -> list[Bar]:
    """All of them: on the fleet with both tiers, judged on held-out samples."""
    spots, both = claimed(summary), summary.spots(layout=Layout.EDGE_CLOUD)
    faithful, rival = summary.over_best(spots, Kind.FAITHFUL)
    reinforced, other = summary.over_best(spots, Kind.REINFORCED)
    return [
        Bar(
            name="over_best_faithful",
            text=f"goodput at load 1 to 3 over the best faithful rival's ({rival}), geometric mean",
            value=faithful,
            within_error=summary.over_best(spots, Kind.FAITHFUL, figure=ERROR)[0],
            by_pool=summary.over_best(spots, Kind.FAITHFUL, figure=POOL)[0],
            bar=3.2,
            least=True,
            aim="5.1",
        ),
        Bar(
            name="over_best_reinforced",
            text=f"the same over the best reinforced rival's ({other})",
            value=reinforced,
            within_error=summary.over_best(spots, Kind.REINFORCED, figure=ERROR)[0],
            by_pool=summary.over_best(spots, Kind.REINFORCED, figure=POOL)[0],
            bar=1.15,
            least=True,
            aim="1.4",
        ),
        Bar(
            name="least_over_any_baseline",
            text="goodput over any baseline's in any cell, all layouts and loads: the least",
            value=least_over_baselines(summary, summary.spots()),
            within_error=least_over_baselines(summary, summary.spots(), ERROR),
            by_pool=least_over_baselines(summary, summary.spots(), POOL),
            bar=1.0 - MOST_BEHIND_RATIO,
            least=True,
        ),
        Bar(
            name="of_bound",
            text="share of the bound at load 1 to 3, geometric mean",
            value=summary.of_bound(spots),
            within_error=nan,
            by_pool=summary.of_bound(spots, figure=POOL),
            bar=0.90,
            least=True,
            aim="0.95",
        ),
        Bar(
            name="cost_at_equal_goodput",
            text="price of the least fleet that reaches the best faithful rival's goodput at load 1, over its own",
            value=_equal_price(summary, "goodput"),
            within_error=_equal_price(summary, ERROR),
            by_pool=_equal_price(summary, POOL),
            bar=1.0 / 3.2,
            least=False,
            aim=f"{1.0 / 4.5:.2g}",
        ),
        Bar(
            name="false_admits",
            text="queries that are placed and whose SLO does not hold, all loads",
            value=summary.false_admits(both),
            within_error=summary.false_admits(both, figure="error_false_admits"),
            by_pool=summary.false_admits(both, figure="pool_false_admits"),
            bar=0.02,
            least=False,
        ),
    ]


def _equal_price(summary: Summary, figure: str) -> float:
    """Ours over the best faithful rival's, geometric mean over cells where ours gets there."""
    found = geometric_mean(summary.equal_ratios("faithful", OURS, "price_per_h", Layout.EDGE_CLOUD, figure))
    return 1.0 / found if isfinite(found) and found > 0.0 else nan


def claimed(summary: Summary) -> list[Spot]:
    """Where claims are made: both tiers, load 1 to 3."""
    return summary.spots(claimed=True, layout=Layout.EDGE_CLOUD)


def least_over_baselines(summary: Summary, spots: Sequence[Spot], figure: str = "goodput") -> float:
    """Our goodput over any baseline's, the least of all cells; 1 where it is nowhere behind."""
    if not spots:
        return nan
    losses = summary.losses(spots, figure=figure)
    return losses[0][0] if losses else 1.0


def beside(summary: Summary) -> dict[str, float]:
    """What helps to read the bars: what each part gains, what knowing the pool comes to, and the other layouts."""
    spots, both = claimed(summary), summary.spots(layout=Layout.EDGE_CLOUD)
    kinds = summary.kinds()

    def selected(figure: str) -> float:
        named = [name for name in summary.names(Kind.FAITHFUL) if f"{name} reinforced" in kinds]
        return geometric_mean(summary.over(spots, name, f"{name} reinforced", figure) for name in named)

    found = {
        "over whoever is the best faithful rival in each cell": summary.over_best_of_each(spots, Kind.FAITHFUL),
        "over whoever is the best reinforced rival in each cell": summary.over_best_of_each(spots, Kind.REINFORCED),
        "reinforced over faithful, same search, mean of rivals": selected("goodput"),
        "the same by the pool": selected(POOL),
        "selection alone: exact over exact, first come": summary.over(spots, EXACT_FIRST, EXACT),
        "share of the bound: exact knowledge of the pool": summary.of_bound(spots, EXACT_POOL),
        "false admits: exact knowledge of the pool": summary.false_admits(both, EXACT_POOL),
        "late or dear": summary.false_admits(both, figure="late") + summary.false_admits(both, figure="dear"),
        "over best static in hindsight": summary.over_best(spots, Kind.HINDSIGHT)[0],
        "equal goodput: price, best reinforced over ours": geometric_mean(
            summary.equal_ratios("reinforced", OURS, "price_per_h", Layout.EDGE_CLOUD)
        ),
        "equal goodput: price of what is used, best faithful over ours": geometric_mean(
            summary.equal_ratios("faithful", OURS, "used_per_h", Layout.EDGE_CLOUD)
        ),
    }
    for layout in summary.layouts():
        these = summary.spots(claimed=True, layout=layout)
        if layout != Layout.EDGE_CLOUD:
            for kind in (Kind.FAITHFUL, Kind.REINFORCED):
                found[f"{layout}: over best {kind}"] = summary.over_best(these, kind)[0]
                found[f"{layout}: over best {kind}, by the pool"] = summary.over_best(these, kind, figure=POOL)[0]
            found[f"{layout}: of the bound"] = summary.of_bound(these)
            found[f"{layout}: of the bound, by the pool"] = summary.of_bound(these, figure=POOL)
    if POPULATION in kinds:
        found |= {
            "population: over best faithful": summary.over_best(spots, Kind.FAITHFUL, method=POPULATION)[0],
            "population: share of the bound": summary.of_bound(spots, POPULATION),
            "population: false admits": summary.false_admits(both, POPULATION),
        }
    return found


def over_each(summary: Summary) -> list[tuple[str, float, float, float, float]]:
    """Each rival, and ours over it where claims are made: in the three ways of judging, and in the worst cell."""
    spots = claimed(summary)
    found = []
    for name in summary.names(Kind.FAITHFUL, Kind.REINFORCED, Kind.HINDSIGHT):
        pairs = [(summary.goodput(spot, OURS), summary.goodput(spot, name)) for spot in spots]
        worst = min((ratio(mine, other) for mine, other in pairs if isfinite(mine + other)), default=nan)
        over = [summary.over(spots, name, figure=figure) for figure in ("goodput", ERROR, POOL)]
        found.append((name, over[0], over[1], over[2], worst))
    return found
