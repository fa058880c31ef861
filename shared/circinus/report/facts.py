"""What a report tells, asked of a planner once: the present, the ledger, and what would make it better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from circinus.accounts import Account, AccountsReport
from circinus.client import Client
from circinus.errors import CircinusError
from circinus.model.device import DeviceClass, DeviceId, SiteId
from circinus.model.plan import Plan
from circinus.model.plan_diff import Figures
from circinus.model.query import QueryId
from circinus.model.what_if import AddDevices
from circinus.reports import DeviceState, LedgerEntry, PlannerStatus, QueryState, SelectionReport

#: Accounts that a report tells of at most, newest first.
MAX_ACCOUNTS = 500
#: Each of these solves the whole selection again.
MAX_EXPLAINED = 12
MAX_OFFERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What one more device like one would change: the selection's figures before and with it."""

    like: DeviceId
    device_class: DeviceClass
    site: SiteId
    before: Figures
    after: Figures

    @property
    def gained_per_s(self) -> float:
        """Query goodput that it adds."""
        return self.after.goodput_per_s - self.before.goodput_per_s

    @property
    def saved_per_h(self) -> float:
        """What all plans cost less with it."""
        return self.before.cost_per_h - self.after.cost_per_h


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    """A query's plan was another one from a moment on. ``before`` None: it had none that was promised."""

    query_id: QueryId
    generation: int
    at: datetime
    before: Plan | None
    after: Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a report is made from. ``explained``: documents by query; ``left_out``: what is missing, and why."""

    planner: str
    made_at: datetime
    status: PlannerStatus
    devices: tuple[DeviceState, ...]
    queries: tuple[QueryState, ...]
    selection: SelectionReport
    ledger: tuple[LedgerEntry, ...]
    accounts: AccountsReport
    explained: Mapping[QueryId, Mapping[str, Any]] = field(default_factory=dict)
    purchases: tuple[Purchase, ...] = ()
    left_out: tuple[str, ...] = ()


async def gather(client: Client, now: datetime, *, since: datetime | None = None, advice: bool = True) -> Facts:
    """Asks a planner for all of it.

    Args:
        client: An open client.
        now: The moment that the report is of.
        since: From when on the ledger is told; None: the generation in force.
        advice: Have what binds and what to buy worked out, which solves the selection up to twenty times.

    Raises:
        CircinusError: the planner can't be asked, or its state can't be read. What is only advice may be missing.
    """
    queries = await client.queries()
    devices = await client.devices()
    selection = await client.plan()
    left_out: list[str] = []
    explained: dict[QueryId, Mapping[str, Any]] = {}
    purchases: list[Purchase] = []
    if advice:
        for query_id in worth_explaining(queries):
            try:
                explained[query_id] = await client.explain(query_id)
            except CircinusError as error:
                left_out.append(f"why {query_id} is as it is: {error.message}")
        for like in worth_offering(devices, queries):
            try:
                found = await client.what_if([AddDevices(count=1, like=like.device.id)])
            except CircinusError as error:
                left_out.append(f"what another {like.device.id} would change: {error.message}")
                continue
            purchases.append(
                Purchase(
                    like=like.device.id,
                    device_class=like.device.device_class,
                    site=like.device.site,
                    before=found.diff.before,
                    after=found.diff.after,
                )
            )
    return Facts(
        planner=client.address,
        made_at=now,
        status=await client.status(),
        devices=devices,
        queries=queries,
        selection=selection,
        ledger=await client.ledger(since),
        accounts=await client.accounts(limit=MAX_ACCOUNTS),
        explained=explained,
        purchases=tuple(sorted(purchases, key=lambda one: (-one.gained_per_s, -one.saved_per_h, one.like))),
        left_out=tuple(left_out),
    )


def worth_explaining(queries: Sequence[QueryState]) -> tuple[QueryId, ...]:
    """The queries whose reasons say the most: those without a plan, then the dearest."""

    def order(state: QueryState) -> tuple[bool, float, QueryId]:
        return (state.plan is not None, -(state.plan.cost_per_h if state.plan is not None else 0.0), state.query.id)

    return tuple(state.query.id for state in sorted(queries, key=order)[:MAX_EXPLAINED])


def worth_offering(devices: Sequence[DeviceState], queries: Sequence[QueryState]) -> tuple[DeviceState, ...]:
    """One device of each class and site, those sites first whose queries lack a plan."""
    sites = {state.device.id: state.device.site for state in devices}
    lacking = {
        sites[state.query.source_device_id]
        for state in queries
        if state.plan is None and state.query.source_device_id in sites
    }
    kinds: dict[tuple[DeviceClass, SiteId], DeviceState] = {}
    for state in sorted(devices, key=lambda one: one.device.id):
        if state.connected and not state.cordoned:
            kinds.setdefault((state.device.device_class, state.device.site), state)
    ordered = sorted(kinds.values(), key=lambda one: (one.device.site not in lacking, one.device.id))
    return tuple(ordered[:MAX_OFFERS])


def plan_changes(accounts: Sequence[Account]) -> tuple[PlanChange, ...]:
    """When queries got other plans than they had, newest first; other figures of the same plan are no change."""
    found: list[PlanChange] = []
    last: dict[QueryId, Plan] = {}
    for account in sorted(accounts, key=lambda one: (one.created_at, one.generation)):
        before = last.get(account.query_id)
        if before is None or _essence(before) != _essence(account.plan):
            found.append(
                PlanChange(
                    query_id=account.query_id,
                    generation=account.generation,
                    at=account.created_at,
                    before=before,
                    after=account.plan,
                )
            )
        last[account.query_id] = account.plan
    return tuple(reversed(found))


def _essence(plan: Plan) -> tuple[object, ...]:
    """What is run of a plan, and where."""
    placed = sorted((one.operator_id, one.device_id, one.replicas, one.cores, one.batch) for one in plan.operators)
    return (sorted(plan.configuration.items()), placed)
