"""The plans of small cases are those that trying everything finds, with arithmetic of its own."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import offline_brute_force as brute
import pytest
from offline_docs import write_case
from offline_random_cases import write_random_case
from scipy.optimize import linprog

from cloud_planner.offline.command import run

EXAMPLE = Path(__file__).parents[2] / "examples" / "offline"

pytestmark = pytest.mark.slow


def answer_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    run(folder)
    return json.loads(capsys.readouterr().out)


def parts_of(plan: dict) -> tuple:
    return tuple((p["operator"], p["machine"], p["cores"], p["batch"], p["replicas"]) for p in plan["operators"])


def check_against_brute_force(folder: Path, answer: dict) -> None:
    """The answer is feasible, has the figures that it says, and nothing is better."""
    case = brute.load(folder)
    queries = {query["id"]: query for query in case["queries"]}
    chosen = []
    for plan in answer["plans"]:
        (way,) = (
            way
            for way in brute.ways(case, queries[plan["query"]], spare=True)
            if dict(way.configuration) == plan["configuration"] and way.parts == parts_of(plan)
        )
        chosen.append(way)
        assert plan["latency_ms"]["value"] == pytest.approx(way.latency_ms, rel=1e-6)
        assert plan["cost_per_h"] == pytest.approx(way.own_cost, rel=1e-6)
        if plan["accuracy"] is not None:
            assert plan["accuracy"]["value"] == pytest.approx(way.accuracy)
    assert answer["cost_per_h"] == pytest.approx(brute.bill(case, chosen), rel=1e-6)
    goodput, cost = brute.plan(folder)
    assert answer["goodput_per_s"] == pytest.approx(goodput, rel=1e-8)
    assert answer["goodput_bound_per_s"] >= goodput * (1 - 1e-8)
    assert answer["cost_per_h"] == pytest.approx(cost, rel=1e-6)
    assert answer["cost_bound_per_h"] <= cost * (1 + 1e-6)


def test_the_example(capsys):
    check_against_brute_force(EXAMPLE, answer_of(EXAMPLE, capsys))


@pytest.mark.parametrize("case", ["first", "batches", "configurations"])
def test_cases_of_the_docs(case, tmp_path, capsys):
    check_against_brute_force(write_case(case, tmp_path), answer_of(tmp_path, capsys))


@pytest.mark.parametrize("weight", [1, 5])
@pytest.mark.parametrize("cores", [2, 3])
def test_variants_of_the_example(tmp_path, capsys, cores, weight):
    """Less room: not everything can be served any more, and weights decide what is."""
    for path in [*EXAMPLE.glob("*.yaml"), *EXAMPLE.glob("*.csv"), *EXAMPLE.glob("pipelines/*.yaml")]:
        target = tmp_path / path.relative_to(EXAMPLE)
        target.parent.mkdir(exist_ok=True)
        text = path.read_text()
        if path.name == "fleet.yaml":
            text = text.replace("cores: 4", f"cores: {cores}").replace("count: 3", "count: 1")
        if path.name == "queries.yaml":
            text = text.replace("rate_per_s: 3\n", f"rate_per_s: 3\n    weight: {weight}\n")
        target.write_text(text)
    check_against_brute_force(tmp_path, answer_of(tmp_path, capsys))


@pytest.mark.parametrize("seed", range(12))
def test_cases_made_at_random(seed, tmp_path, capsys):
    check_against_brute_force(write_random_case(seed, tmp_path), answer_of(tmp_path, capsys))


@pytest.mark.parametrize("seed", range(100, 110))
def test_cases_with_limits_made_at_random(seed, tmp_path, capsys):
    check_against_brute_force(write_random_case(seed, tmp_path, limits=True), answer_of(tmp_path, capsys))


def test_divided_loads_on_whole_workers(tmp_path, capsys):
    """Least workers and traffic over all numbers of workers; how loads are divided among them by a linear programme."""
    folder = write_case("workers", tmp_path)
    answer = answer_of(folder, capsys)
    cost, configurations = least_cost_of_workers(brute.load(folder))
    assert answer["cost_per_h"] == pytest.approx(cost, rel=1e-6)
    assert answer["cost_bound_per_h"] == pytest.approx(cost, rel=1e-6)
    (plan,) = answer["plans"]
    assert tuple(plan["configuration"].values()) in [tuple(sorted_configuration(c)) for c in configurations]
    for operator in ("detect", "classify"):
        assert sum(p["share_ratio"] for p in plan["operators"] if p["operator"] == operator) == pytest.approx(1)
    assert plan["item_goodput_per_s"] is None


def sorted_configuration(configuration: dict) -> list:
    return [configuration[name] for name in sorted(configuration)]


def least_cost_of_workers(case: dict) -> tuple[float, list[dict]]:
    """The least cost of the one query of a case of two operators, and the configurations that have it."""
    (query,) = case["queries"]
    (pipeline,) = case["pipelines"]
    first, second = pipeline["operators"]
    rate, machines = query["rate_per_s"], case["machines"]
    best, found = math.inf, []
    for a, b in itertools.product(first["knobs"]["model"], second["knobs"]["model"]):
        configuration = {"detect.model": a, "classify.model": b}
        accuracy, _ = brute.accuracy_of(pipeline, case["accuracy"], configuration, None)
        if accuracy < query["slo"]["accuracy"]:
            continue
        speed = {
            (op["id"], m["id"]): next(
                float(row["throughput_per_s"])
                for row in case["service"]
                if row["machine"] == m["id"] and brute.holds(row, op["id"], configuration, None)
            )
            for op in (first, second)
            for m in machines
        }
        cost = least_cost(case, rate, (first, second), pipeline["source_kb"] * 1000, query["source"], speed)
        if cost < best - 1e-9:
            best, found = cost, []
        if cost <= best + 1e-9:
            found.append(configuration)
    return best, found


def least_cost(case, rate, operators, source_bytes, source, speed) -> float:
    machines = case["machines"]
    kinds = [(op["id"], m) for op in operators for m in machines]
    ranges = []
    for name, machine in kinds:
        needed = math.ceil(rate / speed[name, machine["id"]])
        ranges.append(range(1 + (needed if machine["count"] == "unlimited" else min(needed, machine["count"]))))
    counts = []
    for numbers in itertools.product(*ranges):
        power = {op["id"]: 0.0 for op in operators}
        used = {m["id"]: 0 for m in machines}
        price = 0.0
        for (name, machine), number in zip(kinds, numbers, strict=True):
            power[name] += number * speed[name, machine["id"]]
            used[machine["id"]] += number
            price += number * machine["price_per_h"]
        within = all(m["count"] == "unlimited" or used[m["id"]] <= m["count"] for m in machines)
        if within and min(power.values()) >= rate - 1e-9:
            counts.append((price, numbers))
    best = math.inf
    for price, numbers in sorted(counts):
        if price >= best:
            break
        best = min(best, price + least_traffic(case, rate, operators, source_bytes, source, speed, kinds, numbers))
    return best


def least_traffic(case, rate, operators, source_bytes, source, speed, kinds, numbers) -> float:
    """Least cost of bytes per hour with these workers; infinite if the load can't be divided among them."""
    first = operators[0]
    ids = [m["id"] for m in case["machines"]]
    ways = [
        (a, b) for a, b in itertools.product(ids, ids)
        if brute.link(case, source, a) is not None and brute.link(case, a, b) is not None
    ]  # fmt: skip
    gb_per_h = 3600 / 1e9
    price = [
        gb_per_h * source_bytes * brute.link(case, source, a).get("price_per_gb", 0.0)
        + gb_per_h * first["output_kb"] * 1000 * brute.link(case, a, b).get("price_per_gb", 0.0)
        for a, b in ways
    ]
    rows, limits = [], []
    for (name, machine), number in zip(kinds, numbers, strict=True):
        rows.append([1.0 if (a if name == first["id"] else b) == machine["id"] else 0.0 for a, b in ways])
        limits.append(number * speed[name, machine["id"]])
    result = linprog(price, A_ub=rows, b_ub=limits, A_eq=[[1.0] * len(ways)], b_eq=[rate], method="highs")
    return float(result.fun) if result.status == 0 else math.inf
