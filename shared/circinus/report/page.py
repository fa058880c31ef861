"""Facts -> one HTML page: no script, nothing from elsewhere, readable in the dark, on a phone and on paper. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite

from circinus.cli.output import amount
from circinus.cli.plan_table import interval_text, percentile_name
from circinus.drift_reports import finding_text
from circinus.gap_reports import gaps_summary
from circinus.model.pipeline import knobs_text
from circinus.model.plan import Certainty, Plan, per_1000_items
from circinus.model.query import Query
from circinus.report.attainment import attainment
from circinus.report.facts import Facts, PlanChange, plan_changes
from circinus.report.marks import Html, Part, Spread, element, join, reliability, spreads, table
from circinus.report.style import STYLE
from circinus.reports import LedgerEntry, QueryState

#: Rows of the longest tables; what is left out is said.
MAX_ROWS = 500
MAX_CHANGES = 60
MAX_SPREADS = 25
#: Nothing is loaded and nothing is run, whatever a name in it may try.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(facts: Facts) -> str:
    """The page as text."""
    head = element(
        "head",
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", f"Circinus report of {facts.planner}, {facts.made_at:%Y-%m-%d %H:%M} UTC"),
        element("style", Html(STYLE)),
    )
    parts = (
        _summary(facts),
        _attainment(facts),
        _cost(facts),
        _binding(facts),
        _purchases(facts),
        _changes(facts),
        _calibration(facts),
        _devices(facts),
        _left_out(facts),
    )
    body = element("body", element("main", *(part for part in parts if part is not None)))
    return f'<!DOCTYPE html>\n<html lang="en">{head.markup}{body.markup}</html>\n'


def _section(title: str, *parts: Part) -> Html:
    return element("section", element("h2", title), *parts)


def _says(*parts: Part) -> Html:
    return element("p", *parts)


def _badge(kept: bool | None, yes: str, no: str) -> Html:
    """Kept, not kept, or nothing to tell it by; the word says it, too, not the colour alone."""
    if kept is None:
        return element("span", "not known", class_="badge")
    return element("span", yes if kept else no, class_="badge good" if kept else "badge bad")


def _cut(rows: Sequence[Sequence[Part]], most: int, what: str) -> tuple[Sequence[Sequence[Part]], Html | None]:
    if len(rows) <= most:
        return rows, None
    return rows[:most], _says(f"{len(rows) - most:,} more {what} are not listed.")


def _summary(facts: Facts) -> Html:
    status, selection = facts.status, facts.selection.selection
    slos = {state.query.id: state.query.slo for state in facts.queries}
    judged = [
        found for entry in facts.ledger if entry.query_id in slos and (found := attainment(entry, slos[entry.query_id]))
    ]
    kept = sum(one.kept for one in judged)
    tiles = (
        ("SLO kept", f"{kept:,} of {len(judged):,} queries", "of those with items"),
        (
            "Planned",
            f"{status.queries_placed:,} of {len(facts.queries):,} queries",
            f"{status.queries_unplaced:,} without a plan",
        ),
        (
            "Query goodput",
            f"{amount(selection.goodput_per_s)}/s",
            f"at most {amount(selection.goodput_bound_per_s)}/s is possible (gap {selection.gap_ratio:.1%})",
        ),
        ("Cost", f"{amount(selection.cost_per_h)}/h", f"at least {amount(selection.cost_bound_per_h)}/h"),
        ("Devices", f"{status.devices_connected:,} of {status.devices_known:,}", "connected"),
    )
    shown = (
        element(
            "div",
            element("span", name, class_="name"),
            element("strong", figure),
            element("span", beside, class_="beside"),
            class_="tile",
        )
        for name, figure, beside in tiles
    )
    return element(
        "header",
        element("h1", "Fleet report"),
        _says(
            f"Planner {facts.planner}, version {status.version}, generation {status.epoch}.{status.generation}; "
            f"{status.activity or 'idle'}. Made at {facts.made_at:%Y-%m-%d %H:%M:%S} UTC."
        ),
        element("div", *shown, class_="tiles"),
    )


def _attainment(facts: Facts) -> Html:
    by_id = {entry.query_id: entry for entry in facts.ledger}
    rows = [_attained(state, by_id.get(state.query.id)) for state in facts.queries]
    shown, more = _cut(rows, MAX_ROWS, "queries")
    columns = (
        "Query",
        "SLO",
        "In time",
        "Error budget",
        "Burn",
        "Latency seen ms",
        "Accuracy seen",
        "Items",
        "Not in time",
    )
    return _section(
        "Are the SLOs kept?",
        _says(
            "Burn is how many times as fast as allowed the error budget is spent: above 1 the SLO is not kept. "
            "Items that were dropped, failed or came late count against it."
        ),
        table(columns, shown, caption="SLO attainment by query", numeric=("In time", "Error budget", "Burn", "Items")),
        *([more] if more else []),
    )


def _attained(state: QueryState, entry: LedgerEntry | None) -> tuple[Part, ...]:
    query = state.query
    found = attainment(entry, query.slo) if entry is not None else None
    if entry is None or found is None:
        return (query.id, _slo_text(query), *("-",) * 4, "-", "0", state.reason or "no items yet")
    budget = 1.0 - found.wanted_ratio
    gaps = f"; {gaps_summary(entry.gaps)}" if entry.gaps else ""
    causes = ", ".join(f"{cause} {count:,}" for cause, count in entry.causes.items())
    lost = f"{entry.late:,} late, {entry.dropped:,} dropped, {entry.failed:,} failed"
    return (
        join((query.id, " ", _badge(found.kept, "kept", "not kept"))),
        _slo_text(query),
        f"{found.attained_ratio:.2%}",
        f"{budget:.2%}",
        amount(found.burn_ratio) if isfinite(found.burn_ratio) else "no budget",
        f"p50 {amount(entry.latency_p50_ms)}, p95 {amount(entry.latency_p95_ms)}, p99 {amount(entry.latency_p99_ms)}",
        f"{entry.accuracy_ratio:.3f}" if entry.accuracy_ratio is not None else "-",
        f"{entry.emitted:,}",
        f"{lost}{f' ({causes})' if causes else ''}{gaps}",
    )


def _slo_text(query: Query) -> str:
    slo = query.slo
    parts = [
        f"{percentile_name(slo.percentile_ratio)} {amount(slo.latency_ms)} ms" if slo.latency_ms is not None else "",
        f"accuracy {slo.accuracy_ratio:g}" if slo.accuracy_ratio is not None else "",
        f"cost {amount(slo.cost_per_h)}/h" if slo.cost_per_h is not None else "",
    ]
    return ", ".join(part for part in parts if part) or "none"


def _cost(facts: Facts) -> Html:
    rows: list[tuple[Part, ...]] = []
    for state in facts.queries:
        plan = state.plan
        if plan is None:
            continue
        per_thousand = per_1000_items(plan.cost_per_h, state.query.rate_per_s)
        certified = plan.certainty is Certainty.CERTIFIED
        rows.append(
            (
                join((state.query.id, " ", _badge(certified, "certified", "provisional"))),
                _where(plan),
                knobs_text(plan.configuration),
                interval_text(plan.latency_ms),
                interval_text(plan.accuracy_ratio),
                f"{plan.slo_probability_ratio:.3f}",
                amount(plan.cost_per_h),
                amount(per_thousand),
            )
        )
    shown, more = _cut(rows, MAX_ROWS, "plans")
    selection = facts.selection.selection
    columns = (
        "Query",
        "Where",
        "Configuration",
        "Latency ms (90%)",
        "Accuracy",
        "P(SLO)",
        "Cost/h",
        "Cost/1,000 items",
    )
    return _section(
        "What runs, and what does it cost?",
        _says(
            f"All plans together cost {amount(selection.cost_per_h)} an hour, {amount(selection.traffic_cost_per_h)} "
            f"of it for traffic; no selection with this goodput costs less than {amount(selection.cost_bound_per_h)} "
            f"(gap {selection.cost_gap_ratio:.1%}). Solver: {selection.solver_status}, {facts.selection.solver_s:.2f} s"
            "."
        ),
        table(columns, shown, caption="Plans in force", numeric=("P(SLO)", "Cost/h", "Cost/1,000 items")),
        *([more] if more else []),
    )


def _where(plan: Plan) -> str:
    return ", ".join(
        f"{one.operator_id} {one.replicas} x {one.cores:g} cores on {one.device_id}"
        + (f" ({one.share_ratio:.0%})" if one.share_ratio < 1.0 else "")
        for one in plan.operators
    )


def _binding(facts: Facts) -> Html | None:
    rows: list[tuple[Part, ...]] = []
    for query_id, document in sorted(facts.explained.items()):
        conflict = document.get("conflict")
        if conflict is not None:
            ways = [each["text"] for each in conflict["relaxations"]]
            together = " and ".join(each["text"] for each in conflict["together"])
            cure = " or ".join(ways) or together or "nothing alone would do"
            rows.append((join((query_id, " ", _badge(False, "", "no plan"))), document["why"], cure, "-"))
            continue
        rows += [
            (query_id, document["why"], each["relaxation"]["text"], f"{amount(each['saves_per_h'])}/h")
            for each in document.get("binding", ())
        ]
    if not rows:
        return None
    columns = ("Query", "Why", "What would change it", "Saves")
    return _section(
        "What binds?",
        _says("Limits that alone keep a query from having a plan, or from having a cheaper one."),
        table(columns, rows[:MAX_ROWS], caption="Binding limits", numeric=("Saves",)),
    )


def _purchases(facts: Facts) -> Html | None:
    if not facts.purchases:
        return None
    rows: list[tuple[Part, ...]] = [
        (
            f"one more like {one.like}",
            one.site,
            one.device_class,
            f"{one.gained_per_s:+.3g}/s",
            f"{one.after.plans - one.before.plans:+d}",
            f"{one.after.cost_per_h - one.before.cost_per_h:+.3g}/h",
        )
        for one in facts.purchases
    ]
    helps = [one for one in facts.purchases if one.gained_per_s > 1e-9 or one.saved_per_h > 1e-9]
    best = helps[0] if helps else None
    said = (
        f"Most is gained by one more device like {best.like} at {best.site}: {best.gained_per_s:+.3g}/s of query "
        f"goodput, {-best.saved_per_h:+.3g}/h of cost."
        if best is not None
        else "No single further device like those that are there would gain goodput or lower cost: buy none."
    )
    columns = ("Device", "Site", "Class", "Goodput", "Plans", "Cost")
    return _section(
        "What to buy next?",
        _says(said, " Each line is a whole selection, solved anew with that device."),
        table(columns, rows, caption="One more device", numeric=("Goodput", "Plans", "Cost")),
    )


def _changes(facts: Facts) -> Html:
    found = plan_changes(facts.accounts.accounts)
    rows = [_change(one) for one in found[:MAX_CHANGES]]
    findings = [element("li", finding_text(one)) for one in reversed(facts.status.findings)]
    return _section(
        "What changed?",
        _says(
            f"{len(found):,} plans were promised that differ from the one before; the newest {len(rows):,} are listed."
        ),
        table(("When (UTC)", "Generation", "Query", "Configuration", "Where"), rows, caption="Plan changes"),
        *([element("h3", "What drifted"), element("ul", *findings)] if findings else []),
    )


def _change(one: PlanChange) -> tuple[Part, ...]:
    before = one.before
    return (
        f"{one.at:%Y-%m-%d %H:%M:%S}",
        str(one.generation),
        one.query_id,
        _differs(_knobs(before), _knobs(one.after)),
        _differs(_where(before) if before is not None else "", _where(one.after)),
    )


def _knobs(plan: Plan | None) -> str:
    return knobs_text(plan.configuration) if plan is not None else ""


def _differs(before: str, after: str) -> Part:
    if not before or before == after:
        return after
    return join((element("del", before), " ", element("ins", after)))


def _calibration(facts: Facts) -> Html:
    told = facts.accounts.calibration
    judged = [one for one in facts.accounts.accounts if not one.open]
    lines = [
        Spread(
            name=f"{one.query_id} ({one.generation})",
            low=one.latency_ms.low,
            value=one.latency_ms.value,
            high=one.latency_ms.high,
            seen=one.latency_seen_ms,
        )
        for one in judged[:MAX_SPREADS]
    ]
    if not judged:
        return _section("Are predictions true?", _says("No promise was served long enough to be judged yet."))
    figures: Mapping[str, str] = {
        "promises judged": f"{told.accounts:,}",
        "latency off by (median)": f"{told.latency_error_ratio:.1%}",
        "throughput off by (median)": f"{told.throughput_error_ratio:.1%}",
        "90% intervals that held": f"{told.coverage_ratio:.0%}",
        "half width of an interval (median, of its latency)": f"{told.half_width_ratio:.1%}",
        "Brier score of P(SLO)": f"{told.brier:.3f}",
    }
    points = [(one.promised_ratio, one.met_ratio, one.accounts) for one in told.reliability if one.accounts]
    return _section(
        "Are predictions true?",
        table(("Measure", "Figure"), list(figures.items()), caption="Calibration", numeric=("Figure",)),
        element("h3", "Latency: predicted interval and what was seen"),
        spreads(lines, title="Predicted latency intervals and observed latency by promise", unit="ms"),
        *([element("h3", "P(SLO): promised and met"), reliability(points)] if points else []),
    )


def _devices(facts: Facts) -> Html:
    uses = {one.device_id: one for one in facts.selection.selection.machines}
    rows: list[tuple[Part, ...]] = []
    for state in facts.devices:
        device, use = state.device, uses.get(state.device.id)
        cores = use.cores if use is not None else 0.0
        rows.append(
            (
                join((device.id, " ", _badge(state.connected, "connected", "away"))),
                device.site,
                device.tier,
                device.device_class,
                f"{cores:g} of {device.cores:g}",
                f"{cores / device.cores:.0%}" if device.cores > 0.0 else "-",
                amount(use.cost_per_h if use is not None else 0.0),
                "; ".join((*state.troubles, state.reason, state.why)).strip("; ") or "-",
            )
        )
    shown, more = _cut(rows, MAX_ROWS, "devices")
    columns = ("Device", "Site", "Tier", "Class", "Cores planned", "Used", "Cost/h", "Said")
    return _section(
        "Devices",
        table(
            columns, shown, caption="Devices and what plans take of them", numeric=("Cores planned", "Used", "Cost/h")
        ),
        *([more] if more else []),
    )


def _left_out(facts: Facts) -> Html | None:
    if not facts.left_out:
        return None
    return _section("Not in this report", element("ul", *(element("li", one) for one in facts.left_out)))
