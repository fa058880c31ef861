"""What a candidate search knows of one query: the best configuration so far, how sure that is, what it has taken."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from circinus.model.pipeline import Configuration
from circinus.model.plan import Interval

#: Of a search that changes its mind more often, the newest steps are kept.
MAX_STEPS = 100


class SearchPhase(StrEnum):
    """How sure it is that the best known configuration meets the accuracy bound, or that none does."""

    UNKNOWN = "unknown"
    PROVISIONAL = "provisional"
    CERTIFIED = "certified"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStep:
    """What was known from one moment on. ``elapsed_s`` is since submission; ``samples_done`` up to then."""

    at: datetime
    phase: SearchPhase
    configuration: Configuration | None
    accuracy_ratio: Interval | None
    cost_per_h: float | None
    samples_done: int
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchState:
    """Where a search stands.

    ``configuration`` is the best known, None before there is one; ``probability_ratio`` that it meets the accuracy
    bound. ``agreement``: the content has no labels, so ``accuracy_ratio`` is agreement with its reference.
    ``samples_done``, ``operator_s`` and ``profile_cost`` are what profiling has taken. ``stopped`` says why the
    search ended early; empty: it did not. ``history`` is oldest first, at most MAX_STEPS.
    """

    phase: SearchPhase
    finished: bool = False
    configuration: Configuration | None = None
    probability_ratio: float = 0.0
    accuracy_ratio: Interval | None = None
    agreement: bool = False
    cost_per_h: float | None = None
    samples_done: int = 0
    operator_s: float = 0.0
    profile_cost: float = 0.0
    candidates_left: int = 0
    eta_s: float | None = None
    stopped: str = ""
    history: tuple[SearchStep, ...] = ()
