"""What the screen has, line by line, from what is known and where somebody is. PURE.

Only the rows that are on the screen are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from circinus.cli.output import span
from circinus.event_calls import PlannerEvent
from circinus.line_calls import DeviceLine, QueryLine
from circinus.top.columns import DEVICE_COLUMNS, QUERY_COLUMNS, Column, shown
from circinus.top.dag import detail_lines
from circinus.top.picture import Known, Page
from circinus.top.view import View, settled
from circinus.top.wording import Line, Span, Tone, amount, clean, cut, fitted, padded, words

L = TypeVar("L")
#: A picture that is older than this is told its age, whatever the reason.
_OLD_S = 6.0

_HELP = (
    ("1 2 3 4, Tab", "fleet, queries, one query, events"),
    ("↑ ↓ PgUp PgDn", "up and down, with Home and End; or k j b Space g G"),
    ("Enter", "of a device: its queries; of a query: its DAG"),
    ("Esc", "forget the filter; from a query back to the list"),
    ("< >, ← →", "sort by the column before, after"),
    ("r", "the other way round"),
    ("/", "only lines that have a text: Enter keeps it, Esc forgets it"),
    ("q", "quit"),
    ("", ""),
    ("LOAD", "CPU that operators took over 30 s, of the cores for plans"),
    ("SHARE", "cores that the newest generation gives away, of those"),
    ("GOODPUT/s", "weight × items in time and right, over 5 minutes"),
    ("IN TIME", "the part of all items that was answered in time"),
    ("BURN 5m, 1h", "how many times too fast the error budget is spent"),
    ("BUDGET", "what is left of a day's error budget"),
    ("SEEN BOUND PLAN", "latency at the SLO's percentile, seen over a minute or two"),
    ("serving*", "its accuracy is believed, not proven"),
)


def screen(view: View, known: Known, now: datetime) -> list[Line]:
    """The whole screen, from top to bottom: ``view.height`` lines of at most ``view.width`` cells."""
    view = settled(view, length_of(view, known))
    body = _help(view) if view.help else _page(view, known, now)
    room = max(0, view.height - 5)
    body = [*body, *([()] * room)][:room]
    lines = [*_head(view, known, now), *body, _told(view, known), _foot(view)]
    return [fitted(line, view.width) for line in lines][: view.height]


def length_of(view: View, known: Known) -> int:
    """How long the list on the present page is."""
    match view.page:
        case Page.FLEET:
            return known.picture.devices.matching
        case Page.QUERIES:
            return known.picture.queries.matching
        case Page.QUERY:
            return len(detail_lines(known.picture.detail, view.query_id, view.width))
        case Page.EVENTS:
            return len(events_of(view, known))


def events_of(view: View, known: Known) -> list[PlannerEvent]:
    """The events that the filter leaves, newest first."""
    text = view.events.text.casefold()
    found = [one for one in known.events if not text or text in _event_text(one).casefold()]
    return found[::-1]


def _event_text(one: PlannerEvent) -> str:
    said = " ".join(f"{key}={value}" for key, value in one.fields.items())
    return f"{one.kind} {one.name} {said}"


def _head(view: View, known: Known, now: datetime) -> list[Line]:
    status = known.picture.status
    stuck = status.activity.startswith("stuck")
    clock = f"{now.astimezone():%H:%M:%S}"
    first: list[Span] = [
        Span("circinus top", Tone.BOLD),
        Span(f"  {clean(known.picture.planner)}  generation {status.generation}  "),
        Span(clean(status.activity) or "idle", Tone.BAD if stuck else Tone.NONE),
    ]
    left = fitted(first, max(0, view.width - len(clock) - 1))
    used = sum(len(one.text) for one in left)
    return [
        (*left, Span(" " * max(1, view.width - used - len(clock))), Span(clock, Tone.DIM)),
        _age(known, now) or _sums(view, known),
        _tabs(view, known),
    ]


def _age(known: Known, now: datetime) -> Line:
    """That the planner is away, or the picture old; empty: neither."""
    age_s = (now - known.picture.at).total_seconds()
    if known.trouble:
        away_s = (now - known.away_since).total_seconds() if known.away_since is not None else age_s
        text = f"AWAY for {span(away_s)}, this is {span(age_s)} old: {clean(known.trouble)}"
        return (Span(text, Tone.BAD),)
    return (
        (Span(f"this is {span(age_s)} old; the planner has not answered since", Tone.WARN),) if age_s > _OLD_S else ()
    )


def _sums(view: View, known: Known) -> Line:
    """The whole in figures: as many of them as there is room for, by what matters most."""
    status, queries = known.picture.status, known.picture.queries
    total = status.queries_placed + status.queries_unplaced + status.queries_pending
    burning = Span(f"{queries.burning:,} burning", Tone.BAD if queries.burning else Tone.GOOD)
    found = [
        Span(f"{status.devices_connected:,}/{status.devices_known:,} devices"),
        Span(f"{status.queries_placed:,}/{total:,} queries"),
        burning,
        Span(f"{amount(queries.goodput_per_s)} of {amount(queries.planned_goodput_per_s)}/s"),
        Span(f"cost {amount(queries.cost_per_h)}/h"),
        *(
            Span(f"{count:,} {word}")
            for count, word in (
                (status.queries_unplaced, "unplaced"),
                (status.queries_pending, "pending"),
                (status.devices_cordoned, "cordoned"),
                (status.devices_draining, "draining"),
            )
            if count
        ),
    ]
    line: list[Span] = []
    left = view.width
    for one in found:
        left -= len(one.text) + 2
        if left < -2:
            break
        line += [one, Span("  ")]
    return tuple(line[:-1])


def _tabs(view: View, known: Known) -> Line:
    line: list[Span] = []
    for number, page in enumerate(Page, start=1):
        name = clean(view.query_id) if page is Page.QUERY and view.query_id else page.value
        line += [Span(f" {number} {cut(name, 20)} ", Tone.CURSOR if page is view.page else Tone.NONE), Span(" ")]
    place = view.place
    if view.typing is not None:
        line.append(Span(f" /{clean(view.typing)}_", Tone.BOLD))
    elif place.text:
        line.append(Span(f" /{clean(place.text)}", Tone.BOLD))
    if place.text and view.page in (Page.FLEET, Page.QUERIES):
        found = known.picture.devices if view.page is Page.FLEET else known.picture.queries
        line.append(Span(f" {found.matching:,} of {found.total:,}", Tone.DIM))
    return tuple(line)


def _page(view: View, known: Known, now: datetime) -> list[Line]:
    picture = known.picture
    match view.page:
        case Page.FLEET:
            nothing = "no agent has ever connected; on a box: edge-agent run --config FILE"
            return _list(
                view,
                DEVICE_COLUMNS,
                picture.devices.lines,
                picture.wants.devices.offset,
                nothing,
                picture.devices.matching,
                now,
            )
        case Page.QUERIES:
            nothing = "there are no queries; circinus query submit -f queries.yaml"
            return _list(
                view,
                QUERY_COLUMNS,
                picture.queries.lines,
                picture.wants.queries.offset,
                nothing,
                picture.queries.matching,
                now,
            )
        case Page.QUERY:
            lines = detail_lines(picture.detail, view.query_id, view.width)
            return lines[view.query.top :]
        case Page.EVENTS:
            return _events(view, known)


def _list(
    view: View,
    columns: Sequence[Column[L]],
    lines: Sequence[L],
    offset: int,
    nothing: str,
    matching: int,
    now: datetime,
) -> list[Line]:
    place = view.place
    chosen = shown(columns, view.width, place.sort)
    titles = []
    for column, size in chosen:
        title = column.title
        if column.key and column.key == place.sort:
            title = title[: size - 1] + ("↓" if place.descending else "↑")
        titles.append(padded(title, size, right=column.right))
    found: list[Line] = [(Span(padded(" ".join(titles), view.width), Tone.HEADING),)]
    if not matching:
        text = f"nothing has {place.text!r}; Esc forgets the filter" if place.text else nothing
        return [*found, (Span(clean(text), Tone.DIM),)]
    for number in range(place.top, min(matching, place.top + view.rows)):
        here = number - offset
        if not 0 <= here < len(lines):
            found.append((Span("…", Tone.DIM),))
            continue
        found.append(_row(chosen, lines[here], now, under_cursor=number == place.cursor, width=view.width))
    return found


def _row(chosen: Sequence[tuple[Column[L], int]], line: L, now: datetime, *, under_cursor: bool, width: int) -> Line:
    spans: list[Span] = []
    for number, (column, size) in enumerate(chosen):
        cell = column.cell(line, now)
        text = (" " if number else "") + padded(cell.text, size, right=column.right)
        spans.append(Span(text, Tone.CURSOR if under_cursor else cell.tone))
    if under_cursor:
        used = sum(size for _, size in chosen) + len(chosen) - 1
        spans.append(Span(" " * max(0, width - used), Tone.CURSOR))
    return tuple(spans)


def _events(view: View, known: Known) -> list[Line]:
    place = view.events
    found = events_of(view, known)
    lines: list[Line] = [(Span(padded("AT       KIND    EVENT", view.width), Tone.HEADING),)]
    if not found:
        text = f"nothing has {place.text!r}; Esc forgets the filter" if place.text else "nothing has happened yet"
        return [*lines, (Span(clean(text), Tone.DIM),)]
    for number, one in enumerate(found[place.top : place.top + view.rows], start=place.top):
        said = clean(" ".join(f"{key}={value}" for key, value in one.fields.items()))
        tone = Tone.CURSOR if number == place.cursor else Tone.WARN if one.warning else Tone.NONE
        text = f"{one.at.astimezone():%H:%M:%S} {one.kind:<7} {clean(one.name)} {said}"
        lines.append((Span(padded(text, view.width) if number == place.cursor else cut(text, view.width), tone),))
    if known.missed and len(lines) <= view.rows:
        lines.append((Span("events before these are forgotten", Tone.DIM),))
    return lines


def _told(view: View, known: Known) -> Line:
    """What there is to say of the line under the cursor, in full: lists have little room."""
    if view.help:
        return ()
    line = _under_cursor(view, known)
    if isinstance(line, QueryLine):
        where = f" on {', '.join(line.devices)}" if line.devices else ""
        text = f"{line.query_id}: {line.reason}" if line.reason else f"{line.query_id}: {line.pipeline_id}{where}"
        return (Span(clean(text), Tone.WARN if line.reason else Tone.DIM),)
    if isinstance(line, DeviceLine):
        runs = ", ".join(line.runs) or "nothing"
        text = f"{line.device_id}: {line.trouble or f'runs {runs}'}"
        return (Span(clean(text), Tone.BAD if line.trouble else Tone.DIM),)
    if isinstance(line, PlannerEvent):
        return (Span(clean(_event_text(line)), Tone.DIM),)
    return ()


def _under_cursor(view: View, known: Known) -> DeviceLine | QueryLine | PlannerEvent | None:
    picture = known.picture
    lines: Sequence[DeviceLine | QueryLine | PlannerEvent]
    match view.page:
        case Page.FLEET:
            lines, offset = picture.devices.lines, picture.wants.devices.offset
        case Page.QUERIES:
            lines, offset = picture.queries.lines, picture.wants.queries.offset
        case Page.EVENTS:
            lines, offset = events_of(view, known), 0
        case Page.QUERY:
            return None
    here = view.place.cursor - offset
    return lines[here] if 0 <= here < len(lines) else None


def _foot(view: View) -> Line:
    if view.typing is not None:
        return (Span("type what lines have to have: Enter keeps it, Esc forgets it", Tone.DIM),)
    if view.help:
        return (Span("any key: back", Tone.DIM),)
    keys = {
        Page.FLEET: "Enter its queries  < > column  r reverse  / filter",
        Page.QUERIES: "Enter its DAG  < > column  r reverse  / filter",
        Page.QUERY: "Esc back  ↑ ↓ scroll",
        Page.EVENTS: "↑ ↓ scroll  / filter",
    }
    return (Span(f"{keys[view.page]}  Tab next  ? help  q quit", Tone.DIM),)


def _help(view: View) -> list[Line]:
    size = 17
    lines: list[Line] = [(Span(padded("KEYS AND WORDS", view.width), Tone.HEADING),)]
    for key, text in _HELP:
        for number, part in enumerate(words(text, view.width - size - 1) or [""]):
            lines.append((Span(padded("" if number else key, size), Tone.BOLD), Span(f" {part}")))
    return lines


__all__ = ["events_of", "length_of", "screen"]
