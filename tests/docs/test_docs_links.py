"""Every link of every page leads somewhere: to a file or folder that is there, and to a heading that it has."""

from __future__ import annotations

import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import docs_site  # noqa: E402 - a script, found where scripts are

sys.path.remove(str(ROOT / "scripts"))
PAGES = docs_site.pages()
_HEADING = re.compile(r"^#{1,6} (.+?)\s*$", re.MULTILINE)


def anchor_of(heading: str) -> str:
    """As code hosts make it: no marks, lower case, a dash for each space."""
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower().strip()).replace(" ", "-")


@cache
def anchors(path: Path) -> frozenset[str]:
    seen: Counter[str] = Counter()
    found = set()
    for heading in _HEADING.findall(docs_site.plain(path.read_text())):
        anchor = anchor_of(heading)
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_its_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for target in docs_site.links((ROOT / page).read_text()):
        path, _, anchor = target.partition("#")
        if ":" in path:
            continue
        found = docs_site.inside(page, target) if path else page
        if found is None:
            wrong.append(f"{target}: no such file")
        elif anchor and anchor not in anchors(ROOT / found):
            wrong.append(f"{target}: no such heading")
    assert wrong == []


def test_every_page_is_found_from_the_first() -> None:
    """A page that no page links to is one that nobody finds; decisions are found by their list."""
    seen, todo = set(), [Path("README.md")]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        for target in docs_site.links((ROOT / page).read_text()):
            found = docs_site.inside(page, target)
            if found is not None and (ROOT / found / "README.md").is_file():
                found = found / "README.md"
            if found is not None and found.suffix == ".md":
                todo.append(found)
    assert [str(page) for page in PAGES if page not in seen] == []


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("On a box: `edge-agent check`", "on-a-box-edge-agent-check"),
        ("What is unfair, and to whom", "what-is-unfair-and-to-whom"),
        ("open_inference.proto", "open_inferenceproto"),
        ("A & B", "a--b"),
    ],
)
def test_an_anchor_is_made_of_a_heading(heading: str, anchor: str) -> None:
    assert anchor_of(heading) == anchor
