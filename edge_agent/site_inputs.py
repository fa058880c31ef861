"""What a bundle says of data that may not leave its site, so that a directive can be held to it."""

from __future__ import annotations

import json
from pathlib import Path

from circinus.bundle import PIPELINE_NAME
from circinus.errors import InvalidInput
from circinus.model.pipeline import OperatorId
from edge_agent.law import SiteInputs


def read_site_inputs(bundle: Path) -> SiteInputs:
    """The inputs of a bundle's operators whose items stay at their site.

    Raises:
        InvalidInput: its pipeline.json can't be read: then nothing can be promised.
    """
    try:
        document = json.loads((bundle / PIPELINE_NAME).read_text(encoding="utf-8"))
        return {
            OperatorId(str(one["id"])): frozenset(OperatorId(str(name)) for name in one.get("site_inputs", ()))
            for one in document["operators"]
        }
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InvalidInput(f"{bundle / PIPELINE_NAME} can't be read: {type(error).__name__}: {error}") from error
