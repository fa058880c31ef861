"""The way of items through one device, with the processes and streams left out."""

from collections.abc import Sequence
from dataclasses import replace

from serving_fleet import QUERY, directive, generation, replica_set, route, source
from test_dataplane_book import emission
from test_dataplane_sending import FakeClock, an_input

from circinus.model.device import DeviceId
from circinus.model.pipeline import OperatorId
from edge_agent.dataplane.book import Ended
from edge_agent.dataplane.item import Cause, Input, Outcome, Verdict, Work
from edge_agent.dataplane.plane import DataPlane
from edge_agent.telemetry import Windows

CLOUD = DeviceId("cloud")
CAMERA = DeviceId("camera")


class FakePort:
    """Keeps what is handed on."""

    def __init__(self) -> None:
        self.offered: list[tuple[tuple[str, ...], Work]] = []
        self.inputs: list[tuple[DeviceId, Input]] = []
        self.outcomes: list[tuple[DeviceId, Outcome]] = []
        self.refuse: Cause | None = None

    def offer(self, keys: Sequence[str], work: Work) -> bool:
        self.offered.append((tuple(keys), work))
        return True

    def send_input(self, peer: DeviceId, one: Input) -> Cause | None:
        self.inputs.append((peer, one))
        return self.refuse

    def send_outcome(self, peer: DeviceId, outcome: Outcome) -> bool:
        self.outcomes.append((peer, outcome))
        return True


def a_plane(device_id: DeviceId) -> tuple[DataPlane, FakePort, list[Ended]]:
    port, settled, clock = FakePort(), [], FakeClock()
    plane = DataPlane(
        device_id=device_id, nonce="n", port=port, windows=Windows(clock), clock=clock, settle=settled.append
    )
    return plane, port, settled


def emitted(plane: DataPlane) -> str:
    request_id, _ = plane.next_request()
    one = emission(request_id, 100.0, deadline_ms=500.0, outputs=(OperatorId("op"),))
    plane.emit(replace(one, query_id=QUERY), b"x")
    return request_id


def test_an_item_without_a_bound_is_given_up_when_its_book_gives_it_up() -> None:
    plane, port, _ = a_plane(CAMERA)
    plane.install(directive("camera", 1, routes=(route("op", ("source",), "cloud"),), sources=(source(("op",)),)))
    request_id, _ = plane.next_request()
    one = emission(request_id, 100.0, deadline_ms=0.0, outputs=(OperatorId("op"),))
    plane.emit(replace(one, query_id=QUERY), b"x")
    assert [sent.deadline_s for _, sent in port.inputs] == [one.timeout_at_s]


def test_a_refused_item_ends_at_once_dropped_or_failed_by_its_cause() -> None:
    plane, port, settled = a_plane(CAMERA)
    plane.install(directive("camera", 1, routes=(route("op", ("source",), "cloud"),), sources=(source(("op",)),)))
    for port.refuse in (Cause.LINK_FULL, Cause.LINK_DOWN, Cause.DEADLINE, Cause.ITEM_TOO_LARGE):
        emitted(plane)
    assert [(one.ending, one.cause) for one in settled] == [
        ("dropped", "link_full"),
        ("failed", "link_down"),
        ("dropped", "deadline"),
        ("failed", "item_too_large"),
    ]
    assert plane.book.count() == 0


def test_an_item_without_a_route_fails_by_name() -> None:
    plane, _, settled = a_plane(CAMERA)
    plane.install(directive("camera", 1, sources=(source(("op",)),)))
    emitted(plane)
    (one,) = settled
    assert one.cause == "no_route"


def test_outcomes_go_back_the_way_the_item_first_came() -> None:
    plane, port, _ = a_plane(CLOUD)
    plane.install(directive("cloud", 3, sets=(replica_set("op", "Pass"),)))
    plane.receive_input(an_input("cam-n-1"), CAMERA)
    plane.receive_input(an_input("cam-n-1"), DeviceId("other"))
    plane.finished(port.offered[0][1], b"answer")
    ((peer, outcome),) = port.outcomes
    assert (peer, outcome.verdict, outcome.payload) == (CAMERA, Verdict.ANSWERED, b"answer")


def test_an_outcome_is_never_sent_back_to_where_it_came_from() -> None:
    plane, port, _ = a_plane(CLOUD)
    plane.install(directive("cloud", 3, sets=(replica_set("op", "Pass"),)))
    plane.receive_input(an_input("cam-n-1"), CAMERA)
    plane.finished(port.offered[0][1], b"answer")
    (_, outcome) = port.outcomes.pop()
    plane.receive_outcome(outcome, CAMERA)
    plane.receive_outcome(replace(outcome, request_id="unknown-1"), CAMERA)
    assert not port.outcomes
    assert plane.lost_outcomes == 2


def test_a_repeated_answer_of_an_own_item_that_came_back_stays_here() -> None:
    plane, port, settled = a_plane(CAMERA)
    plane.install(
        directive(
            "camera",
            1,
            sets=(replica_set("op", "Pass", ("far",)),),
            routes=(route("far", ("source",), "cloud"), route("op", ("far",), "camera")),
            sources=(source(("op",)),),
        )
    )
    request_id = emitted(plane)
    (_, sent) = port.inputs[0]
    back = replace(sent, operator_id=OperatorId("op"), input_name=OperatorId("far"))
    for _ in range(2):
        plane.receive_input(back, CLOUD)
    for _, work in port.offered:
        plane.finished(work, b"answer")
    assert [one.emission.request_id for one in settled] == [request_id]
    assert plane.book.duplicates == 1
    assert not port.outcomes


def test_items_of_a_removed_generation_have_no_route() -> None:
    plane, port, _ = a_plane(CLOUD)
    plane.install(directive("cloud", 3, sets=(replica_set("op", "Pass"),)))
    plane.receive_input(an_input("cam-n-1"), CAMERA)
    plane.remove(generation(3))
    plane.receive_input(an_input("cam-n-2"), CAMERA)
    plane.finished(port.offered[0][1], b"late")
    assert {outcome.cause for _, outcome in port.outcomes} == {"no_route"}
    assert plane.seen == set()


def test_several_replica_sets_of_one_operator_are_all_offered() -> None:
    plane, port, _ = a_plane(CLOUD)
    sets = (replica_set("op", "Pass", key="a"), replica_set("op", "Pass", key="b", cores=0.5))
    plane.install(directive("cloud", 3, sets=sets))
    plane.receive_input(an_input("cam-n-1"), CAMERA)
    assert port.offered[0][0] == ("a", "b")
    assert port.offered[0][1].query_id == QUERY


def test_a_join_that_is_never_complete_fails_for_time_out() -> None:
    plane, port, _ = a_plane(CLOUD)
    plane.install(directive("cloud", 3, sets=(replica_set("op", "Join", ("source", "b")),)))
    plane.receive_input(an_input("cam-n-1"), CAMERA)
    assert plane.count_older(generation(4)) == 1
    plane._clock.passed_s += 61.0  # type: ignore[attr-defined]
    plane.expire()
    ((_, outcome),) = port.outcomes
    assert outcome.cause == "timeout"
    assert plane.count_older(generation(4)) == 0
