"""All that the planner must not forget."""

from cloud_planner.store.blobs import BlobStore
from cloud_planner.store.port import (
    GenerationRecord,
    PipelineRecord,
    RolloutPhase,
    SearchRecord,
    Store,
    TelemetryRecord,
    Windows,
)
from cloud_planner.store.sqlite import SqliteStore

__all__ = [
    "BlobStore",
    "GenerationRecord",
    "PipelineRecord",
    "RolloutPhase",
    "SearchRecord",
    "SqliteStore",
    "Store",
    "TelemetryRecord",
    "Windows",
]
