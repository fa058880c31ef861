"""What drift is looked for in, how sensitively, and what is found: the values of drift.py. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from circinus.model.query import QueryId
from cloud_planner.core.revisions import AccuracyPlace, ServicePlace


class Kind(StrEnum):
    """What a figure is of."""

    RATE = "rate"
    SERVICE_TIME = "service_time"
    ACCURACY = "accuracy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """When a figure has changed.

    ``unchanged_ratio``: relative changes up to it are none. ``sizes``: the changes that are looked for, as factors.
    ``noise_least``, ``noise_first``: of the dispersion (rate) or the relative deviation of a window (service time).
    ``window_most``: what one window may add to the evidence, in nats. ``hold_s``: how long a raised figure stands at
    least before it may return, four times as long after each return, up to ``hold_most_s``. ``cool_down_s``: how long
    at least until it rises further. ``grid_ratio``: the steps of a figure.
    """

    unchanged_ratio: float
    sizes: tuple[float, ...]
    noise_least: float
    noise_first: float
    window_most: float
    hold_s: float
    cool_down_s: float
    hold_most_s: float = 3600.0
    grid_ratio: float = 1.1


#: A step of the rate is answered in two or three windows: queues fill within seconds.
RATE: Final = Sensitivity(
    unchanged_ratio=0.15,
    sizes=(1.3, 1.6, 2.0, 3.0, 5.0),
    noise_least=0.2,
    noise_first=1.0,
    window_most=20.0,
    hold_s=60.0,
    cool_down_s=4.0,
)
#: With the same operator on the same machine, times moved by up to 16% between profiling and serving: less is no
#: change, and nothing is one that has not lasted for many windows.
SERVICE_TIME: Final = Sensitivity(
    unchanged_ratio=0.2,
    sizes=(1.35, 1.6, 2.0, 3.0),
    noise_least=0.05,
    noise_first=0.1,
    window_most=1.0,
    hold_s=180.0,
    cool_down_s=60.0,
)
#: Scores lie in 0..1, so their mean is tested with Hoeffding's bound; ``sizes`` are the bets.
ACCURACY: Final = Sensitivity(
    unchanged_ratio=0.03,
    sizes=(0.25, 0.5, 1.0),
    noise_least=0.0,
    noise_first=0.0,
    window_most=2.0,
    hold_s=600.0,
    cool_down_s=120.0,
    grid_ratio=0.01,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """``false_alarm_windows``: the expected number of windows to a false alarm, of each figure, is at least this."""

    rate: Sensitivity = RATE
    service_time: Sensitivity = SERVICE_TIME
    accuracy: Sensitivity = ACCURACY
    false_alarm_windows: float = 3.6e6

    def of(self, kind: Kind) -> Sensitivity:
        """Those of a kind of figure."""
        return {Kind.RATE: self.rate, Kind.SERVICE_TIME: self.service_time, Kind.ACCURACY: self.accuracy}[kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSample:
    """Items that a query's source emitted in a window, and the rate that the query states."""

    query_id: QueryId
    emitted: int
    duration_s: float
    stated_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSample:
    """Mean service time of a window's items, and what profiles say of it, unrevised."""

    place: ServicePlace
    items: int
    mean_ms: float
    profiled_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracySample:
    """Scores that became known in a window, and the measured accuracy."""

    place: AccuracyPlace
    scored: int
    score_sum: float
    measured_ratio: float


Sample = RateSample | ServiceSample | AccuracySample


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A figure that is another one from now on. ``stated`` is what it was before anybody observed anything.

    ``place`` is what it is of: a query, (pipeline, operator, device), or (pipeline, content, configuration);
    ``subject`` names that; ``evidence`` is the natural logarithm of the odds against nothing having changed.
    ``returned``: it is as stated again.
    """

    kind: Kind
    place: Any
    subject: str
    stated: float
    before: float
    after: float
    since_s: float
    at_s: float
    evidence: float
    returned: bool = False

    def __str__(self) -> str:
        said = f"{self.kind.replace('_', ' ')} of {self.subject}: {self.before:.4g} -> {self.after:.4g}"
        return f"{said} (as stated again)" if self.returned else f"{said} (stated {self.stated:.4g})"
