"""Small cases made at random from a seed, for the brute force to check."""

from __future__ import annotations

import random
from pathlib import Path

import yaml


def write_random_case(seed: int, folder: Path, *, limits: bool = False) -> Path:
    """A case with two pipelines, three machines and three queries; what is scarce and how it is paid differs.

    ``limits``: with uplinks, a budget, cordoned machines, data that stays at its site and queries that stay apart.
    """
    rng = random.Random(seed)
    case = _case(rng)
    folder.joinpath("problem.yaml").write_text(yaml.safe_dump(_limited(rng, case) if limits else case, sort_keys=False))
    return folder


def _limited(rng: random.Random, case: dict) -> dict:
    for machine in case["machines"]:
        machine |= {"site": rng.choice(["yard", "hall"]), "cordoned": rng.random() < 0.15}
    sites = {machine["id"]: machine["site"] for machine in case["machines"]}
    ways = {(sites[entry["from"]], sites[entry["to"]]) for entry in case["links"]}
    uplink = {
        **({"up_mbit_per_s": rng.choice([1, 3, 20])} if ("yard", "hall") in ways else {}),
        **({"down_mbit_per_s": rng.choice([1, 3, 20])} if ("hall", "yard") in ways else {}),
    }
    if uplink:
        case["uplinks"] = [{"site": "yard", **uplink}]
    if rng.random() < 0.5:
        case["settings"]["budget_per_h"] = rng.choice([0.3, 0.8, 2.0])
    for pipeline in case["pipelines"]:
        for operator in pipeline["operators"]:
            if rng.random() < 0.3:
                operator["inputs"] = [{"from": operator["inputs"][0], "data": "site"}]
    case["queries"][1]["apart_from"] = ["query-0", "query-2"] if rng.random() < 0.5 else "query-0"
    return case


def _case(rng: random.Random) -> dict:
    machines = [
        {
            "id": name,
            "tier": tier,
            "cores": rng.choice([2, 4]),
            "price_per_h": rng.choice([0.1, 0.37, 0.9]),
            "billing": rng.choice(["share", "whole"]),
            "exclusive": rng.random() < 0.3,
            "count": rng.choice([1, 2, 3, "unlimited"]),
            **({"memory_gb": rng.choice([1, 2])} if rng.random() < 0.5 else {}),
        }
        for name, tier in (("a", "edge"), ("b", "edge"), ("c", "cloud"))
    ]
    machines.append({"id": "home", "tier": "edge", "cores": 1, "price_per_h": 0.05})
    links = [
        {
            "from": source,
            "to": target,
            "rtt_ms": rng.choice([2, 20]),
            **({"bandwidth_mbit_per_s": rng.choice([2, 8, 50])} if rng.random() < 0.7 else {}),
            **({"price_per_gb": rng.choice([0.01, 0.2])} if rng.random() < 0.5 else {}),
        }
        for source in ("home", "a", "b", "c")
        for target in ("a", "b", "c")
        if source != target and rng.random() < 0.8
    ]
    pipelines, service, accuracy = [], [], []
    for pipeline in ("p", "q"):
        pipelines.append(
            {
                "pipeline": pipeline,
                "source_kb": rng.choice([5, 60]),
                "compose_accuracy": rng.choice(["product", "min", "sum"]),
                "operators": [
                    {"id": "x", "inputs": ["source"], "knobs": {"k": [1, 2]}, "output_kb": rng.choice([1, 20])},
                    {"id": "y", "inputs": ["x"], "items_per_item": rng.choice([1, 2])},
                ],
            }
        )
        for operator, knob in (("x", 1), ("x", 2), ("y", None)):
            knobs = {"knobs": {"k": knob}} if knob else {}
            accuracy.append(
                {"pipeline": pipeline, "operator": operator, **knobs, "accuracy": rng.choice([0.6, 0.7, 0.9])}
            )
            service += [
                {
                    "pipeline": pipeline,
                    "operator": operator,
                    **knobs,
                    "machine": machine,
                    "cores": cores,
                    "batch": rng.choice([1, 1, 4]),
                    "latency_ms": rng.randint(10, 300) / cores,
                    "latency_std_ms": rng.choice([0, 5]),
                    "memory_mb": rng.choice([0, 400, 900]),
                }
                for machine in ("a", "b", "c")
                for cores in rng.sample([0.5, 1, 2], rng.choice([1, 2]))
            ]
    queries = [
        {
            "id": f"query-{number}",
            "pipeline": rng.choice(["p", "q"]),
            "source": "home",
            "rate_per_s": rng.choice([1.5, 4, 9]),
            "weight": rng.choice([1, 2]),
            "slo": {
                **({"latency_ms": rng.choice([250, 800])} if rng.random() < 0.6 else {}),
                **({"accuracy": rng.choice([0.5, 0.6])} if rng.random() < 0.6 else {}),
                **({"cost_per_h": rng.choice([0.3, 1.0])} if rng.random() < 0.3 else {}),
            },
        }
        for number in range(3)
    ]
    settings = {
        "waiting": rng.choice(["none", "batch", "queue"]),
        "objective": rng.choice(["goodput", "cost"]),
        "replica_utilization_cap": rng.choice([0.7, 0.9]),
        "link_utilization_cap": rng.choice([0.8, 1.0]),
        "answer_to_source": rng.random() < 0.5,
    }
    return {
        "settings": settings,
        "machines": machines,
        "links": links,
        "pipelines": pipelines,
        "service": service,
        "accuracy": accuracy,
        "queries": queries,
    }
