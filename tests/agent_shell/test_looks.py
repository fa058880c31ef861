"""Who looks at a device: credit, bounds, the owner's word, and that a look ends when nobody looks."""

import asyncio
import json
from contextlib import aclosing

import pytest

from circinus.clock import SystemClock
from circinus.errors import NotFound, Unreachable
from circinus.model.directive import Generation
from circinus.model.policy import Policy, Tap
from circinus.payload import encode
from circinus.v1 import control_pb2
from edge_agent import local_looks, looks
from edge_agent.daemon import main
from edge_agent.dataplane.item import Work
from edge_agent.looks import Looks
from edge_agent.printed import Printed, Printer
from edge_agent.taps import Taps

READ = Printer(key="k1", query_id="gate", operator_id="read")


class Box:
    """The part of a device that is looked at, and what it tells the planner."""

    def __init__(self, tmp_path, policy):
        self.clock = SystemClock()
        self.printed, self.taps = Printed(self.clock), Taps(self.clock)
        self.told = asyncio.Queue()
        self.bundles = tmp_path
        self.looks = Looks(self, policy, self, clock=self.clock, tell=self.told.put_nowait)

    def bundle_path(self, digest):
        path = self.bundles / digest.partition(":")[2]
        if not path.is_dir():
            raise NotFound(digest)
        return path

    def say(self, **message):
        self.looks.take(control_pb2.ConnectResponse(**message))

    def begin(self, identity="a", credit=100, **at):
        self.say(look=control_pb2.LookRequest(id=identity, credit=credit, **at))

    async def chunk(self, identity="a"):
        async with asyncio.timeout(10):
            found = (await self.told.get()).look_chunk
        assert found.id == identity
        return found

    def passes(self, number=1):
        work = Work(
            request_id="i-1",
            query_id="gate",
            generation=Generation(epoch=1, number=1),
            operator_id="read",
            deadline_s=None,
            inputs={"find": encode({"number": number})},
        )
        self.taps.passed(work, work.inputs, output=False, batches=0.0, pipeline_id="words", bundle_digest="sha256:1")


@pytest.fixture
async def make_box(tmp_path):
    running = []

    def make(policy=Policy()):  # noqa: B008 - it is frozen
        box = Box(tmp_path, policy)
        running.append(asyncio.create_task(box.looks.run(tmp_path)))
        return box

    yield make
    for task in running:
        task.cancel()
    await asyncio.wait(running)


LINES = control_pb2.LogsWanted(query_id="gate", follow=True)
ITEMS = control_pb2.TapWanted(query_id="gate", operator_id="read", rate_per_s=20.0, for_s=60.0, values=True)


async def test_lines_come_and_go_on_until_the_look_is_ended(make_box):
    box = make_box()
    voice = box.printed.voice(READ)
    voice.take(b"one\n")
    box.begin(logs=LINES)
    assert not (await box.chunk()).lines  # it has begun
    first = await box.chunk()
    assert ([line.text for line in first.lines], first.caught_up) == (["one"], True)
    voice.take(b"two\n")
    assert [line.text for line in (await box.chunk()).lines] == ["two"]
    box.say(end_look=control_pb2.EndLook(id="a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    box.begin(logs=LINES)
    assert not (await box.chunk()).ended


async def test_without_credit_nothing_is_sent_and_what_is_too_much_is_counted(make_box):
    box = make_box()
    voice = box.printed.voice(READ)
    box.begin(logs=LINES, credit=2)
    await box.chunk()
    assert (await box.chunk()).caught_up
    voice.take(b"one\n")
    for _ in range(3):
        await asyncio.sleep(0)
    assert box.told.empty()
    voice.take(b"line\n" * 600)
    box.say(look_credit=control_pb2.LookCredit(id="a", chunks=50))
    told = (await box.chunk()).lines
    while told[-1].text != "line" or len(told) < 499:
        told.extend((await box.chunk()).lines)
    assert sum(1 + line.left_out for line in told) == 601


async def test_a_tap_shows_items_until_its_time_is_over_and_serving_then_pays_nothing(make_box):
    box = make_box(Policy(tap=Tap.ITEMS))
    (box.bundles / "1").mkdir()
    (box.bundles / "1" / "pipeline.json").write_text(json.dumps({"operators": [{"id": "read"}]}))
    wanted = control_pb2.TapWanted()
    wanted.CopyFrom(ITEMS)
    wanted.for_s = 0.4
    box.begin(tap=wanted)
    await box.chunk()
    assert len(box.taps.open) == 1
    box.passes(7)
    (item,) = (await box.chunk()).items
    assert (item.withheld, item.payloads[0].fields[0].preview) == ("", "7")
    ended = await box.chunk()
    assert (ended.ended, ended.why, ended.error) == (True, "its time is over", "")
    await asyncio.sleep(0)
    assert box.taps.open == []


@pytest.mark.parametrize(
    ("policy", "site_inputs", "said"),
    [
        (Policy(), [], "shapes alone"),
        (Policy(tap=Tap.ITEMS, data_stays=("words",)), [], "data_stays"),
        (Policy(tap=Tap.ITEMS), ["source"], "data: site"),
        (Policy(tap=Tap.ITEMS), None, "data: site"),
    ],
)
async def test_values_that_are_to_stay_are_not_shown(make_box, policy, site_inputs, said):
    box = make_box(policy)
    if site_inputs is not None:
        (box.bundles / "1").mkdir()
        document = {"operators": [{"id": "find", "site_inputs": site_inputs}, {"id": "read"}]}
        (box.bundles / "1" / "pipeline.json").write_text(json.dumps(document))
    box.begin(tap=ITEMS)
    await box.chunk()
    box.passes(123456)
    chunk = await box.chunk()
    assert said in chunk.items[0].withheld
    assert "123456" not in str(chunk)


async def test_an_owner_may_show_nothing(make_box):
    box = make_box(Policy(tap=Tap.OFF, logs=False))
    box.begin(tap=ITEMS)
    refused = await box.chunk()
    assert (refused.ended, refused.error) == (True, "AgainstPolicy")
    box.begin(logs=LINES)
    assert (await box.chunk()).error == "AgainstPolicy"
    box.printed.voice(READ).take(b"what an operator prints\n")
    box.printed.hear("agent_started", {}, warning=False)
    box.begin(logs=control_pb2.LogsWanted(agent=True))
    await box.chunk()
    assert [line.text for line in (await box.chunk()).lines] == ["agent_started"]


async def test_so_many_may_look_at_a_time(make_box):
    box = make_box()
    for number in range(looks.MAX_LOOKS):
        box.begin(f"l{number}", tap=ITEMS)
        await box.chunk(f"l{number}")
    box.begin("more", tap=ITEMS)
    refused = await box.chunk("more")
    assert (refused.error, len(box.taps.open)) == ("TooLarge", looks.MAX_LOOKS)


async def test_a_look_of_which_nothing_is_heard_ends_by_itself(make_box, monkeypatch):
    box = make_box()
    monkeypatch.setattr(looks, "SILENCE_S", 0.3)
    box.begin(tap=ITEMS)
    await box.chunk()
    ended = await box.chunk()
    assert (ended.ended, ended.why) == (True, "nobody looks any more")


async def test_what_an_older_agent_does_not_know_is_said(make_box):
    box = make_box()
    box.begin()
    refused = await box.chunk()
    assert (refused.error, refused.ended) == ("InvalidInput", True)


async def test_who_stands_before_the_box_reads_its_logs_without_a_planner(make_box, tmp_path):
    box = make_box(Policy(logs=False))
    box.printed.voice(READ).take(b"one\ntwo\n")
    place = tmp_path / "looks"
    async with asyncio.timeout(10):
        while not place.exists():  # noqa: ASYNC110 - it is made by another task
            await asyncio.sleep(0.01)
    assert {path.stat().st_mode & 0o777 for path in (place, tmp_path / "looks-key")} == {0o600}
    wanted = control_pb2.LogsWanted(query_id="gate", follow=True)
    async with asyncio.timeout(10), aclosing(local_looks.ask(tmp_path, wanted)) as chunks:
        assert not (await anext(chunks)).lines
        told = []
        while told != ["one", "two"]:
            told += [line.text for line in (await anext(chunks)).lines]
        box.printed.voice(READ).take(b"three\n")
        while told != ["one", "two", "three"]:
            told += [line.text for line in (await anext(chunks)).lines]
    assert box.told.empty()


async def test_the_agents_own_command_prints_lines_and_documents(make_box, tmp_path, capsys):
    box = make_box()
    box.printed.voice(READ).take(b"one \x1b[31m\n" + b"x" * 3_000 + b"\n")
    box.printed.hear("agent_started", {}, warning=False)
    (config := tmp_path / "agent.toml").write_text(f'device_id = "a"\nstate_dir = "{tmp_path}"\ntier = "edge"\n')
    async with asyncio.timeout(10):
        while not (tmp_path / "looks").exists():  # noqa: ASYNC110 - it is made by another task
            await asyncio.sleep(0.01)
    assert await asyncio.to_thread(main, ["logs", "--config", str(config)]) == 0
    found = capsys.readouterr().out.splitlines()
    assert [line.partition(" | ")[2][:13] for line in found] == [
        "one \N{REPLACEMENT CHARACTER}[31m",
        "x" * 13,
        "agent_started",
    ]
    assert "gate/read#0 | one" in found[0]
    assert found[1].endswith("x …")
    assert await asyncio.to_thread(main, ["logs", "--config", str(config), "--query", "gate", "-o", "json"]) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["operator_id"], one["cut"]) for one in documents] == [("read", False), ("read", True)]


async def test_who_can_not_read_the_state_folder_is_shown_nothing(make_box, tmp_path):
    make_box()
    async with asyncio.timeout(10):
        while not (tmp_path / "looks").exists():  # noqa: ASYNC110 - it is made by another task
            await asyncio.sleep(0.01)
    (tmp_path / "looks-key").write_text("0" * 64)
    with pytest.raises(Unreachable, match="has ended, or too many look"):
        await anext(local_looks.ask(tmp_path, control_pb2.LogsWanted(agent=True)))


async def test_where_no_agent_runs_it_is_said(tmp_path, capsys):
    with pytest.raises(Unreachable, match="no agent runs on"):
        await anext(local_looks.ask(tmp_path, control_pb2.LogsWanted(agent=True)))
    (config := tmp_path / "agent.toml").write_text('device_id = "a"\nstate_dir = "s"\ntier = "edge"\n')
    (tmp_path / "s").mkdir()
    assert await asyncio.to_thread(main, ["logs", "--config", str(config)]) == 4
    assert "`edge-agent run --config FILE` starts one" in capsys.readouterr().err


async def test_a_fault_of_ours_ends_the_look_and_is_told(make_box, monkeypatch):
    box = make_box()
    monkeypatch.setattr(looks.LogLook, "next_chunk", lambda self, most_bytes: 1 / 0)
    box.begin(logs=LINES)
    await box.chunk()
    ended = await box.chunk()
    assert (ended.ended, ended.error) == (True, "Internal")
