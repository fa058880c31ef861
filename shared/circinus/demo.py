"""The main job, end to end: a planner and agents as processes, a real pipeline, queries with different SLOs.

Runs the same commands that a person would type, and prints them. At the end it holds what was measured against
what was planned. Nothing is left behind, unless it is asked to keep all up. `circinus demo` and scripts/demo are this.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import NormalDist

from circinus.client import Client
from circinus.errors import CircinusError, InvalidInput, TimedOut
from circinus.local_fleet import LocalFleet
from circinus.model.device import DeviceId
from circinus.model.plan import Interval, Plan
from circinus.model.search import SearchPhase
from circinus.spec.folder import load_pipeline, read_text
from circinus.spec.queries import parse_queries

#: What a demo may take of the host's cores, so that what is measured is the plan and not the crowd.
MAX_HOST_CORES = 1.2
#: A plan's goodput and the measured one may differ by this much.
GOODPUT_TOLERANCE_RATIO = 0.10
#: An interval for the mean of fifty scores is no wider than this on each side; fewer scores say less.
MAX_HALF_WIDTH_RATIO = 0.08
SCORES = 50
WINDOW_S = 2.0
#: A new query on a known pipeline: when it has its first choice, and when a certified one, on new and on known content.
PROVISIONAL_S = 5.0
CERTIFIED_NEW_S = 120.0
CERTIFIED_KNOWN_S = 0.2


def say(text: str = "") -> None:
    """Talk, as opposed to data."""
    print(text, flush=True)


def heading(text: str) -> None:
    """A step of the demo."""
    say(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}")


async def typed(fleet: LocalFleet, *args: str, allowed: tuple[int, ...] = (0,)) -> None:
    """Runs the command line as a person would.

    Raises:
        CircinusError: it ended with an exit code that is not allowed.
    """
    shown = " ".join(arg.removeprefix(f"{Path.cwd()}/") for arg in args)
    say(f"$ circinus {shown}")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "circinus.cli.main",
        *args,
        env={**os.environ, **fleet.environment},
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if code not in allowed:
        raise CircinusError(f"circinus {shown} ended with exit code {code}")


async def connected(client: Client, wanted: int) -> None:
    """Waits until so many devices are connected."""
    try:
        async with asyncio.timeout(30):
            while (await client.status()).devices_connected < wanted:  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise TimedOut(f"fewer than {wanted} agents connected within 30 s") from None


def host_cores(plans: tuple[Plan, ...], speed_ratio: dict[DeviceId, float], rate_per_s: dict[str, float]) -> float:
    """Cores of the host that the operators of these plans keep busy: the paced rest of a service time is sleep."""
    return sum(
        rate_per_s[plan.query_id]
        * operator.share_ratio
        * operator.service_ms
        / 1000.0
        * min(operator.cores, 1.0)
        * speed_ratio[operator.device_id]
        for plan in plans
        for operator in plan.operators
    )


def placement_kind(plan: Plan, tiers: dict[DeviceId, str]) -> str:
    """Whether a plan is all-edge, all-cloud, or split."""
    used = {tiers[operator.device_id] for operator in plan.operators}
    return "split between edge and cloud" if len(used) == 2 else f"all {used.pop()}"


async def explain_placements(client: Client) -> None:
    """Says where each plan runs and what its best rival with another placement would cost.

    Raises:
        InvalidInput: the plans need more of the host than the demo may take.
    """
    devices = {state.device.id: state.device for state in await client.devices()}
    states = [state for state in await client.queries() if state.plan is not None]
    plans = tuple(state.plan for state in states if state.plan is not None)
    rates: dict[str, float] = {state.query.id: state.query.rate_per_s for state in states}
    tiers = {device_id: str(device.tier) for device_id, device in devices.items()}
    for plan in plans:
        kind = placement_kind(plan, tiers)
        if plan.runner_up_cost_per_h is None:
            rival = plan.runner_up or "no other placement meets its SLO"
        else:
            dearer = plan.runner_up_cost_per_h / plan.cost_per_h - 1.0 if plan.cost_per_h > 0 else float("inf")
            rival = f"next: {plan.runner_up}, {plan.runner_up_cost_per_h:.4f}/h ({dearer:+.0%})"
        say(f"  {plan.query_id}: {kind}, {plan.cost_per_h:.4f}/h; {rival}")
    needed = host_cores(plans, {device_id: device.speed_ratio for device_id, device in devices.items()}, rates)
    say(f"  the operators keep {needed:.2f} of this machine's {os.cpu_count()} cores busy")
    if needed > MAX_HOST_CORES:
        raise InvalidInput(
            f"these plans need {needed:.2f} cores of this machine; more than {MAX_HOST_CORES} would measure the crowd, "
            "not the plan: lower the rates in the example's queries.yaml"
        )


def joint(predicted: Interval, count: int) -> Interval:
    """A 95% interval widened so that ``count`` of them hold together with 95% (Bonferroni, normal quantiles)."""
    wider = NormalDist().inv_cdf(1.0 - 0.025 / count) / NormalDist().inv_cdf(0.975)
    return Interval(
        value=predicted.value,
        low=max(0.0, predicted.value - wider * (predicted.value - predicted.low)),
        high=min(1.0, predicted.value + wider * (predicted.high - predicted.value)),
    )


async def hold_against_plan(client: Client, folder: Path, since: datetime) -> bool:
    """Prints predicted against observed for each query; True if every promise was kept."""
    # The items of a clip have one score.
    clips = {content.name: content.clip for content in load_pipeline(folder).contents}
    contents = {state.query.id: state.query.content for state in await client.queries()}
    kept = True
    entries = await client.ledger(since)
    say("  accuracy intervals are such that all of them hold with 95%")
    for entry in entries:
        planned, measured = entry.planned_item_goodput_per_s, entry.item_goodput_per_s
        if planned <= 0.0:
            # Only what was placed is here: it was served, and lost its plan.
            say(f"  {entry.query_id}: item goodput {measured:.2f}/s, and no plan any more: MISSED")
            kept = False
            continue
        off = measured / planned - 1.0
        goodput_kept = abs(off) <= GOODPUT_TOLERANCE_RATIO
        line = f"  {entry.query_id}: item goodput {measured:.2f}/s of {planned:.2f}/s planned ({off:+.1%})"
        predicted, accuracy = entry.predicted_accuracy_ratio, entry.accuracy_ratio
        accuracy_kept = True
        if predicted is not None and accuracy is not None:
            half_width = (predicted.high - predicted.low) / 2
            predicted = joint(predicted, len(entries))
            scores = max(1, entry.scored // clips[contents[entry.query_id]])
            widest = MAX_HALF_WIDTH_RATIO * max(1.0, SCORES / scores) ** 0.5
            accuracy_kept = predicted.low <= accuracy <= predicted.high and half_width <= widest
            line += f"; accuracy {accuracy:.3f} in [{predicted.low:.3f}, {predicted.high:.3f}] for {entry.scored} items"
        say(line + f": {'kept' if goodput_kept and accuracy_kept else 'MISSED'}")
        kept = kept and goodput_kept and accuracy_kept
    return kept


async def later_queries(client: Client, fleet: LocalFleet, file: Path) -> bool:
    """Submits queries one after the other and watches what becomes known; True if it was known in time.

    The first is on new content of a known pipeline, the others are on content that was measured.
    """
    kept = True
    for number, query in enumerate(parse_queries(read_text(file), str(file))):
        await client.submit([query])
        await typed(fleet, "query", "watch", query.id, allowed=(0, 3))
        search = (await client.query(query.id)).search
        history = search.history if search is not None else ()
        certified_s = next((step.elapsed_s for step in history if step.phase is SearchPhase.CERTIFIED), None)
        planned_s = next((step.elapsed_s for step in history if step.configuration is not None), None)
        limit_s = CERTIFIED_NEW_S if number == 0 else CERTIFIED_KNOWN_S
        in_time = certified_s is not None and certified_s <= limit_s
        said = "never certified"
        if certified_s is not None:
            said = f"certified after {certified_s:.2f} s (at most {limit_s:g} s)"
        if number == 0:
            in_time = in_time and planned_s is not None and planned_s <= PROVISIONAL_S
            first = "no provisional choice" if planned_s is None else f"first choice after {planned_s:.2f} s"
            said = f"{first} (at most {PROVISIONAL_S:g} s), {said}"
        say(f"  {query.id} on {query.content}: {said}: {'kept' if in_time else 'MISSED'}")
        kept = kept and in_time
    return kept


def example(examples: Path, pipeline: str) -> Path:
    """The folder of an example.

    Raises:
        InvalidInput: there is none that can be shown.
    """
    folder = examples / pipeline
    if not (folder / "pipeline.yaml").is_file() or not (folder / "fleet").is_dir():
        there = sorted(
            path.parent.name for path in examples.glob("*/fleet") if (path.parent / "pipeline.yaml").is_file()
        )
        raise InvalidInput(
            f"there is no example {pipeline!r} in {examples} with a pipeline.yaml and a fleet/; "
            + (f"there are: {', '.join(there)}" if there else "the examples come with the source of Circinus")
        )
    return folder


async def run(folder: Path, seconds: float, keep: bool, command: str = "circinus") -> int:
    """The demo of an example; gives the exit code. ``command``: how the command line is called here."""
    agents = {path.stem: path.read_text() for path in sorted((folder / "fleet").glob("*.toml"))}
    state = Path(tempfile.mkdtemp(prefix="circinus-demo-"))
    fleet = LocalFleet(state, agents, secure=True)
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    main = asyncio.ensure_future(steps(fleet, folder, seconds, keep, stopping, command))
    stop = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({main, stop}, return_when=asyncio.FIRST_COMPLETED)
        if not main.done():
            say("\nstopping ...")
            main.cancel()
            await asyncio.wait({main})
            return 130
        return main.result()
    finally:
        stop.cancel()
        codes = await fleet.stop()
        for name, code in codes.items():
            if code != 0 and not stopping.is_set():
                say(f"  {name} ended with exit code {code}; the end of its log:\n{fleet.log(name)[-2000:]}")
        shutil.rmtree(state, ignore_errors=True)


async def steps(
    fleet: LocalFleet, folder: Path, seconds: float, keep: bool, stopping: asyncio.Event, command: str
) -> int:
    """What the demo shows, in order."""
    heading("A planner and its agents, each a process of its own")
    await fleet.start()
    say(f"  planner on {fleet.planner_address}, pid {fleet.pid('planner')}")
    say("  encrypted: all between boxes, planner and people, by mutual TLS; each box enrolled with a token of its own")
    agents = [name for name in fleet.running() if name != "planner"]
    async with fleet.client() as client:
        await connected(client, len(agents))
        await typed(fleet, "device", "ls")

        heading("A pipeline: its code and its labelled contents, by digest")
        await typed(fleet, "pipeline", "add", str(folder))

        heading("Queries with different service levels; what is not known yet is profiled")
        await typed(fleet, "query", "submit", "-f", str(folder / "queries.yaml"), "--wait", allowed=(0, 3))

        heading("The plan")
        await typed(fleet, "plan", allowed=(0, 3))
        await explain_placements(client)

        heading(f"Serving real items for {seconds:g} s")
        # The first window after the switch still has the start in it.
        await asyncio.sleep(2 * WINDOW_S)
        since = datetime.now(UTC)
        await asyncio.sleep(seconds + WINDOW_S)
        await typed(fleet, "query", "ls", allowed=(0, 3))
        await typed(fleet, "ledger", "--since", since.isoformat())
        kept = await hold_against_plan(client, folder, since)

        if (folder / "later.yaml").is_file():
            heading("Later queries: one on new content, one on known content")
            kept = await later_queries(client, fleet, folder / "later.yaml") and kept

    if keep:
        say("\nIt all goes on. In another terminal:\n")
        for name, value in fleet.environment.items():
            say(f"  export {name}={value}")
        say(f"  {command} query ls\n  {command} ledger\n  {command} plan -o json")
        say(f"  kill -9 {fleet.pid('planner')}    # serving goes on without a planner\n\nCtrl-C here ends it.")
        await stopping.wait()
    heading("Done" if kept else "Done; not every promise was kept: see MISSED above")
    return 0
