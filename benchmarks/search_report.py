"""What came out, in tables: by draw and similarity, at equal regret, without each ingredient, where we lose."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from search_curves import LEAST_RECALL, MOST_VIOLATIONS, Spread, equal_regret
from search_figures import draw_ablation, draw_curves
from search_methods import OFFLINE, ORACLE, OURS, QUICK_NAME, STATIC, THOROUGH_NAME, Method, methods
from search_must import merged, must
from search_queries import DRAWS
from search_summary import Figured, Summary, machine, of_pipeline, write_json
from search_tables import NAMES

if TYPE_CHECKING:
    from search_plan import Plan
    from search_runs import Line

MARK, END = "<!-- results -->", "<!-- end of results -->"
COLUMNS = (
    "method | setting | seconds | regret | violations | recall | false admits | late | short on test: rate, size | "
    "executions of all | decision CPU ms | response p50, p99 s"
)
NOT_RIVALS = (*OURS, ORACLE, STATIC)


def report(lines: Sequence[Line], plan: Plan, into: Path, elapsed_s: float) -> int:
    """Prints everything, writes tables, JSON and pictures; 0 whatever came out."""
    summary = Summary(lines=tuple(lines))
    if not lines:
        print("there are no lines of this code: run it, or ask for --any-code")
        return 1
    every = methods(into / "tuned.json")
    parts = [
        *_head(summary, plan),
        *_tables(summary, every, plan),
        *_equal(summary, every),
        *_ablation(summary, every),
        *_losses(summary, every),
        *_cost(lines),
        *must(summary, every, into, max(plan.similarities, default=0.0)),
    ]
    text = "\n".join(parts)
    print(text)
    _write(into / "results.md", plan.name, text)
    write_json(lines, into / f"{plan.name}.json", {"plan": plan.name, "seeds": summary.seeds, "code": lines[0].code})
    for draw in DRAWS:
        curves = [summary.curve(draw, name) for name in summary.methods([method.name for method in every])]
        draw_curves(curves, draw, into / f"{plan.name}-{draw}.png")
    draw_ablation(_ablated(summary, every), into / f"{plan.name}-ablation.png")
    print(f"\n{elapsed_s / 60.0:.1f} min")
    return 0


def _write(path: Path, name: str, text: str) -> None:
    """Puts the text between the marks of its plan, and leaves the rest as it is."""
    mark, end = MARK.replace("results", name), END.replace("results", name)
    there = path.read_text(encoding="utf-8") if path.exists() else "# Searches compared\n"
    head, found, rest = there.partition(mark)
    tail = rest.partition(end)[2] if found else "\n"
    if not found:
        head = head.rstrip("\n") + "\n\n"
    path.write_text(f"{head}{mark}\n\n{text}\n\n{end}{tail}", encoding="utf-8")


def _head(summary: Summary, plan: Plan) -> list[str]:
    queries = max(line.cell.queries for line in summary.lines)
    return [
        f"## {plan.name}: {len(summary.seeds)} seeds, {queries} queries each",
        "",
        f"Machine: {machine()}. Figures are means over seeds of means over queries, with half of the 95% interval. "
        "Seconds are of operators, equal work done once, on a core of the class that was measured.",
        "",
    ]


# Figures as text


def seconds(value: Spread) -> str:
    """Seconds with half the interval."""
    return "" if isnan(value.mean) else f"{value.mean:.3g}" + ("" if isnan(value.half) else f" ± {value.half:.2g}")


def percent(value: Spread) -> str:
    """A share with half the interval."""
    if isnan(value.mean):
        return "-"
    return f"{100 * value.mean:.2f}%" + ("" if isnan(value.half) else f" ± {100 * value.half:.1f}")


def row(name: str, setting: str, of: Figured) -> str:
    """A line of a table."""
    cells = [
        name,
        setting,
        seconds(of.spread("seconds")),
        percent(of.spread("regret")),
        percent(of.spread("violations")),
        percent(of.spread("recall")),
        percent(of.spread("false_admits")),
        percent(of.spread("late")),
        f"{percent(of.spread('shortfalls'))}, {percent(of.spread('shortfall_ratio'))}",
        percent(of.spread("executions_ratio")),
        f"{1e3 * of.mean('cpu_s'):.0f}",
        f"{of.mean('response_p50_s'):.2f}, {of.mean('response_p99_s'):.1f}",
    ]
    return "| " + " | ".join(cells) + " |"


def _heading(columns: str) -> list[str]:
    return [f"| {columns} |", "|" + "---|" * (columns.count("|") + 1)]


# Tables


def _tables(summary: Summary, every: Sequence[Method], plan: Plan) -> list[str]:
    found: list[str] = []
    kinds = [(0.0, False), (0.0, True)]
    kinds += [(similarity, warm) for similarity in plan.similarities for warm in (True, False)]
    for draw in DRAWS:
        for similarity, warm in kinds:
            rows = []
            for method in every:
                # Of heads every setting on the curve, of others the chosen one.
                settings = [method.label(method.chosen)]
                if method.name in OURS and not warm and similarity == 0.0:
                    settings = [method.label(place) for place in range(len(method.settings))]
                for setting in settings:
                    of = summary.figures(draw, similarity, warm=warm, method=method.name, setting=setting)
                    if of:
                        kept = ", profile kept" if warm and method.name in OFFLINE else ""
                        rows.append(row(method.name, setting + kept, of))
            if rows:
                kind = "warm: what was learnt is kept" if warm else "cold"
                found += [f"### {draw}, similarity {similarity:g}, {kind}", "", *_heading(COLUMNS), *rows, ""]
    return found


def _equal(summary: Summary, every: Sequence[Method]) -> list[str]:
    """Seconds of each rival over ours at equal regret."""
    names = summary.methods([method.name for method in every])
    rivals = [name for name in names if name not in NOT_RIVALS and not _is_ours(name)]
    ours = {draw: merged(summary, draw, OURS) for draw in DRAWS}
    quick = {draw: merged(summary, draw, OURS[:1]) for draw in DRAWS}
    found = [
        "### Seconds at equal regret",
        "",
        f"Cold, similarity 0: a rival's seconds over ours, on the lower hulls of settings with at most "
        f"{MOST_VIOLATIONS:.0%} violations and a recall of at least {LEAST_RECALL:.0%}, at the "
        "regrets that both reach.",
        "",
        *_heading(f"rival | {' | '.join(DRAWS)} | all three | 95% interval | against quick alone | remarks"),
    ]
    for name in rivals:
        theirs = {draw: summary.curve(draw, name) for draw in DRAWS}
        theirs = {draw: curve for draw, curve in theirs.items() if curve.settings}
        if not theirs:
            continue
        by_draw, ratio, low, high = equal_regret(ours, theirs, len(summary.seeds))
        _, alone, _, _ = equal_regret(quick, theirs, 1)
        remarks = "; ".join(f"{draw}: {one.note}" for draw, one in by_draw.items() if one.note)
        cells = [f"{by_draw[draw].ratio:.2f}x" if draw in by_draw else "-" for draw in DRAWS]
        found.append(
            f"| {name} | {' | '.join(cells)} | {ratio:.2f}x | {low:.2f} to {high:.2f} | {alone:.2f}x | {remarks} |"
        )
    return [*found, ""]


def _is_ours(name: str) -> bool:
    return name.startswith(("circinus", "without", "thorough"))


def _ablated(summary: Summary, every: Sequence[Method]) -> list[tuple[str, str, Figured]]:
    """Draw, what is left out, figures."""
    chosen = {method.name: method.label(method.chosen) for method in every}
    found = []
    for draw in DRAWS:
        for name in (*OURS, *(name for name in summary.methods() if _is_ours(name) and name not in OURS)):
            of = summary.figures(draw, 0.0, warm=False, method=name, setting=chosen.get(name, ""))
            if of:
                found.append((draw, name, of))
        shared = summary.figures(draw, 0.0, warm=True, method=QUICK_NAME, setting=chosen[QUICK_NAME])
        if shared:
            found.append((draw, "circinus quick, sharing", shared))
    return found


def _ablation(summary: Summary, every: Sequence[Method]) -> list[str]:
    found = [
        "### Without each ingredient",
        "",
        "Cold, similarity 0. *Uncached* seconds are of the same search without the cache of equal work.",
        "",
        *_heading("draw | what | seconds | uncached seconds | regret | violations | short on test | recall"),
    ]
    for draw, name, of in _ablated(summary, every):
        cells = [draw, name, seconds(of.spread("seconds")), seconds(of.spread("uncached_s"))]
        cells += [percent(of.spread(figure)) for figure in ("regret", "violations", "shortfalls", "recall")]
        found.append("| " + " | ".join(cells) + " |")
    return [*found, ""]


def _losses(summary: Summary, every: Sequence[Method]) -> list[str]:
    """Draws and pipelines where a rival's chosen setting is as sound as ours, as cheap in regret, and quicker."""
    found = [
        "### Where a rival is better",
        "",
        "Cold, similarity 0, chosen settings: fewer seconds and no more regret.",
        "",
    ]
    lost = []
    for draw in DRAWS:
        for pipeline in NAMES:
            mine = {}
            for method in every:
                of = summary.figures(
                    draw,
                    0.0,
                    warm=False,
                    method=method.name,
                    setting=method.label(method.chosen),
                    choice=of_pipeline(pipeline),
                )
                if of and method.name in (QUICK_NAME, THOROUGH_NAME):
                    mine[method.name] = of
                elif of and method.name not in NOT_RIVALS and _sound(of):
                    lost += [
                        f"- {draw}, {pipeline}: {method.name} {of.mean('seconds'):.3g} s at {of.mean('regret'):.2%}, "
                        f"{name} {ours.mean('seconds'):.3g} s at {ours.mean('regret'):.2%}"
                        for name, ours in mine.items()
                        if of.mean("seconds") < ours.mean("seconds") and of.mean("regret") <= ours.mean("regret")
                    ]
    return [*found, *(lost or ["- none"]), ""]


def _sound(of: Figured) -> bool:
    violations = of.mean("violations")
    return (isnan(violations) or violations <= MOST_VIOLATIONS) and of.mean("recall") >= LEAST_RECALL


def _cost(lines: Sequence[Line]) -> list[str]:
    """What the benchmark itself takes."""
    taken: dict[str, tuple[float, int]] = {}
    for line in lines:
        before, count = taken.get(line.method, (0.0, 0))
        taken[line.method] = before + line.process_s, count + line.cell.queries
    parts = [f"{name} {100 * seconds / count:.1f}" for name, (seconds, count) in taken.items()]
    return ["### CPU seconds of this benchmark for 100 queries", "", ", ".join(parts) + ".", ""]
