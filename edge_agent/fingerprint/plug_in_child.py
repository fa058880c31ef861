"""Runs one plug-in for accelerators and prints what it tells as one line of JSON."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import entry_points

from edge_agent.fingerprint.plug_ins import GROUP

_FIELDS = ("kind", "model", "provider", "slots", "memory_bytes", "unified", "part_id")


def main(name: str) -> int:
    """Prints the accelerators that a plug-in tells of."""
    # What it prints itself must not get among the answer.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    (entry,) = [entry for entry in entry_points(group=GROUP) if entry.name == name][:1]
    found = [{field: one[field] for field in _FIELDS if field in one} for one in entry.load()()]
    answer.write(json.dumps({"accelerators": found}) + "\n")
    answer.flush()
    return 0


if __name__ == "__main__":
    # Not the ordinary end: what a driver's library does when it is unloaded is no concern of ours.
    code = main(sys.argv[1])
    os._exit(code)
