"""One query: what was promised and seen of it, and its DAG with where each operator runs and what it takes. PURE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from circinus.accounts import OperatorAccount
from circinus.line_calls import QueryLine
from circinus.model.pipeline import SOURCE, OperatorId, knobs_of
from circinus.model.plan import Interval, OperatorPlan, Plan
from circinus.model.query import Query
from circinus.reports import QueryState
from circinus.top.columns import attained_cell, burn_cell, latency_cell, query_state
from circinus.top.picture import Detail
from circinus.top.wording import Line, Span, Tone, amount, clean, fitted, padded, percent, words

#: Title, width and the least width of the screen that it is shown on.
_COLUMNS = (
    ("OPERATOR", 18, 0),
    ("WHERE", 14, 0),
    ("CORES", 10, 0),
    ("PLANNED ms", 14, 0),
    ("SEEN ms", 7, 0),
    ("SEEN p95", 8, 0),
    ("WAIT PLAN/SEEN", 14, 100),
    ("ITEMS", 8, 110),
    ("KNOBS", 20, 140),
)
_RIGHT = frozenset({"PLANNED ms", "SEEN ms", "SEEN p95", "WAIT PLAN/SEEN", "ITEMS"})
#: So much longer than planned, above its interval, is worth a look.
_SLOW_RATIO = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the DAG: an operator, how deep it is below the source, and what it reads beside the line above."""

    operator_id: OperatorId
    depth: int
    reads: tuple[OperatorId, ...]


def steps_of(inputs: Mapping[OperatorId, Sequence[OperatorId]]) -> tuple[Step, ...]:
    """Operators, each below its inputs and deeper than the deepest of them, one branch after the other.

    ``inputs`` come in an order in which each operator comes after its inputs.
    """
    depths: dict[OperatorId, int] = {SOURCE: 0}
    for operator_id, reads in inputs.items():
        depths[operator_id] = 1 + max((depths.get(one, 0) for one in reads), default=0)
    found: list[Step] = []
    left = list(inputs)
    done = {SOURCE}
    above = SOURCE
    while left:
        ready = [one for one in left if all(each in done or each not in inputs for each in inputs[one])]
        # Down one branch first, then the next.
        chosen = next((one for one in ready if above in inputs[one]), (ready or left)[0])
        reads = tuple(inputs[chosen])
        found.append(Step(operator_id=chosen, depth=depths[chosen], reads=() if reads == (above,) else reads))
        left.remove(chosen)
        done.add(chosen)
        above = chosen
    return tuple(found)


def detail_lines(detail: Detail | None, query_id: str, width: int) -> list[Line]:
    """What the page of one query says."""
    if not query_id:
        return [(Span("no query is chosen: open one of the list of queries (2) with Enter", Tone.DIM),)]
    if detail is None or detail.query_id != query_id:
        return [(Span(f"asking for {clean(query_id)} ...", Tone.DIM),)]
    state = detail.state
    if state is None:
        return [(Span(f"there is no query {clean(query_id)} (any more)", Tone.WARN),)]
    lines = [*_head(state, detail.line, width), ()]
    if state.plan is None:
        text = state.reason or "it has no plan yet"
        lines += [(Span(one, Tone.WARN),) for one in words(clean(text), width)]
        return [*lines, (Span(f"circinus explain {clean(query_id)} says what it would take", Tone.DIM),)]
    lines += _operators(state, state.plan, detail, width)
    lines += [(), *((Span(one, Tone.DIM),) for one in words(clean(_why(state.plan)), width))]
    return [fitted(line, width) for line in lines]


def _why(plan: Plan) -> str:
    if not plan.runner_up:
        return "no other placement meets its SLO"
    cost = f" at {amount(plan.runner_up_cost_per_h)}/h" if plan.runner_up_cost_per_h is not None else ""
    return f"next best: {plan.runner_up}{cost}"


def slo_words(query: Query) -> str:
    """A query's bounds on one line."""
    slo, found = query.slo, []
    if slo.latency_ms is not None:
        found.append(f"p{slo.percentile_ratio * 100:g} ≤ {amount(slo.latency_ms)} ms")
    if slo.accuracy_ratio is not None:
        found.append(f"accuracy ≥ {slo.accuracy_ratio:g}")
    if slo.cost_per_h is not None:
        found.append(f"cost ≤ {slo.cost_per_h:g}/h")
    return ", ".join(found) or "no bounds"


def _head(state: QueryState, line: QueryLine | None, width: int) -> list[Line]:
    query, plan = state.query, state.plan
    word = query_state(line) if line is not None else ("serving" if state.serving else state.phase.value)
    lines: list[Line] = [
        (
            Span(clean(query.id), Tone.BOLD),
            Span(f"  {word}, generation {state.generation or '-'}: {clean(query.pipeline_id)}/{clean(query.content)} "),
            Span(f"of {clean(query.source_device_id)}, {amount(query.rate_per_s)}/s", Tone.DIM),
        ),
        (Span("SLO       "), Span(slo_words(query), Tone.BOLD)),
    ]
    if line is not None:
        lines.append(
            (
                Span("goodput   "),
                Span(f"{amount(line.goodput_per_s)} of {amount(line.planned_goodput_per_s)}/s"),
                Span("  in time "),
                attained_cell(line),
                Span(f" of {line.wanted_ratio * 100:g}%  burn "),
                burn_cell(line.burn_ratio),
                Span(", 1 h "),
                burn_cell(line.burn_hour_ratio),
                Span(f"  budget {percent(line.budget_left_ratio)}"),
            )
        )
    if plan is not None:
        seen: tuple[Span, ...] = (Span("   seen "), latency_cell(line)) if line is not None else ()
        lines.append(
            (
                Span(f"p{query.slo.percentile_ratio * 100:g} ms".ljust(10)),
                Span(f"planned {_interval(plan.latency_ms)}"),
                *seen,
                Span(f"   P(SLO) {plan.slo_probability_ratio:.3f}   cost {amount(plan.cost_per_h)}/h"),
            )
        )
        accuracy = f"   seen {amount(line.accuracy_ratio)}" if line is not None else ""
        lines.append(
            (
                Span("agreement " if state.agreement else "accuracy  "),
                Span(f"planned {_interval(plan.accuracy_ratio)}{accuracy}"),
            )
        )
    return [fitted(one, width) for one in lines]


def _interval(interval: Interval) -> str:
    value, low, high = (amount(figure) for figure in (interval.value, interval.low, interval.high))
    return value if low == high else f"{value} ({low}–{high})"


def _operators(state: QueryState, plan: Plan, detail: Detail, width: int) -> list[Line]:
    columns = [(title, size) for title, size, least in _COLUMNS if width >= least]
    used = sum(size for _, size in columns) + len(columns) - 1
    # What room is left makes names longer.
    columns = [
        (title, size + max(0, width - used) // 2 if title in ("OPERATOR", "WHERE") else size) for title, size in columns
    ]
    heading = " ".join(padded(title, size, right=title in _RIGHT) for title, size in columns)
    lines: list[Line] = [(Span(padded(heading, width), Tone.HEADING),)]
    query = state.query
    lines.append(_row(columns, {"OPERATOR": Span("source"), "WHERE": Span(clean(query.source_device_id))}))
    placed: dict[OperatorId, list[OperatorPlan]] = {}
    for one in plan.operators:
        placed.setdefault(one.operator_id, []).append(one)
    seen = {(one.operator_id, one.device_id): one for one in (detail.account.operators if detail.account else ())}
    inputs = {name: reads for name, reads in detail.inputs.items() if name in placed}
    steps = steps_of(inputs) + tuple(Step(operator_id=one, depth=1, reads=()) for one in placed if one not in inputs)
    for step in steps:
        for number, one in enumerate(placed[step.operator_id]):
            name = "  " * (step.depth - 1) + f"└ {clean(step.operator_id)}" if not number else ""
            knobs = " ".join(f"{key}={value}" for key, value in knobs_of(plan.configuration, one.operator_id).items())
            cells = _cells(one, seen.get((one.operator_id, one.device_id)))
            lines.append(_row(columns, {**cells, "OPERATOR": Span(name), "KNOBS": Span(clean(knobs), Tone.DIM)}))
        if step.reads and step.reads != (SOURCE,):
            reads = "  " * step.depth + f"reads {', '.join(map(clean, step.reads))}"
            lines.append((Span(reads, Tone.DIM),))
    return lines


def _cells(one: OperatorPlan, seen: OperatorAccount | None) -> dict[str, Span]:
    where = clean(one.device_id) + (f" {one.share_ratio:.0%}" if one.share_ratio < 1.0 else "")
    cores = f"{one.replicas} × {one.cores:g}" + (f"+{one.accelerator_slots}a" if one.accelerator_slots else "")
    found = {"WHERE": Span(where), "CORES": Span(cores), "PLANNED ms": Span(amount(one.service_ms))}
    if seen is None:
        return found
    found["PLANNED ms"] = Span(_interval(seen.service_ms))
    if seen.service_seen_ms is not None:
        slow = seen.service_seen_ms > max(seen.service_ms.high, _SLOW_RATIO * seen.service_ms.value)
        found["SEEN ms"] = Span(amount(seen.service_seen_ms), Tone.WARN if slow else Tone.NONE)
    found["SEEN p95"] = Span(amount(seen.service_seen_p95_ms))
    found["WAIT PLAN/SEEN"] = Span(f"{amount(seen.queue_ms)}/{amount(seen.queue_seen_ms)}")
    found["ITEMS"] = Span(f"{seen.items:,}")
    return found


def _row(columns: Sequence[tuple[str, int]], cells: Mapping[str, Span]) -> Line:
    spans: list[Span] = []
    for title, size in columns:
        cell = cells.get(title, Span(""))
        spans += [Span(padded(cell.text, size, right=title in _RIGHT), cell.tone), Span(" ")]
    return tuple(spans)


__all__ = ["Step", "detail_lines", "slo_words", "steps_of"]
