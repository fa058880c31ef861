"""The data plane comes back where it was.

Peers know an agent's address from their directives, and the planner that could tell them a new one may be away.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from circinus.channel import check_address
from circinus.errors import InvalidInput, Unreachable
from circinus.events import warning
from edge_agent.serving_port import Serving

_NAME = "data-address"


async def start_where_it_was(serving: Serving, listen: str, state_dir: Path) -> str:
    """Starts the serving half; where any port will do, on the last one if it is free. Gives its address.

    Raises:
        InvalidInput: the address is not one that may be listened on.
        Unreachable: the port is taken.
    """
    file = state_dir / _NAME
    last = _last(file) if listen.endswith(":0") else ""
    if last.rpartition(":")[0] != listen.rpartition(":")[0]:
        last = ""
    try:
        address = await serving.start(last or listen)
    except Unreachable as error:
        if not last:
            raise
        warning("data_address_taken", address=last, reason=error)
        address = await serving.start(listen)
    if address and address != last:
        with suppress(OSError):
            file.write_text(address, encoding="utf-8")
    return address


def _last(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
        check_address(text)
    except (OSError, ValueError, InvalidInput):
        return ""
    return text
