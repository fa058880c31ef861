"""Predicted against observed: plans of the three example pipelines, each promised, then served for real.

    .venv/bin/python benchmarks/predictions.py --quick     about ten plans, some minutes
    .venv/bin/python benchmarks/predictions.py             at least thirty; broken off, it goes on where it stopped
    .venv/bin/python benchmarks/predictions.py --report    what the ledger has

A planner and agents run as processes; edge devices and links are emulated. Each round submits queries with drawn
contents, rates and bounds, waits until they are certified and rolled out, removes those that are not in time, lets the
others serve, and removes them. Figures come from the planner's own ledger, of the generation that served then (what all
others say is told beside): every promise was booked before its first item, corrected by earlier accounts only.
Scores of profiled samples are taken from benchmarks/tables, since accuracy does not depend on the machine; times are
measured anew. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from host_load import OthersCores
from predictions_report import document, measured, told
from predictions_rounds import AGENTS, PIPELINES, Round, rounds, with_scores

from circinus.client import Client
from circinus.errors import CircinusError
from circinus.local_fleet import LocalFleet
from circinus.model.plan import Certainty
from circinus.reports import QueryState
from circinus.v1 import planner_pb2

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
STATE = Path(tempfile.gettempdir()) / "circinus-predictions"
#: Rounds of up to three queries.
QUICK_ROUNDS, FULL_ROUNDS = 4, 40
#: The first seconds of a generation are left out of its account.
SERVE_S = 30.0
SETTLE_S = 75.0
#: Scores are given, so that no sample is run for them: times are measured on so many.
TIME_SAMPLES = 12
#: What plans may take of the host's two cores: with more, operators of devices that only play to have cores of their
#: own wait for each other, and what is measured is the crowd and not the plan (at 0.84 cores a service took 1.25x its
#: CPU time).
MAX_HOST_CORES = 0.5
#: Rounds in which something else on this machine took more of it say nothing: no plan of the fleet knew of that.
MAX_OTHERS_CORES = 0.1
#: So many accounts are enough for a full run.
ENOUGH = 36


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _added(client: Client) -> None:
    for name in PIPELINES:
        if name not in {state.id for state in await client.pipelines()}:
            await client.add_pipeline(ROOT / "examples" / name)
            say(f"added {name}")


async def _connected(client: Client) -> None:
    async with asyncio.timeout(30):
        while (await client.status()).devices_connected < len(AGENTS):  # noqa: ASYNC110 - another process changes it
            await asyncio.sleep(0.1)


async def _settled(client: Client, limit_s: float) -> bool:
    """Whether all is decided and rolled out in time, and stays so for a moment."""
    until_s, quiet = time.monotonic() + limit_s, 0
    while quiet < 4:
        if time.monotonic() > until_s:
            return False
        status, states = await client.status(), await client.queries()
        waiting = [state for state in states if state.plan is not None and not _promised(state)]
        busy = status.activity == "rolling out" or status.queries_pending or waiting
        quiet = 0 if busy else quiet + 1
        await asyncio.sleep(0.25)
    return True


def _promised(state: QueryState) -> bool:
    """Whether a query's plan is in force and rests on measurements: before that nothing is promised."""
    return state.serving and state.plan is not None and state.plan.certainty is Certainty.CERTIFIED


async def _served(client: Client, fleet: LocalFleet, one: Round) -> list[tuple[int, str]]:
    """Serves a round; gives the generation and the queries that were served in it, and are to be judged."""
    for state in await client.queries():
        await client.remove_query(state.query.id)
    await client.submit(list(one.queries))
    settled = await _settled(client, SETTLE_S)
    placed = []
    for state in await client.queries():
        if _promised(state):
            placed.append(state)
        else:
            await client.remove_query(state.query.id)
            say(f"  {state.query.id}: {state.reason or 'no certified plan in time'}")
    speeds = {state.device.id: state.device.speed_ratio for state in await client.devices()}
    cores = 0.0

    def needed_cores(state: QueryState) -> float:
        """What a query's plan takes of the host."""
        return sum(
            state.query.rate_per_s * op.share_ratio * op.service_ms / 1e3 * min(op.cores, 1.0) * speeds[op.device_id]
            for op in (state.plan.operators if state.plan is not None else ())
        )

    for state in sorted(placed, key=lambda state: (needed_cores(state), state.query.id)):
        needed = needed_cores(state)
        cores += needed
        if cores > MAX_HOST_CORES:
            await client.remove_query(state.query.id)
            placed.remove(state)
            cores -= needed
            say(f"  {state.query.id} is left out: this machine's cores would be crowded")
    generation = 0
    if placed:
        await _settled(client, 30.0)
        generation = (await client.status()).generation
        others = OthersCores((os.getpid(), *(fleet.pid(name) for name in fleet.running())))
        await asyncio.sleep(SERVE_S)
        if (cores_taken := others.cores()) > MAX_OTHERS_CORES:
            say(f"round {one.number}: not judged, since {cores_taken:.2f} cores were taken by others than the fleet")
            return []
    say(f"round {one.number}: {len(placed)} of {len(one.queries)} planned, {cores:.2f} cores, settled: {settled}")
    return [(generation, state.query.id) for state in placed]


def _places(lines: Path) -> set[tuple[int, str]]:
    """The generations and queries of the rounds that were served."""
    said = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    return {(generation, query_id) for line in said for generation, query_id in line["served"]}


async def _accounts(client: Client, lines: Path) -> planner_pb2.GetAccountsResponse:
    """The accounts of what was measured."""
    found = await client.accounts_message(limit=500)
    say(f"  all that was booked: {told(found).splitlines()[0]}")
    return measured(found, _places(lines))


async def run(wanted: list[Round], state: Path, enough: int) -> dict[str, object]:
    """Serves what is left of these rounds; gives the figures."""
    task = asyncio.current_task()
    assert task is not None
    # However it is ended, its daemons go with it.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    lines = state / "rounds.jsonl"
    fleet = LocalFleet(state, AGENTS, planner_flags=("--profile-time-samples", str(TIME_SAMPLES)))
    prepared = state / "prepared"
    try:
        if not prepared.exists():
            await fleet.start()
            async with Client(fleet.planner_address) as client:
                await _connected(client)
                await _added(client)
            await fleet.stop()
            say(f"scores from the tables: {await with_scores(state / 'planner' / 'planner.sqlite3')}")
            prepared.touch()
        done = {json.loads(line)["round"] for line in lines.read_text().splitlines()} if lines.exists() else set()
        await fleet.start()
        async with Client(fleet.planner_address) as client:
            await _connected(client)
            for one in wanted:
                if one.number in done:
                    continue
                if document(await _accounts(client, lines))["plans"] >= enough:  # type: ignore[operator]  # a count
                    break
                began_s = time.monotonic()
                try:
                    served = await _served(client, fleet, one)
                except CircinusError as error:
                    say(f"round {one.number}: {error.message}")
                    continue
                with lines.open("a") as file:
                    file.write(json.dumps({"round": one.number, "served": served}) + "\n")
                say(f"  {time.monotonic() - began_s:.0f} s; {told(await _accounts(client, lines)).splitlines()[0]}")
            for left in await client.queries():
                await client.remove_query(left.query.id)
            found = await _accounts(client, lines)
        print(told(found))
        return document(found)
    finally:
        await fleet.stop()


def main() -> int:
    """Parses the flags, serves, reports."""
    parser = argparse.ArgumentParser(description="Predicted against observed over plans that are served for real.")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds")
    parser.add_argument("--report", action="store_true", help="serve nothing, report what the ledger has")
    parser.add_argument("--fresh", action="store_true", help="begin anew")
    parser.add_argument("--rounds", type=int, default=0, help="at most so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state", type=Path, default=STATE, help="where the fleet's state is kept (%(default)s)")
    parser.add_argument("--into", type=Path, default=RESULTS, help="folder of the results")
    flags = parser.parse_args()
    state: Path = flags.state / ("quick" if flags.quick else "full")
    if flags.fresh:
        shutil.rmtree(state, ignore_errors=True)
    count = flags.rounds or (QUICK_ROUNDS if flags.quick else FULL_ROUNDS)
    wanted = [] if flags.report else rounds(flags.seed, count)
    figures = asyncio.run(run(wanted, state, 10_000 if flags.quick else ENOUGH))
    flags.into.mkdir(parents=True, exist_ok=True)
    name = "predictions-quick.json" if flags.quick else "predictions.json"
    (flags.into / name).write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps({key: value for key, value in figures.items() if key != "accounts"}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
