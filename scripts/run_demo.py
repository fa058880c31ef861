"""`circinus demo` with this checkout's examples: what scripts/demo runs once all is set up."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from circinus import demo
from circinus.errors import CircinusError

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def main() -> int:
    """Parses the flags and runs the demo."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=(demo.__doc__ or "").partition("\n")[0])
    parser.add_argument("--pipeline", default="documents", help="which of examples/ to run (default: documents)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to serve and measure (default: 30)")
    parser.add_argument("--keep", action="store_true", help="leave it up until Ctrl-C, and say what to try next")
    args = parser.parse_args()
    try:
        folder = demo.example(EXAMPLES, args.pipeline)
        return asyncio.run(demo.run(folder, args.seconds, args.keep, command=".venv/bin/circinus"))
    except CircinusError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
