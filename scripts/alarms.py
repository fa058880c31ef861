"""The alarms for Prometheus: written as rules (docs/grafana/alarms.yaml) and as a table in docs/operate.md.

Usage: .venv/bin/python scripts/alarms.py [--check]. With --check: fails if what is there differs. Each is put together
from the metrics themselves, so that none can be of one that does not exist.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

from metrics_docs import filled
from reference_page import DOCS, cell

from circinus.burn_rate import FAST_RATIO, SPENT_RATIO
from cloud_planner.metrics import metric_list as p
from edge_agent.metrics import metric_list as a

RULES = "grafana/alarms.yaml"
_HEAD = """\
# Alarms for Prometheus, written by scripts/alarms.py. What each means and what to do: docs/operate.md.
# They take it that the scrape jobs are called circinus-planner and circinus-agent.
groups:
  - name: circinus
    rules:
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """``waits``: so long it must be so. ``urgent``: somebody should be woken."""

    name: str
    when: str
    waits: str
    means: str
    cure: str
    urgent: bool = False


def _burns(ratio: float) -> str:
    hour, minutes = (f'{p.QUERY_BURN.name}{{window="{window}"}}' for window in ("1h", "5m"))
    return f"{hour} > {ratio:g} and on (query) {minutes} > {ratio:g}"


ALARMS = (
    Alarm(
        name="CircinusPlannerAway",
        when='up{job="circinus-planner"} == 0',
        waits="2m",
        means="The planner can't be scraped. Boxes go on with what they were told last; nothing is planned anew.",
        cure="`systemctl status cloud-planner`, its log; if its machine is lost, restore a back-up",
        urgent=True,
    ),
    Alarm(
        name="CircinusPlannerStuck",
        when=f"{p.STUCK.name} == 1",
        waits="5m",
        means="Planning or rollout can't go on. What runs goes on.",
        cure="`circinus status` says where and why; `circinus doctor`",
        urgent=True,
    ),
    Alarm(
        name="CircinusBudgetBurnsFast",
        when=_burns(FAST_RATIO),
        waits="1m",
        means=f"Over five minutes and over an hour a query spends its error budget more than {FAST_RATIO:g} times as "
        "fast as allowed: a day's budget is gone within four hours.",
        cure="`circinus query show QUERY`, `circinus ledger`, `circinus events`: a device, a link, or more load",
        urgent=True,
    ),
    Alarm(
        name="CircinusBudgetBurns",
        when=_burns(SPENT_RATIO),
        waits="30m",
        means="A query spends its error budget faster than it is allowed to.",
        cure="`circinus ledger` tells whether predictions are off; `circinus explain QUERY` what binds",
    ),
    Alarm(
        name="CircinusQueriesUnplaced",
        when=f'{p.QUERIES.name}{{state="unplaced"}} > 0',
        waits="10m",
        means="Queries have no plan: there is none within capacity that meets their SLO.",
        cure="`circinus explain QUERY` says the smallest conflict, and what it would take",
    ),
    Alarm(
        name="CircinusDevicesAway",
        when=f'{p.DEVICES.name}{{state="away"}} > 0',
        waits="10m",
        means="Devices are out of sight, and planned without.",
        cure="`circinus device ls`; on the box `edge-agent check`; gone for good: `circinus device revoke`",
    ),
    Alarm(
        name="CircinusDeviceInTrouble",
        when=f'{p.DEVICES_MARKED.name}{{mark="in_trouble"}} > 0',
        waits="10m",
        means="A box says that something is wrong with it: its disk, its clock, its files.",
        cure="`circinus doctor` names it, with the cure",
    ),
    Alarm(
        name="CircinusDeviceDoubled",
        when=f'{p.DEVICES_MARKED.name}{{mark="doubled"}} > 0',
        waits="1m",
        means="Two boxes have one identity: somebody copied a disk, or a key was taken.",
        cure="`circinus doctor` says which; revoke it, and enrol both anew",
        urgent=True,
    ),
    Alarm(
        name="CircinusDirectivesRefused",
        when=f'increase({p.DIRECTIVES.name}{{result="refused"}}[15m]) > 0',
        waits="0m",
        means="A device refused a directive: its owner forbids it, it can't run it, or another planner was there.",
        cure="`circinus events --kind refusal` has the reason",
    ),
    Alarm(
        name="CircinusRolloutLong",
        when=f"{p.SETTLED.name} == 0",
        waits="15m",
        means="A generation has not been brought to all devices.",
        cure="`circinus status` says whom it waits for",
    ),
    Alarm(
        name="CircinusGapLarge",
        when=f"{p.GAP.name} > 0.05",
        waits="30m",
        means="The plan in force may be more than 5% below the best that there is.",
        cure="more time for the solver (`--solver-s`), or a machine with more cores for the planner",
    ),
    Alarm(
        name="CircinusPredictionsOff",
        when=f"{p.COVERAGE.name} < 0.75 and {p.ACCOUNTS.name} >= 20",
        waits="1h",
        means="Intervals that should hold nine times out of ten hold less than three times out of four.",
        cure="`circinus ledger --calibration` says of what; profiles that are old are measured anew",
    ),
    Alarm(
        name="CircinusProfilesFail",
        when=f'increase({p.PROFILED.name}{{result="failed"}}[30m]) > 3',
        waits="0m",
        means="Profile runs fail, so that queries wait for figures.",
        cure="`circinus events --kind refusal`; try the pipeline with `circinus pipeline profile`",
    ),
    Alarm(
        name="CircinusBoxCutOff",
        when=f"{a.CONNECTED.name} == 0",
        waits="10m",
        means="A box has no link to its planner. It serves what it was told last.",
        cure="`edge-agent check` on the box names the reason",
    ),
    Alarm(
        name="CircinusCertificateEnds",
        when=f'{p.CERTIFICATES.name}{{state="over"}} > 0 or {a.CERTIFICATE_TROUBLE.name} == 1',
        waits="30m",
        means="A box's certificate is over, or is due and can't be renewed. Streams that stand go on.",
        cure="`circinus doctor` names the box; `edge-agent check` there says why: a clock, or the enrolment port",
    ),
    Alarm(
        name="CircinusDiskFault",
        when=f"{a.DISK_FAULT.name} == 1",
        waits="5m",
        means="A box's disk is full, read-only or out of reach. It serves on; telemetry waits in memory.",
        cure="free the disk, or change it: [endurance.md](endurance.md)",
    ),
    Alarm(
        name="CircinusTelemetryLost",
        when=f"increase({a.OUTBOX_DROPPED.name}[15m]) > 0",
        waits="0m",
        means="A box was cut off for so long that its oldest telemetry had to go. What is lost is named in the ledger.",
        cure="get its link back; `circinus ledger` shows the gaps",
    ),
    Alarm(
        name="CircinusOperatorRestarts",
        when=f"increase({a.OPERATOR_RESTARTS.name}[10m]) > 3",
        waits="0m",
        means="An operator's process dies or hangs again and again.",
        cure="`circinus logs QUERY/OPERATOR` has its last words",
    ),
    Alarm(
        name="CircinusLinkDown",
        when=f"{a.LINK_UP.name} == 0",
        waits="5m",
        means="A box has lost a peer that it sends items to. Queries with a stand-by are served by it.",
        cure="the network between the two; `circinus device show` on both",
    ),
)


def rules() -> str:
    """The file of rules. Texts are JSON's, which YAML reads as they are."""
    return _HEAD + "".join(
        f"      - alert: {alarm.name}\n"
        f"        expr: {json.dumps(alarm.when)}\n"
        f"        for: {alarm.waits}\n"
        f"        labels: {{severity: {'page' if alarm.urgent else 'ticket'}}}\n"
        "        annotations:\n"
        f"          summary: {json.dumps(alarm.means)}\n"
        f"          cure: {json.dumps(alarm.cure)}\n"
        for alarm in ALARMS
    )


def section() -> str:
    """The table of docs/operate.md."""
    rows = "".join(
        f"| {alarm.name}{' (urgent)' if alarm.urgent else ''} | {cell(alarm.means)} | {cell(alarm.cure)} |\n"
        for alarm in ALARMS
    )
    return f"\n| alarm | means | what to do |\n|---|---|---|\n{rows}"


def main() -> int:
    """Writes both, or holds both against what is there."""
    faults = 0
    operate = DOCS / "operate.md"
    told = filled(operate.read_text(), "alarms", "alarms.py", section())
    for page, text in ((DOCS / RULES, rules()), (operate, told)):
        if "--check" not in sys.argv[1:]:
            page.write_text(text)
        elif page.read_text() != text:
            sys.stderr.write(f"{page} is not as the code says: run .venv/bin/python scripts/alarms.py\n")
            faults = 1
    return faults


if __name__ == "__main__":
    sys.exit(main())
