"""What is known of a planner at one moment, and how old that is. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from circinus.accounts import Account
from circinus.event_calls import PlannerEvent
from circinus.line_calls import DeviceLines, QueryLine, QueryLines, Wanted
from circinus.model.pipeline import OperatorId
from circinus.reports import PlannerStatus, QueryState


class Page(StrEnum):
    """What the screen is of."""

    FLEET = "fleet"
    QUERIES = "queries"
    QUERY = "query"
    EVENTS = "events"


#: Of a list that is not on the screen: its length and its sums.
JUST_ONE = Wanted(limit=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wants:
    """What is to be asked: the lines of the lists that are on the screen, and one query in full (empty: none)."""

    devices: Wanted = JUST_ONE
    queries: Wanted = JUST_ONE
    query_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """One query in full. ``state`` None: there is no such query (any more). ``account``: of its newest promise.

    ``inputs``: what each operator of its pipeline reads.
    """

    query_id: str
    state: QueryState | None
    line: QueryLine | None
    account: Account | None
    inputs: Mapping[OperatorId, tuple[OperatorId, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Answers to what was wanted; ``at``: when they were there."""

    at: datetime
    planner: str
    status: PlannerStatus
    wants: Wants
    devices: DeviceLines
    queries: QueryLines
    detail: Detail | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All that a screen is drawn from. ``trouble``: why the planner can't be asked since ``away_since``; empty: it can.

    ``events``: oldest first; ``missed``: some before them are forgotten.
    """

    picture: Picture
    events: tuple[PlannerEvent, ...] = ()
    trouble: str = ""
    away_since: datetime | None = None
    missed: bool = False


__all__ = ["JUST_ONE", "Detail", "Known", "Page", "Picture", "Wants"]
