"""The ``cloud-planner`` command. What serves is loaded only to serve: commands beside it start at once."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from circinus.errors import CircinusError, InvalidInput
from circinus.events import configure
from cloud_planner.backup import commands as backup_commands
from cloud_planner.identity.commands import COMMANDS, add_commands, run_command
from cloud_planner.identity.registrar import CERTIFICATE_LIFE, RENEWAL_GRACE
from cloud_planner.identity.tokens import span_s

_LONGEST = timedelta(days=3_650)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cloud-planner", description="Plans and rolls out a fleet's queries.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="serve agents and people until SIGTERM")
    run.add_argument("--listen", default="127.0.0.1:7400", help="HOST:PORT, port 0: any (%(default)s)")
    run.add_argument("--enrol-listen", default="", help="HOST:PORT for who has no certificate (the next port)")
    run.add_argument(
        "--certificate-ttl", type=_span, default=CERTIFICATE_LIFE, help="life of a device's certificate (24h)"
    )
    run.add_argument(
        "--renewal-grace", type=_span, default=RENEWAL_GRACE, help="renewed for so long after its end, too (90d)"
    )
    run.add_argument("--state-dir", type=Path, required=True, help="where all that must last is kept")
    run.add_argument(
        "--insecure-loopback",
        action="store_true",
        help="in the clear, on loopback only; anybody on this machine may do all",
    )
    run.add_argument("--search", choices=["quick", "thorough"], default="quick", help="how to search (%(default)s)")
    run.add_argument("--search-worth-s", type=_seconds, help="quick: profile seconds that a plan's whole cost is worth")
    run.add_argument("--profile-time-samples", type=_count, default=6, help="samples for times (%(default)s)")
    run.add_argument("--profile-parallelism", type=_count, default=1, help="profile runs at a time (%(default)s)")
    run.add_argument("--unseen-s", type=_seconds, default=60.0, help="planned without a device after (%(default)s)")
    run.add_argument("--solver-s", type=_seconds, default=20.0, help="time limit of the solver (%(default)s)")
    run.add_argument(
        "--dashboard-listen", default="", help="HOST:PORT of the dashboard (127.0.0.1, a port from the second next on)"
    )
    run.add_argument("--no-dashboard", action="store_true", help="serve no dashboard")
    run.add_argument(
        "--metrics-listen", default="", help="HOST:PORT where Prometheus finds the planner's figures (nowhere)"
    )
    run.add_argument(
        "--metrics-queries", type=_number, default=1_000, help="queries with figures of their own (%(default)s)"
    )
    run.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    add_commands(commands)
    backup_commands.add_commands(commands)
    return parser


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100_000:
        raise argparse.ArgumentTypeError(f"{value} is not between 1 and 100000")
    return value


def _number(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 100_000:
        raise argparse.ArgumentTypeError(f"{value} is not between 0 and 100000")
    return value


def _span(text: str) -> timedelta:
    try:
        value = timedelta(seconds=span_s(text))
    except (InvalidInput, OverflowError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if not timedelta(seconds=1) <= value <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text} is not between 1s and {_LONGEST.days}d")
    return value


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.0 < value <= 86_400.0:
        raise argparse.ArgumentTypeError(f"{value} is not above 0 and at most 86400 seconds")
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives the exit code: 0 ok, 1 error, 2 usage."""
    parsed = _parser().parse_args(arguments)
    if parsed.command in COMMANDS:
        return run_command(parsed)
    if parsed.command in backup_commands.COMMANDS:
        return backup_commands.run_command(parsed)
    configure(parsed.log_level, name="cloud-planner")
    try:
        _serve(parsed)
    except CircinusError as error:
        sys.stderr.write(f"cloud-planner: {error.message}\n")
        return 1
    return 0


def _serve(parsed: argparse.Namespace) -> None:
    from cloud_planner.core.needs import ProfilePolicy
    from cloud_planner.daemon import LIVE_QUICK, LIVE_THOROUGH, Settings, serve
    from cloud_planner.dashboard.place import Place, beside

    policy = LIVE_THOROUGH if parsed.search == "thorough" else LIVE_QUICK
    if parsed.search_worth_s is not None and parsed.search != "thorough":
        policy = replace(policy, worth_s=parsed.search_worth_s)
    place = Place(listen=parsed.dashboard_listen) if parsed.dashboard_listen else beside(parsed.listen)
    settings = Settings(
        listen=parsed.listen,
        state_dir=parsed.state_dir,
        insecure_loopback=parsed.insecure_loopback,
        enrol_listen=parsed.enrol_listen,
        certificate_life=parsed.certificate_ttl,
        renewal_grace=parsed.renewal_grace,
        profile_policy=ProfilePolicy(time_samples=parsed.profile_time_samples),
        search_policy=policy,
        profile_parallelism=parsed.profile_parallelism,
        unseen_s=parsed.unseen_s,
        solver_s=parsed.solver_s,
        dashboard=None if parsed.no_dashboard else place,
        metrics_listen=parsed.metrics_listen,
        metrics_queries=parsed.metrics_queries,
    )
    asyncio.run(serve(settings))


if __name__ == "__main__":
    sys.exit(main())
