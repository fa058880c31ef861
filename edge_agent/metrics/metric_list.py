"""PURE. The metrics of an agent: the one list that its page, docs/metrics.md and the dashboard are made from.

Labels are bounded: queries, operators and peers of this device, causes from a list in the code, names of events. Never
an item, an address, a generation or a process.
"""

from __future__ import annotations

from circinus.exposition import Kind, Metric
from circinus.metrics_server import CUT

_QUERY, _OPERATOR, _PEER = ("query",), ("query", "operator"), ("peer",)


def _gauge(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=f"circinus_agent_{name}", kind=Kind.GAUGE, text=text, labels=labels)


def _counter(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=f"circinus_agent_{name}_total", kind=Kind.COUNTER, text=text, labels=labels)


def _times(name: str, text: str, *labels: str) -> Metric:
    return Metric(name=f"circinus_agent_{name}_seconds", kind=Kind.HISTOGRAM, text=text, labels=labels)


# The agent itself.
INFO = _gauge("info", "1; who this is.", "device", "tier", "site", "device_class", "version")
START = _gauge("start_time_seconds", "When the agent started, in seconds since 1970.")
CPU = _counter("cpu_seconds", "CPU time of the agent's own process.")
CHILDREN_CPU = _counter("children_cpu_seconds", "CPU time of processes of the agent that have ended.")
MEMORY = _gauge("memory_bytes", "Resident memory of the agent's own process.")
OPEN_FILES = _gauge("open_files", "Files that the agent has open.")
MAX_FILES = _gauge("max_files", "Files that the agent may have open.")
EVENTS = _counter(
    "events", "Lines of the agent's log, by their fixed name; warning is 1 for warnings.", "event", "warning"
)
TROUBLES = _gauge("troubles", "What is wrong with the box itself, as `circinus device show` lists it: how many things.")

# Its planner.
CONNECTED = _gauge("planner_connected", "1: the planner has welcomed this agent and the link holds.")
GENERATION = _gauge("generation", "Newest generation: state is accepted or active.", "state")
EPOCH = _gauge("epoch", "The epoch of the newest accepted directive.")
PHASE = _gauge("generation_phase", "1 for the phase in which the newest generation is, 0 for the others.", "phase")
OUTBOX_MESSAGES = _gauge("outbox_messages", "Messages that wait for the planner, on disk and in memory.")
OUTBOX_BYTES = _gauge("outbox_bytes", "Their bytes.")
OUTBOX_DROPPED = _counter("outbox_dropped", "Messages of telemetry that were let go, since there was no room.")
CERTIFICATE_END = _gauge("certificate_end_seconds", "When the box's certificate ends, in seconds since 1970.")
CERTIFICATE_TROUBLE = _gauge("certificate_trouble", "1: it is due and can't be renewed now.")

# Its disk.
DISK_FREE = _gauge("disk_free_bytes", "Free bytes of the disk that the agent's state is on.")
DISK_SIZE = _gauge("disk_size_bytes", "All bytes of that disk.")
DISK_FAULT = _gauge("disk_fault", "1: it is full, read-only or out of reach.")

# Queries of which the source is here.
EMITTED = _counter(
    "items_emitted", "Items of queries whose source is here; excess is 1 above the planned rate.", "query", "excess"
)
ENDED = _counter(
    "items_ended",
    "Items that ended: outcome is answered, late, dropped or failed; cause says why one was dropped or failed.",
    "query",
    "outcome",
    "cause",
)
LATENCY = _times("item_latency", "From emission to answer, of answered and late items.", *_QUERY)
SCORE = _counter("items_score", "Sum of the scores (0..1) of answers in time that were scored.", *_QUERY)
SCORED = _counter("items_scored", "Answers in time that were scored.", *_QUERY)
STAND_BY = _counter("items_stand_by_answered", "Items that a stand-by plan answered.", *_QUERY)
SENT = _counter("sent_bytes", "Payload bytes that went to other devices.", *_QUERY)

# Operators that run here.
OPERATOR_ITEMS = _counter("operator_items", "Items that an operator finished here.", *_OPERATOR)
OPERATOR_BATCHES = _counter("operator_batches", "Batches that replicas began.", *_OPERATOR)
OPERATOR_DROPPED = _counter("operator_dropped", "Items that were dropped in an operator's queue.", *_OPERATOR, "cause")
OPERATOR_FAILURES = _counter("operator_failures", "Items that failed at an operator.", *_OPERATOR)
OPERATOR_RESTARTS = _counter("operator_restarts", "Starts of a replica after it died or hung.", *_OPERATOR)
OPERATOR_SERVICE = _times("operator_service", "Service time of an item: its part of the batch.", *_OPERATOR)
OPERATOR_WAIT = _times("operator_queue", "Time that an item waited for a replica.", *_OPERATOR)
OPERATOR_CPU = _counter("operator_cpu_seconds", "CPU time of items.", *_OPERATOR)
OPERATOR_OUTPUT = _counter("operator_output_bytes", "Bytes of outputs.", *_OPERATOR)
OPERATOR_MEMORY = _gauge(
    "operator_memory_bytes", "Largest resident memory of a replica in its last window.", *_OPERATOR
)
OPERATOR_WAITING = _gauge(
    "operator_waiting_items", "Items that wait or run in a replica set, by the operator it is named after.", *_OPERATOR
)
OPERATOR_REPLICAS = _gauge("operator_replicas", "Replicas: state is planned or up.", *_OPERATOR, "state")
OPERATOR_SHARE = _gauge("operator_share_cores", "Cores that the plan gives all replicas together.", *_OPERATOR)

# Links.
LINK_UP = _gauge("link_up", "1: there is a stream to the peer.", *_PEER)
LINK_RTT = _gauge("link_rtt_seconds", "Round trip to the peer, as the kernel measures it on the stream.", *_PEER)
LINK_WAITING = _gauge("link_waiting_items", "Items and outcomes that wait to be sent to the peer.", *_PEER)
LINK_REFUSED = _counter("link_refused_messages", "Messages of the peer that were refused.", *_PEER)
HOP = _times(
    "hop", "Of sampled items: from the end of the last step on the peer, by its clock, until they were here.", *_PEER
)

# Traces and this page.
SPANS = _counter("spans", "Spans of sampled items: state is taken, sent or dropped.", "state")
SCRAPES = _counter("scrapes", "Requests for this page: state is served or refused.", "state")

METRICS: tuple[Metric, ...] = (
    *(value for value in tuple(globals().values()) if isinstance(value, Metric) and value is not CUT),
    CUT,
)

__all__ = ["METRICS"]
