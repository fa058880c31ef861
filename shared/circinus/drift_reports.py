"""What was found to be otherwise than stated, as a planner tells it: values and words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from circinus.model.query import QueryId
from circinus.v1 import planner_pb2

_KINDS = {"rate": "rate", "service_time": "service time", "accuracy": "accuracy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftFinding:
    """A figure that is another one since a moment. ``query_ids``: those whose plans it bears on.

    Rates are in items a second, service times factors on what was profiled, accuracies what is added to the measured.
    ``evidence`` is the natural logarithm of the odds against nothing having changed.
    """

    kind: str
    subject: str
    stated: float
    before: float
    after: float
    found_at: datetime
    began_before_s: float
    evidence: float
    returned: bool
    query_ids: tuple[QueryId, ...]


def findings_from_messages(messages: Iterable[planner_pb2.DriftFinding]) -> tuple[DriftFinding, ...]:
    """The findings in messages."""
    return tuple(
        DriftFinding(
            kind=message.kind,
            subject=message.subject,
            stated=message.stated,
            before=message.before,
            after=message.after,
            found_at=message.found_at.ToDatetime(UTC),
            began_before_s=message.began_before_s,
            evidence=message.evidence,
            returned=message.returned,
            query_ids=tuple(QueryId(query_id) for query_id in message.query_ids),
        )
        for message in messages
    )


def finding_text(finding: DriftFinding) -> str:
    """A finding on one line."""
    what = f"{_KINDS.get(finding.kind, finding.kind)} of {finding.subject}"
    match finding.kind:
        case "rate":
            change = f"{finding.before:.4g} → {finding.after:.4g} items/s"
        case "service_time":
            change = f"{finding.before:.3g} → {finding.after:.3g} times the profiled"
        case _:
            change = f"{finding.before:+.3g} → {finding.after:+.3g} against the measured"
    stated = ", as stated again" if finding.returned else ""
    return f"{finding.found_at.isoformat(timespec='seconds')} {what}: {change}{stated}"
