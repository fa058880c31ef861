"""The fleet and the queries of benchmarks/predictions.py, and the scores that its planner begins with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from circinus.model.device import DeviceClass, DeviceId, Digest
from circinus.model.pipeline import PipelineId
from circinus.model.profile import ConfigurationProfile, SampleResult
from circinus.model.query import Query, QueryId, Slo
from cloud_planner.store import SqliteStore
from edge_agent.local.results import read_results

ROOT = Path(__file__).resolve().parent.parent
PIPELINES = ("documents", "meeting", "traffic")
#: Items a second, and latency bounds in ms, from tight to easy. Rates are such that three plans, while times for the
#: next are profiled beside them, are no crowd on the two cores that all devices here share.
RATES = {"documents": (1.8, 2.0, 2.2), "meeting": (2.0, 2.5), "traffic": (3.0, 4.0, 5.0)}
BOUNDS_MS = {
    "documents": (160.0, 250.0, 350.0, 500.0, 800.0),
    "meeting": (250.0, 350.0, 500.0, 800.0),
    "traffic": (110.0, 150.0, 220.0, 350.0),
}
#: How far below a content's best configuration the bound on accuracy is.
SLACKS_RATIO = (0.04, 0.08, 0.15, 0.3)


def _agent(device_id: str, tier: str, site: str, cores: float, price: float, speed: float, dialled: bool) -> str:
    links = "".join(
        f'\n[[links]]\npeer = "{peer}"\nbandwidth_mbit_per_s = {mbit}\nrtt_ms = {rtt}\nemulated = true\n'
        for peer, mbit, rtt in _LINKS[device_id]
    )
    return (
        f'device_id = "{device_id}"\ntier = "{tier}"\nsite = "{site}"\n'
        f'data_listen = "{"127.0.0.1:0" if dialled else ""}"\ncores = {cores}\nmemory_bytes = 8_000_000_000\n'
        f"price_per_h = {price}\n\n[emulation]\nspeed_ratio = {speed}\n{links}"
    )


_LINKS = {
    "camera-1": (("gateway-1", 100, 2), ("cloud-1", 20, 20)),
    "gateway-1": (("camera-1", 100, 2), ("cloud-1", 20, 20)),
    "cloud-1": (("camera-1", 20, 20), ("gateway-1", 20, 20)),
}
AGENTS = {
    "camera-1": _agent("camera-1", "edge", "site-1", 8.0, 0.24, 0.25, False),
    "gateway-1": _agent("gateway-1", "edge", "site-1", 4.0, 0.60, 0.4, True),
    "cloud-1": _agent("cloud-1", "cloud", "cloud", 4.0, 2.40, 1.0, True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Queries that are served at once."""

    number: int
    queries: tuple[Query, ...]


@cache
def best_accuracies() -> dict[tuple[str, str], float]:
    """The best mean score that any configuration has, by pipeline and content."""
    found: dict[tuple[str, str], float] = {}
    for name in PIPELINES:
        results = read_results(ROOT / "benchmarks" / "tables" / name / "results.jsonl.gz")
        for content in results.header.contents:
            scores = [line.scores for line in results.of(content)]
            found[name, content] = max(sum(column) / len(scores) for column in zip(*scores, strict=True))
    return found


def rounds(seed: int, count: int) -> list[Round]:
    """So many rounds of one query for each pipeline, drawn; contents in turn."""
    rng, best, found = Random(seed), best_accuracies(), []
    contents = {name: sorted(content for pipeline, content in best if pipeline == name) for name in PIPELINES}
    for number in range(count):
        queries = []
        for name in PIPELINES:
            content = contents[name][number % 2 * 2 % len(contents[name])]
            queries.append(
                Query(
                    id=QueryId(f"{name}-{number}"),
                    pipeline_id=PipelineId(name),
                    content=content,
                    source_device_id=DeviceId("camera-1"),
                    rate_per_s=rng.choice(RATES[name]),
                    weight=1.0,
                    slo=Slo(
                        latency_ms=rng.choice(BOUNDS_MS[name]),
                        percentile_ratio=0.95,
                        accuracy_ratio=round(best[name, content] - rng.choice(SLACKS_RATIO), 3),
                    ),
                )
            )
        found.append(Round(number=number, queries=tuple(queries)))
    return found


async def with_scores(store_path: Path) -> dict[str, int]:
    """Puts the tables' scores into a planner's store; gives how many of each pipeline's contents have them.

    Samples of a content are the first ones of one stream, so equal seeds mean equal samples.
    """
    store = await SqliteStore.open(store_path)
    try:
        told = {}
        for record in await store.pipelines():
            results = read_results(ROOT / "benchmarks" / "tables" / record.id / "results.jsonl.gz")
            for content in record.contents:
                lines = [line for line in results.of(content.name) if line.sample < content.samples]
                profiles = [
                    ConfigurationProfile(
                        configuration=configuration,
                        samples=tuple(
                            SampleResult(sample_index=line.sample, score_ratio=line.scores[at], operators=())
                            for line in lines
                        ),
                        memory_bytes={},
                        source_bytes=0,
                    )
                    for at, configuration in enumerate(results.header.configurations)
                ]
                await store.add_profiles(
                    Digest(record.bundle_digest), Digest(content.digest), DeviceClass("tables"), profiles
                )
                told[f"{record.id}/{content.name}"] = len(lines)
        return told
    finally:
        await store.close()
