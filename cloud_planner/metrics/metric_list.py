"""PURE. The metrics of the planner: the one list that its page, docs/metrics.md and the dashboard are made from.

``circinus_planner_*`` are of the planner and the fleet as a whole, and few whatever the fleet's size.
``circinus_operator_*`` have a series for each operator of each pipeline. ``circinus_query_*`` have one for each query,
and so a bound (``--metrics-queries``). Nothing has a label for an item, a device's process or a generation.
"""

from __future__ import annotations

from circinus.exposition import Kind, Metric
from circinus.metrics_server import CUT

_QUERY, _OPERATOR = ("query",), ("pipeline", "operator")


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=f"circinus_{name}", kind=Kind.GAUGE, text=text, labels=labels)


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=f"circinus_{name}_total", kind=Kind.COUNTER, text=text, labels=labels)


# The planner itself.
INFO = _gauge("planner_info", "1; which version this is.", "version")
START = _gauge("planner_start_time_seconds", "When the planner started, in seconds since 1970.")
CPU = _counter("planner_cpu_seconds", "CPU time of the planner's own process; solvers have theirs.")
CHILDREN_CPU = _counter("planner_children_cpu_seconds", "CPU time of solvers and helpers that have ended.")
MEMORY = _gauge("planner_memory_bytes", "Resident memory of the planner's own process.")
OPEN_FILES = _gauge("planner_open_files", "Files that the planner has open.")
MAX_FILES = _gauge("planner_max_files", "Files that the planner may have open.")
EVENTS = _counter(
    "planner_events", "Lines of the planner's log, by their fixed name; warning is 1 for warnings.", "event", "warning"
)
STUCK = _gauge("planner_stuck", "1: planning or rollout is stuck; `circinus status` says why.")

# Planning.
PLANNED = _counter("planner_plannings", "Selections that were made.")
PLANNING = _counter("planner_planning_seconds", "Time that they took, from snapshot to selection.")
SOLVER = _gauge("planner_solver_seconds", "Time that the solver took for the selection in force.")
GOODPUT = _gauge(
    "planner_goodput_planned_per_second", "Weight x rate of the queries that have a plan: what planning maximises."
)
BOUND = _gauge("planner_goodput_bound_per_second", "Proven upper bound on that over every plan there is.")
GAP = _gauge("planner_gap_ratio", "Distance of the bound from the selection, in goodput.")
COST_GAP = _gauge("planner_cost_gap_ratio", "Distance of the cost from its proven lower bound.")
COST = _gauge("planner_cost_per_hour", "Cost of the selection, in currency per hour.")
SEEN_GOODPUT = _gauge(
    "planner_goodput_seen_per_second", "Weight x items answered in time and right, over the last five minutes."
)

# Rollout.
EPOCH = _gauge("planner_epoch", "The planner's epoch: rises when it is restored from a back-up.")
GENERATION = _gauge("planner_generation", "The newest generation.")
SETTLED = _gauge("planner_rollout_settled", "1: nothing is being rolled out.")
DIRECTIVES = _counter("planner_directives", "Directives: result is sent, accepted or refused.", "result")
HOLDING = _gauge(
    "planner_devices_of_generation", "Devices of the newest generation: state is wanted, accepted or active.", "state"
)

# Devices and queries.
DEVICES = _gauge("planner_devices", "Devices: connected or away.", "state")
DEVICES_MARKED = _gauge(
    "planner_devices_marked",
    "Devices that are cordoned, draining, leaving, excluded, in trouble, or have a double.",
    "mark",
)
CERTIFICATES = _gauge("planner_certificates", "Certificates of devices: good, over or revoked.", "state")
QUERIES = _gauge("planner_queries", "Queries: placed, unplaced, profiling, or pending.", "state")
BURNING = _gauge(
    "planner_queries_by_budget",
    "Queries by how their error budget fares: idle, kept, recovering, rising, burning or fast.",
    "state",
)

# Ledger, profiling, telemetry.
ACCOUNTS = _gauge("planner_ledger_accounts", "Accounts of the ledger that are judged by: the newest.")
COVERAGE = _gauge("planner_ledger_coverage_ratio", "How often 90% intervals of latency held.")
LATENCY_ERROR = _gauge("planner_ledger_latency_error_ratio", "Median relative error of predicted latency.")
THROUGHPUT_ERROR = _gauge("planner_ledger_throughput_error_ratio", "Median relative error of predicted throughput.")
SERVICE_ERROR = _gauge("planner_ledger_service_error_ratio", "Median relative error of predicted service times.")
SERVICE_COVERAGE = _gauge("planner_ledger_service_coverage_ratio", "How often 90% intervals of service times held.")
BRIER = _gauge("planner_ledger_brier_ratio", "Mean squared error of P(SLO); 0 is perfect.")
CORRECTION = _gauge(
    "planner_correction_ratio", "Factors on profiled service times: bound is min, median or max over places.", "bound"
)
PROFILES = _gauge("planner_profile_runs", "Profile runs: running or waiting.", "state")
PROFILED = _counter(
    "planner_profile_runs_ended", "Profile runs that ended: result is finished, failed or cancelled.", "result"
)
DRIFT = _counter("planner_drift_findings", "Findings of drift.")
TELEMETRY = _counter("planner_telemetry_messages", "Messages of telemetry that were in order and new.")

# Operators, over all devices.
OPERATOR_ITEMS = _counter("operator_items", "Items that an operator finished, on all devices.", *_OPERATOR)
OPERATOR_DROPPED = _counter("operator_dropped", "Items that were dropped in its queues.", *_OPERATOR)
OPERATOR_FAILURES = _counter("operator_failures", "Items that failed at it.", *_OPERATOR)
OPERATOR_RESTARTS = _counter("operator_restarts", "Starts of a replica after it died or hung.", *_OPERATOR)
OPERATOR_SERVICE = _counter(
    "operator_service_seconds", "Service time of all items: over items it is the mean.", *_OPERATOR
)
OPERATOR_WAIT = _counter("operator_queue_seconds", "Time that items waited for a replica.", *_OPERATOR)
OPERATOR_CPU = _counter("operator_cpu_seconds", "CPU time of items.", *_OPERATOR)

# Queries.
QUERY_INFO = _gauge(
    "query_info",
    "1; which pipeline a query is of, and the device that its source is on.",
    "query",
    "pipeline",
    "source",
)
QUERY_PLACED = _gauge("query_placed", "1: it has a plan.", *_QUERY)
QUERY_RATE = _gauge("query_planned_rate_per_second", "Its rate.", *_QUERY)
QUERY_WEIGHT = _gauge("query_weight_ratio", "Its weight.", *_QUERY)
QUERY_TARGET = _gauge("query_slo_target_ratio", "Which part of its items is to be answered in time.", *_QUERY)
QUERY_BOUND = _gauge("query_slo_latency_seconds", "Its latency bound; none without one.", *_QUERY)
QUERY_ATTAINED = _gauge("query_slo_attainment_ratio", "Which part was, in a window: 5m, 1h or 1d.", *_QUERY, "window")
QUERY_BURN = _gauge(
    "query_burn_rate_ratio",
    "How many times as fast as allowed the error budget was spent in a window: 5m or 1h.",
    *_QUERY,
    "window",
)
QUERY_BUDGET = _gauge(
    "query_error_budget_ratio", "What is left of a day's error budget; below 0 it is overspent.", *_QUERY
)
QUERY_GOODPUT = _gauge(
    "query_goodput_per_second", "Items answered in time and right, over the last five minutes; weightless.", *_QUERY
)
QUERY_LATENCY = _gauge(
    "query_latency_seconds", "Latency at the SLO's percentile over the last one to two minutes.", *_QUERY, "quantile"
)
QUERY_EMITTED = _counter("query_items_emitted", "Items that were emitted.", *_QUERY)
QUERY_ENDED = _counter(
    "query_items_ended", "Items that ended: outcome is answered, late, dropped or failed.", *_QUERY, "outcome"
)
QUERIES_LEFT_OUT = _gauge(
    "planner_metrics_queries_left_out",
    "Queries without series of their own, since there are more than --metrics-queries.",
)

SCRAPES = _counter("planner_scrapes", "Requests for this page: state is served or refused.", "state")

METRICS: tuple[Metric, ...] = (
    *(value for value in tuple(globals().values()) if isinstance(value, Metric) and value is not CUT),
    CUT,
)

__all__ = ["METRICS"]
