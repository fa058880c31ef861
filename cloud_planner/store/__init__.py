"""All that the planner must not forget."""

from cloud_planner.store.blobs import BlobStore
from cloud_planner.store.port import (
    AccountRecord,
    DriftRecord,
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
    "DriftRecord",
    "GenerationRecord",
    "PipelineRecord",
    "RolloutPhase",
    "SearchRecord",
    "SqliteStore",
    "Store",
    "StoredWindow",
    "TelemetryRecord",
    "Windows",
]
