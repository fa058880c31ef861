"""An agent that is told goodbye, and a box that asks for it."""

from __future__ import annotations

import asyncio
from random import Random

import grpc
import pytest
from shell_fakes import DEADLINE_S, ScriptedPlanner, directive_message, toy_bundle
from test_agent import Box, Quick, prepare, verdict

from circinus.bundle import digest_of, environment_digest
from circinus.errors import InvalidInput, NotFound, trailing_metadata
from circinus.model.pipeline import EnvironmentSpec
from circinus.v1 import control_pb2
from edge_agent import daemon
from edge_agent.agent import Agent
from edge_agent.config import parse_config


def config(tmp_path, address, **more):
    lines = "".join(f"\n[{name}]\n{text}" for name, text in more.items())
    return (
        f'device_id = "camera"\nplanner = "{address}"\nstate_dir = "{tmp_path}/state"\ntier = "edge"\ncores = 1.0\n'
        f"insecure_loopback = true\n{lines}"
    )


class Letting(ScriptedPlanner):
    """Lets boxes go as it is told."""

    def __init__(self, *answers, **changes):
        super().__init__(**changes)
        self.answers = answers
        self.asked = []

    async def Leave(self, request, context):
        self.asked.append(request.device_id)
        for answer in self.answers:
            if isinstance(answer, Exception):
                await context.abort(grpc.StatusCode.NOT_FOUND, str(answer), trailing_metadata(answer))
            yield answer
        if not self.answers:
            await asyncio.Event().wait()


async def test_an_agent_that_is_told_goodbye_ends_and_forgets_what_it_held(tmp_path):
    bundle = toy_bundle(tmp_path / "toy")
    async with ScriptedPlanner(bundle) as planner:
        made = parse_config(config(tmp_path, planner.address))
        made.identity_dir.mkdir(parents=True)
        (made.identity_dir / "key.pem").write_text("a secret")
        box = Box()
        agent = Agent(made, clock=Quick(), rng=Random(1), make_serving=box.make)
        running = asyncio.create_task(agent.run(asyncio.Event()))
        await prepare(planner, bundle)
        answer = await verdict(
            planner, directive_message(bundle=digest_of(bundle), environment=environment_digest(EnvironmentSpec()))
        )
        assert answer.verdict == control_pb2.DIRECTIVE_VERDICT_ACCEPTED
        assert (made.state_dir / "ledger.db").exists()
        planner.send(goodbye=control_pb2.Goodbye(why="it is given away"))
        async with asyncio.timeout(DEADLINE_S):
            await running
        left = {path.name for path in made.state_dir.iterdir()}
        assert not left & {"ledger.db", "ledger.db-wal", "outbox.db", "outbox.db-wal", "identity"}
        # What is addressed by digest is worth keeping.
        assert "bundles" in left
        # Started again it is a new member, that holds nothing.
        hellos = len(planner.hellos)
        stop = asyncio.Event()
        running = asyncio.create_task(Agent(made, clock=Quick(), rng=Random(1), make_serving=Box().make).run(stop))
        await planner.until(lambda: len(planner.hellos) > hellos)
        assert planner.hellos[-1].generation_status.generation == 0
        stop.set()
        async with asyncio.timeout(DEADLINE_S):
            await running


def left(**fields):
    return control_pb2.LeaveResponse(**fields)


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ((left(waits_for="a plan without it"), left(gone=True)), 0, ["waits for a plan without it", "camera has left"]),
        ((left(staying=["q1/source: its source"]),), 7, ["stays: q1/source: its source", "uncordon camera"]),
    ],
)
async def test_a_box_leaves_or_says_what_has_to_stay(tmp_path, capsys, answers, code, said):
    async with Letting(*answers) as planner:
        path = tmp_path / "agent.toml"
        path.write_text(config(tmp_path, planner.address))
        found = await asyncio.to_thread(daemon.main, ["leave", "--config", str(path)])
        out = capsys.readouterr().out
        assert found == code
        assert all(each in out for each in said)
        assert planner.asked == ["camera"]


@pytest.mark.parametrize(("answers", "code"), [((NotFound("no such device"),), 1), ((), 6)])
async def test_a_box_that_can_not_leave_says_why(tmp_path, capsys, answers, code):
    async with Letting(*answers) as planner:
        path = tmp_path / "agent.toml"
        path.write_text(config(tmp_path, planner.address))
        arguments = ["leave", "--config", str(path), "--timeout", "0.5"]
        assert await asyncio.to_thread(daemon.main, arguments) == code
        assert capsys.readouterr().err
    assert await asyncio.to_thread(daemon.main, arguments) == 4


def test_labels_of_a_box_are_in_its_configuration():
    made = parse_config(config("/x", "127.0.0.1:1", labels='zone = "a"\ngpu = ""'))
    assert made.labels == {"gpu": "", "zone": "a"}
    for text in ('site = "a"', "zone = 1", '"two words" = "a"'):
        with pytest.raises(InvalidInput, match="labels"):
            parse_config(config("/x", "127.0.0.1:1", labels=text))
