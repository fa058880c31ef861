"""Builds the documentation as a site (`scripts/docs`), and is a hook of mkdocs while it does.

The pages are the repository's Markdown files, where they stand: links between them hold in an editor and on a code
host. mkdocs wants one folder with nothing else in it, so this makes one of links. What a code host does and mkdocs
doesn't is done in the hook: a link to a folder shows its README, lists need no empty line before them, and words after
a fence's language are for the tests.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "docs" / "mkdocs.yml"
SOURCE = ROOT / "build" / "docs" / "source"
STYLE = Path("docs/site.css")
SITE = ROOT / "build" / "docs" / "site"

#: Where pages are.
PAGES = ("*.md", "docs/**/*.md", "benchmarks/*.md", "benchmarks/*/*.md", "examples/*/*.md")
_CODE = re.compile(r"^(?P<fence> *`{3,})[^\n]*\n.*?^(?P=fence) *$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"(?P<shown>!?\[(?:[^\[\]]|\[[^\]]*\])*\])\((?P<target>[^)\s]+)\)")
_FENCE = re.compile(r"^( *`{3,})(\w+)[ \t][^\n]*$", re.MULTILINE)
_ITEM = re.compile(r"(?P<indent> {0,3})(?:[-*+]|\d+\.) ")
#: What a browser fetches by itself, as opposed to what a reader may follow.
_FETCHED = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*\bsrc=[\"']?(?P<src>(?:https?:)?//[^\"'\s>]+)"
    r"|<link\b(?![^>]*rel=[\"']?canonical)[^>]*\bhref=[\"']?(?P<href>(?:https?:)?//[^\"'\s>]+)"
    r"|url\([\"']?(?P<url>(?:https?:)?//[^\"')]+)|@import\s+[\"'](?P<imported>(?:https?:)?//[^\"']+)"
)


def pages() -> list[Path]:
    """Every page, from the root."""
    found = {path.relative_to(ROOT) for pattern in PAGES for path in ROOT.glob(pattern)}
    return sorted(path for path in found if not any(part.startswith(".") for part in path.parts))


def plain(text: str) -> str:
    """A page without its blocks of code."""
    return _CODE.sub("", text)


def links(text: str) -> Iterator[str]:
    """What a page's links point at, code left out."""
    for found in _LINK.finditer(_SPAN.sub("", plain(text))):
        yield found["target"]


def inside(page: Path, target: str) -> Path | None:
    """The file or folder of the repository that a link of a page points at, from the root; None: elsewhere."""
    path = target.partition("#")[0]
    if not path or ":" in path or path.startswith("/"):
        return None
    found = (ROOT / page.parent / path).resolve()
    return found.relative_to(ROOT) if found.is_relative_to(ROOT) and found.exists() else None


def gather() -> None:
    """Makes the folder that the site is built from: links to all pages and to the files that they show."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    wanted = {*pages(), STYLE}
    for page in pages():
        for target in links((ROOT / page).read_text()):
            found = inside(page, target)
            if found is not None and (ROOT / found).is_file():
                wanted.add(found)
    for path in sorted(wanted):
        (SOURCE / path).parent.mkdir(parents=True, exist_ok=True)
        (SOURCE / path).symlink_to(ROOT / path)


def as_page(page: Path, text: str) -> str:
    """A page's text as mkdocs takes it."""

    def link(found: re.Match[str]) -> str:
        target = inside(page, found["target"])
        if target is None or not (ROOT / target).is_dir():
            return found[0]
        if not (ROOT / target / "README.md").exists():
            return found["shown"].strip("[]")
        return f"{found['shown']}({found['target'].rstrip('/')}/README.md)"

    pieces, at = [], 0
    for code in _CODE.finditer(text):
        pieces += [_lists(_LINK.sub(link, text[at : code.start()])), _FENCE.sub(r"\1\2", code[0])]
        at = code.end()
    return "".join([*pieces, _lists(_LINK.sub(link, text[at:]))])


def _lists(text: str) -> str:
    """Lists as mkdocs wants them: after an empty line, and four spaces in where they are inside of another."""
    found: list[str] = []
    within = False
    for line in text.split("\n"):
        item = _ITEM.match(line)
        if item is None:
            within = within and bool(line.strip())
        else:
            if not within and found and found[-1].strip() and not found[-1].startswith("#"):
                found.append("")
            line = f"    {line.lstrip()}" if item["indent"] else line
            within = True
        found.append(line)
    return "\n".join(found)


def decisions() -> list[str]:
    """The pages of docs/adr, in order."""
    return [f"docs/adr/{path.name}" for path in sorted((ROOT / "docs" / "adr").glob("0*.md"))]


def fetched(html: str) -> list[str]:
    """What a browser would fetch from other hosts to show this."""
    return [next(filter(None, found.groups())) for found in _FETCHED.finditer(html)]


def on_config(config: Any) -> Any:
    """mkdocs: puts the decisions into the navigation."""
    for section in config.nav:
        for title, entries in section.items() if isinstance(section, Mapping) else ():
            for entry in entries if title == "How it works" else ():
                if isinstance(entry, dict) and "Decisions" in entry:
                    entry["Decisions"] += decisions()
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """mkdocs: a page before it is made into HTML."""
    return as_page(Path(page.file.src_uri), markdown)


def build() -> int:
    """Builds the site; gives the exit code."""
    SOURCE.parent.mkdir(parents=True, exist_ok=True)
    # Two at once would take the pages from under each other.
    with (SOURCE.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _build()


def _build() -> int:
    gather()
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean", "-f", str(CONFIG)],
        # The theme tells of its successor.
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.stderr.write(done.stderr + done.stdout)
        return done.returncode
    wrong = [
        f"{path.relative_to(SITE)}: asks {asked}"
        for pattern in ("*.html", "*.css", "*.svg")
        for path in sorted(SITE.rglob(pattern))
        for asked in fetched(path.read_text())
    ]
    sys.stderr.write("".join(f"{line}\n" for line in wrong))
    if not wrong:
        print(f"{len(list(SITE.rglob('*.html')))} pages in {SITE.relative_to(ROOT)}")
    return 1 if wrong else 0


def main() -> int:
    """Parses the flags and does it; gives the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/docs", description="Builds the documentation as a site.")
    parser.add_argument("--serve", action="store_true", help="show it on 127.0.0.1:8000, and again after each edit")
    if not parser.parse_args().serve:
        return build()
    gather()
    return subprocess.run([sys.executable, "-m", "mkdocs", "serve", "-f", str(CONFIG)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
