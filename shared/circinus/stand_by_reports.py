"""What a planner tells of stand-bys, as values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from circinus.model.device import DeviceId
from circinus.model.pipeline import Configuration
from circinus.model.plan import Interval
from circinus.model.query import QueryId
from circinus.v1 import control_pb2, planner_pb2
from circinus.wire import stand_by_from_message


@dataclass(frozen=True, slots=True, kw_only=True)
class StandByEpisode:
    """A time in which a query was served by its stand-by; ``end`` None: it goes on, as far as the planner was told."""

    query_id: QueryId
    generation: int
    start: datetime
    end: datetime | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StandByState:
    """A query's stand-by as predicted, or why it has none.

    All empty: it needs none, since its plan is all on the source device. ``needs``: while one of these devices can't be
    reached, the stand-by serves.
    """

    query_id: QueryId
    configuration: Configuration | None = None
    latency_ms: Interval | None = None
    accuracy_ratio: Interval | None = None
    cores: float = 0.0
    memory_bytes: int = 0
    needs: tuple[DeviceId, ...] = ()
    reason: str = ""
    episodes: tuple[StandByEpisode, ...] = ()


def episodes_from_messages(messages: Iterable[control_pb2.StandByEpisode]) -> tuple[StandByEpisode, ...]:
    """The episodes in messages."""
    return tuple(
        StandByEpisode(
            query_id=QueryId(message.query_id),
            generation=message.generation,
            start=message.start.ToDatetime(tzinfo=UTC),
            end=message.end.ToDatetime(tzinfo=UTC) if message.HasField("end") else None,
            reason=message.reason,
        )
        for message in messages
    )


def stand_by_state_from_message(message: planner_pb2.StandByState) -> StandByState:
    """The state in a message.

    Raises:
        InvalidInput: the stand-by is bad.
    """
    query_id, episodes = QueryId(message.query_id), episodes_from_messages(message.episodes)
    if not message.HasField("stand_by"):
        return StandByState(query_id=query_id, reason=message.reason, episodes=episodes)
    one = stand_by_from_message(message.stand_by)
    return StandByState(
        query_id=query_id,
        configuration=one.configuration,
        latency_ms=one.latency_ms,
        accuracy_ratio=one.accuracy_ratio,
        cores=sum(replicas.replicas * replicas.cores for replicas in one.replica_sets),
        memory_bytes=sum(replicas.replicas * replicas.memory_bytes for replicas in one.replica_sets),
        needs=one.needs,
        episodes=episodes,
    )
