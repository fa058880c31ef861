from __future__ import annotations

from circinus.v1 import control_pb2, types_pb2
from edge_agent.outbox import Outbox, split
from edge_agent.outbox_queue import Limits


def window(name, latencies=0):
    return types_pb2.QueryWindow(query_id=name, scores_ratio=[1.0] * latencies)


async def test_numbers_rise_and_survive_a_restart(tmp_path):
    path = tmp_path / "outbox.db"
    async with Outbox(path) as outbox:
        await outbox.put([window("a")], [types_pb2.OperatorWindow(query_id="a")])
        await outbox.put([window("b")], [])
        first = await outbox.peek(0)
        await outbox.forget([message.sequence for message in first])
        assert await outbox.peek(0) == []
    async with Outbox(path) as outbox:
        await outbox.put([window("c")], [])
        (later,) = await outbox.peek(0)
    assert [message.sequence for message in first] == sorted(message.sequence for message in first)
    assert later.sequence > first[-1].sequence
    assert len(first[0].operators) == 1


async def test_what_was_not_forgotten_is_there_after_a_restart(tmp_path):
    async with Outbox(tmp_path / "o.db") as outbox:
        await outbox.put([window("a")], [])
    async with Outbox(tmp_path / "o.db") as outbox:
        assert [message.queries[0].query_id for message in await outbox.peek(0)] == ["a"]


async def test_the_oldest_go_first_when_it_is_full_and_are_counted(tmp_path):
    async with Outbox(tmp_path / "o.db", limits=Limits(telemetry=2)) as outbox:
        for name in "abcd":
            await outbox.put([window(name)], [])
        assert [message.queries[0].query_id for message in await outbox.peek(0)] == ["c", "d"]
        assert outbox.dropped == 2


async def test_a_file_that_is_no_database_is_replaced(tmp_path):
    (tmp_path / "o.db").write_bytes(b"x" * 9000)
    async with Outbox(tmp_path / "o.db") as outbox:
        await outbox.put([window("a")], [])
        assert len(await outbox.peek(0)) == 1


def test_large_windows_are_split_over_messages_in_order():
    windows = [window(f"q{number}", latencies=50_000) for number in range(5)]
    messages = split(windows, [types_pb2.OperatorWindow(operator_id="o")])
    assert len(messages) > 1
    assert all(message.ByteSize() < 1_100_000 for message in messages)
    assert [entry.query_id for message in messages for entry in message.queries] == ["q0", "q1", "q2", "q3", "q4"]
    assert split([], []) == []


async def test_episodes_of_stand_bys_wait_with_the_windows(tmp_path):
    episode = control_pb2.StandByEpisode(query_id="q", generation=1)
    async with Outbox(tmp_path / "o.db") as outbox:
        await outbox.put([window("a")], [], [episode])
        await outbox.put([], [], [episode])
    async with Outbox(tmp_path / "o.db") as outbox:
        waiting = await outbox.peek(0)
    assert [list(message.stand_bys) for message in waiting] == [[], [episode], [episode]]
