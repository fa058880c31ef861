"""A fleet of any size for `circinus top`, in memory: lines are sorted, filtered and cut as the planner does."""

import asyncio
from datetime import UTC, datetime, timedelta

from circinus.burn_rate import Burning
from circinus.errors import Unreachable
from circinus.event_calls import PlannerEvent
from circinus.line_calls import DeviceLine, DeviceLines, QueryLine, QueryLines, Wanted
from circinus.model.device import Tier
from circinus.model.plan import Interval, OperatorPlan, Plan
from circinus.model.query import Query, Slo
from circinus.reports import PlannerStatus, QueryPhase, QueryState
from circinus.top.picture import Detail, Picture, Wants

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def device_line(number=0, **changes):
    values = {
        "device_id": f"camera-{number:04}",
        "site": f"shop-{number // 10}",
        "tier": Tier.EDGE,
        "connected": True,
        "cordoned": False,
        "draining": False,
        "leaving": False,
        "cores": 4.0,
        "cores_planned": float(number % 5),
        "cores_seen": 0.5,
        "memory_bytes": 8 << 30,
        "memory_planned_bytes": 2 << 30,
        "replicas": 2,
        "runs": (f"q-{number:05}/read", f"q-{number:05}/source"),
        "price_per_h": 0.02,
        "generation": 41,
        "last_seen_at": NOW - timedelta(seconds=90),
        "trouble": "",
    }
    return DeviceLine(**(values | changes))


def query_line(number=0, **changes):
    values = {
        "query_id": f"q-{number:05}",
        "pipeline_id": "documents",
        "content": "clean",
        "source_device_id": f"camera-{number:04}",
        "phase": QueryPhase.PLACED,
        "serving": True,
        "provisional": False,
        "reason": "",
        "rate_per_s": 2.0,
        "weight": 1.0,
        "planned_goodput_per_s": 1.8,
        "goodput_per_s": 1.75,
        "items": 600,
        "attained_ratio": 0.98,
        "wanted_ratio": 0.95,
        "burn_ratio": (number % 100) / 50,
        "burn_hour_ratio": 0.4,
        "budget_left_ratio": 0.6,
        "burning": Burning.KEPT,
        "latency_bound_ms": 500.0,
        "latency_planned_ms": 412.0,
        "latency_ms": 431.0,
        "accuracy_bound_ratio": 0.9,
        "accuracy_planned_ratio": 0.93,
        "accuracy_ratio": 0.92,
        "cost_per_h": 0.03,
        "slo_probability_ratio": 0.98,
        "devices": (f"camera-{number:04}", "vm-1"),
        "generation": 41,
    }
    return QueryLine(**(values | changes))


def a_state(query_id="q-00000", *, plan=True, reason=""):
    placed = (("cut", "camera-0000", 1.0), ("read", "vm-1", 0.6), ("read", "vm-2", 0.4))
    operators = tuple(
        OperatorPlan(
            operator_id=name,
            device_id=device,
            replicas=1,
            share_ratio=share,
            cores=0.5,
            accelerator_slots=0,
            accelerator_memory_bytes=0,
            memory_bytes=2**20,
            batch=1,
            service_ms=31.4,
        )
        for name, device, share in placed
    )
    return QueryState(
        query=Query(
            id=query_id,
            pipeline_id="documents",
            content="clean",
            source_device_id="camera-0000",
            rate_per_s=2.0,
            slo=Slo(latency_ms=500.0, accuracy_ratio=0.9),
        ),
        phase=QueryPhase.PLACED if plan else QueryPhase.UNPLACED,
        reason=reason,
        plan=Plan(
            query_id=query_id,
            configuration={"cut.length": 2},
            operators=operators,
            latency_ms=Interval(value=412.0, low=390.0, high=450.0),
            latency_p50_ms=300.0,
            accuracy_ratio=Interval(value=0.93, low=0.91, high=0.95),
            cost_per_h=0.03,
            slo_probability_ratio=0.98,
            item_goodput_per_s=1.8,
            runner_up="all on vm-2",
            runner_up_cost_per_h=0.05,
        )
        if plan
        else None,
        generation=41 if plan else 0,
        serving=plan,
    )


def a_status(**changes):
    values = {
        "version": "0.1.0",
        "epoch": 1,
        "generation": 41,
        "activity": "idle",
        "devices_connected": 3,
        "devices_known": 3,
        "queries_placed": 5,
        "queries_unplaced": 0,
        "queries_pending": 0,
        "started_at": NOW,
    }
    return PlannerStatus(**(values | changes))


def happened(cursor, name="agent_connected", **fields):
    return PlannerEvent(
        cursor=cursor, at=NOW, kind="device", name=name, fields=fields or {"device": "camera-0000"}, warning=False
    )


def cut(lines, wanted: Wanted, name, words):
    found = [one for one in lines if any(wanted.text in word for word in words(one))]
    found.sort(key=name)
    if wanted.sort not in ("", "state"):
        found.sort(key=lambda one: getattr(one, wanted.sort) or 0, reverse=wanted.descending)
    return tuple(found[wanted.offset : wanted.offset + wanted.limit]), len(found)


class FakeFleet:
    """A planner. ``away``: why it can't be asked; empty: it can. ``asked``: all that was wanted."""

    def __init__(self, devices=3, queries=5):
        self.devices = [device_line(number) for number in range(devices)]
        self.queries = [query_line(number) for number in range(queries)]
        self.states = {"q-00000": a_state()}
        self.away = ""
        self.asked = []
        self.at = NOW
        self.happened = asyncio.Queue()
        self.followed_after = []

    def now_picture(self, wants=None):
        wants = wants or Wants()
        devices, matching = cut(
            self.devices, wants.devices, lambda one: one.device_id, lambda one: (one.device_id, *one.runs)
        )
        queries, found = cut(
            self.queries, wants.queries, lambda one: one.query_id, lambda one: (one.query_id, *one.devices)
        )
        detail = None
        if wants.query_id:
            line = next((one for one in self.queries if one.query_id == wants.query_id), None)
            detail = Detail(
                query_id=wants.query_id,
                state=self.states.get(wants.query_id),
                line=line,
                account=None,
                inputs={"cut": ("source",), "read": ("cut",)},
            )
        return Picture(
            at=self.at,
            planner="10.0.0.1:7400",
            status=a_status(devices_known=len(self.devices), queries_placed=len(self.queries)),
            wants=wants,
            devices=DeviceLines(lines=devices, matching=matching, total=len(self.devices)),
            queries=QueryLines(
                lines=queries,
                matching=found,
                total=len(self.queries),
                planned_goodput_per_s=9.0,
                goodput_per_s=8.75,
                cost_per_h=0.15,
                burning=1,
            ),
            detail=detail,
        )

    async def picture(self, wants):
        self.asked.append(wants)
        if self.away:
            raise Unreachable(self.away)
        return self.now_picture(wants)

    async def events(self, *, after, limit, follow):
        self.followed_after.append(after)
        while True:
            one = await self.happened.get()
            if one is None:
                raise Unreachable("the planner ended the call")
            yield one


class FakeClock:
    """A clock that stands still until it is moved; sleeping only lets others run."""

    def __init__(self):
        self.at = NOW

    def now(self):
        return self.at

    def monotonic_s(self):
        return self.at.timestamp()

    async def sleep(self, seconds):
        await asyncio.sleep(0.01)
