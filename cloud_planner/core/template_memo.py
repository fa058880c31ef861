"""Templates that were worked out before, each with all that it was worked out from. PURE.

A fleet is planned anew whenever something changed, and most of the time that is one query's: the templates of the
others come out as they did before. What they rest on is compared by value, so a kept one is what would come out again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from cloud_planner.core.network import Network
from cloud_planner.core.problem import Problem, QueryProblem
from cloud_planner.core.resources import Resource

_Wanted = TypeVar("_Wanted")
_Found = TypeVar("_Found")

#: Problems with more queries are not looked at: of so many some always changed, and what is kept takes memory.
MOST_QUERIES: Final = 16
#: Templates that are kept at most, and how many of one query and enumeration.
_MOST: Final = 256
_MOST_OF_ONE: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Basis:
    """What a template rests on, beside what is wanted. The query's weight and what runs do not matter to it."""

    network: Network
    bare: Problem
    query: QueryProblem
    left: Mapping[Resource, float]

    @classmethod
    def of(cls, network: Network, problem: Problem, query: QueryProblem, left: Mapping[Resource, float]) -> _Basis:
        """The same for problems that differ in nothing that matters."""
        return cls(
            network=network,
            bare=replace(problem, queries=(), running=()),
            query=replace(query, weight=1.0),
            left=dict(left),
        )


class TemplateMemo(Generic[_Wanted, _Found]):
    """The newest templates, by query and by what was wanted."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, _Wanted], tuple[tuple[_Basis, _Found], ...]] = OrderedDict()

    def get(
        self,
        network: Network,
        problem: Problem,
        query: QueryProblem,
        left: Mapping[Resource, float],
        wanted: _Wanted,
        work_out: Callable[[], _Found],
    ) -> _Found:
        """The template, by ``work_out`` if it is not known."""
        if len(problem.queries) > MOST_QUERIES:
            return work_out()
        basis, key = _Basis.of(network, problem, query, left), (query.id, wanted)
        before = self._known.pop(key, ())
        found = next((one for one in before if one[0] == basis), None)
        if found is None:
            found = (basis, work_out())
        self._known[key] = (found, *(one for one in before if one is not found))[:_MOST_OF_ONE]
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return found[1]
