"""Walks the newcomer's way: the marked blocks of the pages, typed one after the other into a terminal.

README -> demo -> own pipeline by the guide -> plan -> serve -> explain -> break a box -> see it replan -> report. No
command stands here: they are taken from the pages, so that pages and script can't differ. Needs nothing but Python, as
it runs before anything is set up. In a page

    ```sh step=NAME exit=CODE      is typed, and ends with CODE (0 if not said)
    ```LANGUAGE file=PATH          is written into a file of the folder that the page works in

Each page begins in a new terminal, in the checkout. What it leaves running is ended with it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/write-a-pipeline.md", "docs/quickstart.md")
#: Where planners of the pages listen.
PORT = 7400
_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>\w*)(?P<words>[^`]*)$")
#: No command of the pages takes longer, but those that install.
_LONGEST_S = 600.0
_INSTALLING_S = 1800.0
_INSTALLING = ("scripts/setup", "scripts/demo")
_GRACE_S = 20.0


@dataclass(frozen=True)
class Block:
    """A marked block of a page. ``line``: where its first line stands. ``step`` or ``file`` is empty."""

    page: str
    line: int
    text: str
    step: str = ""
    file: str = ""
    exit_code: int = 0

    def commands(self) -> Iterator[tuple[int, str]]:
        """Each command with the line that it begins at; comments are none."""
        begun, at = "", 0
        for number, line in enumerate(self.text.splitlines(), self.line):
            at = at if begun else number
            begun += line
            if begun.endswith("\\"):
                begun = begun[:-1]
                continue
            if begun.strip() and not begun.lstrip().startswith("#"):
                yield at, begun
            begun = ""


class Failed(Exception):
    """A command did not end as its page says."""


def blocks(page: str, text: str) -> list[Block]:
    """The marked blocks of a page, in its order."""
    found: list[Block] = []
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        opened = _FENCE.match(line)
        if opened is None:
            continue
        body = []
        for _, inner in lines:
            if inner.strip() == opened["fence"]:
                break
            body.append(f"{inner}\n")
        words = dict(word.partition("=")[::2] for word in opened["words"].split())
        if ("step" in words and opened["language"] == "sh") or "file" in words:
            found.append(
                Block(
                    page=page,
                    line=number + 1,
                    text="".join(body),
                    step=words.get("step", ""),
                    file=words.get("file", ""),
                    exit_code=int(words.get("exit", "0")),
                )
            )
    return found


class Terminal:
    """A shell into which lines are typed. It tells by a pipe of its own how each ended, and where it then was."""

    def __init__(self, environment: dict[str, str]) -> None:
        read, write = os.pipe()
        self._ends = os.fdopen(read, "rb", buffering=0)
        self._shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            cwd=ROOT,
            env={**environment, "ENDS": str(write)},
            pass_fds=(write,),
            start_new_session=True,
        )
        os.close(write)
        self.folder = ROOT
        # Each background command is in a group of its own, as where a person types.
        self.type("set -m")

    def type(self, command: str, longest_s: float = _LONGEST_S) -> int:
        """Types a command; gives its exit code.

        Raises:
            Failed: it does not end in time, or the shell itself ended.
        """
        assert self._shell.stdin is not None
        line = f'eval {shlex.quote(command)} < /dev/null; printf "%s %s\\n" "$?" "$PWD" >&"$ENDS"\n'
        self._shell.stdin.write(line.encode())
        self._shell.stdin.flush()
        said, ends_at = b"", time.monotonic() + longest_s
        while not said.endswith(b"\n"):
            left = ends_at - time.monotonic()
            if left <= 0 or not select.select([self._ends], [], [], left)[0]:
                raise Failed(f"does not end within {longest_s:g} s")
            piece = os.read(self._ends.fileno(), 4096)
            if not piece:
                raise Failed("ended the shell")
            said += piece
        code, _, folder = said.decode().strip().partition(" ")
        self.folder = Path(folder)
        return int(code)

    def close(self) -> None:
        """Ends the shell, and whatever it left running."""
        left = self._groups()
        for group in left:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)
        ends_at = time.monotonic() + _GRACE_S
        while self._groups() and time.monotonic() < ends_at:
            time.sleep(0.1)
        for group in self._groups():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        self._shell.kill()
        self._shell.wait()
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        self._ends.close()

    def _groups(self) -> set[int]:
        """Groups of the shell's session but its own."""
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, group, session, *_ = stat.read_text().rpartition(")")[2].split()
                if int(session) == self._shell.pid and int(group) != self._shell.pid and state != "Z":
                    found.add(int(group))
        return found


class Way:
    """The way through the pages."""

    def __init__(self, home: Path, port: int, skipped: set[str]) -> None:
        self._home = home
        self._port = port
        self._skipped = skipped

    def walk(self, pages: list[str]) -> None:
        """Types what the pages say.

        Raises:
            Failed: something did not end as its page says.
        """
        for page in pages:
            self._walk(page, blocks(page, (ROOT / page).read_text()))

    def _walk(self, page: str, found: list[Block]) -> None:
        say(f"== {page}: {sum(1 for block in found if block.step)} steps")
        terminal = Terminal(self._environment())
        try:
            for block in found:
                if block.file:
                    path = terminal.folder / block.file
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(self._ported(block.text))
                elif block.step in self._skipped:
                    say(f"-- {page}:{block.line}: {block.step} is skipped")
                else:
                    self._type(terminal, block)
        finally:
            terminal.close()

    def _type(self, terminal: Terminal, block: Block) -> None:
        commands = list(block.commands())
        for index, (line, command) in enumerate(commands):
            say(f"\n$ {command}")
            expected = block.exit_code if index == len(commands) - 1 else 0
            try:
                longest_s = _INSTALLING_S if command.startswith(_INSTALLING) else _LONGEST_S
                code = terminal.type(self._ported(command), longest_s)
            except Failed as error:
                raise Failed(f"{block.page}:{line} (step {block.step}): {command}: {error}") from None
            if code != expected:
                wanted = f", not with {expected}" if expected else ""
                raise Failed(f"{block.page}:{line} (step {block.step}): {command}: ended with exit code {code}{wanted}")
            self._port_files(terminal.folder)

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CIRCINUS_")}
        found = {**kept, "HOME": str(self._home), "NO_COLOR": "1"}
        if self._port != PORT:
            found["CIRCINUS_PLANNER"] = f"127.0.0.1:{self._port}"
        return found

    def _ported(self, text: str) -> str:
        return text.replace(f"127.0.0.1:{PORT}", f"127.0.0.1:{self._port}")

    def _port_files(self, folder: Path) -> None:
        """Where the pages' port is taken, files that were copied name the other one."""
        if self._port == PORT or not folder.is_relative_to(self._home):
            return
        for path in folder.rglob("*.toml"):
            with contextlib.suppress(OSError):
                if (text := path.read_text()) != self._ported(text):
                    path.write_text(self._ported(text))


def say(text: str) -> None:
    """Talk about what is done."""
    print(text, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Parses the flags and walks; gives the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/newcomer", description="Does what README, guide and quickstart say.")
    parser.add_argument("--skip-demo", action="store_true", help="leave out README's demo, which takes minutes")
    parser.add_argument("--skip", action="append", default=[], metavar="STEP", help="leave out a step by its name")
    parser.add_argument(
        "--page", action="append", default=[], metavar="PAGE", help=f"only this page ({', '.join(PAGES)})"
    )
    parser.add_argument("--home", type=Path, metavar="FOLDER", help="what ~ is (a folder that is gone afterwards)")
    parser.add_argument(
        "--port", type=int, default=PORT, help="where planners listen, in place of the pages' (%(default)s)"
    )
    options = parser.parse_args(arguments)
    home = options.home or Path(tempfile.mkdtemp(prefix="circinus-newcomer-"))
    home.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    # What was started is ended then, too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        Way(home.resolve(), options.port, {*options.skip, *(["demo"] if options.skip_demo else [])}).walk(
            options.page or list(PAGES)
        )
    except Failed as error:
        print(f"\nnewcomer: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if options.home is None:
            shutil.rmtree(home, ignore_errors=True)
    took_s = time.monotonic() - began
    say(f"\nnewcomer: all steps of {len(options.page or PAGES)} pages went as they say, in {took_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
