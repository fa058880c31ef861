from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator

import psutil
import pytest
from shell_fakes import DEADLINE_S, ScriptedPlanner, directive_message, toy_bundle

from circinus.bundle import digest_of, environment_digest
from circinus.model.pipeline import EnvironmentSpec
from circinus.v1 import control_pb2, types_pb2
from circinus.wire import directive_digest
from edge_agent.daemon import main

#: The agent's promise: all its processes together, idle.
MAX_IDLE_BYTES = 60 * 2**20


@pytest.fixture
def config(tmp_path):
    def write(address="127.0.0.1:1", more=""):
        path = tmp_path / "agent.toml"
        head = f'device_id = "camera"\nplanner = "{address}"\nstate_dir = "state"\ntier = "edge"\n'
        path.write_text(f"{head}insecure_loopback = true\n{more}")
        return path

    return write


def test_the_fingerprint_is_printed_as_json(config, capsys):
    assert main(["fingerprint", "--config", str(config(more="price_per_h = 0.5"))]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["device_id"], document["tier"], document["price_per_h"]) == ("camera", "TIER_EDGE", 0.5)


def test_a_bad_file_is_exit_code_2_with_every_key(config, capsys):
    assert main(["run", "--config", str(config(more='cores = "many"\ncolour = 1'))]) == 2
    said = capsys.readouterr().err
    assert "cores: is 'many'" in said
    assert "colour: is no known key" in said


def test_a_planner_that_is_not_on_this_machine_is_exit_code_2(config, capsys):
    assert main(["run", "--config", str(config("192.0.2.1:7400"))]) == 2
    assert "192.0.2.1:7400" in capsys.readouterr().err


def test_without_an_identity_it_does_not_run_and_says_what_to_do(config, capsys):
    path = config()
    path.write_text(path.read_text().replace("insecure_loopback = true", ""))
    assert main(["run", "--config", str(path)]) == 2
    said = capsys.readouterr().err
    assert "camera has not joined yet" in said
    assert "edge-agent join --config FILE --token-file FILE" in said
    assert "insecure_loopback = true" in said


def test_joining_without_a_token_or_with_a_bad_one_says_so(config, capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("CIRCINUS_TOKEN", raising=False)
    path = str(config())
    assert main(["join", "--config", path]) == 2
    assert "CIRCINUS_TOKEN" in capsys.readouterr().err
    assert main(["join", "--config", path, "--token-file", str(tmp_path / "none")]) == 2
    assert "the token can't be read" in capsys.readouterr().err
    monkeypatch.setenv("CIRCINUS_TOKEN", "circ1.secret")
    assert main(["join", "--config", path]) == 1
    said = capsys.readouterr().err
    assert "circ1.ID.SECRET.CAHASH" in said
    assert "secret" not in said


@pytest.mark.slow
@pytest.mark.system
def test_the_agent_imports_nothing_heavy_and_nothing_of_the_planner():
    code = """
import sys, edge_agent.daemon, edge_agent.agent, edge_agent.serving, edge_agent.identity.enrolment
heavy = {"mip", "numpy", "scipy", "yaml", "typer", "rich", "cryptography", "cloud_planner"}
found = heavy.intersection(name.partition(".")[0] for name in sys.modules)
assert not found, found
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True)


@contextlib.asynccontextmanager
async def daemon(path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edge_agent.daemon", "run", "--config", str(path)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def serving_directive(bundle: str) -> types_pb2.Directive:
    """The whole toy pipeline with its source on one device."""
    environment = environment_digest(EnvironmentSpec())
    common = {"query_id": "q1", "pipeline_id": "toy", "bundle_digest": bundle, "environment_digest": environment}
    message = types_pb2.Directive(device_id="camera", epoch=1, generation=1)
    for operator, before in (("twice", "source"), ("shout", "twice")):
        entry = message.replica_sets.add(
            **common, key=f"key-{operator}", operator_id=operator, entry_point=f"toy:{operator.capitalize()}"
        )
        entry.replicas, entry.cores, entry.memory_bytes, entry.batch, entry.hang_ms = 1, 0.5, 2**28, 1, 10_000
        entry.inputs.append(before)
        route = message.routes.add(query_id="q1", operator_id=operator, inputs=[before])
        route.targets.add(device_id="camera", share_ratio=1.0)
    message.replica_sets[1].knobs["mode"].text = "loud"
    message.sources.add(
        **common,
        key="key-source",
        entry_point="toy:Words",
        scorer_entry_point="toy:Exact",
        content="words",
        seed=1,
        rate_per_s=20.0,
        output_operator_ids=["shout"],
    )
    message.digest = directive_digest(message)
    return message


def answered(telemetry) -> bool:
    return any(window.answered > 0 for window in telemetry.queries)


@pytest.mark.slow
@pytest.mark.system
async def test_a_killed_agent_comes_back_serving_without_the_planner(config, tmp_path):
    bundle = toy_bundle(tmp_path / "toy")
    planner = ScriptedPlanner(bundle)
    await planner.start()
    path = config(planner.address)
    async with daemon(path) as process:
        await planner.hear("heartbeat")
        prepare = control_pb2.PrepareEnvironmentRequest(
            environment_digest=environment_digest(EnvironmentSpec()), bundle_digest=digest_of(bundle)
        )
        planner.send(prepare_environment=prepare)
        assert (await planner.hear("environment_status")).environment.ready
        planner.send(directive=serving_directive(digest_of(bundle)))
        await planner.hear("generation_status", lambda status: status.phase == control_pb2.GENERATION_PHASE_READY)
        planner.send(activate=control_pb2.ActivateRequest(epoch=1, generation=1))
        telemetry = await planner.hear("telemetry", answered)
        assert set(telemetry.queries[0].scores_ratio) == {1.0}
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 3
        process.kill()
        await process.wait()
        gone, alive = await asyncio.to_thread(psutil.wait_procs, children, DEADLINE_S)
        assert (len(gone), alive) == (len(children), [])
    await planner.stop()
    planner.heard.clear()
    outbox = tmp_path / "state" / "outbox.db"
    before = last_sequence(outbox)
    async with daemon(path) as process:
        # Nobody tells it to, and it serves: what was answered before the planner is back arrives with it.
        async with asyncio.timeout(DEADLINE_S):
            while last_sequence(outbox) <= before:  # noqa: ASYNC110 - see below
                # The file of another process tells nobody of a change.
                await asyncio.sleep(0.05)
        await planner.start()
        await planner.hear("telemetry", lambda part: part.sequence > before and answered(part))
        process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            assert await process.wait() == 0
    await planner.stop()


def last_sequence(outbox) -> int:
    """The number of the newest message in an agent's outbox, seen from outside."""
    with contextlib.closing(sqlite3.connect(outbox)) as database:
        return int(database.execute("SELECT coalesce(max(sequence), 0) FROM waiting").fetchone()[0])


@pytest.mark.slow
@pytest.mark.system
async def test_an_idle_agent_is_light_and_stops_on_sigterm_with_nothing_left(config):
    async with ScriptedPlanner() as planner, daemon(config(planner.address)) as process:
        await planner.hear("heartbeat")
        planner.send(directive=directive_message())
        await planner.hear("directive_answer", lambda answer: answer.verdict == control_pb2.DIRECTIVE_VERDICT_ACCEPTED)
        alive = psutil.Process(process.pid)
        family = [alive, *alive.children(recursive=True)]
        used_bytes = sum(member.memory_info().rss for member in family)
        assert used_bytes <= MAX_IDLE_BYTES, f"{used_bytes / 2**20:.1f} MiB"
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            assert await process.wait() == 0
        assert not any(member.is_running() for member in family[1:])
