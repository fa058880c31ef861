"""The first page: the fleet by site, how SLOs are kept, what happened."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from circinus.burn_rate import Burning
from cloud_planner.dashboard.desk import Desk
from cloud_planner.dashboard.fleet import STATES, Site, device_rows, sites
from cloud_planner.dashboard.page import Page, Part, Route
from cloud_planner.dashboard.query_facts import looked
from cloud_planner.dashboard.templating import anchor
from cloud_planner.dashboard.visit import Visit
from cloud_planner.store import RolloutPhase

if TYPE_CHECKING:
    from starlette.responses import Response

_EVENTS = 14
#: Devices that are drawn one by one; of larger fleets the sites are.
_MOST_DRAWN = 1_500
_MOST_AT_SITE = 300
#: A page that was just loaded may show what is so much older; its live part puts it right.
_STALE_S = 60.0
_TEMPLATE = "overview.html"
#: How the error budget fares, from what needs a person to what doesn't.
BURNING: Mapping[Burning, str] = {
    Burning.FAST: "bad",
    Burning.BURNING: "bad",
    Burning.RISING: "warn",
    Burning.RECOVERING: "warn",
    Burning.KEPT: "good",
    Burning.IDLE: "",
}
#: As pages say it, where the word alone says too little.
WORDS: Mapping[Burning, str] = {Burning.FAST: "burning fast", Burning.IDLE: "without items"}


async def _totals(desk: Desk, *, stale_s: float = 0.0) -> dict[str, Any]:
    overview = desk.overview
    decided, newest = desk.decided(), overview.rollout.newest
    rows = await device_rows(desk)
    states = Counter(row.state for row in rows)
    summary = overview.loop.decision.summary
    served = newest is not None and newest.phase is not RolloutPhase.STARTING
    queries = len(overview.catalog.queries)
    placed = sum(query.id in decided.plans for query in overview.catalog.queries)
    unplaced = sum(query.id in decided.unplaced for query in overview.catalog.queries)
    return {
        "devices": len(rows),
        "connected": sum(row.connected for row in rows),
        "states": {state: states[state] for state in STATES if state != "connected" and states[state]},
        "kinds": STATES,
        "queries": queries,
        "placed": placed,
        "unplaced": unplaced,
        "pending": queries - placed - unplaced,
        "slo": (await looked(desk, stale_s=stale_s)).kept(),
        "burning": BURNING,
        "words": WORDS,
        "summary": summary,
        "activity": overview.activity(),
        "generation": newest.generation.number if newest is not None else 0,
        "phase": newest.phase.value if newest is not None else "",
        "served": served,
    }


TOTALS = ("devices", "queries", "slos", "goodput", "cost", "plan")


async def _live_totals(desk: Desk, _argument: str) -> dict[str, str]:
    context = await _totals(desk)
    made = await asyncio.to_thread(
        lambda: {f"total-{name}": desk.templates.block(_TEMPLATE, f"total_{name}", context) for name in TOTALS}
    )
    return made | {"slo": await desk.fragment(_TEMPLATE, "slo", **context)}


async def _map(desk: Desk) -> dict[str, Any]:
    found = await sites(desk)
    devices = sum(len(site.devices) for site in found)
    return {"sites": found, "drawn": devices <= _MOST_DRAWN, "most": _MOST_AT_SITE, "devices": devices}


async def _live_map(desk: Desk, _argument: str) -> dict[str, str]:
    context = await _map(desk)

    def made() -> dict[str, str]:
        def one(site: Site) -> str:
            return desk.templates.block(_TEMPLATE, "site", {**context, "site": site})

        return {f"site-{anchor(site.name)}": one(site) for site in context["sites"]}

    return await asyncio.to_thread(made)


async def _events(desk: Desk) -> dict[str, Any]:
    found = await desk.overview.chronicle.list(0, _EVENTS, (), newest=True)
    return {"events": tuple(reversed(found)), "now": desk.now}


async def _live_events(desk: Desk, _argument: str) -> dict[str, str]:
    return {"events": await desk.fragment(_TEMPLATE, "events", **await _events(desk))}


async def show(visit: Visit) -> Response:
    """The page."""
    desk = visit.desk
    context = {**await _totals(desk, stale_s=_STALE_S), **await _map(desk), **await _events(desk)}
    return await visit.page(_TEMPLATE, **context)


PAGE = Page(
    title="Overview",
    path="/",
    order=10,
    routes=(Route(path="/", show=show, needs="GetStatus"),),
    parts=(
        Part(name="overview.totals", render=_live_totals),
        Part(name="overview.map", render=_live_map, needs="ListDevices", period_s=2.0),
        Part(name="overview.events", render=_live_events, needs="WatchEvents"),
    ),
)
