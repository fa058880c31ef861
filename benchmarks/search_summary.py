"""Lines as figures by seed: of each cell, method and setting; and what is said of them in JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from search_curves import Curve, Spread, figures_of, spread

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from search_runs import Line


def machine() -> str:
    """The machine in words."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, numpy {np.__version__}"


def repeated(line: Line) -> NDArray[np.bool_]:
    """Queries on a known pipeline, content and class."""
    return np.array(line.repeats)


def of_pipeline(pipeline: str) -> Callable[[Line], NDArray[np.bool_]]:
    """Queries of one pipeline."""
    return lambda line: np.array(line.pipelines) == pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All lines of a plan."""

    lines: tuple[Line, ...]

    @property
    def seeds(self) -> list[int]:
        """In order."""
        return sorted({line.cell.seed for line in self.lines})

    def select(self, draw: str, similarity: float, *, warm: bool, method: str, setting: str = "") -> list[Line]:
        """Lines of a method on a kind of cell; of several numbers of queries those with the most."""
        found = [
            line
            for line in self.lines
            if line.cell.draw == draw
            and line.cell.similarity == similarity
            and line.cell.warm == warm
            and line.method == method
            and (not setting or line.setting == setting)
        ]
        most = max((line.cell.queries for line in found), default=0)
        return sorted((line for line in found if line.cell.queries == most), key=lambda line: line.cell.seed)

    def figures(
        self,
        draw: str,
        similarity: float,
        *,
        warm: bool,
        method: str,
        setting: str = "",
        choice: Callable[[Line], NDArray[np.bool_]] | None = None,
    ) -> Figured:
        """A method's figures by seed."""
        lines = self.select(draw, similarity, warm=warm, method=method, setting=setting)
        return Figured(
            by_seed={line.cell.seed: figures_of(line, None if choice is None else choice(line)) for line in lines},
            queries=lines[0].cell.queries if lines else 0,
        )

    def curve(self, draw: str, method: str) -> Curve:
        """A method's settings on the cold cells without similarity, all on the same queries."""
        of: dict[str, dict[int, dict[str, float]]] = {}
        fewest = min((line.cell.queries for line in self.lines if _cold(line, draw)), default=0)
        for line in self.lines:
            if _cold(line, draw) and line.method == method and line.cell.queries == fewest:
                of.setdefault(line.setting, {})[line.cell.seed] = figures_of(line)
        return Curve(
            method=method,
            settings={
                setting: {
                    name: [seeds.get(seed, {}).get(name, nan) for seed in self.seeds]
                    for name in ("seconds", "regret", "violations", "recall")
                }
                for setting, seeds in of.items()
            },
        )

    def methods(self, order: Sequence[str] = ()) -> list[str]:
        """Those that were run, in this order; the rest after them."""
        there = dict.fromkeys(line.method for line in self.lines)
        return [*(name for name in order if name in there), *(name for name in there if name not in order)]


def _cold(line: Line, draw: str) -> bool:
    return line.cell.draw == draw and line.cell.similarity == 0.0 and not line.cell.warm


@dataclass(frozen=True, slots=True, kw_only=True)
class Figured:
    """Figures by seed."""

    by_seed: dict[int, dict[str, float]]
    queries: int

    def of(self, name: str) -> list[float]:
        """One figure of each seed."""
        return [figures.get(name, nan) for _, figures in sorted(self.by_seed.items())]

    def spread(self, name: str) -> Spread:
        """Its mean and interval."""
        return spread(self.of(name))

    def mean(self, name: str) -> float:
        """Its mean."""
        return self.spread(name).mean

    def __bool__(self) -> bool:
        return bool(self.by_seed)


def write_json(lines: Sequence[Line], into: Path, more: dict[str, object]) -> None:
    """Means and half intervals of each cell, method and setting."""
    cells: dict[str, dict[str, dict[str, object]]] = {}
    groups: dict[tuple[str, str, str], list[dict[str, float]]] = {}
    for line in lines:
        cell = line.cell
        where = f"{cell.draw}, similarity {cell.similarity:g}, {'warm' if cell.warm else 'cold'}, {cell.queries}"
        groups.setdefault((where, line.method, line.setting), []).append(figures_of(line))
    for (where, method, setting), figures in sorted(groups.items()):
        cells.setdefault(where, {}).setdefault(method, {})[setting] = _figures(figures)
    document = {"machine": machine(), "figures": "mean over seeds, half of the 95% interval", **more, "cells": cells}
    text = json.dumps(document, indent=1).replace("NaN", "null")
    into.write_text(_flat(text) + "\n", encoding="utf-8")


def _figures(seeds: Iterable[dict[str, float]]) -> dict[str, list[float]]:
    there = list(seeds)
    found = {}
    for name in there[0]:
        of = spread(one.get(name, nan) for one in there)
        found[name] = [_rounded(of.mean), _rounded(of.half)]
    return found


def _rounded(value: float) -> float:
    return value if value != value else float(f"{value:.4g}")


def _flat(text: str) -> str:
    """Pairs of numbers on one line."""
    lines = text.split("\n")
    found: list[str] = []
    at = 0
    while at < len(lines):
        if lines[at].endswith("[") and at + 3 < len(lines) and lines[at + 3].strip().startswith("]"):
            found.append(lines[at] + lines[at + 1].strip() + " " + lines[at + 2].strip() + lines[at + 3].strip())
            at += 4
        else:
            found.append(lines[at])
            at += 1
    return "\n".join(found)
