"""What drift found, as a document in the store's database."""

from __future__ import annotations

import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from circinus.model.query import QueryId
from cloud_planner.core.drift_terms import Finding, Kind
from cloud_planner.core.revisions import LinkRevision, Revisions
from cloud_planner.store.port import DriftRecord

if TYPE_CHECKING:
    import aiosqlite


class SqliteDrift(ABC):
    """Drift in a store's database."""

    _connection: aiosqlite.Connection

    @abstractmethod
    def _transaction(self) -> AbstractAsyncContextManager[None]: ...

    @abstractmethod
    async def _read(self, statement: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]: ...

    async def put_drift(self, record: DriftRecord) -> None:
        """Keeps what was found, in place of what was kept before."""
        text = json.dumps(_document(record), sort_keys=True)
        async with self._transaction():
            await self._connection.execute(
                "INSERT INTO drift VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET document = excluded.document", (text,)
            )

    async def drift(self) -> DriftRecord | None:
        """What was found; None: nothing yet."""
        rows = await self._read("SELECT document FROM drift")
        return _record(json.loads(rows[0][0])) if rows else None


def _document(record: DriftRecord) -> dict[str, Any]:
    revisions = record.revisions
    return {
        "rates": sorted(revisions.rate_per_s.items()),
        "services": [[list(place), ratio] for place, ratio in sorted(revisions.service_ratio.items())],
        "accuracies": [[list(place), shift] for place, shift in sorted(revisions.accuracy_shift.items())],
        "links": [
            [list(place), link.bandwidth_bit_per_s, link.rtt_ms] for place, link in sorted(revisions.links.items())
        ],
        "findings": [
            {
                "kind": finding.kind.value,
                "place": finding.place if isinstance(finding.place, str) else list(finding.place),
                "subject": finding.subject,
                "stated": finding.stated,
                "before": finding.before,
                "after": finding.after,
                "since_s": finding.since_s,
                "at_s": finding.at_s,
                "evidence": finding.evidence,
                "returned": finding.returned,
                "at": at.timestamp(),
                "queries": list(query_ids),
            }
            for finding, at, query_ids in record.findings
        ],
    }


def _record(document: dict[str, Any]) -> DriftRecord:
    return DriftRecord(
        revisions=Revisions(
            rate_per_s=dict(document["rates"]),
            service_ratio={_three(place): ratio for place, ratio in document["services"]},
            accuracy_shift={_three(place): shift for place, shift in document["accuracies"]},
            links={
                (place[0], place[1]): LinkRevision(bandwidth_bit_per_s=bandwidth, rtt_ms=rtt_ms)
                for place, bandwidth, rtt_ms in document["links"]
            },
        ),
        findings=tuple(
            (
                Finding(
                    kind=Kind(one["kind"]),
                    place=one["place"] if isinstance(one["place"], str) else tuple(one["place"]),
                    subject=one["subject"],
                    stated=one["stated"],
                    before=one["before"],
                    after=one["after"],
                    since_s=one["since_s"],
                    at_s=one["at_s"],
                    evidence=one["evidence"],
                    returned=one["returned"],
                ),
                datetime.fromtimestamp(one["at"], UTC),
                tuple(QueryId(query_id) for query_id in one["queries"]),
            )
            for one in document["findings"]
        ),
    )


def _three(place: Sequence[str]) -> Any:
    return (place[0], place[1], place[2])
