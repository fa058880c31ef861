"""The screen in a terminal: the one module that knows textual. Keys go to view, lines come from draw."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from circinus.clock import Clock
from circinus.top.draw import length_of, screen
from circinus.top.following import PERIOD_S, Following
from circinus.top.gathering import Source
from circinus.top.picture import Known, Picture
from circinus.top.view import View, pressed, settled, wants_of
from circinus.top.wording import Line, Tone

if TYPE_CHECKING:
    from textual.binding import BindingType
    from textual.events import Key, Resize

#: The sixteen colours that every terminal has, by the names that the person's own theme gives a colour to.
_STYLES = {
    Tone.NONE: Style(),
    Tone.GOOD: Style(color="green"),
    Tone.WARN: Style(color="yellow"),
    Tone.BAD: Style(color="red", bold=True),
    Tone.DIM: Style(dim=True),
    Tone.BOLD: Style(bold=True),
    Tone.CURSOR: Style(reverse=True),
    Tone.HEADING: Style(bold=True, underline=True),
}
#: Ages are told in seconds.
_TICK_S = 1.0


class Sheet(Widget, can_focus=True):
    """The lines of the screen; one that is as it was is not written again."""

    DEFAULT_CSS = "Sheet { width: 100%; height: 100%; background: ansi_default; color: ansi_default; }"

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[Line] = []

    def put(self, lines: list[Line]) -> None:
        """Shows these lines."""
        before, self._lines = self._lines, lines
        if len(before) != len(lines):
            self.refresh()
            return
        # Over a slow line only what has changed is worth its bytes.
        changed = [y for y, (old, new) in enumerate(zip(before, lines, strict=True)) if old != new]
        if changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def render_line(self, y: int) -> Strip:
        """One line."""
        line = self._lines[y] if y < len(self._lines) else ()
        strip = Strip([Segment(one.text, _STYLES[one.tone]) for one in line])
        return strip.adjust_cell_length(self.size.width)


class TopApp(App[None]):
    """A live picture until somebody quits."""

    CSS = "Screen { background: ansi_default; }"
    ENABLE_COMMAND_PALETTE = False
    # Every key goes to the view.
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(
        self, source: Source, first: Picture, clock: Clock, *, view: View | None = None, period_s: float = PERIOD_S
    ) -> None:
        # As it is now: textual takes NO_COLOR out of the environment.
        self.plain = bool(os.environ.get("NO_COLOR"))
        super().__init__(ansi_color=True)
        self._clock = clock
        self.view = view or View()
        self._sheet = Sheet()
        self.following = Following(source, first, clock, self._show, period_s=period_s)

    @property
    def known(self) -> Known:
        """What the screen is drawn from."""
        return self.following.known

    def compose(self) -> ComposeResult:
        """The one widget."""
        yield self._sheet

    def on_mount(self) -> None:
        """Begins to follow."""
        self._sheet.focus()
        self.set_interval(_TICK_S, self._show)
        self.run_worker(self.following.run(), exit_on_error=True)

    def on_resize(self, event: Resize) -> None:
        """The terminal has another size."""
        self._go(replace(self.view, width=event.size.width, height=event.size.height))

    def on_key(self, event: Key) -> None:
        """Every key is the view's."""
        event.stop()
        event.prevent_default()
        self._go(pressed(self.view, event.key, event.character, self.known, length_of(self.view, self.known)))

    def _go(self, view: View) -> None:
        if view.over:
            self.exit()
            return
        self.view = view
        self.following.want(wants_of(view))
        self._show()

    def _show(self) -> None:
        if self.is_running:
            self.view = settled(self.view, length_of(self.view, self.known))
            self._sheet.put(screen(self.view, self.known, self._clock.now()))


__all__ = ["Sheet", "TopApp"]
