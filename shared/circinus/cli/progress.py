"""Progress on stderr: bars where there is a terminal, else a line whenever something has changed."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from circinus.cli.output import console, plain, say
from circinus.client import AddProgress
from circinus.reports import ProfileTask, Progress

#: Without a terminal a profile run says something each time it has come so much further.
_STEP_RATIO = 0.1
_NOTE_CHARS = 50


class _Display:
    """Bars on stderr, or another stream, if that is a terminal; ``redirect``: what else is printed goes above them."""

    def __init__(self, stream: Any = None, *, redirect: bool = True) -> None:
        made = console(stream or sys.stderr)
        self._bars: Bars | None = None
        self._stack = ExitStack()
        if made.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                TimeRemainingColumn(),
            )
            self._bars = Bars(
                *columns, console=made, transient=True, redirect_stdout=redirect, redirect_stderr=redirect
            )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._bars is not None:
            self._stack.enter_context(self._bars)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _bar(self, key: str, text: str, done: float, total: float, note: str) -> None:
        if self._bars is None:
            return
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(plain(text), total=total or None, note=note)
        self._bars.update(
            self._tasks[key], description=plain(text), completed=done, total=total or None, note=plain(note)
        )

    def _drop(self, keys: set[str]) -> None:
        if self._bars is not None:
            for key in keys:
                self._bars.remove_task(self._tasks.pop(key))

    def _line(self, key: str, text: str) -> None:
        """Says a line if there are no bars and it isn't what was said last."""
        if self._bars is None and self._said.get(key) != text:
            self._said[key] = text
            say(text)

    def _step(self, key: str, ratio: float, text: str) -> None:
        """Says a line if there are no bars and it has come one step further."""
        reached = f"{int(ratio / _STEP_RATIO + 1e-9) * _STEP_RATIO:.2f}"
        if self._bars is None and self._said.get(key) != reached:
            self._said[key] = reached
            say(text)


class AddBars(_Display):
    """How far ``add_pipeline`` has come."""

    def show(self, progress: AddProgress) -> None:
        """One step further."""
        if progress.step == "upload":
            note = f"{progress.done / 2**20:.1f} of {progress.total / 2**20:.1f} MiB"
            self._bar("upload", f"upload {progress.what}", progress.done, progress.total, note)
            if progress.done == progress.total:
                end = "the planner has it already" if progress.existed else f"uploaded, {progress.total:,} bytes"
                self._line(f"upload {progress.what}", f"{progress.what}: {end}")
        elif progress.step == "samples":
            text = f"making the samples of content {progress.what}"
            self._bar("samples", text, progress.done, progress.total, "")
            self._line(f"samples {progress.what}", text)
        elif progress.done < progress.total:
            self._line("pack", f"packing pipeline {progress.what}")


class WatchBars(_Display):
    """How far profiling, planning and rollout have come."""

    def show(self, progress: Progress) -> None:
        """The newest state."""
        text = progress.activity + (f": {progress.message}" if progress.message else "")
        if not progress.settled:
            # Beside bars that say it all, the message would only push them off the screen.
            note = "" if progress.profiles else progress.message[:_NOTE_CHARS]
            self._bar("activity", progress.activity, 0, 0, note)
        self._line("activity", text)
        running = {f"profile {task.id}" for task in progress.profiles}
        self._drop({key for key in self._tasks if key != "activity"} - running)
        for task in progress.profiles:
            self._profile(task)

    def _profile(self, task: ProfileTask) -> None:
        key = f"profile {task.id}"
        what = "accuracy" if task.accuracy else "times"
        text = f"profiling {what} of {task.pipeline_id}/{task.content} on {task.device_id}"
        note = f"{task.samples_done:,}/{task.samples_total:,} samples"
        self._bar(key, text, task.samples_done, task.samples_total, note)
        ratio = task.samples_done / task.samples_total if task.samples_total else 0.0
        eta = f", about {task.eta_s:.0f} s to go" if task.eta_s is not None else ""
        self._step(key, ratio, f"{text}: {note}{eta}")


class SearchBar(_Display):
    """How far the search for a query's plan has come, below the lines that are printed on stdout."""

    def __init__(self) -> None:
        self._shared = console(sys.stdout).is_terminal
        # Lines that go elsewhere, such as into a file, must not be drawn into the bar's stream.
        super().__init__(sys.stdout if self._shared else sys.stderr, redirect=False)

    def line(self, text: str) -> None:
        """A line that stays."""
        made = self._bars.console if self._shared and self._bars is not None else console(sys.stdout)
        made.print(plain(text), soft_wrap=True)
        sys.stdout.flush()

    def show(self, what: str, note: str, elapsed_s: float, eta_s: float | None) -> None:
        """The newest state; without an ETA the bar only moves."""
        total_s = 0.0 if eta_s is None else elapsed_s + eta_s
        self._bar("search", what, elapsed_s if total_s else 0.0, total_s, note)


class LocalProfileBar(_Display):
    """How far a profile on this machine has come."""

    def note(self, text: str) -> None:
        """A step that is no part of the measuring itself."""
        self._line("note", text)
        if self._bars is not None:
            self._bars.console.print(plain(text), style="dim")

    def show(self, progress: Any) -> None:
        """The newest state: an ``edge_agent.local.profile.ProfileProgress``."""
        note = f"{progress.samples_done:,}/{progress.samples_total:,} samples"
        self._bar("profile", f"profiling {progress.content}", progress.runs_done, progress.runs_total, note)
        ratio = progress.runs_done / progress.runs_total if progress.runs_total else 0.0
        eta = f", about {progress.eta_s:.0f} s to go" if progress.eta_s is not None else ""
        self._step("profile", ratio, f"profiling {progress.content}: {note}{eta}")
