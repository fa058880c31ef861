"""What a client asks about what files declare, and about versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from circinus.errors import TooLarge
from circinus.model.query import Query, QueryId
from circinus.planner_link import PlannerLink
from circinus.v1 import planner_pb2
from circinus.wire import query_to_message

_APPLY_TIMEOUT_S = 60.0
#: A message is at most 4 MiB.
_MAX_BYTES = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentVersion:
    """How many devices have agents of a version."""

    version: str
    devices: int
    connected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """Of which versions a planner is: its own, its protocol, its files' migrations, its agents'.

    ``identity_schema`` 0: it has no identity.
    """

    planner: str
    protocol: str
    planner_schema: int
    identity_schema: int
    epoch: int
    agents: tuple[AgentVersion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A pipeline as it is to be registered: the text of its file, and the digests of what was uploaded for it.

    Without contents it can be validated, and no more.
    """

    spec_yaml: str
    bundle_digest: str = ""
    contents: tuple[tuple[str, str, int], ...] = ()


class DeclaredCalls:
    """The calls of a client about what files declare. Each raises what Client says."""

    _link: PlannerLink

    @property
    def _stub(self) -> Any:
        raise NotImplementedError

    async def apply_changes(
        self,
        *,
        pipelines: Sequence[Upload] = (),
        queries: Sequence[Query] = (),
        labels: Mapping[str, Mapping[str, str | None]] | None = None,
        remove_queries: Sequence[str] = (),
        remove_pipelines: Sequence[str] = (),
        validate_only: bool = False,
    ) -> tuple[QueryId, ...]:
        """Makes all of these true at once, or nothing; gives the queries that are searched for anew.

        A label of None is taken away.

        Raises:
            InvalidInput: it does not fit together; its violations are all that is wrong.
            TooLarge: it is more than one message holds.
        """
        request = planner_pb2.ApplyChangesRequest(
            queries=[query_to_message(query) for query in queries],
            remove_queries=remove_queries,
            remove_pipelines=remove_pipelines,
            validate_only=validate_only,
        )
        for one in pipelines:
            added = request.pipelines.add(spec_yaml=one.spec_yaml, bundle_digest=one.bundle_digest)
            for name, digest, samples in one.contents:
                added.contents.add(name=name, digest=digest, samples=samples)
        for device_id, wanted in (labels or {}).items():
            request.labels.add(
                device_id=device_id,
                set={key: value for key, value in wanted.items() if value is not None},
                remove=[key for key, value in wanted.items() if value is None],
            )
        if request.ByteSize() > _MAX_BYTES:
            raise TooLarge(
                f"what is to change has {request.ByteSize():,} bytes, at most {_MAX_BYTES:,} can be applied at once: "
                "apply a part of the files first"
            )
        response = await self._link.ask(self._stub, "ApplyChanges", request, _APPLY_TIMEOUT_S)
        return tuple(map(QueryId, response.begun_anew))

    async def versions(self) -> Versions:
        """Of which versions the planner, its files and its agents are."""
        response = await self._link.ask(self._stub, "GetVersion", planner_pb2.GetVersionRequest())
        return Versions(
            planner=response.planner_version,
            protocol=response.protocol,
            planner_schema=response.planner_schema,
            identity_schema=response.identity_schema,
            epoch=response.epoch,
            agents=tuple(
                AgentVersion(version=one.version, devices=one.devices, connected=one.connected)
                for one in response.agents
            ),
        )


__all__ = ["AgentVersion", "DeclaredCalls", "Upload", "Versions"]
