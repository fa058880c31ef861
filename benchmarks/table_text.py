"""A profile report as Markdown: the table of a pipeline's README, and the spreads that it shows."""

from collections.abc import Sequence
from statistics import fmean

from circinus.model.pipeline import Configuration
from edge_agent.local.profile import ProfileReport

#: A configuration is good on a content if it is at most so far below the best.
LOSS_RATIO = 0.05


def readme_table(report: ProfileReport) -> str:
    """All that stands between the marks of a README."""
    parts = [
        f"Machine: {machine_text(report)}; one thread. Measured on {report.measured_on} by `benchmarks/tables.py "
        f"{report.pipeline_id}`: {len(report.contents[0].rows)} configurations, "
        f"{', '.join(f'{one.samples} samples of {one.content}' for one in report.contents)}.",
        f"![accuracy against time](../../benchmarks/tables/{report.pipeline_id}/front.png)",
        spreads(report),
        operators_table(report),
        configurations_table(report),
    ]
    return "\n\n".join(parts)


def machine_text(report: ProfileReport) -> str:
    facts = dict(report.machine)
    cpu, cores = facts.pop("cpu"), facts.pop("cores")
    return f"{cpu}, {cores} cores; " + ", ".join(f"{name} {version}" for name, version in facts.items())


def table_lines(columns: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """A table and an empty line; ``columns`` are parted by bars."""
    return [table(columns.split(" | "), rows), ""]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def knobs_text(configuration: Configuration) -> str:
    return ", ".join(f"{name.partition('.')[2]} {value}" for name, value in configuration.items())


def static_text(report: ProfileReport) -> str:
    """What one configuration for all contents costs beside one for each, both nearly as right as can be."""
    contents = report.contents
    chosen = [summary.rows[summary.cheapest_within(LOSS_RATIO)].cpu_ms for summary in contents]
    good = [
        at
        for at in range(len(contents[0].rows))
        if all(one.rows[at].accuracy.value >= one.rows[one.best].accuracy.value - LOSS_RATIO for one in contents)
    ]
    ours = fmean(chosen)
    if not good:
        return f"No single configuration is within {100 * LOSS_RATIO:.0f} points of the best on every content."
    static = min(fmean(one.rows[at].cpu_ms for one in contents) for at in good)
    return (
        f"The cheapest configuration within {100 * LOSS_RATIO:.0f} points of the best on every content takes "
        f"{static:.1f} ms in the mean; the cheapest one for each content {ours:.1f} ms, {static / ours:.2f}x less."
    )


def spreads(report: ProfileReport) -> str:
    """By content: from the worst to the best accuracy, the time spread, and what is best."""
    head = ["content", "worst", "best (95%)", "points", "CPU ms", "time", "most accurate", "cheapest within 5 points"]
    metrics = [f"best {name}" for name in report.contents[0].rows[0].corpus]
    rows = []
    for summary in report.contents:
        best = summary.rows[summary.best]
        cheap = summary.rows[summary.cheapest_within(LOSS_RATIO)]
        times = [row.cpu_ms for row in summary.rows]
        rows.append(
            [
                summary.content,
                f"{min(row.accuracy.value for row in summary.rows):.3f}",
                f"{best.accuracy.value:.3f} ({best.accuracy.low:.3f}–{best.accuracy.high:.3f})",
                f"{100 * summary.accuracy_spread_ratio:.0f}",
                f"{min(times):.1f} to {max(times):.1f}",
                f"{summary.time_spread:.1f}x",
                f"{knobs_text(best.configuration)} ({best.cpu_ms:.1f} ms)",
                f"{knobs_text(cheap.configuration)} ({cheap.cpu_ms:.1f} ms)",
                *(f"{best.corpus[name]:.3f}" for name in best.corpus),
            ]
        )
    return table([*head, *metrics], rows) + "\n\n" + static_text(report)


def operators_table(report: ProfileReport) -> str:
    """What each operator takes over all configurations and contents."""
    rows = []
    for place, operator in enumerate(report.contents[0].rows[0].operators):
        entries = [row.operators[place] for summary in report.contents for row in summary.rows]
        times = sorted(entry.cpu_ms for entry in entries)
        sizes = sorted(entry.output_bytes / 1000 for entry in entries)
        parts = sorted(entry.parts for entry in entries if entry.parts is not None)
        memory = sorted(size / 1e6 for size in report.memory_bytes.get(operator.operator_id, ()))
        rows.append(
            [
                operator.operator_id,
                f"{times[0]:.2f} to {times[-1]:.2f}",
                f"{sizes[0]:.1f} to {sizes[-1]:.1f}",
                f"{parts[0]:.1f} to {parts[-1]:.1f}" if parts else "",
                f"{memory[0]:.0f} to {memory[-1]:.0f}" if memory else "",
            ]
        )
    source = fmean(summary.rows[0].source_bytes for summary in report.contents) / 1000
    head = ["operator", "CPU ms an item", "output kB", "parts of an item", "memory MB"]
    return table(head, rows) + f"\n\nThe source sends {source:.1f} kB an item."


def configurations_table(report: ProfileReport) -> str:
    """A row for each configuration; times and bytes are means over the contents."""
    first = report.contents[0].rows
    knobs = [name.partition(".")[2] for name in first[0].configuration]
    operators = " + ".join(operator.operator_id for operator in first[0].operators)
    head = [*knobs, *(one.content for one in report.contents), "CPU ms", f"= {operators}", "kB out of each"]
    rows = []
    for at, row in enumerate(first):
        same = [summary.rows[at] for summary in report.contents]
        times = [fmean(one.operators[place].cpu_ms for one in same) for place in range(len(row.operators))]
        sizes = [fmean(one.operators[place].output_bytes for one in same) / 1000 for place in range(len(row.operators))]
        rows.append(
            [
                *(str(value) for value in row.configuration.values()),
                *(f"{one.accuracy.value:.3f} ±{(one.accuracy.high - one.accuracy.low) / 2:.3f}" for one in same),
                f"{sum(times):.1f}",
                " + ".join(f"{value:.1f}" for value in times),
                ", ".join(f"{value:.1f}" for value in sizes),
            ]
        )
    return table(head, rows)
