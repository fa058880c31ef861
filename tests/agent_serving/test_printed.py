"""What processes print: lines, bounds, floods, last words; and what somebody reads of it."""

from datetime import UTC, datetime

import pytest

from circinus.v1 import control_pb2
from edge_agent import printed
from edge_agent.log_look import LogLook
from edge_agent.printed import Printed, Printer


class StandingClock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.s = 1_000.0

    def now(self):
        return datetime.fromtimestamp(self.s, UTC)

    def monotonic_s(self):
        return self.s

    async def sleep(self, seconds):
        self.s += seconds


READ = Printer(key="k1", query_id="gate", operator_id="read")
FIND = Printer(key="k2", query_id="gate", operator_id="find", uses=frozenset({("hall", "find")}))


@pytest.fixture
def clock():
    return StandingClock()


@pytest.fixture
def rings(clock):
    return Printed(clock)


def texts(rings, printer):
    return [line.text for line in rings.ring(printer).lines]


def look(rings, clock, **wanted):
    return LogLook(rings, control_pb2.LogsWanted(**wanted), clock)


def read(reader):
    """All that a reader is sent now, and whether it is told to have caught up and that it ended."""
    lines, caught_up, ended = [], False, False
    while (chunk := reader.next_chunk(500)) is not None:
        lines += chunk.lines
        caught_up, ended = caught_up or chunk.caught_up, ended or chunk.ended
        if chunk.ended:
            break
    return lines, caught_up, ended


def test_bytes_become_lines_however_they_arrive(rings):
    voice = rings.voice(READ)
    voice.pid = 7
    for piece in (b"on", b"e\ntwo\r\n50%\r10", b"0%\nthr", b"\xc3", b"\xa4\n\xff\n"):
        voice.take(piece)
    assert texts(rings, READ) == ["one", "two", "100%", "thrä", "�"]
    voice.take(b"without an end")
    voice.end("(process 7 ended with 3)")
    assert texts(rings, READ)[-2:] == ["without an end", "(process 7 ended with 3)"]
    assert {line.pid for line in rings.ring(READ).lines} == {7}


def test_a_line_is_cut_and_one_that_never_ends_takes_no_more_room(rings):
    voice = rings.voice(READ)
    for _ in range(50):
        voice.take(b"x" * 1_000)
    voice.take(b"\nshort\n")
    long, short = rings.ring(READ).lines
    assert (len(long.text), long.cut) == (printed.MAX_LINE_BYTES, True)
    assert (short.text, short.cut) == ("short", False)


def test_a_flood_is_counted_and_the_last_words_are_kept(rings, clock):
    voice = rings.voice(READ)
    reader = look(rings, clock, query_id="gate", follow=True)
    read(reader)
    voice.take(b"first\n")
    (first,), _, _ = read(reader)
    for _ in range(20):
        voice.take(b"spam\n" * 1_000)
    voice.take(b"why it died\n")
    voice.end()
    ring = rings.ring(READ)
    assert len(ring.lines) <= printed.MAX_LINES
    assert ring.lines[-1].text == "why it died"
    lines, _, _ = read(reader)
    assert first.text == "first"
    assert lines[-1].text == "why it died"
    # Each line that was printed is either told or counted.
    assert sum(1 + line.left_out for line in lines) == 20_001
    clock.s += 60.0
    again = rings.voice(READ)
    again.take(b"again\n")
    assert texts(rings, READ)[-1] == "again"


def test_rings_are_bounded_each_and_together(rings, clock, monkeypatch):
    monkeypatch.setattr(printed, "MAX_ALL_BYTES", 20_000)
    for number in range(60):
        voice = rings.voice(Printer(key=f"k{number}", query_id="gate", operator_id="read"))
        voice.take(b"a line of some length\n" * 10)
        voice.end()
    found = list(rings.rings())
    assert sum(ring.size_bytes for ring in found) <= 20_000
    # Of processes that have ended the oldest are gone; the agent's own ring stays.
    assert len(found) == printed.MAX_ENDED + 1
    assert {ring.printer.key for ring in found} == {"", *(f"k{number}" for number in range(28, 60))}


def test_a_key_that_is_spread_over_lines_is_not_kept(rings):
    voice = rings.voice(READ)
    voice.take(b"before\n-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nshort==\n-----END EC PRIVATE KEY-----\nafter\n")
    assert texts(rings, READ) == ["before", *["[redacted: private key]"] * 4, "after"]


def test_lines_of_all_processes_are_merged_by_time_without_secrets(rings, clock):
    one, other = rings.voice(READ), rings.voice(FIND)
    for number in range(3):
        one.take(b"read %d\n" % number)
        clock.s += 1.0
        other.take(b"find password=hunter2-%d\n" % number)
        clock.s += 1.0
    rings.hear("process_lost", {"name": "gate/read#0"}, warning=True)
    lines, caught_up, ended = read(look(rings, clock, query_id="gate"))
    assert (caught_up, ended) == (True, True)
    assert [line.text.split()[0] for line in lines] == ["read", "find"] * 3
    assert lines[1].text == "find password=[redacted]"
    assert [line.left_out for line in lines] == [0] * 6
    # What a process does for another query is that one's, too.
    assert {line.operator_id for line in read(look(rings, clock, query_id="hall"))[0]} == {"find"}
    assert {line.query_id for line in read(look(rings, clock, operator_id="read"))[0]} == {"gate"}
    assert read(look(rings, clock, query_id="other"))[0] == []
    (*_, own) = read(look(rings, clock, agent=True))[0]
    assert (own.text, own.query_id, own.pid) == ("WARNING process_lost name=gate/read#0", "", 0)


def test_since_and_tail_choose_what_is_told_before_what_comes(rings, clock):
    voice = rings.voice(READ)
    for number in range(10):
        voice.take(b"%d\n" % number)
        clock.s += 1.0
    assert [line.text for line in read(look(rings, clock, tail=2))[0]] == ["8", "9"]
    assert [line.text for line in read(look(rings, clock, since_s=3.5))[0]] == ["7", "8", "9"]
    reader = look(rings, clock, tail=1, follow=True)
    lines, caught_up, ended = read(reader)
    assert ([line.text for line in lines], caught_up, ended) == (["9"], True, False)
    assert read(reader) == ([], False, False)
    voice.take(b"10\n")
    assert [(line.text, line.left_out) for line in read(reader)[0]] == [("10", 0)]


def test_a_reader_that_is_slow_is_told_how_many_lines_it_missed(rings, clock):
    voice = rings.voice(READ)
    reader = look(rings, clock, follow=True)
    read(reader)
    voice.take(b"seen\n")
    read(reader)
    for _ in range(4):
        clock.s += 10.0
        voice.take(b"line\n" * 400)
    lines, _, _ = read(reader)
    assert len(lines) == len(rings.ring(READ).lines)
    assert lines[0].left_out == 1_600 - len(lines)
    assert {line.left_out for line in lines[1:]} == {0}


def test_an_owner_may_show_the_agents_own_lines_alone(rings, clock):
    rings.voice(READ).take(b"secret work\n")
    rings.hear("agent_started", {}, warning=False)
    reader = LogLook(rings, control_pb2.LogsWanted(agent=True), clock, processes=False)
    assert [line.text for line in read(reader)[0]] == ["agent_started"]


def test_processes_that_come_to_serve_more_queries_are_found_under_them(rings, clock):
    voice = rings.voice(READ)
    rings.serves("k1", [("late", "read")])
    voice.take(b"shared\n")
    assert [line.text for line in read(look(rings, clock, query_id="late"))[0]] == ["shared"]
