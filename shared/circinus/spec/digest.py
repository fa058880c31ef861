"""By what a pipeline's file is known: what it says, not how it is written."""

from __future__ import annotations

from functools import lru_cache

from circinus.bundle import digest_of
from circinus.model.device import Digest
from circinus.model.pipeline import Pipeline
from circinus.spec.dump import pipeline_yaml

#: As many pipelines as a planner has.
_REMEMBERED = 1_000


@lru_cache(maxsize=_REMEMBERED)
def spec_digest(pipeline: Pipeline) -> Digest:
    """The SHA-256 of the file that Circinus would write: another comment or order of keys makes no difference."""
    return digest_of(pipeline_yaml(pipeline).encode())
