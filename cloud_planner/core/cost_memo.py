"""What configurations cost at least, kept from one step of a search to the next. PURE.

After a sample of one configuration the belief about all the others moves a little, and with it every least cost, which
takes most of a step. So what is only believed is taken in steps, and what was worked out for a candidate stands as long
as the candidate stays as it was.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from math import exp, log
from typing import Final

from circinus.model.device import DeviceClass
from circinus.model.query import QueryId
from cloud_planner.core.problem import Candidate, Problem
from cloud_planner.core.profiles import ClassStatistics

#: Logarithmic steps of figures that are only believed.
_STEP: Final = 0.02
#: Queries whose costs are kept at most.
_MOST_QUERIES: Final = 256

#: By configuration and time ratio: the candidate that it was worked out for, and its least cost per hour.
_Costs = dict[tuple[int, float], tuple[Candidate, float]]


class CostMemo:
    """Least costs that were worked out before, each with the candidate that it was worked out for."""

    def __init__(self) -> None:
        self._by_query: OrderedDict[QueryId, tuple[Problem, _Costs]] = OrderedDict()

    def of(self, problem: Problem) -> _Costs:
        """Those of a problem's only query, as long as all but its candidates is the same."""
        query_id = problem.queries[0].id
        bare = replace(problem, queries=(replace(problem.queries[0], candidates=()),))
        before = self._by_query.pop(query_id, None)
        kept: _Costs = before[1] if before is not None and before[0] == bare else {}
        self._by_query[query_id] = (bare, kept)
        if len(self._by_query) > _MOST_QUERIES:
            self._by_query.popitem(last=False)
        return kept


def in_steps(statistics: Mapping[DeviceClass, ClassStatistics]) -> dict[DeviceClass, ClassStatistics]:
    """The same with figures that are only believed, and the size of a source's item, in steps of a hundredth or two.

    They are further off than that, and what follows from them need not be worked out anew after every sample.
    """
    return {
        device_class: replace(
            known,
            source_bytes=_in_steps(known.source_bytes),
            services={
                place: replace(
                    service,
                    mean_ms=_in_steps(service.mean_ms),
                    variance_ms2=_in_steps(service.variance_ms2),
                    output_bytes=_in_steps(service.output_bytes),
                )
                if service.believed
                else service
                for place, service in known.services.items()
            },
        )
        for device_class, known in statistics.items()
    }


def _in_steps(figure: float) -> float:
    return exp(round(log(figure) / _STEP) * _STEP) if figure > 0.0 else figure
