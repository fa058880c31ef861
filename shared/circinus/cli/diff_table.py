"""Two selections side by side, as tables: figures, queries, devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from circinus.cli.output import amount, lines, table
from circinus.model.pipeline import knobs_text
from circinus.model.plan import Plan
from circinus.model.plan_diff import Change, DeviceDiff, PlanDiff, QueryDiff

if TYPE_CHECKING:
    from rich.console import RenderableType


def diff_view(diff: PlanDiff) -> RenderableType:
    """What changes: in all, by query, by device. What stays as it is is only counted."""
    parts: list[RenderableType | str] = [_figures(diff), ""]
    if diff.changes:
        rows = [_query_row(each) for each in diff.changes]
        parts += [table(("QUERY", "CHANGE", "BEFORE", "AFTER", "COST/h", "REASON"), rows), ""]
    waiting = [each for each in diff.queries if each.change is Change.WAITING]
    if waiting:
        parts += [table(("STILL UNPLACED", "REASON"), [(each.query_id, each.reason) for each in waiting]), ""]
    devices = [each for each in diff.devices if each.start or each.stop or _costs(each)]
    if devices:
        columns = ("DEVICE", "START", "STOP", "KEEP", "CORES", "COST/h")
        parts += [table(columns, [_device_row(each) for each in devices], right=("START", "STOP", "KEEP")), ""]
    same = sum(each.change is Change.UNCHANGED for each in diff.queries)
    parts.append(
        f"{len(diff.changes):,} of {len(diff.queries):,} queries change, {same:,} stay as they are; "
        f"replicas: {sum(each.start for each in diff.devices):,} start, "
        f"{sum(each.stop for each in diff.devices):,} stop, {sum(each.keep for each in diff.devices):,} stay"
    )
    return lines(*parts)


def _figures(diff: PlanDiff) -> RenderableType:
    before, after = diff.before, diff.after
    rows: list[tuple[str, str, str, str]] = [
        ("queries placed", str(before.plans), str(after.plans), _step(before.plans, after.plans)),
        ("unplaced", str(before.unplaced), str(after.unplaced), _step(before.unplaced, after.unplaced)),
    ]
    figures = [
        ("goodput/s", before.goodput_per_s, after.goodput_per_s),
        ("  of at most", before.goodput_bound_per_s, after.goodput_bound_per_s),
        ("provisional/s", before.provisional_per_s, after.provisional_per_s),
        ("cost/h", before.cost_per_h, after.cost_per_h),
        ("  of at least", before.cost_bound_per_h, after.cost_bound_per_h),
    ]
    rows += [
        (name, amount(old, 4), amount(new, 4), _step(old, new))
        for name, old, new in figures
        if name != "provisional/s" or old or new
    ]
    rows.append(("solver", before.solver_status, after.solver_status, ""))
    return table(("", "BEFORE", "AFTER", "CHANGE"), rows)


def _step(old: float, new: float) -> str:
    change = new - old
    if abs(change) <= 1e-9 * max(abs(old), abs(new)):
        return "-"
    return f"{'+' if change > 0 else '-'}{amount(abs(change))}"


def _query_row(query: QueryDiff) -> tuple[str, ...]:
    change = query.change.value
    both = query.before is not None and query.after is not None
    if query.change is Change.MOVED and both and _configuration(query.before) != _configuration(query.after):
        change += ", reconfigured"
    elif query.change is Change.RESIZED:
        return (query.query_id, change, _sizes(query.before), _sizes(query.after), _cost(query), query.reason)
    knobs = query.change in (Change.PLACED, Change.RECONFIGURED) or change.endswith("reconfigured")
    before, after = (_where(plan, knobs=knobs) for plan in (query.before, query.after))
    return (query.query_id, change, before, after, _cost(query), query.reason)


def _configuration(plan: Plan | None) -> dict[str, object]:
    return dict(plan.configuration) if plan is not None else {}


def _where(plan: Plan | None, *, knobs: bool) -> str:
    if plan is None:
        return "-"
    devices = ", ".join(
        f"{part.operator_id} on {part.device_id}" + (f" ({part.share_ratio:.0%})" if part.share_ratio < 1.0 else "")
        for part in plan.operators
    )
    return f"{devices}; {knobs_text(plan.configuration)}" if knobs and plan.configuration else devices


def _sizes(plan: Plan | None) -> str:
    if plan is None:
        return "-"
    return ", ".join(
        f"{part.operator_id} {part.replicas} × {part.cores:g} on {part.device_id}"
        + (f", batch {part.batch}" if part.batch > 1 else "")
        + (f" ({part.share_ratio:.0%})" if part.share_ratio < 1.0 else "")
        for part in plan.operators
    )


def _cost(query: QueryDiff) -> str:
    return _pair(query.cost_before_per_h, query.cost_after_per_h)


def _pair(old: float, new: float) -> str:
    before, after = amount(old), amount(new)
    return before if before == after else f"{before} → {after}"


def _costs(device: DeviceDiff) -> bool:
    return _step(device.cost_before_per_h, device.cost_after_per_h) != "-"


def _device_row(device: DeviceDiff) -> tuple[str, ...]:
    return (
        device.device_id,
        str(device.start),
        str(device.stop),
        str(device.keep),
        _pair(device.cores_before, device.cores_after),
        _pair(device.cost_before_per_h, device.cost_after_per_h),
    )
