"""`circinus tap`: looks at live items at an operator."""

from __future__ import annotations

import json
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer

from circinus.cli import exits
from circinus.cli.durations import seconds_of
from circinus.cli.output import document_of, plain, say, size
from circinus.cli.query_watch import Form
from circinus.cli.saved_items import save
from circinus.cli.session import DEFAULT_ADDRESS, PlannerOption, ask
from circinus.client import Client
from circinus.errors import InvalidInput, TimedOut
from circinus.look_calls import LookNote, TappedField, TappedItem

_WHOLE_BYTES = 4 * 1024 * 1024
_MAX_FOR_S = 600.0


def tap(
    query_id: Annotated[str, typer.Argument(metavar="QUERY")],
    operator_id: Annotated[str, typer.Argument(metavar="OPERATOR", help="An operator of it, or source.")],
    count: Annotated[int, typer.Option(min=0, max=100_000, help="Ends after so many items; 0: with --for.")] = 0,
    rate: Annotated[float, typer.Option(min=0.01, max=20.0, help="At most so many items a second.")] = 2.0,
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="Ends after that, at most 10m.")] = "30s",
    side: Annotated[str, typer.Option(metavar="in|out", help="What the operator gets, or what it gives.")] = "out",
    values: Annotated[
        bool,
        typer.Option(
            "--values", help="Values, too, where the device's owner allows it ([policy] tap); role operator, audited."
        ),
    ] = False,
    into: Annotated[
        Path | None,
        typer.Option("--save", metavar="DIR", help="Pictures, arrays and bytes as files there; includes --values."),
    ] = None,
    device: Annotated[str, typer.Option("--device", metavar="ID", help="At this device only.")] = "",
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: Annotated[Form, typer.Option("--output", "-o", help="Lines for people, or one JSON object a line.")] = (
        Form.TABLE
    ),
) -> int:
    """Live items at an operator: id, time, time left, size, types and shapes; sampled, and serving goes first.

    Example: circinus tap gate read --count 3
    """
    for_s = seconds_of(lasting, "--for")
    if for_s > _MAX_FOR_S:
        raise InvalidInput(f"--for {lasting} is longer than a tap may last: at most 10m")
    if side not in ("in", "out"):
        raise InvalidInput(f"--side {side!r} is neither in nor out")
    if into is not None:
        into.mkdir(parents=True, exist_ok=True)
    failed: list[LookNote] = []

    def note(one: LookNote) -> None:
        if not one.ended:
            failed.append(one)
        said = f"{one.device_id}: {one.text}" if one.device_id else one.text
        say(f"circinus: {said}", style="" if one.ended else "yellow")

    async def action(client: Client) -> int:
        seen, withheld = 0, ""
        found = client.tap(
            query_id,
            operator_id,
            output=side == "out",
            values=values or into is not None,
            count=count,
            rate_per_s=rate,
            for_s=for_s,
            whole_bytes=_WHOLE_BYTES if into is not None else 0,
            device_id=device,
            on_note=note,
        )
        async with aclosing(found):
            async for item in found:
                saved = [str(path) for path in save(item, into)] if into is not None else []
                if item.withheld not in ("", withheld):
                    withheld = item.withheld
                    say(f"circinus: values are not shown: {withheld}", style="yellow")
                sys.stdout.write((_json(item, saved) if output is Form.JSON else _text(item, saved)) + "\n")
                sys.stdout.flush()
                seen += 1
                if seen == count:
                    break
        return seen

    seen = ask(planner, action)
    if not seen and not failed:
        raise TimedOut(
            f"no item was seen at {query_id}/{operator_id} within {lasting}: `circinus query show {query_id}` says "
            "whether it is served, `circinus ledger` how many items it has"
        )
    return exits.PARTIAL if failed or seen < count else exits.OK


def _json(item: TappedItem, saved: list[str]) -> str:
    document = document_of(item)
    for payload in document["payloads"]:
        for field in payload["fields"]:
            del field["data"]
    return json.dumps(document | {"saved": saved}, ensure_ascii=False)


def _text(item: TappedItem, saved: list[str]) -> str:
    left = "-" if item.remaining_ms is None else f"{item.remaining_ms:.0f} ms left"
    part = f" part {item.part + 1}/{item.parts}" if item.parts > 1 else ""
    head = (
        f"{item.at:%H:%M:%S}.{item.at.microsecond // 1000:03d} {item.device_id} {item.query_id}/{item.operator_id} "
        f"{item.side} {item.request_id}{part}  {left}  {size(item.size_bytes)}"
    )
    found = [f"({item.left_out} items left out)"] if item.left_out else []
    found.append(head)
    for payload in item.payloads:
        found += [f"    {_named(payload.name, item)}{_field(one)}" for one in payload.fields]
        if payload.fields_left_out:
            found.append(f"    {payload.fields_left_out} fields left out")
    found += [f"    saved {path}" for path in saved]
    return plain("\n".join(found))


def _named(name: str, item: TappedItem) -> str:
    return "" if item.side == "out" else f"{name}."


def _field(field: TappedField) -> str:
    kind = f"{field.type}{list(field.shape)}" if field.shape else field.type
    shown = f"  {field.preview}{' …' if field.cut else ''}".replace("\n", " ") if field.preview else ""
    return f"{field.name}  {kind}  {size(field.size_bytes)}{shown}"
