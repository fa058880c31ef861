"""What bad operators, sources and links do to items: each gets its outcome, and the agent lives."""

import asyncio
import os
import signal

import psutil
import pytest
from serving_fleet import Fleet, directive, ended, generation, replica_set, route, source

pytestmark = [pytest.mark.slow, pytest.mark.system]


async def serve(fleet: Fleet, class_name: str, *, rate_per_s: float = 20.0, **changes: object) -> None:
    await fleet.add("camera", listen="")
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(replica_set("op", class_name, **changes),),
            routes=(route("op", ("source",), "camera"),),
            sources=(source(("op",), rate_per_s),),
        )
    )


async def test_an_operator_that_raises_fails_only_that_item(fleet: Fleet) -> None:
    await serve(fleet, "RaiseOnOdd")
    pids = fleet.devices["camera"].status().pids
    total = await fleet.until_answered(1, 5)
    assert set(total.failed_by_cause) == {"operator_raised"}
    assert fleet.devices["camera"].status().pids == pids
    assert fleet.operators["op", 1].restarts == 0


async def test_a_raising_item_does_not_fail_its_batch(fleet: Fleet) -> None:
    await serve(fleet, "RaiseOnOdd", batch=4, rate_per_s=50.0)
    total = await fleet.until_answered(1, 10)
    assert set(total.failed_by_cause) == {"operator_raised"}


async def test_a_dying_operator_fails_its_item_and_is_restarted(fleet: Fleet) -> None:
    await serve(fleet, "DieOnThird")
    total = await fleet.until_answered(1, 6)
    assert dict(total.failed_by_cause) == {"operator_died": 1}
    assert fleet.operators["op", 1].restarts == 1


async def test_a_hanging_operator_is_killed_and_restarted(fleet: Fleet) -> None:
    await serve(fleet, "HangOnThird", hang_ms=300.0)
    total = await fleet.until_answered(1, 6)
    assert dict(total.failed_by_cause) == {"operator_hung": 1}
    assert fleet.operators["op", 1].restarts == 1


async def test_outputs_that_cannot_travel_are_refused_by_name(fleet: Fleet) -> None:
    await serve(fleet, "TooMuch")
    await fleet.until(lambda: len(fleet.total(1).failed_by_cause) == 2)
    assert set(fleet.total(1).failed_by_cause) == {"bad_output", "item_too_large"}


async def test_a_source_whose_items_are_too_large_fails_them_by_name(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.dataplane.plane.MAX_PAYLOAD_BYTES", 1_000_000)
    await fleet.add("camera", listen="")
    await fleet.roll_out(
        directive(
            "camera",
            1,
            sets=(replica_set("op", "Pass"),),
            routes=(route("op", ("source",), "camera"),),
            sources=(source(("op",), entry_point="toy_operators:Big"),),
        )
    )
    await fleet.until(lambda: fleet.total(1).failed_by_cause["item_too_large"] >= 2)


async def test_a_generation_whose_operator_cannot_start_fails_with_its_reason(fleet: Fleet) -> None:
    camera = await fleet.add("camera", listen="")
    await camera.apply(directive("camera", 1, sets=(replica_set("op", "NeverUp"),)))
    await fleet.until(lambda: camera.status().phase == "failed")
    assert "the model file is missing" in camera.status().reason
    await camera.apply(directive("camera", 2, sets=(replica_set("op", "Missing"),)))
    await fleet.until(lambda: "has no Missing" in camera.status().reason)
    # A newer one supersedes what is stuck.
    await camera.apply(directive("camera", 3, sets=(replica_set("op", "Pass"),)))
    await fleet.until(lambda: camera.status().phase == "ready")


async def test_a_killed_source_is_restarted(fleet: Fleet) -> None:
    await serve(fleet, "Pass")
    await fleet.until_answered(1, 2)
    (pid,) = fleet.devices["camera"].status().pids["source"]
    os.kill(pid, signal.SIGKILL)
    answered = fleet.total(1).answered
    await fleet.until_answered(1, answered + 5)


async def test_items_for_a_peer_that_is_gone_fail_at_once_and_go_on_when_it_is_back(fleet: Fleet) -> None:
    await fleet.add("camera", listen="")
    cloud = await fleet.add("cloud")
    routes = (route("op", ("source",), "cloud"),)
    far = directive("cloud", 1, sets=(replica_set("op", "Pass"),), routes=routes)
    await fleet.roll_out(
        directive("camera", 1, routes=routes, sources=(source(("op",)),), peers=(fleet.peer("cloud"),)), far
    )
    await fleet.until_answered(1, 3)
    address = fleet.addresses["cloud"]
    await cloud.stop(1.0)
    await fleet.until(lambda: fleet.total(1).failed_by_cause["link_down"] >= 3)
    again = await fleet.add("cloud", listen=address)
    await again.apply(far)
    answered = fleet.total(1).answered
    await fleet.until_answered(1, answered + 5)


async def test_an_item_of_an_unknown_generation_fails_by_name(fleet: Fleet) -> None:
    await fleet.add("camera", listen="")
    await fleet.add("cloud")
    routes = (route("op", ("source",), "cloud"),)
    await fleet.roll_out(
        directive("camera", 1, routes=routes, sources=(source(("op",)),), peers=(fleet.peer("cloud"),)),
        directive("cloud", 7, sets=(replica_set("op", "Pass"),), routes=routes),
    )
    await fleet.until(lambda: fleet.total(1).failed_by_cause["no_route"] >= 3)


async def test_stopping_ends_every_process_even_one_that_hangs(fleet: Fleet) -> None:
    await serve(fleet, "HangOnThird")
    await fleet.until_answered(1, 2)
    pids = [pid for pids in fleet.devices["camera"].status().pids.values() for pid in pids]
    assert len(pids) == 2
    await fleet.devices.pop("camera").stop(0.5)
    assert not any(psutil.pid_exists(pid) for pid in pids)


async def test_processes_die_with_their_agent(tmp_path) -> None:
    script = tmp_path / "agent.py"
    script.write_text(
        "import asyncio, pathlib, sys\n"
        "from serving_fleet import *\n"
        "async def main():\n"
        "    fleet = Fleet(pathlib.Path(sys.argv[1]))\n"
        "    camera = await fleet.add('camera', listen='')\n"
        "    await camera.apply(directive('camera', 1, sets=(replica_set('op', 'Pass'),)))\n"
        "    await fleet.until(lambda: camera.status().phase == 'ready')\n"
        "    print(*[pid for pids in camera.status().pids.values() for pid in pids], flush=True)\n"
        "    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    import sys
    from pathlib import Path

    environment = dict(os.environ, PYTHONPATH=str(Path(__file__).parent))
    agent = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(tmp_path), stdout=asyncio.subprocess.PIPE, env=environment
    )
    assert agent.stdout is not None
    pid = int(await agent.stdout.readline())
    worker = psutil.Process(pid)
    agent.kill()
    await agent.wait()
    await Fleet.until(None, lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)  # type: ignore[arg-type]


async def test_the_first_generation_keeps_every_outcome_when_it_is_replaced_under_load(fleet: Fleet) -> None:
    await serve(fleet, "RaiseOnOdd", rate_per_s=60.0)
    camera = fleet.devices["camera"]
    await fleet.until_answered(1, 5)
    await camera.apply(directive("camera", 2))
    await camera.activate(generation(2))
    await fleet.until(lambda: camera.status().phase == "drained")
    total = fleet.total(1)
    assert ended(total) == total.emitted


async def test_stopping_while_processes_start_or_drain_leaves_none(fleet: Fleet) -> None:
    for index, wait_turns in enumerate((0, 1, 5, 50, 500)):
        device = await fleet.add(f"camera{index}", listen="")
        await device.apply(directive("camera", 1, sets=(replica_set("op", "Pass", replicas=2),)))
        await device.activate(generation(1))
        for _ in range(wait_turns):
            await asyncio.sleep(0)
        await device.apply(directive("camera", 2, sets=(replica_set("op", "NeverUp"),)))
        await device.activate(generation(2))
        await device.retire(generation(2))
        await fleet.devices.pop(f"camera{index}").stop(0.1)
