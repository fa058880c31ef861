"""PURE. The steps of a traced item, as spans: which name and attributes each has. Called for sampled items only."""

from __future__ import annotations

from dataclasses import replace

from circinus.model.device import DeviceId
from edge_agent.dataplane.book import Ended, Ending
from edge_agent.dataplane.item import Input, Outcome, Verdict, Work
from edge_agent.tracing.context import Attribute, Trace
from edge_agent.tracing.tracer import Tracer

#: No item says more of what went wrong.
_MAX_CHARS = 200


def hop_of(one: Input, peer: DeviceId, tracer: Tracer | None, now_s: float) -> Input:
    """An item that came from a peer: from the end of its last step there, by the peer's clock, until now."""
    if one.trace is None or tracer is None:
        return one
    tracer.hop(peer, one.trace.since_ns, now_s)
    attributes = {**_of(one), "circinus.peer": peer, "circinus.bytes": len(one.payload)}
    return replace(one, trace=tracer.adopt(one.trace).arrived(f"hop {one.operator_id}", now_s, attributes))


def joined(work: Work, since_s: float, now_s: float) -> Work:
    """An item all of whose inputs are there: since the first of them came."""
    if work.trace is None:
        return work
    attributes = {**_of(work), "circinus.inputs": len(work.inputs) + len(work.gathered)}
    return replace(work, trace=work.trace.span(f"join {work.operator_id}", since_s, now_s, attributes))


def queued(work: Work, since_s: float, now_s: float) -> Work:
    """An item that a replica has now: it waited since then."""
    if work.trace is None:
        return work
    return replace(work, trace=work.trace.span(f"queue {work.operator_id}", since_s, now_s, _of(work)))


def ran(
    work: Work, began_s: float, now_s: float, *, batch: int = 1, cpu_ms: float | None = None, error: str = ""
) -> Work:
    """An item that an operator is through with; ``error`` empty: well."""
    if work.trace is None:
        return work
    attributes = _of(work)
    attributes["circinus.batch"] = batch
    if cpu_ms is not None:
        attributes["circinus.cpu_ms"] = cpu_ms
    step = work.trace.span(f"operator {work.operator_id}", began_s, now_s, attributes, error=error[:_MAX_CHARS])
    return replace(work, trace=step)


def outcome_recorded(outcome: Outcome, tracer: Tracer | None, now_s: float) -> None:
    """An outcome that is back at the item's source: since the last step, wherever that was."""
    trace = outcome.trace if outcome.trace is None or tracer is None else tracer.adopt(outcome.trace)
    if trace is None:
        return
    attributes: dict[str, Attribute] = {
        "circinus.query": outcome.query_id,
        "circinus.operator": outcome.operator_id,
        "circinus.verdict": outcome.verdict.value,
    }
    if outcome.cause:
        attributes["circinus.cause"] = outcome.cause
    trace.arrived("outcome", now_s, attributes, error=_error(outcome))


def item_ended(ended: Ended, now_s: float) -> None:
    """The whole of an item: since it was emitted."""
    emission = ended.emission
    trace: Trace | None = emission.trace
    if trace is None:
        return
    attributes: dict[str, Attribute] = {
        "circinus.query": emission.query_id,
        "circinus.generation": emission.generation.number,
        "circinus.item": emission.request_id,
        "circinus.ending": ended.ending.value,
        "circinus.deadline_ms": emission.deadline_ms,
        "circinus.excess": emission.excess,
    }
    if ended.cause:
        attributes["circinus.cause"] = ended.cause
    lost = ended.ending in (Ending.DROPPED, Ending.FAILED)
    trace.end(
        f"item {emission.query_id}",
        emission.emitted_at_s,
        now_s,
        attributes,
        error=f"{ended.cause}: {ended.detail}"[:_MAX_CHARS] if lost else "",
        # No source's process made it: a caller sent it.
        served=not emission.source_key,
    )


def operator_served(work: Work, began_s: float, now_s: float) -> None:
    """A caller's item for one operator alone is over."""
    if work.trace is not None:
        work.trace.end(f"call {work.operator_id}", began_s, now_s, _of(work), error="", served=True)


def _of(one: Input | Work) -> dict[str, Attribute]:
    found: dict[str, Attribute] = {
        "circinus.query": one.query_id,
        "circinus.operator": one.operator_id,
        "circinus.generation": one.generation.number,
    }
    if one.parts > 1:
        found["circinus.part"] = one.part
    return found


def _error(outcome: Outcome) -> str:
    if outcome.verdict is Verdict.ANSWERED:
        return ""
    return f"{outcome.cause}: {outcome.detail}"[:_MAX_CHARS]


__all__ = ["hop_of", "item_ended", "joined", "operator_served", "outcome_recorded", "queued", "ran"]
