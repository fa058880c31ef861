"""Pictures of the dashboard's pages: light, dark, and on a phone.

What they show is real: a planner and six agents run on this machine (slower devices are emulated), serve the pipeline
of examples/meter, and are given something to do: queries of several kinds, one that can't be met, a device
that is cordoned for a while, one that goes away.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from circinus.errors import CircinusError
from circinus.local_fleet import LocalFleet

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = ROOT / "examples" / "meter"
INTO = ROOT / "docs" / "images" / "dashboard"
#: How long it serves between what happens: for a promise to be held against enough items.
SERVE_S = 45.0
SETTLE_S = 240
#: A wide picture is no higher, and a phone's is as high as its screen.
WIDE, PHONE = (1440, 1500), (390, 844)
COLOURS = 256

_BOX = """\
device_id = "{name}"
tier = "{tier}"
site = "{site}"
data_listen = "{listen}"
cores = {cores}
memory_bytes = {memory}
price_per_h = {price}

[emulation]
speed_ratio = {speed}
"""
_LINK = """
[[links]]
peer = "{peer}"
bandwidth_mbit_per_s = {rate}
rtt_ms = {rtt}
price_per_gb = {price}
emulated = true
"""
#: Of each query: id, content, source, items a second, weight, latency in ms, accuracy.
QUERIES = (
    ("pump-noon", "noon", "meter-1", 5, 2, 250, 0.95),
    ("pump-dusk", "dusk", "meter-1", 4, 1, 300, 0.85),
    ("lock-dusk", "dusk", "meter-2", 5, 3, 200, 0.88),
    ("tower-noon", "noon", "meter-3", 6, 1, 150, 0.95),
    ("tower-dusk", "dusk", "meter-3", 4, 1, 400, 0.7),
    ("lock-alarm", "dusk", "meter-2", 5, 1, 12, 0.9),
)
LATER = (("gate-dusk", "dusk", "meter-2", 3, 1, 350, 0.8),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A page, what its pictures are called, and what is chosen on it first."""

    name: str
    path: str
    click: str = ""


PAGES = (
    Shot(name="overview", path="/"),
    Shot(name="devices", path="/devices"),
    Shot(name="device", path="/devices/harbour-gateway"),
    Shot(name="queries", path="/queries"),
    Shot(name="query", path="/queries/lock-dusk"),
    Shot(name="plans", path="/plans"),
    Shot(name="unplaced", path="/unplaced"),
    Shot(name="pipeline", path="/pipelines/meter?query=lock-dusk", click="[data-pick]"),
    Shot(name="ledger", path="/ledger"),
    Shot(name="what-if", path="/what-if?query=lock-dusk&asked=1&latency_on=1&accuracy_on=1&latency=90&rate=8"),
)


def say(text: str) -> None:
    """Talk, as opposed to data."""
    print(text, flush=True)


def links(*peers: tuple[str, float, float, float]) -> str:
    """Links to peers: (name, Mbit/s, ms, price of a GB)."""
    return "".join(_LINK.format(peer=peer, rate=rate, rtt=rtt, price=price) for peer, rate, rtt, price in peers)


def agents() -> dict[str, str]:
    """The configuration of each agent: three cameras' boxes and two gateways at two sites, and a rented machine."""
    found = {}
    for number, site in ((1, "harbour"), (2, "harbour"), (3, "hill")):
        name = f"meter-{number}"
        box = _BOX.format(
            name=name, tier="edge", site=site, listen="", cores=2.0, memory=2_000_000_000, price=0.02, speed=0.08
        )
        found[name] = box + links((f"{site}-gateway", 100, 2, 0.0), ("cloud-1", 10, 25, 0.0))
    for site in ("harbour", "hill"):
        name = f"{site}-gateway"
        others = [f"meter-{number}" for number in ((1, 2) if site == "harbour" else (3,))]
        box = _BOX.format(
            name=name,
            tier="edge",
            site=site,
            listen="127.0.0.1:0",
            cores=2.0,
            memory=8_000_000_000,
            price=0.10,
            speed=0.25,
        )
        found[name] = box + links(*((other, 100, 2, 0.0) for other in others), ("cloud-1", 50, 20, 0.0))
    box = _BOX.format(
        name="cloud-1",
        tier="cloud",
        site="cloud",
        listen="127.0.0.1:0",
        cores=4.0,
        memory=16_000_000_000,
        price=0.90,
        speed=1.0,
    )
    meters = ((f"meter-{number}", 10, 25, 0.05) for number in (1, 2, 3))
    found["cloud-1"] = box + links(*meters, ("harbour-gateway", 50, 20, 0.05), ("hill-gateway", 50, 20, 0.05))
    return found


def queries(ones: Sequence[tuple[str, str, str, float, float, float, float]]) -> str:
    """Queries as a file."""
    lines = [
        f"- {{id: {name}, pipeline: meter, content: {content}, source: {source}, rate_per_s: {rate}, weight: {weight}, "
        f"slo: {{latency_ms: {latency}, accuracy: {accuracy}}}}}"
        for name, content, source, rate, weight, latency, accuracy in ones
    ]
    return "\n".join(lines) + "\n"


async def circinus(fleet: LocalFleet, *args: str, allowed: tuple[int, ...] = (0, 3)) -> None:
    """Runs the command as a person would.

    Raises:
        CircinusError: it ended with an exit code that is not allowed.
    """
    say(f"$ circinus {' '.join(args)}")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "circinus.cli.main",
        *args,
        env={**os.environ, **fleet.environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    if (code := await process.wait()) not in allowed:
        raise CircinusError(f"circinus {' '.join(args)} ended with exit code {code}")


async def live(folder: Path, into: Path) -> None:
    """A fleet with something to do, then its pictures."""
    (folder / "queries.yaml").write_text(queries(QUERIES))
    (folder / "later.yaml").write_text(queries(LATER))
    async with LocalFleet(folder / "state", agents()) as fleet:
        await circinus(fleet, "pipeline", "add", str(PIPELINE))
        await submit(fleet, folder / "queries.yaml")
        await serve("as they were submitted")
        await submit(fleet, folder / "later.yaml")
        await serve("with one more")
        await circinus(fleet, "device", "cordon", "hill-gateway", "--why", "being moved")
        await circinus(fleet, "query", "rm", "pump-noon")
        await serve("with a device cordoned")
        await fleet.terminate("meter-1")
        await serve("with a box away")
        address = (folder / "state" / "planner" / "dashboard-address").read_text().strip()
        await asyncio.to_thread(take, address, into)


async def until_told(folder: Path, into: Path) -> None:
    """The same, until it is told to end: then nothing is left behind."""
    working = asyncio.ensure_future(live(folder, into))

    def told() -> None:
        # Once: a second time it would not stop what it started.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: None)
        working.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told)
    await working


async def submit(fleet: LocalFleet, file: Path) -> None:
    """Submits queries and waits until they are served or refused."""
    await circinus(fleet, "query", "submit", "-f", str(file), "--wait", "--timeout", str(SETTLE_S))


async def serve(what: str) -> None:
    """Lets items flow."""
    say(f"serving {what}, for {SERVE_S:g} s")
    await asyncio.sleep(SERVE_S)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a screen; nothing of it is left behind."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
        ):
            options.add_argument(argument)
        options.add_argument(f"--user-data-dir={profile}")
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def take(address: str, into: Path) -> None:
    """All pictures of all pages."""
    into.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for shot in PAGES:
            for kind in ("light", "dark", "phone"):
                path = into / f"{shot.name}-{kind}.png"
                size = take_one(browser, address + shot.path, kind, path, shot.click)
                say(f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}: {size // 1024} KiB")


def take_one(browser: Any, url: str, kind: str, path: Path, click: str = "") -> int:
    """One picture; gives its size in bytes."""
    phone = kind == "phone"
    width, most = PHONE if phone else WIDE
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 844 if phone else 860, "deviceScaleFactor": 1.5 if phone else 1, "mobile": phone},
    )
    scheme = "dark" if kind == "dark" else "light"
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get(url)
    if click:
        time.sleep(1.0)
        browser.execute_script("document.querySelector(arguments[0]).click()", click)
    # For what is asked for after the page, and for charts.
    for _ in range(40):
        time.sleep(0.25)
        if browser.execute_script("return !document.querySelector('.htmx-request, [data-figure]:not([hidden]):empty')"):
            break
    time.sleep(1.0)
    height = min(most, browser.execute_script("return document.documentElement.scrollHeight"))
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1.5 if phone else 1, "mobile": phone},
    )
    time.sleep(0.4)
    picture = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    # Few colours are enough for a page, and make a third of the file.
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path.stat().st_size


def main() -> int:
    """Takes them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--into", type=Path, default=INTO, help="where the pictures go")
    parser.add_argument("--keep", action="store_true", help="keep the fleet's folder with its logs")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="circinus-screenshots-"))
    try:
        asyncio.run(until_told(folder, arguments.into.resolve()))
    except asyncio.CancelledError:
        return 1
    except CircinusError as error:
        say(f"screenshots: {error.message}; logs are in {folder}/state")
        arguments.keep = True
        return 1
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
