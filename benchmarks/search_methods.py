"""The methods that are compared, each with its settings from cheap to sure, and the one that validation chose."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cloud_planner.baselines.fixed import BestStatic, best_static
from cloud_planner.baselines.ours import Ours
from cloud_planner.baselines.registry import RIVALS
from cloud_planner.baselines.task import Found, Planner, Task
from cloud_planner.baselines.world import KnobSpace, Meter, PlanBook
from cloud_planner.core.knob_model import KnobModel, KnobScales
from cloud_planner.core.precision import Guarantee
from cloud_planner.core.search_terms import (
    QUICK,
    THOROUGH,
    SearchPolicy,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from search_queries import Asked

QUICK_NAME, THOROUGH_NAME = "circinus quick", "circinus thorough"
OURS = (QUICK_NAME, THOROUGH_NAME)
EXHAUSTIVE, FAITHFUL, REINFORCED = "exhaustive", "vulcan", "vulcan reinforced"
ORACLE, STATIC, POPULATION = "oracle", "best static", "circinus population"
#: With a content's own results they keep one profile for all contents, as their authors do.
OFFLINE = ("jellybean", "ipa")

#: Seconds of profiling that the whole cost is worth.
WORTHS_S = (1.0, 3.0, 10.0, 30.0, 60.0, 100.0, 300.0, 1000.0)
#: Where thorough stops looking.
DROPS = (0.05, 0.005, 0.001)


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A way to search with its settings. ``space``: what it is given to know of the knobs, if not all.

    ``chosen``: the place of the setting that stands for it where only one is run.
    """

    name: str
    settings: tuple[Planner, ...]
    chosen: int = 0
    space: Callable[[KnobSpace], KnobSpace] | None = None

    def label(self, setting: int) -> str:
        """What this setting has that others have not, as text."""
        return labels(self.settings)[setting]


def labels(settings: Sequence[Planner]) -> list[str]:
    """For each setting, the parameters in which they differ."""
    if len(settings) == 1:
        return ["only"]
    every = [_parameters(one) for one in settings]
    names = [name for name in every[0] if len({repr(one.get(name)) for one in every}) > 1]
    return [" ".join(f"{name.split('.')[-1]}={_short(one.get(name))}" for name in names) for one in every]


def _parameters(planner: object, before: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for field in fields(planner):  # type: ignore[arg-type]
        value = getattr(planner, field.name)
        if hasattr(value, "__dataclass_fields__"):
            found.update(_parameters(value, f"{before}{field.name}."))
        else:
            found[before + field.name] = value
    return found


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).replace(" ", "")


# Ours


def ours() -> list[Method]:
    """Both modes over their budgets."""
    quick = tuple(Ours(policy=replace(QUICK, worth_s=worth)) for worth in WORTHS_S)
    thorough = tuple(Ours(policy=replace(THOROUGH, drop_ratio=drop), name=THOROUGH_NAME) for drop in DROPS)
    return [
        Method(name=QUICK_NAME, settings=quick, chosen=_place(quick, QUICK)),
        Method(name=THOROUGH_NAME, settings=thorough, chosen=_place(thorough, THOROUGH)),
    ]


def _place(settings: Sequence[Ours], policy: SearchPolicy) -> int:
    """Of the setting that is nearest to a policy in what is varied."""
    if policy.worth_s == inf:
        return int(np.argmin([abs(one.policy.drop_ratio - policy.drop_ratio) for one in settings]))
    return int(np.argmin([abs(one.policy.worth_s - policy.worth_s) for one in settings]))


class FlatKnobs(KnobModel):
    """Knobs that say nothing: of each configuration as much is unknown as before, but none tells of another."""

    def covariance(self, scales: KnobScales) -> NDArray[np.float64]:
        """The same variance, all of it a configuration's own but for the constant."""
        own = scales.main**2 + scales.pair**2 + scales.own**2
        return np.asarray(np.full((self.count, self.count), scales.constant**2) + own * np.eye(self.count))


def flat_space(space: KnobSpace) -> KnobSpace:
    """A knob space whose model of accuracies is flat; times are predicted as ever."""
    flat = FlatKnobs.__new__(FlatKnobs)
    flat.__dict__.update(space.model.__dict__)
    made = KnobSpace.__new__(KnobSpace)
    made.__dict__.update(space.__dict__)
    made.model = flat
    return made


def ablations(quick: Ours, thorough: Ours) -> list[Method]:
    """The chosen settings of ours, each without one of its ingredients."""
    made = [
        Method(name="without knob model", settings=(quick,), space=flat_space),
        Method(
            name=POPULATION, settings=(replace(quick, policy=replace(quick.policy, guarantee=Guarantee.POPULATION)),)
        ),
    ]
    known = {field.name for field in fields(SearchPolicy)}
    if "attempts" in known:
        off: dict[str, Any] = {"attempts": False}
        policy = replace(quick.policy, **off)
        made.append(Method(name="without attempts", settings=(replace(quick, policy=policy),)))
    return [*made, Method(name="thorough without knob model", settings=(thorough,), space=flat_space)]


# Rivals


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticOf:
    """The best static configuration of each pipeline, in hindsight."""

    chosen: tuple[tuple[str, BestStatic], ...]
    name: str = STATIC

    def __call__(self, task: Task) -> Found:
        """Its answer."""
        return dict(self.chosen)[task.meter.table.name](task)


def static_of(asked: Sequence[Asked], space: Callable[[str], KnobSpace]) -> StaticOf:
    """For these queries."""
    tasks: dict[str, list[Task]] = {}
    for one in asked:
        meter = Meter(one.content.table, space(one.content.pipeline))
        book = PlanBook(one.space, one.slo, meter)
        task = Task(meter=meter, book=book, rng=np.random.default_rng(0))
        tasks.setdefault(one.content.pipeline, []).append(task)
    return StaticOf(chosen=tuple((name, best_static(of)) for name, of in sorted(tasks.items())))


def rivals() -> list[Method]:
    """All of the registry, and the best static configuration."""
    made = [Method(name=name, settings=settings(), chosen=len(settings()) // 2) for name, settings in RIVALS]
    return [*made, Method(name=STATIC, settings=(StaticOf(chosen=()),))]


def offline(method: Method) -> Method:
    """A rival that keeps its profile for all contents, where it knows how."""
    if method.name not in OFFLINE:
        return method
    kept = tuple(replace(one, offline=True) for one in method.settings)  # type: ignore[type-var]
    return replace(method, settings=kept)


def methods(tuned: Path | None = None) -> list[Method]:
    """Ours and all rivals, with the settings that validation chose where there is such a file."""
    found = [*ours(), *rivals()]
    if tuned is not None and tuned.exists():
        by_label = json.loads(tuned.read_text(encoding="utf-8"))["chosen"]
        for place, method in enumerate(found):
            of = labels(method.settings)
            if by_label.get(method.name) in of:
                found[place] = replace(method, chosen=of.index(by_label[method.name]))
    return found
