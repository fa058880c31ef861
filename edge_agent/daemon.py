"""The ``edge-agent`` command: reads the configuration, puts the agent together, runs it until a signal."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

from circinus.clock import SystemClock
from circinus.errors import CircinusError, InvalidInput, NotAllowed, TimedOut, Unreachable
from circinus.events import configure
from edge_agent.config import AgentConfig, load_config

_EXIT_ERROR = 1
_EXIT_USAGE = 2
_EXIT_UNREACHABLE = 4
_EXIT_NOT_ALLOWED = 5
_EXIT_TIMED_OUT = 6


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command. Gives its exit code: 0 ok, 1 error, 2 a bad command line or configuration."""
    options = _parser().parse_args(arguments)
    try:
        config = load_config(options.config)
        if options.command == "fingerprint":
            return _fingerprint(config)
        if options.command == "check":
            return _check(config, options.output)
        if options.command == "join":
            return _join(config, options.token_file, options.enrol)
        if options.command == "leave":
            return _leave(config, options.timeout)
        if options.command == "logs":
            return _logs(config, options)
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
        ("join", "get this box's identity from the planner, for a token"),
        ("leave", "have the planner drain this box and forget it; its agent, which runs, ends then"),
        ("logs", "print what operators and the agent on this box print; its agent must be running"),
        ("check", "find what would keep the agent from working here, with its cure"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--config", type=Path, required=True, metavar="FILE", help="the agent's TOML file")
        command.add_argument(
            "--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"), help="least event level"
        )
        if name == "join":
            command.add_argument(
                "--token-file",
                type=Path,
                metavar="FILE",
                help="where the token is, - for standard input (default: the environment's CIRCINUS_TOKEN)",
            )
            command.add_argument(
                "--enrol",
                default="",
                metavar="HOST:PORT",
                help="the planner's enrolment port (default: as in the file)",
            )
        if name == "leave":
            command.add_argument("--timeout", type=float, default=600.0, metavar="S", help="longest wait (%(default)s)")
        if name == "logs":
            _add_log_flags(command)
        if name == "check":
            command.add_argument("-o", "--output", default="table", choices=("table", "json"), help="how it is printed")
    return parser


def _add_log_flags(command: argparse.ArgumentParser) -> None:
    command.add_argument("--query", default="", metavar="ID", help="of this query's processes only")
    command.add_argument("--operator", default="", metavar="ID", help="of this operator's processes only")
    command.add_argument("--since", type=float, default=0.0, metavar="S", help="no older lines than that")
    command.add_argument("--tail", type=int, default=0, metavar="N", help="the newest so many (default: all)")
    command.add_argument("-f", "--follow", action="store_true", help="go on with those that come")
    command.add_argument(
        "-o", "--output", default="table", choices=("table", "json"), help="lines for people, or one JSON object a line"
    )


def _logs(config: AgentConfig, options: argparse.Namespace) -> int:
    from circinus.v1 import control_pb2
    from edge_agent.show_logs import show_logs

    wanted = control_pb2.LogsWanted(
        query_id=options.query,
        operator_id=options.operator,
        since_s=max(0.0, options.since),
        tail=max(0, options.tail),
        follow=options.follow,
        agent=not options.query and not options.operator,
    )
    try:
        asyncio.run(show_logs(config.state_dir, wanted, as_json=options.output == "json"))
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    except (NotAllowed, Unreachable) as error:
        print(f"edge-agent: {error}", file=sys.stderr)
        return _EXIT_UNREACHABLE if isinstance(error, Unreachable) else _EXIT_NOT_ALLOWED
    return 0


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


def _join(config: AgentConfig, token_file: Path | None, enrol: str) -> int:
    from edge_agent.identity.enrolment import join, read_token
    from edge_agent.identity.files import write_identity

    token = read_token(_token_text(token_file))
    address = enrol or config.enrol
    joined = asyncio.run(join(config.device_id, token, address, config.labels, SystemClock()))
    try:
        write_identity(config.identity_dir, joined.identity)
    except OSError as error:
        # The token is used up all the same.
        raise NotAllowed(
            f"{config.device_id} has joined, but its identity can't be written: {error}; make {config.identity_dir} "
            "writable, and take a new token"
        ) from error
    print(f"{config.device_id} has joined the planner at {address}; its identity is in {config.identity_dir}")
    if config.insecure_loopback:
        print("its file has insecure_loopback = true: as long as it has, the identity is not used", file=sys.stderr)
    said, dialled = (text.rpartition(":")[2] for text in (joined.control_address, config.planner))
    if said and said != dialled:
        print(f"the planner says that agents dial its port {said}; {config.device_id} is to dial {config.planner}")
    return 0


def _leave(config: AgentConfig, timeout_s: float) -> int:
    from edge_agent.leaving import leave

    try:
        return asyncio.run(leave(config, timeout_s, lambda text: print(text, flush=True)))
    except (TimedOut, Unreachable) as error:
        print(f"edge-agent: {error}", file=sys.stderr)
        return _EXIT_TIMED_OUT if isinstance(error, TimedOut) else _EXIT_UNREACHABLE


def _token_text(token_file: Path | None) -> str:
    if token_file is None:
        text = os.environ.get("CIRCINUS_TOKEN", "")
        if not text:
            raise InvalidInput("there is no token: give --token-file FILE, or set CIRCINUS_TOKEN")
        return text
    try:
        return sys.stdin.readline() if str(token_file) == "-" else token_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the token can't be read: {error}") from error


def _fingerprint(config: AgentConfig) -> int:
    from google.protobuf.json_format import MessageToDict

    from circinus.wire import device_to_message
    from edge_agent.fingerprint.device import take_fingerprint

    message = device_to_message(take_fingerprint(config))
    document = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    print(json.dumps(document, indent=2))
    return 0


async def _run(config: AgentConfig) -> None:
    from circinus.channel import check_address, check_loopback
    from circinus.metrics_server import check_listen
    from edge_agent.agent import Agent
    from edge_agent.heap import share_heaps
    from edge_agent.identity.box import open_identity
    from edge_agent.serving import Serving

    share_heaps()
    # A planner's address that can never be dialled is said now, not at every try.
    (check_loopback if config.insecure_loopback else check_address)(config.planner)
    if config.metrics_listen:
        check_listen(config.metrics_listen, secured=not config.insecure_loopback)
    clock, rng = SystemClock(), Random()
    identity = open_identity(config, clock=clock, rng=rng)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # Jitter must differ between devices, and between starts of one device.
    await Agent(config, clock=clock, rng=rng, make_serving=Serving, identity=identity).run(stop)


if __name__ == "__main__":
    sys.exit(main())
