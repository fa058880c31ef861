"""A brute force over small problems that shares only the latency model's formulas with the planner."""

from __future__ import annotations

from itertools import product
from math import ceil, inf
from statistics import NormalDist

from scipy.optimize import linprog

from cloud_planner.core.estimate import items_ratio, percentile_ms, stay_of
from cloud_planner.core.moment import START, later_of
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Billing, Sharing, Waiting


def counts(problem, query, step, each):
    """Numbers of replicas that are tried for an option, by the documented rule."""
    load = query.rate_per_s * step.items_per_item / each.capacity_per_s
    least = max(1, ceil(load / problem.replica_utilization_cap - 1e-9))
    if step.single:
        return [1] if least == 1 else []
    tried = [least]
    if lives_in_process(problem, query, step, each):
        return tried
    if problem.waiting is Waiting.QUEUE and query.slo.latency_ms is not None:
        while len(tried) < 3 and load / tried[-1] > 0.25:
            tried.append(tried[-1] + 1)
    return tried


def lives_in_process(problem, query, step, each):
    return step.pooled and not step.single and may_share(problem, query, step, each)


def may_share(problem, query, step, each):
    size = next(size for size in problem.machines if size.id == each.machine)
    shared = problem.sharing is not Sharing.NONE and not query.splittable and step.share_key != ""
    return shared and size.count == 1 and not size.exclusive


def fits_one(size, each):
    return each.cores <= size.cores + 1e-12 and each.memory_bytes <= size.memory_bytes


def way(problem, query, candidate, chosen):
    """Latency at the percentile, traffic cost per hour, bits per second by link; given (option, replicas) by step."""
    found = way_by_step(problem, query, candidate, chosen)
    if found is None:
        return None
    bits = {}
    for _, reaching in found[1]:
        for key, value in reaching.items():
            bits[key] = bits.get(key, 0.0) + value
    return found[0], sum(cost for cost, _ in found[1]), bits


def way_by_step(problem, query, candidate, chosen):
    """Latency at the percentile; of what reaches each step, cost per hour and bits per second by link."""
    network = Network.of(problem)
    rho = candidate.stage_correlation_ratio
    times = {"source": (START, query.arrival_cv2, 0.0)}
    # The operators that every way to one passes, and how many those have themselves: the most is the nearest.
    behind = {"source": {"source"}}
    sizes = {"source": candidate.source_bytes}
    where = {"source": query.source}
    reaching = []
    sites = {size.id: size.site for size in problem.machines}
    for step, (each, replicas) in zip(candidate.steps, chosen, strict=True):
        came = []
        reaching.append([0.0, {}])
        for name in step.inputs:
            hop = network.hop(where[name], each.machine)
            if hop is None:
                return None
            if name in step.site_inputs and where[name] is not None and sites[where[name]] != sites[each.machine]:
                return None
            per_item = sizes[name] if name == "source" else sizes[name][0]
            items = 1.0 if name == "source" else sizes[name][1]
            reaching[-1][0] += hop.price_per_byte * per_item * items * query.rate_per_s * 3600.0
            if hop.wire is not None:
                key = (hop.wire.source, hop.wire.target)
                reaching[-1][1][key] = reaching[-1][1].get(key, 0.0) + 8.0 * per_item * items * query.rate_per_s
            back = hop.back_ms if query.answer_to_source and query.source is not None else 0.0
            at, cv2, way_back = times[name]
            narrow = [hop.wire.bandwidth_bit_per_s] if hop.wire is not None else []
            narrow += [
                up.bandwidth_bit_per_s for up in problem.uplinks if hop.wire and (where[name], each.machine) in up.wires
            ]
            sending_ms = max((8e3 * per_item / width for width in narrow if width), default=0.0)
            came.append((at.later(hop.delay_ms + sending_ms), cv2, way_back + back, behind[name]))
        at, cv2, way_back, passed = latest(came, times, behind)
        split = query.splittable or lives_in_process(problem, query, step, each)
        arrival = query.rate_per_s * step.items_per_item / replicas
        stay, leaves = stay_of(
            each,
            problem.replica_utilization_cap * each.capacity_per_s if split else arrival,
            problem.waiting,
            replicas=1 if split else replicas,
            items_ratio=items_ratio(candidate, step),
        ).moment(cv2, rho, at.deviation_ms)
        times[step.operator_id] = (at.then(stay), float(leaves), way_back)
        behind[step.operator_id] = passed | {step.operator_id}
        sizes[step.operator_id] = (step.output_bytes, step.items_per_item)
        where[step.operator_id] = each.machine
    answers = [(times[name][0].later(times[name][2]), 0.0, 0.0, behind[name]) for name in candidate.outputs]
    at = latest(answers, times, behind)[0]
    return float(percentile_ms(at.mean_ms, at.total_ms2(rho), query.slo.percentile_ratio)), reaching


def latest(came, times, behind):
    """The latest of several (moment, variability, way back, operators behind)."""
    at, cv2, way_back, passed = came[0]
    for other in came[1:]:
        passed = passed & other[3]
        nearest = max(passed, key=lambda name: len(behind[name]))
        at = later_of(at, other[0], times[nearest][0])
        cv2, way_back = max(cv2, other[1]), max(way_back, other[2])
    return at, cv2, way_back, passed


def share(size, each):
    return max(each.cores / size.cores, each.memory_bytes / size.memory_bytes)


def limit_ms(problem, query, candidate):
    """The latency that an estimate may have, by the documented rule."""
    slo = query.slo
    normal = NormalDist()
    held = 1.0
    if slo.accuracy_ratio is not None:
        if candidate.accuracy.low < slo.accuracy_ratio:
            return None
        deviation = (candidate.accuracy.value - candidate.accuracy.low) / 1.959963984540054
        held = normal.cdf((candidate.accuracy.value - slo.accuracy_ratio) / deviation)
        if held < problem.slo_probability_ratio:
            return None
    if slo.latency_ms is None:
        return inf
    if candidate.latency_uncertainty_ratio == 0.0:
        return slo.latency_ms
    needed = problem.slo_probability_ratio / held
    z = normal.inv_cdf(needed) if needed < 1.0 else 0.0
    return min(slo.latency_ms, slo.latency_ms / (1.0 + z * candidate.latency_uncertainty_ratio))


def plans_alone(problem, query):
    """Every plan of an unsplit query that meets its SLO: (candidate, chosen, own cost, traffic cost, bits)."""
    sizes = {each.id: each for each in problem.machines}
    found = []
    for index, candidate in enumerate(query.candidates):
        limit = limit_ms(problem, query, candidate)
        if limit is None:
            continue
        choices = [
            [
                (each, n)
                for each in step.options
                if fits_one(sizes[each.machine], each)
                for n in counts(problem, query, step, each)
                if n <= allowed(problem, query, candidate, step, each)
            ]
            for step in candidate.steps
        ]
        for chosen in product(*choices):
            sent = way(problem, query, candidate, chosen)
            if sent is None or sent[0] > limit * (1 + 1e-9):
                continue
            own = sent[1] + sum(sizes[e.machine].price_per_h * share(sizes[e.machine], e) * n for e, n in chosen)
            if query.slo.cost_per_h is not None and own > query.slo.cost_per_h * (1 + 1e-9):
                continue
            found.append((index, chosen, own, sent[1], sent[2]))
    return found


def least_machines(size, replicas):
    """By trying: the fewest machines that hold a list of replicas."""
    if not replicas:
        return 0
    ordered = sorted(replicas, key=lambda each: -each.cores)

    def place(index, bins, most):
        if index == len(ordered):
            return True
        each = ordered[index]
        for number in range(len(bins)):
            cores, memory = bins[number]
            if cores >= each.cores - 1e-9 and memory >= each.memory_bytes:
                bins[number] = (cores - each.cores, memory - each.memory_bytes)
                if place(index + 1, bins, most):
                    return True
                bins[number] = (cores, memory)
        if len(bins) < most:
            bins.append((size.cores - each.cores, size.memory_bytes - each.memory_bytes))
            if place(index + 1, bins, most):
                return True
            bins.pop()
        return False

    for most in range(1, len(ordered) + 1):
        if place(0, [], most):
            return most
    raise AssertionError("a replica does not fit")


def machine_cost(problem, loads):
    """Cost per hour of (query, operator, option, replicas) loads; None if they do not fit."""
    total = 0.0
    for size in problem.machines:
        here = [load for load in loads if load[2].machine == size.id]
        owners = {}
        for query, operator, each, n in here:
            owners.setdefault((query, operator) if size.exclusive else "", []).extend([each] * n)
        if size.count == 1 and not size.exclusive:
            everything = [each for replicas in owners.values() for each in replicas]
            if (
                sum(e.cores for e in everything) > size.cores + 1e-9
                or sum(e.memory_bytes for e in everything) > size.memory_bytes
            ):
                return None
            needed = 1 if everything else 0
        else:
            if size.count is None and size.billing is Billing.SHARE:
                needed = 0
            else:
                needed = sum(least_machines(size, replicas) for replicas in owners.values())
            if size.count is not None and needed > size.count:
                return None
        if size.billing is Billing.WHOLE:
            total += size.price_per_h * needed
        else:
            total += sum(size.price_per_h * share(size, each) * n for _, _, each, n in here)
    return total


def allowed(problem, query, candidate, step, each):
    """How many replicas may run so, by the rule for cordoned machines."""
    if not next(size for size in problem.machines if size.id == each.machine).cordoned:
        return inf
    return sum(
        placed.replicas
        for plan in problem.running
        if plan.query_id == query.id and plan.configuration == candidate.configuration
        for placed in plan.operators
        if (placed.operator_id, placed.device_id, placed.cores, placed.batch, placed.service_ms, placed.memory_bytes)
        == (step.operator_id, each.machine, each.cores, each.batch, each.service.mean_ms, each.memory_bytes)
    )


def stay_apart(problem, loads):
    """Whether those that must stay apart do; given (query, operator, option, replicas) loads."""
    on = {}
    for name, _, each, _ in loads:
        on.setdefault(name, set()).add(each.machine)
    free = {
        size.id for size in problem.machines if size.exclusive or (size.count is None and size.billing is Billing.SHARE)
    }
    return not any(
        (on.get(query.id, set()) & on.get(other, set())) - free - {query.source}
        for query in problem.queries
        for other in query.apart_from
        if other != query.id
    )


def uplinks_hold(problem, bits):
    return all(
        sum(bits.get(ends, 0.0) for ends in uplink.wires)
        <= problem.link_utilization_cap * uplink.bandwidth_bit_per_s * (1 + 1e-9)
        for uplink in problem.uplinks
    )


def within_budget(problem, cost):
    return problem.budget_per_h is None or cost <= problem.budget_per_h * (1 + 1e-9)


def links_hold(problem, bits):
    return uplinks_hold(problem, bits) and all(
        wire.bandwidth_bit_per_s is None
        or bits.get((wire.source, wire.target), 0.0)
        <= problem.link_utilization_cap * wire.bandwidth_bit_per_s * (1 + 1e-9)
        for wire in problem.wires
    )


def best_unsplit(problem):
    """The best goodput and, with it, the least cost: by trying every combination."""
    spaces = []
    for query in problem.queries:
        distinct = {}
        for index, chosen, _, traffic_cost, bits in plans_alone(problem, query):
            key = (
                tuple(sorted((repr(e), n, query_step) for query_step, (e, n) in enumerate(chosen))),
                traffic_cost,
                repr(sorted(bits.items())),
            )
            distinct.setdefault(key, (index, chosen, traffic_cost, bits))
        spaces.append([None, *distinct.values()])
    best = (0.0, 0.0)
    for combination in product(*spaces):
        goodput, traffic_cost, bits, loads = 0.0, 0.0, {}, []
        for query, plan in zip(problem.queries, combination, strict=True):
            if plan is None:
                continue
            goodput += query.weight * query.rate_per_s
            traffic_cost += plan[2]
            for key, value in plan[3].items():
                bits[key] = bits.get(key, 0.0) + value
            steps = query.candidates[plan[0]].steps
            loads += [(query.id, s.operator_id, e, n) for s, (e, n) in zip(steps, plan[1], strict=True)]
        if goodput < best[0] or not links_hold(problem, bits) or not stay_apart(problem, loads):
            continue
        cost = machine_cost(problem, loads)
        if cost is None or not within_budget(problem, cost + traffic_cost):
            continue
        if goodput > best[0] or cost + traffic_cost < best[1]:
            best = (goodput, cost + traffic_cost)
    return best


def best_split(problem):
    """For a single split query: the least cost over all numbers of replicas, shares by linear programme; None: none."""
    (query,) = problem.queries
    sizes = {each.id: each for each in problem.machines}
    best = None
    for candidate in query.candidates:
        limit = limit_ms(problem, query, candidate)
        if limit is None:
            continue
        slots = [
            (s, step, each)
            for s, step in enumerate(candidate.steps)
            for each in step.options
            if fits_one(sizes[each.machine], each) and allowed(problem, query, candidate, step, each) > 0
        ]
        most = [
            min(
                allowed(problem, query, candidate, step, each),
                max(
                    1,
                    ceil(
                        query.rate_per_s * step.items_per_item / (problem.replica_utilization_cap * each.capacity_per_s)
                        - 1e-9
                    ),
                ),
            )
            for _, step, each in slots
        ]
        per_step = [[each for s, _, each in slots if s == number] for number in range(len(candidate.steps))]
        ways = []
        for chosen in product(*per_step):
            sent = way(problem, query, candidate, [(each, 1) for each in chosen])
            if sent is not None and sent[0] <= limit * (1 + 1e-9):
                ways.append((chosen, sent[1], sent[2]))
        if not ways:
            continue
        for numbers in product(*(range(m + 1) for m in most)):
            loads = [
                (query.id, step.operator_id, each, n) for (_, step, each), n in zip(slots, numbers, strict=True) if n
            ]
            if len({operator for _, operator, _, _ in loads}) < len(candidate.steps):
                continue
            cost = machine_cost(problem, loads)
            own = sum(sizes[e.machine].price_per_h * share(sizes[e.machine], e) * n for _, _, e, n in loads)
            if cost is None or (best is not None and cost >= best):
                continue
            rows, limits = [], []
            for (s, step, each), n in zip(slots, numbers, strict=True):
                rows.append([float(chosen[s] is each) for chosen, _, _ in ways])
                carried = n * problem.replica_utilization_cap * each.capacity_per_s
                limits.append(carried / (query.rate_per_s * step.items_per_item) + 1e-9)
            for wire in problem.wires:
                if wire.bandwidth_bit_per_s is not None:
                    top = problem.link_utilization_cap * wire.bandwidth_bit_per_s
                    rows.append([bits.get((wire.source, wire.target), 0.0) / top for _, _, bits in ways])
                    limits.append(1.0 + 1e-9)
            for uplink in problem.uplinks:
                top = problem.link_utilization_cap * uplink.bandwidth_bit_per_s
                rows.append([sum(bits.get(ends, 0.0) for ends in uplink.wires) / top for _, _, bits in ways])
                limits.append(1.0 + 1e-9)
            if problem.budget_per_h is not None:
                rows.append([sent for _, sent, _ in ways])
                limits.append(problem.budget_per_h - cost + 1e-9)
            if query.slo.cost_per_h is not None:
                rows.append([sent for _, sent, _ in ways])
                limits.append(query.slo.cost_per_h - own + 1e-9)
            solved = linprog(
                [sent for _, sent, _ in ways],
                A_ub=rows,
                b_ub=limits,
                A_eq=[[1.0] * len(ways)],
                b_eq=[1.0],
                bounds=(0.0, None),
            )
            if solved.status == 0 and (best is None or cost + solved.fun < best):
                best = cost + solved.fun
    return best
