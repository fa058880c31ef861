"""Which queries of a device are served by their stand-by, and what the planner is told of it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from circinus.clock import Clock
from circinus.events import event
from circinus.model.device import DeviceId
from circinus.model.directive import Directive, Generation
from circinus.model.query import QueryId
from circinus.v1 import control_pb2
from edge_agent.dataplane.plane import DataPlane
from edge_agent.dataplane.stand_by_lane import needs_in_reach
from edge_agent.stand_by import Patience, Serves, Switch

#: Episodes that wait to be taken at most; one more takes the oldest's place.
_MAX_EPISODES = 1024


@dataclass(slots=True, kw_only=True)
class _Watched:
    switch: Switch
    peers: frozenset[DeviceId]
    generation: Generation
    began_at: datetime | None = None
    began_s: float = 0.0
    reason: str = ""
    answered: bool = False


class StandByControl:
    """The switches of one device's queries.

    ``reached`` says whether there is a living stream to a peer. ``look`` is to be called often, and whenever a stream
    came or went.
    """

    def __init__(
        self,
        *,
        plane: DataPlane,
        clock: Clock,
        reached: Callable[[DeviceId], bool],
        patience: Patience | None = None,
    ) -> None:
        self._plane = plane
        self._clock = clock
        self._reached = reached
        self._patience = patience
        self._watched: dict[QueryId, _Watched] = {}
        self._episodes: list[control_pb2.StandByEpisode] = []
        plane.on_blame = self._blame
        plane.on_local_answer = self._answered

    def activate(self, directive: Directive) -> None:
        """Sources emit under this directive from now on. A query that goes on keeps its switch as it stands."""
        watched: dict[QueryId, _Watched] = {}
        for one in directive.stand_bys:
            peers = frozenset(DeviceId(name) for name in needs_in_reach(directive, one))
            known = self._watched.pop(one.query_id, None)
            if known is None:
                switch = Switch(self._clock.monotonic_s(), self._patience)
                known = _Watched(switch=switch, peers=peers, generation=directive.generation)
            known.peers, known.generation = peers, directive.generation
            watched[one.query_id] = known
        for query_id, gone in self._watched.items():
            self._end_episode(query_id, gone)
        self._watched = watched
        self.look()

    def watches(self, peer: DeviceId) -> bool:
        """Whether a query would be served by its stand-by if this peer were out of reach."""
        return any(peer in one.peers for one in self._watched.values())

    def look(self) -> None:
        """Looks which peers are in reach, and switches what is to be switched."""
        now_s = self._clock.monotonic_s()
        for query_id, one in self._watched.items():
            away = sorted(peer for peer in one.peers if not self._reached(peer))
            before = one.switch.serves
            after = one.switch.look(now_s, not away)
            if before is after:
                continue
            if after is Serves.STAND_BY:
                self._begin_episode(query_id, one, f"{', '.join(away)} out of reach")
                self._set_serving()
                # What is with a peer that is gone is not waited for.
                self._plane.take_over(query_id, give_up=True)
            else:
                self._end_episode(query_id, one)
        self._set_serving()

    def take_episodes(self) -> list[control_pb2.StandByEpisode]:
        """What the planner has not been told yet: each beginning and each end, once."""
        taken, self._episodes = self._episodes, []
        return taken

    def stop(self) -> None:
        """The device stops serving."""
        for query_id, one in self._watched.items():
            self._end_episode(query_id, one)
        self._watched = {}

    def _blame(self, query_id: QueryId) -> None:
        """An item of the query was lost on a link of another device."""
        one = self._watched.get(query_id)
        if one is None or one.switch.serves is Serves.STAND_BY:
            return
        one.switch.blame(self._clock.monotonic_s())
        self._begin_episode(query_id, one, "another device lost an item with its link")
        self._set_serving()
        # Those that others still have may come back: whatever is first stands.
        self._plane.take_over(query_id, give_up=False)

    def _answered(self, query_id: QueryId) -> None:
        """The stand-by answered an item in time."""
        one = self._watched.get(query_id)
        if one is not None and one.began_at is not None and not one.answered:
            one.answered = True
            event("stand_by_answers", query=query_id, after_s=self._clock.monotonic_s() - one.began_s)

    def _set_serving(self) -> None:
        self._plane.stand_by.serving = frozenset(
            query_id for query_id, one in self._watched.items() if one.switch.serves is Serves.STAND_BY
        )

    def _begin_episode(self, query_id: QueryId, one: _Watched, reason: str) -> None:
        one.began_at, one.began_s = self._clock.now(), self._clock.monotonic_s()
        one.reason, one.answered = reason, False
        event("stand_by_began", query=query_id, generation=one.generation.number, reason=reason)
        self._tell(query_id, one, None)

    def _end_episode(self, query_id: QueryId, one: _Watched) -> None:
        if one.began_at is None:
            return
        # A clock that is set meanwhile must not make it last a year, or end before it began.
        lasted_s = self._clock.monotonic_s() - one.began_s
        ended_at = one.began_at + timedelta(seconds=lasted_s)
        event("stand_by_ended", query=query_id, lasted_s=lasted_s, patience_s=one.switch.steady_s)
        self._tell(query_id, one, ended_at)
        one.began_at = None

    def _tell(self, query_id: QueryId, one: _Watched, ended_at: datetime | None) -> None:
        if one.began_at is None:
            return
        episode = control_pb2.StandByEpisode(
            query_id=query_id, generation=one.generation.number, reason=one.reason[:500]
        )
        episode.start.FromDatetime(one.began_at)
        if ended_at is not None:
            episode.end.FromDatetime(ended_at)
        self._episodes.append(episode)
        del self._episodes[:-_MAX_EPISODES]
