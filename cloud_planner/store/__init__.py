"""All that the planner must not forget."""

from cloud_planner.store.blobs import BlobStore
from cloud_planner.store.event_rows import EventKind, EventRecord
from cloud_planner.store.mark_rows import Keeping, Mark
from cloud_planner.store.port import (
    AccountRecord,
    Changes,
    DriftRecord,
    GenerationHead,
    GenerationRecord,
    PipelineRecord,
    RolloutPhase,
    SearchRecord,
    Store,
    StoredWindow,
    TelemetryRecord,
    Windows,
)
from cloud_planner.store.sqlite import SqliteStore

__all__ = [
    "AccountRecord",
    "BlobStore",
    "Changes",
    "DriftRecord",
    "EventKind",
    "EventRecord",
    "GenerationHead",
    "GenerationRecord",
    "Keeping",
    "Mark",
    "PipelineRecord",
    "RolloutPhase",
    "SearchRecord",
    "SqliteStore",
    "Store",
    "StoredWindow",
    "TelemetryRecord",
    "Windows",
]
