"""What is done to a page before it is a part of the site, and what the site may not do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import docs_site  # noqa: E402 - a script, found where scripts are

sys.path.remove(str(ROOT / "scripts"))
PAGE = Path("docs/quickstart.md")


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("see [the benchmarks](../benchmarks)", "see [the benchmarks](../benchmarks/README.md)"),
        ("see [fleet/](../examples/documents/fleet)", "see fleet/"),
        ("see [run](run.md#watch)", "see [run](run.md#watch)"),
        ("text\n- one\n- two", "text\n\n- one\n- two"),
        ("- one\n  - two", "- one\n    - two"),
        (
            "```sh step=up exit=3\ncircinus up  # [a](../benchmarks)\n```",
            "```sh\ncircinus up  # [a](../benchmarks)\n```",
        ),
    ],
)
def test_a_page_is_made_as_mkdocs_takes_it(written: str, shown: str) -> None:
    assert docs_site.as_page(PAGE, written) == shown


@pytest.mark.parametrize(
    ("html", "asked"),
    [
        ('<script src="https://cdn.example/a.js">', ["https://cdn.example/a.js"]),
        ('<link rel="stylesheet" href="//fonts.example/b.css">', ["//fonts.example/b.css"]),
        ("div { background: url(https://img.example/c.png) }", ["https://img.example/c.png"]),
        ('<a href="https://arxiv.org/abs/2504.16397">', []),
        ('<script src="assets/a.js">', []),
        ('<link rel="canonical" href="https://docs.example/">', []),
    ],
)
def test_what_a_browser_would_ask_of_others_is_found(html: str, asked: list[str]) -> None:
    assert docs_site.fetched(html) == asked


def test_decisions_are_in_order_and_all_there() -> None:
    numbers = [int(Path(name).name[:4]) for name in docs_site.decisions()]
    assert numbers == sorted(set(numbers))
    listed = (ROOT / "docs/adr/README.md").read_text()
    assert [name for name in docs_site.decisions() if Path(name).name not in listed] == []
