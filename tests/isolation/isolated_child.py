"""A child process that gives up what its orders say, then runs some code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_BEFORE = """
import os
from edge_agent.isolation.orders import Orders, carry_out
carry_out(Orders(agent_pid=os.getppid(), **{orders!r}))
"""
_TIMEOUT_S = 60.0


def run(code: str, *, cwd: Path | None = None, **orders: Any) -> Any:
    """What the code printed as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", _BEFORE.format(orders=orders) + code],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
