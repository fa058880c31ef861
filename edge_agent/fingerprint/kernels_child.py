"""Runs the kernels and prints their speeds as one line of JSON; a process of its own, so that the agent stays small."""

from __future__ import annotations

import json
import sys

from edge_agent.fingerprint.kernels import measure


def main() -> int:
    """Prints what was measured."""
    speeds, steady_ratio = measure()
    sys.stdout.write(json.dumps({**speeds, "steady_ratio": steady_ratio}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
