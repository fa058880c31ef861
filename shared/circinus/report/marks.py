"""Pieces of HTML and SVG: whatever is put into them is escaped, once, here. PURE."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Html:
    """Markup that is safe to put into a page."""

    markup: str


Part = str | Html


def text(part: Part) -> str:
    """Markup of a part: a plain string is escaped."""
    return part.markup if isinstance(part, Html) else escape(part, quote=True)


def element(name: str, *parts: Part, **attributes: str) -> Html:
    """An element. An attribute's trailing underscore is dropped, others become dashes."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value, quote=True)}"' for key, value in attributes.items()
    )
    return Html(f"<{name}{told}>{''.join(map(text, parts))}</{name}>")


def join(parts: Iterable[Part], between: str = "") -> Html:
    """Parts one after the other."""
    return Html(between.join(map(text, parts)))


def table(columns: Sequence[str], rows: Sequence[Sequence[Part]], *, caption: str, numeric: Iterable[str] = ()) -> Html:
    """A table with a head; the columns named in ``numeric`` are aligned to the right."""
    right = [column in set(numeric) for column in columns]

    def cell(name: str, part: Part, is_number: bool, **more: str) -> Html:
        return element(name, part, **({"class_": "number"} if is_number else {}), **more)

    head = element("tr", *(cell("th", column, at, scope="col") for column, at in zip(columns, right, strict=True)))
    body = [element("tr", *(cell("td", part, at) for part, at in zip(row, right, strict=True))) for row in rows]
    made = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    return element("div", made, class_="scroll")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One line of ``spreads``: an interval that was predicted, and what was seen."""

    name: str
    low: float
    value: float
    high: float
    seen: float


_LINE, _LEFT, _WIDE, _RIGHT = 22.0, 190.0, 420.0, 90.0


def spreads(lines: Sequence[Spread], *, title: str, unit: str) -> Html:
    """Predicted intervals as bars with what was seen as a dot on each: filled inside, hollow outside."""
    top = max((max(one.high, one.seen) for one in lines), default=1.0) or 1.0

    def x(value: float) -> float:
        return _LEFT + _WIDE * value / top

    drawn = []
    for place, one in enumerate(lines):
        y = 14.0 + place * _LINE
        inside = one.low <= one.seen <= one.high
        drawn += [
            element("text", one.name[:28], x="0", y=f"{y + 4:.0f}"),
            element(
                "rect",
                x=f"{x(one.low):.1f}",
                y=f"{y - 5:.0f}",
                width=f"{max(x(one.high) - x(one.low), 1):.1f}",
                height="10",
                class_="bar",
            ),
            element(
                "line",
                x1=f"{x(one.value):.1f}",
                x2=f"{x(one.value):.1f}",
                y1=f"{y - 7:.0f}",
                y2=f"{y + 7:.0f}",
                class_="mean",
            ),
            element("circle", cx=f"{x(one.seen):.1f}", cy=f"{y:.0f}", r="4", class_="inside" if inside else "outside"),
            element("text", f"{one.seen:,.0f} {unit}", x=f"{_LEFT + _WIDE + 10:.0f}", y=f"{y + 4:.0f}"),
        ]
    width, height = _LEFT + _WIDE + _RIGHT, 28.0 + len(lines) * _LINE
    return element(
        "svg",
        element("title", title),
        *drawn,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        role="img",
        class_="spreads",
    )


def reliability(points: Sequence[tuple[float, float, int]]) -> Html:
    """How often promises of a probability came true, against the diagonal: (promised, met, how many) each."""
    side, pad = 220.0, 34.0
    drawn = [
        element("rect", x=f"{pad}", y="6", width=f"{side}", height=f"{side}", class_="frame"),
        element("line", x1=f"{pad}", y1=f"{6 + side}", x2=f"{pad + side}", y2="6", class_="diagonal"),
        element("text", "promised", x=f"{pad + side / 2 - 24}", y=f"{side + 30}"),
        element("text", "1", x=f"{pad - 12}", y="14"),
        element("text", "0", x=f"{pad - 12}", y=f"{6 + side}"),
        element("text", "met", x="0", y=f"{side / 2}"),
    ]
    for promised, met, count in points:
        radius = 3.0 + min(7.0, count**0.5)
        drawn.append(
            element(
                "circle",
                element("title", f"{count} promises of {promised:.2f}: {met:.0%} met"),
                cx=f"{pad + side * promised:.1f}",
                cy=f"{6 + side * (1.0 - met):.1f}",
                r=f"{radius:.1f}",
                class_="inside",
            )
        )
    return element("svg", *drawn, viewBox=f"0 0 {pad + side + 10:.0f} {side + 40:.0f}", role="img", class_="square")
