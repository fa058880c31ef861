"""Asks NVML and prints what it says as one line of JSON; a process of its own, since a driver may hang or crash."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

from edge_agent.fingerprint.nvidia import is_held_back, read_nvidia


def main() -> int:
    """Prints the NVIDIA devices, and whether one is held back."""
    found = [asdict(one) for one in read_nvidia()]
    sys.stdout.write(json.dumps({"accelerators": found, "throttled": is_held_back() if found else None}) + "\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    # Not the ordinary end: what a driver's library does when it is unloaded is no concern of ours.
    code = main()
    os._exit(code)
