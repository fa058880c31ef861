"""Chooses each method's setting by what it did on validation samples, by one loss for all."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from search_curves import figures_of, spread

if TYPE_CHECKING:
    from search_runs import Line

#: Seconds of profiling that the whole cost of a plan is worth; a refusal of a feasible query loses all of it.
WORTH_S = 60.0
#: A violation loses so many times that: at 1% as much as half of all.
VIOLATION_WORTH = 50.0


def loss_s(figures: dict[str, float]) -> float:
    """Seconds, and what else was lost in seconds."""
    regret = figures["regret"] if figures["regret"] == figures["regret"] else 1.0
    recall = figures["recall"] if figures["recall"] == figures["recall"] else 0.0
    violations = figures["violations"] if figures["violations"] == figures["violations"] else 0.0
    lost = min(1.0, regret) * recall + (1.0 - recall) + VIOLATION_WORTH * violations
    return figures["seconds"] + WORTH_S * lost


def choose(lines: Iterable[Line], into: Path) -> int:
    """Writes the settings of least loss; all methods had the same queries."""
    losses: dict[str, dict[str, list[float]]] = {}
    seen: dict[tuple[str, str], list[dict[str, float]]] = {}
    for line in lines:
        figures = figures_of(line)
        losses.setdefault(line.method, {}).setdefault(line.setting, []).append(loss_s(figures))
        seen.setdefault((line.method, line.setting), []).append(figures)
    chosen, table = {}, {}
    for method, of in losses.items():
        mean = {setting: sum(values) / len(values) for setting, values in of.items()}
        chosen[method] = min(mean, key=lambda setting: (mean[setting], setting))
        table[method] = {
            setting: {
                "loss_s": round(mean[setting], 3),
                **{
                    name: round(spread(one[name] for one in seen[method, setting]).mean, 5)
                    for name in ("seconds", "regret", "violations", "recall")
                },
            }
            for setting in of
        }
    document = {
        "loss": f"seconds + {WORTH_S:g} x (regret, refusals, {VIOLATION_WORTH:g} x violations)",
        "chosen": chosen,
        "settings": table,
    }
    into.write_text(json.dumps(document, indent=1, sort_keys=True).replace("NaN", "null") + "\n", encoding="utf-8")
    for method, setting in chosen.items():
        of_it = table[method][setting]
        print(f"{method:24s} {setting:44s} " + "  ".join(f"{name} {value:g}" for name, value in of_it.items()))
    return 0
