"""The ``edge-agent`` command: reads the configuration, puts the agent together, runs it until a signal."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

from circinus.clock import SystemClock
from circinus.errors import CircinusError, InvalidInput
from circinus.events import configure
from edge_agent.config import AgentConfig, load_config

_EXIT_ERROR = 1
_EXIT_USAGE = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Gives its exit code: 0 ok, 1 error, 2 a bad command line or configuration."""
    options = _parser().parse_args(arguments)
    try:
        config = load_config(options.config)
        if options.command == "fingerprint":
            return _fingerprint(config)
        if options.command == "check":
            return _check(config, options.output)
        configure(options.log_level, name=config.device_id)
        asyncio.run(_run(config))
    except InvalidInput as error:
        lines = [f"  {violation}" for violation in error.violations] or [f"  {error.message}"]
        print(f"edge-agent: {options.config} can't be used:", *lines, sep="\n", file=sys.stderr)
        return _EXIT_USAGE
    except CircinusError as error:
        print(f"edge-agent: {error}", file=sys.stderr)
        return _EXIT_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="edge-agent", description="The Circinus agent of one device.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in (
        ("run", "serve what the planner says, until SIGTERM"),
        ("fingerprint", "print what this device is, as JSON"),
        ("check", "find what would keep the agent from working here, with its cure"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--config", type=Path, required=True, metavar="FILE", help="the agent's TOML file")
        command.add_argument(
            "--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"), help="least event level"
        )
        if name == "check":
            command.add_argument("-o", "--output", default="table", choices=("table", "json"), help="how it is printed")
    return parser


def _check(config: AgentConfig, output: str) -> int:
    from dataclasses import asdict

    from circinus.model.diagnosis import Grade
    from edge_agent.diagnose import diagnose

    # What checks find is printed; events beside it would only repeat it.
    configure("CRITICAL", name=config.device_id)
    found = diagnose(config)
    if output == "json":
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        for one in found:
            print(
                f"{one.grade.upper():8} {one.subject:14} {one.said}" + (f"\n{'':24}-> {one.cure}" if one.cure else "")
            )
    return _EXIT_ERROR if any(one.grade is Grade.FAILED for one in found) else 0


def _fingerprint(config: AgentConfig) -> int:
    from google.protobuf.json_format import MessageToDict

    from circinus.wire import device_to_message
    from edge_agent.fingerprint.device import take_fingerprint

    message = device_to_message(take_fingerprint(config))
    document = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    print(json.dumps(document, indent=2))
    return 0


async def _run(config: AgentConfig) -> None:
    from circinus.channel import open_channel
    from edge_agent.agent import Agent
    from edge_agent.serving import Serving

    # A planner's address that can never be dialled is said now, not at every try.
    await open_channel(config.planner).close()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Jitter must differ between devices, and between starts of one device.
    await Agent(config, clock=SystemClock(), rng=Random(), make_serving=Serving).run(stop)


if __name__ == "__main__":
    sys.exit(main())
