"""Draws what the terminal shows of a real run, into docs/images/terminal: the pictures of README and quickstart.

A planner and the three boxes of the quickstart on this machine, which should do nothing else meanwhile: a busy one
serves late, and the pictures say so. Usage: .venv/bin/python scripts/terminal_pictures.py [--seconds 60]. It takes two
to three minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from circinus.errors import CircinusError
from circinus.local_fleet import LocalFleet

ROOT = Path(__file__).resolve().parent.parent
METER = ROOT / "examples" / "meter"
INTO = ROOT / "docs" / "images" / "terminal"
#: What whoever starts a fleet fills in.
_FILLED_IN = ("planner =", "state_dir =", "insecure_loopback =")
_CONNECT_S = 60.0
#: Each picture: how wide, and the command.
PICTURES = {
    "plan": (230, "circinus plan"),
    "top": (150, "circinus top --once --query dusk"),
    "ledger": (120, "circinus ledger"),
}


def boxes() -> dict[str, str]:
    """The quickstart's boxes, as LocalFleet takes them."""
    return {
        path.stem: "".join(line for line in path.read_text().splitlines(True) if not line.startswith(_FILLED_IN))
        for path in sorted((METER / "boxes").glob("*.toml"))
    }


async def draw(seconds: float) -> None:
    """Serves for a while, then draws."""
    with tempfile.TemporaryDirectory(prefix="circinus-pictures-") as folder:
        async with LocalFleet(Path(folder), boxes(), secure=True) as fleet:
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            environment = {**os.environ, **fleet.environment, "PATH": path}
            async with fleet.client() as client, asyncio.timeout(_CONNECT_S):
                while (await client.status()).devices_connected < len(boxes()):  # noqa: ASYNC110 - another process changes it
                    await asyncio.sleep(0.1)
            for words in (
                ("pipeline", "add", str(METER)),
                ("query", "submit", "-f", str(METER / "queries.yaml"), "--wait"),
            ):
                await asyncio.to_thread(subprocess.run, ["circinus", *words], env=environment, check=True)
            await asyncio.sleep(seconds)
            for name, (columns, command) in PICTURES.items():
                words = [sys.executable, str(ROOT / "scripts" / "terminal_picture.py"), str(INTO / f"{name}.svg")]
                words += ["--columns", str(columns), "--", *command.split()]
                await asyncio.to_thread(subprocess.run, words, env=environment, check=True)


def main() -> int:
    """Parses the flags and draws; gives the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/terminal_pictures.py", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to serve before (default: 60)")
    options = parser.parse_args()
    # What was started is ended then, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(draw(options.seconds))
    except (CircinusError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"terminal_pictures: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
