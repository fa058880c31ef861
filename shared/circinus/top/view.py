"""Where somebody is on the screen, and what each key does. PURE."""

from __future__ import annotations

from dataclasses import dataclass, replace

from circinus.line_calls import MAX_LINES, Wanted
from circinus.top.columns import DEVICE_COLUMNS, QUERY_COLUMNS, next_sort
from circinus.top.picture import JUST_ONE, Known, Page, Wants

#: Lines of the screen that are no rows of a list: three above the headings, the headings, two below.
CHROME = 6
#: Screens that are asked for at a time, so that the cursor finds the next lines there.
_SCREENS = 3
_MAX_TEXT = 100
_PAGES = tuple(Page)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one is in a list: its order, the text it is filtered by, the row of the cursor and the topmost shown."""

    sort: str = ""
    descending: bool = False
    text: str = ""
    cursor: int = 0
    top: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A screen of ``width`` x ``height``. ``typing``: a filter that is being typed, with what was before it."""

    width: int = 80
    height: int = 24
    page: Page = Page.FLEET
    fleet: Place = Place(sort="device_id")
    queries: Place = Place(sort="burn_ratio", descending=True)
    query: Place = Place()
    events: Place = Place()
    query_id: str = ""
    typing: str | None = None
    help: bool = False
    over: bool = False

    @property
    def place(self) -> Place:
        """Where one is on the present page."""
        found: Place = getattr(self, self.page.value)
        return found

    @property
    def rows(self) -> int:
        """Rows that a list has on the screen."""
        return max(1, self.height - CHROME)

    def at(self, place: Place) -> View:
        """Elsewhere on the present page."""
        match self.page:
            case Page.FLEET:
                return replace(self, fleet=place)
            case Page.QUERIES:
                return replace(self, queries=place)
            case Page.QUERY:
                return replace(self, query=place)
            case Page.EVENTS:
                return replace(self, events=place)


def wants_of(view: View) -> Wants:
    """What has to be asked for a view: only lines that are on the screen, or next to it."""
    return Wants(
        devices=_wanted(view, view.fleet) if view.page is Page.FLEET else JUST_ONE,
        queries=_wanted(view, view.queries) if view.page is Page.QUERIES else JUST_ONE,
        query_id=view.query_id if view.page is Page.QUERY else "",
    )


def _wanted(view: View, place: Place) -> Wanted:
    # In whole screens, so that a step of the cursor does not ask anew.
    first = max(0, place.top // view.rows - 1) * view.rows
    return Wanted(
        sort=place.sort,
        descending=place.descending,
        text=place.text,
        offset=first,
        limit=min(MAX_LINES, _SCREENS * view.rows),
    )


def settled(view: View, length: int) -> View:
    """A view whose cursor is within a list that has come to be so long, and on the screen."""
    place = view.place
    cursor = max(0, min(place.cursor, length - 1))
    top = min(place.top, cursor)
    if cursor >= top + view.rows:
        top = cursor - view.rows + 1
    top = max(0, min(top, length - view.rows))
    return view if (cursor, top) == (place.cursor, place.top) else view.at(replace(place, cursor=cursor, top=top))


def pressed(view: View, key: str, character: str | None, known: Known, length: int) -> View:
    """The view after a key; ``length``: of the list on the present page. Unknown keys do nothing."""
    if key in ("ctrl+c", "ctrl+q"):
        return replace(view, over=True)
    if view.typing is not None:
        return _typed(view, key, character)
    if view.help:
        return replace(view, help=False)
    name = character if character is not None and character.isprintable() else key
    if name in _MOVES:
        return _moved(view, name, length)
    match name:
        case "q":
            return replace(view, over=True)
        case "?":
            return replace(view, help=True)
        case "1" | "2" | "3" | "4":
            return _opened(view, _PAGES[int(name) - 1], known)
        case "tab" | "shift+tab":
            step = 1 if name == "tab" else -1
            return _opened(view, _PAGES[(_PAGES.index(view.page) + step) % len(_PAGES)], known)
        case "/":
            return replace(view, typing=view.place.text) if view.page is not Page.QUERY else view
        case "escape":
            return _back(view)
        case "<" | "left" | ">" | "right":
            return _sorted(view, 1 if name in (">", "right") else -1)
        case "r":
            place = view.place
            return view.at(replace(place, descending=not place.descending, cursor=0, top=0)) if place.sort else view
        case "enter":
            return _entered(view, known)
    return view


_MOVES = frozenset({"up", "k", "down", "j", "pageup", "b", "pagedown", " ", "home", "g", "end", "G"})


def _moved(view: View, name: str, length: int) -> View:
    place, rows = view.place, view.rows
    steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -rows, "b": -rows, "pagedown": rows, " ": rows}
    if name in ("home", "g"):
        cursor = 0
    elif name in ("end", "G"):
        cursor = length - 1
    elif view.page is Page.QUERY:
        # There is no cursor: the screen moves.
        cursor = place.top + steps[name]
        top = max(0, min(cursor, length - rows))
        return view.at(replace(place, cursor=top, top=top))
    else:
        cursor = place.cursor + steps[name]
    return settled(view.at(replace(place, cursor=cursor)), length)


def _typed(view: View, key: str, character: str | None) -> View:
    """A filter holds while it is typed; Enter leaves it, Escape forgets it."""
    text = view.typing or ""
    if key == "enter":
        return replace(view, typing=None)
    if key == "escape":
        return replace(view.at(replace(view.place, text="", cursor=0, top=0)), typing=None)
    if key in ("backspace", "ctrl+h"):
        text = text[:-1]
    elif key == "ctrl+u":
        text = ""
    elif character is not None and character.isprintable() and len(text) < _MAX_TEXT:
        text += character
    else:
        return view
    return replace(view.at(replace(view.place, text=text, cursor=0, top=0)), typing=text)


def _back(view: View) -> View:
    if view.page is Page.QUERY:
        return replace(view, page=Page.QUERIES)
    return view.at(replace(view.place, text="", cursor=0, top=0)) if view.place.text else view


def _sorted(view: View, step: int) -> View:
    place = view.place
    if view.page is Page.FLEET:
        sort, descending = next_sort(DEVICE_COLUMNS, place.sort, step)
    elif view.page is Page.QUERIES:
        sort, descending = next_sort(QUERY_COLUMNS, place.sort, step)
    else:
        return view
    return view.at(replace(place, sort=sort, descending=descending, cursor=0, top=0))


def _opened(view: View, page: Page, known: Known) -> View:
    if page is not Page.QUERY:
        return replace(view, page=page)
    pointed = query_at(view, known)
    chosen = pointed if view.page is Page.QUERIES and pointed else view.query_id or pointed
    place = view.query if chosen == view.query_id else Place()
    return replace(view, page=page, query_id=chosen, query=place)


def _entered(view: View, known: Known) -> View:
    if view.page is Page.QUERIES and (chosen := query_at(view, known)):
        return replace(view, page=Page.QUERY, query_id=chosen, query=Place())
    if view.page is Page.FLEET and (device_id := device_at(view, known)):
        place = replace(view.queries, text=device_id, cursor=0, top=0)
        return replace(view, page=Page.QUERIES, queries=place)
    return view


def query_at(view: View, known: Known) -> str:
    """The query under the cursor of the list of queries; empty: there is none."""
    lines, place = known.picture.queries.lines, view.queries.cursor - known.picture.wants.queries.offset
    return lines[place].query_id if 0 <= place < len(lines) else ""


def device_at(view: View, known: Known) -> str:
    """The device under the cursor of the fleet; empty: there is none."""
    lines, place = known.picture.devices.lines, view.fleet.cursor - known.picture.wants.devices.offset
    return lines[place].device_id if 0 <= place < len(lines) else ""


__all__ = ["CHROME", "Place", "View", "device_at", "pressed", "query_at", "settled", "wants_of"]
