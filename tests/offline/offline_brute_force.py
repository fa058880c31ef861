"""Plans a small case by trying everything, from the files and docs/offline.md alone.

It shares no code with the planner: it reads the files with plain loaders and has its own arithmetic. It knows cases
whose queries are not split; every table may be in CSV or YAML. Loads of a replica, waiting, percentiles, packing
and costs are worked out as the sections of docs/offline.md say.
"""

from __future__ import annotations

import csv
import itertools
import math
from dataclasses import dataclass
from pathlib import Path

import yaml
from scipy.stats import gamma

SLACK = 1e-9


@dataclass(frozen=True)
class Way:
    """A complete way to serve a query."""

    query: str
    configuration: tuple
    #: (operator, machine, cores, batch, replicas) by operator.
    parts: tuple
    accuracy: float
    latency_ms: float
    own_cost: float
    traffic_cost: float
    #: Replicas: (machine, query, operator, cores, memory in MB).
    replicas: tuple
    #: Link to bit/s.
    bits: tuple


def load(folder: Path) -> dict:
    """All sections of a folder's files."""
    case = {"settings": {}, **{k: [] for k in ("machines", "links", "pipelines", "service", "accuracy", "outputs")}}
    case |= {"queries": [], "uplinks": []}
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("pipelines/*.yaml")]):
        text = yaml.safe_load(path.read_text())
        if path.parent.name == "pipelines" and "pipelines" not in text:
            text = {"pipelines": [text]}
        case["settings"].update(text.pop("settings", {}))
        for name, rows in text.items():
            case[name] += rows
    for path in sorted(folder.glob("*.csv")):
        lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
        for row in csv.DictReader(lines):
            case[path.stem.split("-")[0]].append({k: v for k, v in row.items() if v})
    for operator in (op for pipeline in case["pipelines"] for op in pipeline["operators"]):
        written = [reads if isinstance(reads, dict) else {"from": reads} for reads in operator["inputs"]]
        operator["inputs"] = [reads["from"] for reads in written]
        operator["site_inputs"] = [reads["from"] for reads in written if reads.get("data") == "site"]
    return case


def site_of(case: dict, name: str) -> str:
    return next(machine.get("site", name) for machine in case["machines"] if machine["id"] == name)


def uplinks(case: dict) -> list[tuple[float, set]]:
    """Bandwidth in bit/s and links of each uplink, up and down."""
    found = []
    names = [machine["id"] for machine in case["machines"]]
    for entry in case["uplinks"]:
        inside = {name for name in names if site_of(case, name) == entry["site"]}
        leaving = {(a, b) for a in inside for b in names if b not in inside}
        for key, links in (("up_mbit_per_s", leaving), ("down_mbit_per_s", {(b, a) for a, b in leaving})):
            found += [(entry[key] * 1e6, links)] if key in entry else []
    return found


def cell(row: dict, name: str, default=None):
    value = row.get(name, default)
    return float(value) if isinstance(value, str) and name not in ("machine",) else value


def holds(row: dict, operator: str | None, configuration: dict, content: str | None) -> bool:
    """Whether a row is of this operator, configuration and content."""
    if row.get("operator") != operator or (row.get("content") and row["content"] != content):
        return False
    known = {name.split(".")[1] for name in configuration}
    named = {**row.get("knobs", {}), **{k: v for k, v in row.items() if k in configuration or k in known}}
    for name, value in named.items():
        full = (
            name
            if "." in name
            else next(
                (
                    k
                    for k in configuration
                    if k == f"{operator}.{name}" or (operator is None and k.endswith("." + name))
                ),
                None,
            )
        )
        if full is None:
            return False
        have = configuration[full]
        if str(have) != str(value) and not (isinstance(have, int | float) and float(value) == have):
            return False
    return True


def ways(case: dict, query: dict, *, extra: int = 2, spare: bool = False) -> list[Way]:
    """Every way to serve a query within its SLO; ``spare``: also with more replicas than the SLO takes."""
    pipeline = next(p for p in case["pipelines"] if p["pipeline"] == query.get("pipeline", p["pipeline"]))
    mine = {
        name: [row for row in case[name] if row.get("pipeline", pipeline["pipeline"]) == pipeline["pipeline"]]
        for name in ("service", "accuracy", "outputs")
    }
    operators = pipeline["operators"]
    names = [f"{op['id']}.{knob}" for op in operators for knob in op.get("knobs", {})]
    domains = [values for op in operators for values in op.get("knobs", {}).values()]
    found = []
    for values in itertools.product(*domains):
        configuration = dict(zip(names, values, strict=True))
        accuracy, low = accuracy_of(pipeline, mine["accuracy"], configuration, query.get("content"))
        if accuracy is None or low < query.get("slo", {}).get("accuracy", -math.inf):
            continue
        choices = [
            [
                (machine, row)
                for row in mine["service"]
                for machine in case["machines"]
                if holds(row, op["id"], configuration, query.get("content")) and may_run(op, row, machine)
                if not machine.get("cordoned")
            ]
            for op in operators
        ]
        for picks in itertools.product(*choices):
            way = best_way(case, query, pipeline, mine["outputs"], configuration, (accuracy, low), picks, extra, spare)
            found.extend(way)
    return found


def accuracy_of(pipeline: dict, rows: list, configuration: dict, content: str | None):
    compose = pipeline.get("compose_accuracy")
    if compose is None:
        hits = [row for row in rows if holds(row, None, configuration, content)]
        if not rows:
            return 0.0, math.inf
        if not hits:
            return None, None
        hit = max(hits, key=lambda row: bool(row.get("content")))
        return cell(hit, "accuracy"), cell(hit, "accuracy_low", cell(hit, "accuracy"))
    parts = []
    for operator in pipeline["operators"]:
        hits = [row for row in rows if holds(row, operator["id"], configuration, content)]
        parts += [(cell(row, "accuracy"), cell(row, "accuracy_low", cell(row, "accuracy"))) for row in hits[:1]]
    combine = {"product": math.prod, "sum": sum, "min": min, "mean": lambda x: sum(x) / len(x)}[compose]
    return combine([a for a, _ in parts]), combine([b for _, b in parts])


def may_run(operator: dict, row: dict, machine: dict) -> bool:
    tiers = operator.get("allowed_tiers")
    if tiers and machine["tier"] not in tiers:
        return False
    named = row.get("machine", "*")
    if named not in ("*", machine["id"], machine.get("class", machine["id"])):
        return False
    memory = cell(row, "memory_mb", 0.0)
    return cell(row, "cores", machine.get("cores", 1)) <= machine.get("cores", 1) and (
        "memory_gb" not in machine or memory <= machine["memory_gb"] * 1000
    )


def best_way(case, query, pipeline, outputs, configuration, accuracies, picks, extra, spare) -> list[Way]:
    """The ways with these machines and rows and the fewest replicas that meet the SLO: more only cost more."""
    settings, rate = case["settings"], query["rate_per_s"]
    cap = settings.get("replica_utilization_cap", 1.0)
    least, busy = [], []
    for operator, (_, row) in zip(pipeline["operators"], picks, strict=True):
        batch = cell(row, "batch", 1)
        throughput = cell(row, "throughput_per_s") or batch / cell(row, "latency_ms") * 1000
        busy.append(rate * operator.get("items_per_item", 1) / throughput)
        least.append(max(1, math.ceil(rate * operator.get("items_per_item", 1) / (cap * throughput) - SLACK)))
    waits = settings.get("waiting", "none") == "queue" and "latency_ms" in query.get("slo", {})
    tries = [
        [more for more in range(extra + 1 if waits else 1) if more == 0 or load / (n + more - 1) > 0.25]
        for n, load in zip(least, busy, strict=True)
    ]
    kept: list[tuple[tuple, Way]] = []
    for more in sorted(itertools.product(*tries), key=sum):
        counts = tuple(n + m for n, m in zip(least, more, strict=True))
        if not spare and any(all(a <= b for a, b in zip(before, counts, strict=True)) for before, _ in kept):
            continue
        way = one_way(case, query, pipeline, outputs, configuration, accuracies, picks, counts)
        if way is not None:
            kept.append((counts, way))
    return [way for _, way in kept]


def link(case: dict, source: str, target: str) -> dict | None:
    """The link between two machines; an empty one where none is needed."""
    for entry in case["links"]:
        starts = [entry["from"]] if isinstance(entry["from"], str) else entry["from"]
        ends = [entry["to"]] if isinstance(entry["to"], str) else entry["to"]
        if (source in starts and target in ends) or (entry.get("both_ways") and source in ends and target in starts):
            return entry
    return {} if source == target else None


def one_way(case, query, pipeline, outputs, configuration, accuracies, picks, counts) -> Way | None:
    settings, slo, rate = case["settings"], query.get("slo", {}), query["rate_per_s"]
    source = query.get("source")
    answer = source is not None and query.get("answer_to_source", settings.get("answer_to_source", False))
    where: dict[str, dict] = {}
    mean: dict[str, float] = {}
    variance: dict[str, float] = {}
    cv2 = {"source": query.get("arrival_cv2", settings.get("arrival_cv2", 1.0))}
    back: dict[str, float] = {}
    own = traffic_cost = 0.0
    bits: dict[tuple[str, str], float] = {}
    replicas, parts = [], []
    for operator, (machine, row), count in zip(pipeline["operators"], picks, counts, strict=True):
        name = operator["id"]
        items = operator.get("items_per_item", 1)
        arrivals = []
        for reads in operator["inputs"]:
            size = output_bytes(pipeline, outputs, reads, configuration)
            start = source if reads == "source" else where[reads]["id"]
            hop = {} if start is None else link(case, start, machine["id"])
            if hop is None:
                return None
            if reads in operator["site_inputs"] and start and site_of(case, start) != site_of(case, machine["id"]):
                return None
            sent = (
                rate
                * size
                * (
                    1
                    if reads == "source"
                    else next(op.get("items_per_item", 1) for op in pipeline["operators"] if op["id"] == reads)
                )
            )
            delay = hop.get("rtt_ms", 0.0) / 2
            widths = [width for width, links in uplinks(case) if (start, machine["id"]) in links and hop]
            if "bandwidth_mbit_per_s" in hop:
                widths.append(hop["bandwidth_mbit_per_s"] * 1e6)
            if widths:
                delay += size * 8 / min(widths) * 1000
                bits[start, machine["id"]] = bits.get((start, machine["id"]), 0.0) + sent * 8
            traffic_cost += sent * 3600 / 1e9 * hop.get("price_per_gb", 0.0)
            home = 0.0
            if answer and hop:
                home = (link(case, machine["id"], start) or hop).get("rtt_ms", 0.0) / 2
            arrivals.append(
                (mean.get(reads, 0.0) + delay, variance.get(reads, 0.0), cv2[reads], back.get(reads, 0.0) + home)
            )
        assert len(arrivals) == 1, "joins are not in these cases"
        came, spread, ca2, home = arrivals[0]
        batch = cell(row, "batch", 1)
        throughput = cell(row, "throughput_per_s") or batch / cell(row, "latency_ms") * 1000
        service = cell(row, "latency_ms") or batch / throughput * 1000
        std = cell(row, "latency_std_ms", 0.0)
        reads = operator["inputs"][0]
        before = (
            1
            if reads == "source"
            else next(op.get("items_per_item", 1) for op in pipeline["operators"] if op["id"] == reads)
        )
        stay, stay_variance, departs = stay_of(
            settings, service, std, batch, throughput, rate * items / count, ca2, count, items / before
        )
        where[name], mean[name], variance[name], cv2[name], back[name] = (
            machine,
            came + stay,
            spread + stay_variance,
            departs,
            home,
        )
        cores, memory = cell(row, "cores", machine.get("cores", 1)), cell(row, "memory_mb", 0.0)
        shares = [cores / machine.get("cores", 1)] if cores else [0.0]
        if "memory_gb" in machine:
            shares.append(memory / (machine["memory_gb"] * 1000))
        own += machine.get("price_per_h", 0.0) * max(shares) * count
        replicas += [(machine["id"], query["id"], name, cores, memory)] * count
        parts.append((name, machine["id"], cores, int(batch), count))
    last = pipeline["operators"][-1]["id"]
    latency = percentile(mean[last] + back[last], variance[last], slo.get("percentile", 0.95))
    if latency > slo.get("latency_ms", math.inf) * (1 + SLACK):
        return None
    if own + traffic_cost > slo.get("cost_per_h", math.inf) * (1 + SLACK):
        return None
    return Way(
        query["id"],
        tuple(configuration.items()),
        tuple(parts),
        accuracies[0],
        latency,
        own + traffic_cost,
        traffic_cost,
        tuple(replicas),
        tuple(sorted(bits.items())),
    )


def stay_of(settings, service, std, batch, throughput, arrival, ca2, count, ratio):
    """Mean and variance of service and waiting at a replica, and the variability of what leaves it."""
    waiting = settings.get("waiting", "none")
    gap = 1000 / arrival
    if waiting != "queue":
        return service + (batch - 1) * gap * (waiting == "batch"), std**2, ca2
    ca2 = min(1, ratio) * ca2 + 1 - min(1, ratio)
    # Items that are served one after the other though they came at once; a batch takes them together.
    burst = 1 if batch > 1 else max(1, ratio / count)
    queued = max(1, max(1, ratio / count) / batch)
    rho, cs2 = arrival / throughput, (std / service) ** 2 / queued
    mean = service + (batch - 1) / 2 * gap + (burst - 1) / 2 * service
    variance = std**2 * (1 + (burst - 1) / 2) + ((batch - 1) * gap) ** 2 / 12 + (burst**2 - 1) / 12 * service**2
    variance += (batch - 1) / 2 * gap**2 * ca2 / count
    leaves = ca2 + rho**2 * (1 - ca2 + (min(1, 0.4 + 0.6 * ca2) * cs2 - 1) / count**0.5)
    ca2 /= max(1, count * batch / max(1, ratio))
    if ca2 + cs2 == 0:
        return mean, variance, leaves
    even = (1 - min(1, ca2)) ** (2 + 1 / (1 + 4 * cs2))
    wait = rho / (1 - rho) * (ca2 + cs2) / 2 * service * queued
    wait *= math.exp(-2 * (1 - rho) * even / (3 * rho * (ca2 + cs2)))
    if ca2 <= 1:
        part = (1 + ca2 + rho * cs2) / (1 + rho * (cs2 - 1) + rho**2 * (4 * ca2 + cs2))
    else:
        part = 4 * rho / (ca2 + rho**2 * (4 * ca2 + cs2))
    chance = min(1, max(1e-3, rho + (ca2 - 1) * rho * (1 - rho) * part))
    delayed = 2 * rho - 1 + 4 * (1 - rho) * (1 + 2 * cs2) / (3 * (1 + cs2))
    at_random = (rho / (1 - rho) * (1 + cs2) / 2 * service * queued) ** 2 * ((delayed + 1) / max(1e-3, rho) - 1)
    bounded = (min if ca2 < 1 else max)(wait**2 * ((delayed + 1) / chance - 1), at_random)
    return mean + wait, variance + bounded, leaves


def percentile(mean: float, variance: float, ratio: float) -> float:
    return float(gamma.ppf(ratio, mean**2 / variance, scale=variance / mean)) if variance > 0 else mean


def output_bytes(pipeline: dict, outputs: list, name: str, configuration: dict) -> float:
    for row in outputs:
        if holds(row, name, configuration, None):
            return cell(row, "output_bytes") or cell(row, "output_kb", 0.0) * 1000
    if name == "source":
        return pipeline.get("source_bytes", pipeline.get("source_kb", 0) * 1000)
    operator = next(op for op in pipeline["operators"] if op["id"] == name)
    return operator.get("output_bytes", operator.get("output_kb", 0) * 1000)


def machines_needed(case: dict, machine: dict, replicas: list) -> float:
    """The fewest machines of a type that hold these replicas; infinite if there aren't so many."""
    mine = sorted((r for r in replicas if r[0] == machine["id"]), key=lambda r: (-r[3], -r[4], r[1:3]))
    count = machine.get("count", 1)
    most = len(mine) if count == "unlimited" else min(count, len(mine))
    memory = machine["memory_gb"] * 1000 if "memory_gb" in machine else math.inf

    def fits(left: list, todo: list) -> bool:
        if not todo:
            return True
        (_, query, operator, cores, used), tried = todo[0], set()
        for index, (free, room, owner) in enumerate(left):
            mine_or_free = not machine.get("exclusive") or owner in (None, (query, operator))
            if free + SLACK >= cores and room + SLACK >= used and mine_or_free and (free, room, owner) not in tried:
                tried.add((free, room, owner))
                after = [*left]
                after[index] = (free - cores, room - used, (query, operator))
                if fits(after, todo[1:]):
                    return True
        return False

    for number in range(most + 1):
        if fits([(machine.get("cores", 1), memory, None)] * number, mine):
            return number
    return math.inf


def bill(case: dict, chosen: list[Way]) -> float:
    """What a set of ways costs together; infinite if it is over capacity."""
    replicas = [replica for way in chosen for replica in way.replicas]
    bits: dict[tuple[str, str], float] = {}
    for way in chosen:
        for pair, rate in way.bits:
            bits[pair] = bits.get(pair, 0.0) + rate
    cap = case["settings"].get("link_utilization_cap", 1.0)
    for (source, target), rate in bits.items():
        if rate > cap * link(case, source, target).get("bandwidth_mbit_per_s", math.inf) * 1e6 * (1 + SLACK):
            return math.inf
    for width, links in uplinks(case):
        if sum(rate for pair, rate in bits.items() if pair in links) > cap * width * (1 + SLACK):
            return math.inf
    if any(meet(case, one, other) for one in chosen for other in chosen if one.query != other.query):
        return math.inf
    total = sum(way.traffic_cost for way in chosen)
    for machine in case["machines"]:
        number = machines_needed(case, machine, replicas)
        if number == math.inf:
            return math.inf
        price, size = machine.get("price_per_h", 0.0), machine.get("cores", 1)
        if machine.get("billing", "share") == "whole":
            total += price * number
        else:
            for name, _, _, cores, memory in replicas:
                if name == machine["id"]:
                    shares = [cores / size] if cores else [0.0]
                    if "memory_gb" in machine:
                        shares.append(memory / (machine["memory_gb"] * 1000))
                    total += price * max(shares)
    return total if total <= case["settings"].get("budget_per_h", math.inf) * (1 + SLACK) else math.inf


def meet(case: dict, one: Way, other: Way) -> bool:
    """Whether a query that must stay apart from another is on a machine with it."""
    query = next(query for query in case["queries"] if query["id"] == one.query)
    named = query.get("apart_from", [])
    if other.query not in ([named] if isinstance(named, str) else named):
        return False
    shared = {part[1] for part in one.parts} & {part[1] for part in other.parts}
    return any(
        machine["id"] in shared - {query.get("source")}
        and not machine.get("exclusive")
        and not (machine.get("count") == "unlimited" and machine.get("billing", "share") == "share")
        for machine in case["machines"]
    )


def plan(folder: Path) -> tuple[float, float]:
    """Most goodput, and the least cost with it."""
    case = load(folder)
    options = {query["id"]: ways(case, query) for query in case["queries"]}
    order = sorted(case["queries"], key=lambda q: len(options[q["id"]]))
    gain = {query["id"]: query.get("weight", 1) * query["rate_per_s"] for query in case["queries"]}
    best = [0.0, math.inf]

    def search(place: int, chosen: list[Way], goodput: float, rest: float) -> None:
        if goodput + rest < best[0] - SLACK:
            return
        cost = bill(case, chosen)
        if cost == math.inf or (goodput + rest <= best[0] + SLACK and cost > best[1] - SLACK):
            return
        if place == len(order):
            best[:] = [goodput, cost]
            return
        query = order[place]["id"]
        for way in sorted(options[query], key=lambda way: way.own_cost):
            search(place + 1, [*chosen, way], goodput + gain[query], rest - gain[query])
        search(place + 1, chosen, goodput, rest - gain[query])

    search(0, [], 0.0, sum(gain.values()))
    return best[0], best[1]
