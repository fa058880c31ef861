"""A command as it looks in a terminal, as a picture (SVG) for the documentation.

Usage: .venv/bin/python scripts/terminal_picture.py OUT.svg [--columns 130] [--rows 40] -- COMMAND ...
The command runs in a terminal of its own, so colours and widths are what a person sees.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

_LONGEST_S = 120.0
#: rich's own frame, but for the font that it would load from elsewhere.
_FRAME = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "Fira Code", "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; font-variant-east-asian: full-width; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def shown(command: list[str], *, columns: int, rows: int) -> tuple[str, int]:
    """What a command writes into a terminal of this size, and its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": str(columns)}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=environment)
    os.close(theirs)
    said, began = b"", time.monotonic()
    while time.monotonic() - began < _LONGEST_S:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            said += piece
    os.close(ours)
    return said.decode(errors="replace").replace("\r\n", "\n"), process.wait(timeout=_LONGEST_S)


def picture(text: str, *, title: str, columns: int, name: str) -> str:
    """A text with a terminal's marks, as a picture."""
    console = Console(width=columns, record=True, file=open(os.devnull, "w"), force_terminal=True, legacy_windows=False)  # noqa: SIM115 - written to nowhere
    for line in text.rstrip().split("\n"):
        console.print(Text.from_ansi(line.rstrip(), no_wrap=True, overflow="crop"), crop=True)
    return console.export_svg(title=title, code_format=_FRAME, unique_id=name)


def main() -> int:
    """Parses the flags and draws; gives the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/terminal_picture.py", description="Draws what a command shows.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--columns", type=int, default=130)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    text, code = shown(options.command, columns=options.columns, rows=options.rows)
    if not text.strip():
        sys.stderr.write(f"terminal_picture: {' '.join(options.command)} showed nothing (exit code {code})\n")
        return 1
    title = " ".join(options.command)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(picture(text, title=title, columns=options.columns, name=options.out.stem))
    return 0


if __name__ == "__main__":
    sys.exit(main())
