"""Queries that share: one process for several, one run for several, and each item's one outcome for each of them."""

import asyncio
from collections import Counter
from dataclasses import replace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_fleet import QUERY, Fleet, directive, ended, generation, replica_set, route, source
from test_dataplane_book import emission
from test_dataplane_plane import CAMERA, CLOUD, a_plane
from test_dataplane_sending import FakeClock

from circinus.model.directive import Use
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.query import QueryId
from circinus.v1 import worker_pb2
from edge_agent.dataplane.item import Cause, Verdict, Work
from edge_agent.dataplane.lines import Lines
from edge_agent.reconcile import joint_specs
from edge_agent.source_process import SourceProcess

Q1, Q2, Q3, Q4 = QUERY, QueryId("q2"), QueryId("q3"), QueryId("q4")
CUT, ADD, PASS = OperatorId("cut"), OperatorId("add"), OperatorId("pass")


def use(query_id, operator_id, *inputs, **changes):
    return Use(query_id=query_id, operator_id=operator_id, inputs=inputs or (SOURCE,), **changes)


def given_by(way, earlier_ms=0.0, **names):
    return replace(way, given_by=names, earlier_ms=earlier_ms)


def two_readers(device="camera", cut_on="camera", add_on="camera"):
    """Routes by query: one run of "cut" for both, then "add" for each, a little earlier for the first."""
    return {
        "cut": given_by(route("cut", ("source",), cut_on), source=Q1),
        Q1: given_by(route("add", ("cut",), add_on), earlier_ms=200.0, cut=Q1),
        Q2: given_by(route("add", ("cut",), add_on, query_id=Q2), cut=Q1),
    }


def two_sources(**changes):
    first = source(("add",), key="shared", input="stream:door", deadline_ms=400.0, **changes)
    return first, replace(first, query_id=Q2, leader_query_id=Q1, given_by={CUT: Q1}, deadline_ms=600.0)


def an_emission(plane, deadline_ms=400.0):
    request_id, _ = plane.next_request()
    return replace(emission(request_id, 100.0, deadline_ms=deadline_ms, outputs=(ADD,)), query_id=Q1)


def at_camera(**where):
    plane, port, settled = a_plane(CAMERA)
    ways = two_readers(**where)
    sets = (
        replica_set("cut", "Pass", key="cut"),
        replica_set("add", "Add", ("cut",), key="add", uses=(use(Q1, ADD, CUT), use(Q2, ADD, CUT))),
    )
    plane.install(directive("camera", 1, sets=sets, routes=tuple(ways.values()), sources=two_sources()))
    return plane, port, settled


def test_one_emission_is_an_item_of_each_query_with_its_own_deadline_and_outcome():
    plane, port, settled = at_camera()
    plane.emit(an_emission(plane), b"x")
    ((_, cut),) = port.offered
    # What runs for both waits for the later of them.
    assert (cut.query_id, cut.deadline_s) == (Q1, pytest.approx(100.6))
    assert plane.book.count() == 2
    plane.finished(cut, b"cut")
    works = {work.query_id: work for _, work in port.offered[1:]}
    assert {name: work.deadline_s for name, work in works.items()} == {
        Q1: pytest.approx(100.4),
        Q2: pytest.approx(100.6),
    }
    plane.finished(works[Q2], b"answer")
    plane.ended(works[Q1], Verdict.DROPPED, Cause.DEADLINE, "")
    assert [(one.emission.query_id, one.ending, one.emission.readers) for one in settled] == [
        (Q2, "answered", 2),
        (Q1, "dropped", 2),
    ]
    assert plane.book.count() == 0


def test_what_becomes_of_an_item_at_a_common_run_becomes_of_it_for_all():
    plane, port, settled = at_camera()
    plane.emit(an_emission(plane), b"x")
    plane.ended(port.offered[0][1], Verdict.FAILED, Cause.OPERATOR_RAISED, "odd")
    assert [(one.emission.query_id, one.cause) for one in settled] == [
        (Q1, "operator_raised"),
        (Q2, "operator_raised"),
    ]
    assert (plane.book.count(), plane.book.duplicates) == (0, 0)


def test_an_answer_of_a_common_run_answers_all_whom_it_is_an_answer_for():
    plane, port, settled = a_plane(CAMERA)
    first, second = two_sources()
    second = replace(second, given_by={CUT: Q1, ADD: Q1})
    ways = (two_readers()["cut"], given_by(route("add", ("cut",), "camera"), cut=Q1))
    sets = (replica_set("cut", "Pass", key="cut"), replica_set("add", "Add", ("cut",), key="add"))
    plane.install(directive("camera", 1, sets=sets, routes=ways, sources=(first, second)))
    plane.emit(an_emission(plane), b"x")
    plane.finished(port.offered[0][1], b"cut")
    plane.finished(port.offered[1][1], b"answer")
    assert [(one.emission.query_id, one.outputs) for one in settled] == [
        (Q1, {"add": b"answer"}),
        (Q2, {"add": b"answer"}),
    ]


def test_ways_that_part_on_another_device_lead_back_to_the_source():
    plane, port, settled = at_camera(cut_on="cloud", add_on="cloud")
    plane.emit(an_emission(plane), b"x")
    ((peer, sent),) = port.inputs
    assert peer == CLOUD
    far, far_port, _ = a_plane(CLOUD)
    ways = two_readers(cut_on="cloud", add_on="cloud")
    sets = (
        replica_set("cut", "Pass", key="cut"),
        replica_set("add", "Add", ("cut",), key="add", uses=(use(Q1, ADD, CUT), use(Q2, ADD, CUT))),
    )
    far.install(directive("cloud", 1, sets=sets, routes=(ways[Q1], ways[Q2])))
    far.receive_input(sent, CAMERA)
    far.finished(far_port.offered[0][1], b"cut")
    for _, work in far_port.offered[1:]:
        far.finished(work, b"answer")
    assert {to for to, _ in far_port.outcomes} == {CAMERA}
    for _, outcome in far_port.outcomes:
        plane.receive_outcome(outcome, CLOUD)
    assert sorted(one.emission.query_id for one in settled) == [Q1, Q2]
    assert (far.lost_outcomes, plane.book.count()) == (0, 0)


@given(st.lists(st.sampled_from(["finish", "drop"]), min_size=3, max_size=3), st.booleans())
def test_each_query_has_exactly_one_outcome_whatever_happens(what, expires):
    plane, port, settled = at_camera()
    plane.emit(an_emission(plane), b"x")
    for number, happens in enumerate(what):
        if number < len(port.offered) and not (expires and number == 2):
            work = port.offered[number][1]
            if happens == "finish":
                plane.finished(work, b"y")
            else:
                plane.ended(work, Verdict.DROPPED, Cause.QUEUE_FULL, "")
    for one in plane.book.expire(1000.0):
        settled.append(one)
    assert Counter(one.emission.query_id for one in settled) == {Q1: 1, Q2: 1}
    assert plane.book.count() == 0


def test_while_generations_stand_side_by_side_a_process_serves_all_of_both():
    both = replica_set("cut", "Pass", key="k", uses=(use(Q1, CUT), use(Q3, CUT)), cores=0.5, memory_bytes=7)
    left = replace(both, query_id=Q3, uses=(use(Q3, CUT), use(Q4, CUT)), cores=0.25, memory_bytes=9)
    older, newer = directive("camera", 1, sets=(both,)), directive("camera", 2, sets=(left,))
    assert joint_specs((newer, older)) == {
        "k": replace(left, uses=(use(Q3, CUT), use(Q4, CUT), use(Q1, CUT)), cores=0.5, memory_bytes=9)
    }
    assert joint_specs((newer,)) == {"k": left}


def work_of(query_id, number=1):
    return Work(
        request_id=f"r-{number}",
        query_id=query_id,
        generation=generation(1),
        operator_id=PASS,
        deadline_s=None,
        inputs={"source": b"x"},
    )


async def test_uses_with_cores_of_their_own_have_queues_of_their_own():
    dropped = []
    own = [use(name, PASS, cores=0.25) for name in (Q1, Q2)]
    lines = Lines(own, clock=FakeClock(), processes=1, batch=1, on_dropped=dropped.append)
    assert ([line.cores for line in lines.all], lines.alone) == ([0.25, 0.25], False)
    for name in (Q1, Q2, QueryId("stranger")):
        lines.put(work_of(name))
    assert [len(line.queue) for line in lines.all] == [2, 1]
    # One goes: what waits for it is still served, then its line is over.
    lines.update(own[:1], batch=1)
    (kept, left), never = lines.all, asyncio.get_running_loop().create_future()
    assert not left.over.done()
    taken = await left.queue.take(1, never)
    left.queue.done(taken, 0.1)
    lines.let_go()
    assert (left.over.done(), lines.alone, lines.all) == (True, True, [kept])
    # Another share is another line; two replicas have two items in service.
    lines.update([use(Q1, PASS, cores=0.5, replicas=2)], batch=1)
    assert [(line.cores, line.turns) for line in lines.all] == [(0.5, 2), (0.25, 1)]
    assert len(lines.clear()) == 2
    assert not dropped


async def test_uses_without_cores_of_their_own_wait_together():
    lines = Lines([use(Q1, PASS), use(Q2, PASS)], clock=FakeClock(), processes=1, batch=1, on_dropped=lambda _: None)
    for name in (Q1, Q2):
        lines.put(work_of(name))
    assert [(line.cores, len(line.queue)) for line in lines.all] == [(0.0, 2)]


def test_a_clip_is_scored_for_each_reader_by_its_own_answers():
    class Endless:
        def samples(self):
            from circinus.operator import Sample

            while True:
                yield Sample(payload={}, truth={"right": 1})

    class Right:
        def score_clip(self, outputs, truths):
            return float(all(one["op"]["right"] == 1 for one in outputs))

    from circinus.payload import encode

    process = SourceProcess(Endless(), Right(), clip=2)
    for sequence in (1, 2, 3):
        process.emit(sequence)

    def answered(query_id, sequence, right):
        return process.answer(
            worker_pb2.ScoreAnswer(
                sequence=sequence, query_id=query_id, readers=2, outputs={"op": encode({"right": right})}
            )
        )

    assert not answered("a", 1, 1).items
    assert not answered("b", 1, 0).items
    first, second = answered("a", 2, 1), answered("b", 2, 1)
    assert [(one.query_id, one.sequence, one.score_ratio) for one in (*first.items, *second.items)] == [
        ("a", 1, 1.0),
        ("a", 2, 1.0),
        ("b", 1, 0.0),
        ("b", 2, 0.0),
    ]
    # Both have their scores: its truth is no longer kept.
    assert answered("a", 2, 1).items[0].error
    assert not answered("b", 3, 1).items
    assert [one.query_id for one in process.score_rest().items] == ["b"]


def pair(number, queries):
    """Two queries of one stream that share "cut" and part then; two others whose "pass" is one process."""
    heavy = replica_set("cut", "Burn", key="cut", knobs={"cpu_ms": 2.0}, memory_bytes=2**26)
    first, second = two_sources()
    first, second = replace(first, deadline_ms=8000.0), replace(second, deadline_ms=9000.0)
    ways = two_readers()
    adds = {
        name: replica_set("add", "Add", ("cut",), key=f"add-{name}", knobs={"step": step}, query_id=name)
        for step, name in enumerate((Q1, Q2), start=1)
    }
    if Q1 not in queries:
        second = replace(second, leader_query_id=QueryId(""), given_by={})
        ways = {
            "cut": route("cut", ("source",), "camera", query_id=Q2),
            Q2: route("add", ("cut",), "camera", query_id=Q2),
        }
        heavy = replace(heavy, query_id=Q2, uses=(use(Q2, CUT),))
    else:
        ways[Q1] = replace(ways[Q1], earlier_ms=1000.0)
    common = replica_set(
        "pass",
        "Pass",
        key="pass",
        query_id=Q3,
        cores=0.5,
        uses=tuple(use(name, PASS, cores=0.25) for name in (Q3, Q4) if name in queries),
    )
    others = [name for name in (Q3, Q4) if name in queries]
    common = replace(common, query_id=others[0])
    return directive(
        "camera",
        number,
        sets=(heavy, *(adds[name] for name in (Q1, Q2) if name in queries), common),
        routes=(*ways.values(), *(route("pass", ("source",), "camera", query_id=name) for name in others)),
        sources=(
            *(one for one in (first, second) if one.query_id in queries),
            *(source(("pass",), key=f"own-{name}", query_id=name) for name in others),
        ),
    )


@pytest.mark.slow
@pytest.mark.system
async def test_shared_processes_and_prefixes_serve_all_and_outlive_their_leader(fleet: Fleet) -> None:
    camera = await fleet.add("camera", listen="")
    queries, operators = {}, Counter()

    def collect() -> bool:
        found, served = camera.take_windows()
        for window in found:
            totals = queries.setdefault((window.query_id, window.generation), Counter())
            totals.update(
                emitted=window.emitted,
                ended=ended(window),
                answered=window.answered,
                right=round(window.on_time_score_sum),
            )
        for one in served:
            operators[one.query_id, one.operator_id, one.generation] += one.items
        return True

    def answered(number, *names):
        collect()
        return all(queries.get((name, number), Counter())["answered"] >= 8 for name in names)

    await fleet.roll_out(pair(1, (Q1, Q2, Q3, Q4)))
    await fleet.until(lambda: answered(1, Q1, Q2, Q3, Q4))
    pids = camera.status().pids
    assert sorted(pids) == ["add-q1", "add-q2", "cut", "own-q3", "own-q4", "pass", "shared"]
    assert all(len(found) == 1 for found in pids.values())
    assert psutil.Process(pids["pass"][0]).is_running()
    # The leader of the one pair goes, and the first of the other.
    await fleet.roll_out(pair(2, (Q2, Q4)))
    await fleet.until(lambda: answered(2, Q2, Q4))
    await fleet.until(lambda: camera.status().phase == "drained")
    await camera.retire(generation(2))
    await fleet.until(lambda: "add-q1" not in camera.status().pids)
    after = camera.status().pids
    assert {name: after[name] for name in ("cut", "pass", "shared", "add-q2")} == {
        name: pids[name] for name in ("cut", "pass", "shared", "add-q2")
    }
    await fleet.until(
        lambda: (
            collect() and all(queries[name, 1]["right"] == queries[name, 1]["answered"] for name in (Q1, Q2, Q3, Q4))
        )
    )
    for name in (Q1, Q2, Q3, Q4):
        one = queries[name, 1]
        assert one["emitted"] == one["ended"] == one["answered"]
    # One run for both: counted where it ran.
    assert queries[Q1, 1]["emitted"] == queries[Q2, 1]["emitted"] == operators[Q1, "cut", 1]
    assert operators[Q2, "cut", 1] == 0
    assert operators[Q2, "add", 1] == queries[Q2, 1]["emitted"]
    assert operators[Q2, "cut", 2] >= 8


@pytest.mark.slow
@pytest.mark.system
async def test_a_shared_process_that_dies_is_started_again_for_all_its_uses(fleet: Fleet) -> None:
    await fleet.add("camera", listen="")
    uses = tuple(use(name, PASS, cores=0.5) for name in (Q1, Q2))
    told = directive(
        "camera",
        1,
        sets=(replica_set("pass", "DieOnThird", key="pass", uses=uses),),
        routes=tuple(route("pass", ("source",), "camera", query_id=name) for name in (Q1, Q2)),
        sources=tuple(source(("pass",), key=f"own-{name}", query_id=name) for name in (Q1, Q2)),
    )
    await fleet.roll_out(told)
    for name in (Q1, Q2):
        await fleet.until_answered(1, 8, name)
    died = [fleet.total(1, name).failed_by_cause["operator_died"] for name in (Q1, Q2)]
    # Each meets its own third item; what the other had in the process goes with it.
    assert all(count >= 1 for count in died)
    assert fleet.operators["pass", 1].restarts >= 1
