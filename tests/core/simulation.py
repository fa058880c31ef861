"""A simulation of one fixed plan, item by item: what the latency model is held against.

Events are worked out in arrays, a step at a time: a FIFO queue's next end is max(arrival, last end) + service, and so
all ends are a running maximum. Arrivals at a step are dealt to its replicas in turn. A batch starts when it is full.
"""

from __future__ import annotations

import numpy as np

from cloud_planner.core.network import Network


def gamma_times(rng, mean, cv, size):
    """Random times of this mean and coefficient of variation; all alike without one."""
    if cv <= 0.0:
        return np.full(size, mean)
    return rng.gamma(1.0 / cv**2, mean * cv**2, size)


def queue_ends(arrivals, service):
    """Ends of items that one server takes in order."""
    before = np.cumsum(service) - service
    return before + service + np.maximum.accumulate(arrivals - before)


def replica_ends(rng, arrivals, option, shared, correlation):
    """Ends of the items of one replica, in order of arrival."""
    size = option.batch
    whole = len(arrivals) // size * size
    started = arrivals[:whole].reshape(-1, size).max(axis=1)
    mean, cv = option.service.mean_ms, option.service.variance_ms2**0.5 / option.service.mean_ms
    if correlation > 0.0 and cv > 0.0:
        # Sums of gamma times of one scale: a shared part makes stages correlated by its part of the shape.
        own = rng.gamma((1.0 - correlation) / cv**2, 1.0, len(started)) if correlation < 1.0 else 0.0
        service = mean * cv**2 * (shared[:whole].reshape(-1, size)[:, 0] + own)
    else:
        service = gamma_times(rng, mean, cv, len(started))
    ends = np.full(len(arrivals), np.nan)
    ends[:whole] = np.repeat(queue_ends(started, service), size)
    return ends


def latencies(problem, query, index, picks, *, items=60_000, seed=1):
    """Latencies in ms of a plan's answers, one for each item of its outputs; the first tenth is left out.

    Where a step gets several items for one of its input they come at once; where it gets fewer, they are drawn.
    Inputs of a join must have the same items. With stage correlation, all services must vary alike.
    """
    rng = np.random.default_rng(seed)
    network, candidate = Network.of(problem), query.candidates[index]
    gaps = gamma_times(rng, 1e3 / query.rate_per_s, query.arrival_cv2**0.5, items)
    born = np.cumsum(gaps)
    rho = candidate.stage_correlation_ratio
    cvs = [
        s.options[p.option].service.variance_ms2 ** 0.5 / s.options[p.option].service.mean_ms
        for s, p in zip(candidate.steps, picks, strict=True)
    ]
    shared = rng.gamma(rho / cvs[0] ** 2, 1.0, items) if rho > 0.0 and cvs[0] > 0.0 else np.zeros(items)
    # By operator: the item of the source that each of its items comes from, its end, its way back, its machine.
    done = {"source": (np.arange(items), born, 0.0, query.source, 1.0, candidate.source_bytes)}
    for step, pick in zip(candidate.steps, picks, strict=True):
        option = step.options[pick.option]
        arrived, back = None, 0.0
        for name in step.inputs:
            origin, ends, way, machine, per_item, size = done[name]
            hop = network.hop(machine, option.machine)
            came = ends + hop.transfer_ms(size)
            ratio = step.items_per_item / per_item
            if ratio > 1.0:
                origin, came = np.repeat(origin, round(ratio)), np.repeat(came, round(ratio))
            elif ratio < 1.0:
                kept = rng.random(len(origin)) < ratio
                origin, came = origin[kept], came[kept]
            arrived = came if arrived is None else np.maximum(arrived, came)
            answered = query.answer_to_source and query.source is not None
            back = max(back, way + (hop.back_ms if answered else 0.0))
        order = np.argsort(arrived, kind="stable")
        ends = np.empty(len(arrived))
        for replica in range(pick.replicas):
            mine = order[replica :: pick.replicas]
            ends[mine] = replica_ends(rng, arrived[mine], option, shared[origin[mine]], rho)
        done[step.operator_id] = (origin, ends, back, option.machine, step.items_per_item, step.output_bytes)
    first, *others = candidate.outputs
    origin = done[first][0]
    ended = done[first][1] + done[first][2]
    for name in others:
        ended = np.maximum(ended, done[name][1] + done[name][2])
    found = ended - born[origin]
    found = found[len(found) // 10 :]
    return found[np.isfinite(found)]
