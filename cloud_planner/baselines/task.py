"""What every planner that is compared gets, and what it has to give. PURE."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from circinus.model.query import Slo
from cloud_planner.baselines.world import Meter, PlanBook

if TYPE_CHECKING:
    import numpy as np


@dataclass(slots=True, kw_only=True)
class Task:
    """One query: a content behind a meter, plans under its SLO, and a source of chance.

    ``memory`` is what a planner keeps for later queries of the same pipeline, under names of its own; empty where
    nothing is shared between queries.
    """

    meter: Meter
    book: PlanBook
    rng: np.random.Generator
    memory: dict[str, object] = field(default_factory=dict)

    @property
    def slo(self) -> Slo:
        """The query's bounds."""
        return self.book.slo


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A planner's answer: a configuration and one of the plan space's plans; ``configuration`` None: it refuses."""

    configuration: int | None
    plan: int | None = None


REFUSED = Found(configuration=None)


class Planner(Protocol):
    """Finds a configuration and a plan for one query."""

    @property
    def name(self) -> str:
        """What it is called in tables."""

    def __call__(self, task: Task) -> Found:
        """Its answer. All that it runs goes through the task's meter."""
