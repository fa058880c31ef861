"""How soon the dashboard's pages are loaded over a large fleet, what they weigh, and what live updates take of a core.

    .venv/bin/python benchmarks/dashboard.py [--devices 1000] [--queries 10000] [--seconds 60] [--quick]

The state is filled through the real store and served by the planner's own parts, with telemetry of every query flowing
(benchmarks/dashboard_fleet.py); pages are loaded by a real Chromium, headless, its cache empty for the first of each
and warm for the others. Times are from the start of the navigation until all is loaded. CPU is that of the planner's
process per second of one core: with no page open, and with one open and live, in turns. Requests to another host than
the dashboard's are counted off the browser's own log: there must be none. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "dashboard"))
from dashboard_browser import chromium, complaints  # noqa: E402  # the tests' own browser

if TYPE_CHECKING:
    from selenium.webdriver.chrome.webdriver import WebDriver

FLEET = ROOT / "benchmarks" / "dashboard_fleet.py"
#: Every page that the navigation leads to, and one of each kind below it.
BELOW = ("/devices/vm-0019", "/devices?q=shop&sort=-planned", "/queries/query-00001", "/queries?q=shop-01&sort=-burn")
BAR_LOAD_S, BAR_BYTES, BAR_CPU = 1.0, 300_000, 0.02
_WARM_UP_S = 15.0
#: Turns of the CPU measurement: as long as the period of telemetry.
_TURN_S = 10.0
_LOADED = "const t = performance.getEntriesByType('navigation')[0]; return t ? t.loadEventEnd : 0"


def log_of(driver: WebDriver, host: str) -> tuple[int, list[str]]:
    """Bytes that came over the wire since the last look, live parts too, and addresses elsewhere that were asked."""
    taken, elsewhere = 0, []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.dataReceived":
            taken += int(message["params"]["encodedDataLength"])
        elif message["method"] == "Network.responseReceived":
            taken += int(message["params"]["response"]["encodedDataLength"])
        elif message["method"] == "Network.requestWillBeSent":
            url = urlsplit(message["params"]["request"]["url"])
            if url.scheme in ("http", "https", "ws", "wss") and url.netloc != host:
                elsewhere.append(url.geturl())
    return taken, elsewhere


def unpacked(driver: WebDriver) -> int:
    """Bytes of all that the page that is open has loaded, as they are without packing."""
    script = """return performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
        .filter(e => !e.name.includes('/live?')).reduce((sum, e) => sum + (e.decodedBodySize || 0), 0)"""
    return int(driver.execute_script(script))


def load(driver: WebDriver, url: str) -> float:
    """Loads a page; gives how long that took, by the browser's own clock, in seconds."""
    driver.get(url)
    deadline_s = time.monotonic() + 10
    while not (loaded_ms := driver.execute_script(_LOADED)) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return loaded_ms / 1e3


def pages(driver: WebDriver, base: str, rounds: int) -> list[dict]:
    """Each page: with an empty cache, then some times more."""
    host = urlsplit(base).netloc
    driver.get(base)
    links = driver.execute_script(
        "return [...document.querySelectorAll('.bar nav a')].map(a => a.getAttribute('href'))"
    )
    found = []
    for path in (*dict.fromkeys(links), *BELOW):
        driver.execute_cdp_cmd("Network.enable", {})
        driver.execute_cdp_cmd("Network.clearBrowserCache", {})
        log_of(driver, host)
        first_s = load(driver, base + path)
        time.sleep(1.0)
        taken, elsewhere = log_of(driver, host)
        weight = unpacked(driver)
        again_s = [load(driver, base + path) for _ in range(rounds)]
        _, more = log_of(driver, host)
        row = {
            "path": path,
            "first_s": round(first_s, 3),
            "again_s": round(statistics.median(again_s), 3),
            "worst_s": round(max(first_s, *again_s), 3),
            "bytes_sent": taken,
            "bytes": weight,
            "elsewhere": elsewhere + more,
            "complaints": complaints(driver),
        }
        found.append(row)
        print(
            f"{path:36} {row['first_s']:6.2f} s, again {row['again_s']:5.2f} s   {taken / 1e3:6.1f} kB sent, "
            f"{weight / 1e3:6.1f} kB unpacked, {len(row['elsewhere'])} elsewhere",
            flush=True,
        )
    return found


def cores(process: psutil.Process, seconds: float) -> float:
    """What a process takes of one core over so long."""
    before, began_s = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(seconds)
    return (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began_s)


def live(driver: WebDriver, base: str, process: psutil.Process, seconds: float, path: str = "/") -> dict:
    """CPU with no page open and with one, in turns, so that whatever else drifts is in both."""
    without, with_page, updates = [], [], 0
    turns = max(3, round(seconds / _TURN_S))
    for _ in range(turns):
        driver.get("about:blank")
        time.sleep(1)
        without.append(cores(process, seconds / turns))
        driver.get(base + path)
        time.sleep(3)
        first = int(driver.execute_script("return document.documentElement.dataset.updates || 0"))
        with_page.append(cores(process, seconds / turns))
        updates += int(driver.execute_script("return document.documentElement.dataset.updates || 0")) - first
    taken = statistics.median(one - other for one, other in zip(with_page, without, strict=True))
    return {
        "path": path,
        "seconds": seconds,
        "cpu_without_ratio": round(statistics.median(without), 4),
        "cpu_with_ratio": round(statistics.median(with_page), 4),
        "cpu_taken_ratio": round(taken, 4),
        "updates": updates,
    }


def lag_of(state: Path, *, afresh: bool = False) -> dict:
    """How late the planner's event loop was since the last time that it was looked at afresh."""
    path = state / "loop-lag.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    if afresh:
        path.unlink(missing_ok=True)
    return {name: round(value, 1) for name, value in found.items()}


def main() -> int:
    """Fills, serves, loads, measures."""
    parser = argparse.ArgumentParser(description="The dashboard over a large fleet, in a real browser.")
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each measurement of CPU")
    parser.add_argument("--rounds", type=int, default=5, help="loads of each page with a warm cache")
    parser.add_argument("--quick", action="store_true", help="a tenth of all: that it runs, not how fast")
    flags = parser.parse_args()
    if flags.quick:
        flags.devices, flags.queries, flags.seconds, flags.rounds = 100, 1_000, 6.0, 2
    with tempfile.TemporaryDirectory(prefix="dashboard-") as folder:
        state = Path(folder) / "state"
        sizes = ["--devices", str(flags.devices), "--queries", str(flags.queries)]
        subprocess.run([sys.executable, FLEET, state, "--fill", *sizes], check=True)
        serving = subprocess.Popen([sys.executable, FLEET, state], stdin=subprocess.PIPE)
        try:
            address = state / "dashboard-address"
            while not address.exists():
                if serving.poll() is not None:
                    raise SystemExit("the planner ended before it listened")
                time.sleep(0.1)
            base = address.read_text().strip()
            time.sleep(3.0 if flags.quick else _WARM_UP_S)
            quiet, lag = lag_of(state, afresh=True), {}
            with chromium() as driver:
                found = pages(driver, base, flags.rounds)
                lag = lag_of(state)
                process = psutil.Process(serving.pid)
                lively = [live(driver, base, process, flags.seconds, path) for path in ("/", "/devices", "/queries")]
        finally:
            serving.stdin.close()
            serving.wait(timeout=30)
    for row in lively:
        print(
            f"live {row['path']:10} takes {row['cpu_taken_ratio']:.2%} of a core beside {row['cpu_without_ratio']:.1%} "
            f"of the planner's own, {row['updates']} updates in {row['seconds']:.0f} s"
        )
    print(f"event loop late while pages were loaded: {lag}, with none: {quiet}")
    kept = {
        "loaded_within_1_s": all(row["worst_s"] < BAR_LOAD_S for row in found),
        "below_300_kB": all(row["bytes"] < BAR_BYTES for row in found),
        "nothing_elsewhere": not any(row["elsewhere"] for row in found),
        "no_complaints": not any(row["complaints"] for row in found),
        "live_within_2_percent": all(row["cpu_taken_ratio"] <= BAR_CPU for row in lively),
    }
    for name, fine in kept.items():
        print(f"{name}: {'yes' if fine else 'NO'}")
    summary = {
        "devices": flags.devices,
        "queries": flags.queries,
        "pages": found,
        "live": lively,
        "loop_late": lag,
        "loop_late_without": quiet,
        "kept": kept,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    print(json.dumps(summary))
    return 0 if all(kept.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
