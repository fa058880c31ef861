"""What a page is: where it is found, who may see it, and which parts of it are live."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.responses import Response

    from cloud_planner.dashboard.desk import Desk
    from cloud_planner.dashboard.visit import Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """An address and what answers it. ``needs``: the method of PlannerService whose least role it takes.

    ``post``: it changes something: the request carries the session's token against forgery, or it is refused.
    """

    path: str
    show: Callable[[Visit], Awaitable[Response]]
    needs: str
    post: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something on pages that changes by itself.

    ``render`` gives the inner HTML of elements, by their id: for everybody the same, whatever their role. It gets what
    stands after the ``?`` of ``data-live``, as it stands there. It is asked again at most every ``period_s``.
    """

    name: str
    render: Callable[[Desk, str], Awaitable[Mapping[str, str]]]
    needs: str = "GetStatus"
    period_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, or a few that belong together. ``path``: where its title in the navigation leads; empty: not there."""

    title: str
    path: str
    routes: tuple[Route, ...]
    parts: tuple[Part, ...] = ()
    order: int = 50


__all__ = ["Page", "Part", "Route"]
