"""All that the planner must not forget."""

from cloud_planner.store.blobs import BlobStore
from cloud_planner.store.port import GenerationRecord, PipelineRecord, RolloutPhase, Store, TelemetryRecord, Windows
from cloud_planner.store.sqlite import SqliteStore

__all__ = [
    "BlobStore",
    "GenerationRecord",
    "PipelineRecord",
    "RolloutPhase",
    "SqliteStore",
    "Store",
    "TelemetryRecord",
    "Windows",
]
