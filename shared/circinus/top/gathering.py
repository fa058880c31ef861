"""Asks a planner for what is on the screen."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Protocol

from circinus.client import Client
from circinus.errors import NotFound
from circinus.event_calls import PlannerEvent
from circinus.model.pipeline import OperatorId, PipelineId
from circinus.top.picture import JUST_ONE, Detail, Picture, Wants


class Source(Protocol):
    """Where pictures and events come from."""

    async def picture(self, wants: Wants) -> Picture:
        """What is known now.

        Raises:
            CircinusError: it can't be asked.
        """

    def events(self, *, after: int, limit: int, follow: bool) -> AsyncIterator[PlannerEvent]:
        """Events after a cursor, then those that come.

        Raises:
            CircinusError: they can't be asked for, or the planner went away.
        """


class PlannerSource:
    """A planner, asked by an open client. What pipelines are made of is asked once for each."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inputs: dict[PipelineId, Mapping[OperatorId, tuple[OperatorId, ...]]] = {}

    async def picture(self, wants: Wants) -> Picture:
        """Three questions, and three more where a query is shown in full."""
        client = self._client
        status = await client.status()
        devices = await client.device_lines(wants.devices)
        queries = await client.query_lines(wants.queries)
        detail = await self._detail(wants.query_id) if wants.query_id else None
        return Picture(
            at=datetime.now(UTC),
            planner=client.address,
            status=status,
            wants=wants,
            devices=devices,
            queries=queries,
            detail=detail,
        )

    async def _detail(self, query_id: str) -> Detail:
        try:
            state = await self._client.query(query_id)
        except NotFound:
            return Detail(query_id=query_id, state=None, line=None, account=None, inputs={})
        lines = (await self._client.query_lines(JUST_ONE, query_id)).lines
        accounts = await self._client.accounts(limit=1, query_id=query_id)
        return Detail(
            query_id=query_id,
            state=state,
            line=lines[0] if lines else None,
            account=accounts.accounts[0] if accounts.accounts else None,
            inputs=await self._inputs_of(state.query.pipeline_id),
        )

    async def _inputs_of(self, pipeline_id: PipelineId) -> Mapping[OperatorId, tuple[OperatorId, ...]]:
        if pipeline_id not in self._inputs:
            self._inputs = {one.id: one.inputs for one in await self._client.pipelines()}
        return self._inputs.get(pipeline_id, {})

    def events(self, *, after: int, limit: int, follow: bool) -> AsyncIterator[PlannerEvent]:
        """The planner's events."""
        return self._client.events(after=after, limit=limit, follow=follow)


__all__ = ["PlannerSource", "Source"]
