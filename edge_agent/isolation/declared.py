"""What a bundle's pipeline declares of what its operators may do."""

from __future__ import annotations

import json
from pathlib import Path


def needs_network(bundle: Path, operator_id: str = "") -> bool:
    """Whether an operator, or any of the pipeline's where none is named, declares that it needs the network.

    A bundle that doesn't say has none: so do those that were made before it could be said.
    """
    try:
        document = json.loads((bundle / "pipeline.json").read_text(encoding="utf-8"))
        operators = document["operators"]
        return any(
            entry.get("network") is True for entry in operators if not operator_id or entry.get("id") == operator_id
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
