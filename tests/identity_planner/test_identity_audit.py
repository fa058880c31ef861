import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_fleet import Box, FakeClock, enrolled, office, outcomes

from circinus.errors import BadToken, NotAllowed
from cloud_planner.identity import audit
from cloud_planner.identity.audit import GENESIS, Chain, Entry, clean, digest_of

TEXT = st.text(max_size=20)
FIELDS = ("at_us", "actor", "action", "subject", "outcome", "detail")


@st.composite
def logs(draw):
    """A log as it is written."""
    rows = draw(st.lists(st.tuples(st.integers(0, 2**53), TEXT, TEXT, TEXT, TEXT, TEXT), min_size=1, max_size=8))
    log, before = [], GENESIS
    for sequence, values in enumerate(rows, start=1):
        entry = Entry(sequence=sequence, **dict(zip(FIELDS, values, strict=True)))
        before = digest_of(before, entry)
        log.append((entry, before))
    return log


def holds(log, head):
    chain = Chain()
    chain.follow(log)
    return chain.ends_at(*head)


def head_of(log):
    return (log[-1][0].sequence, log[-1][1])


@pytest.mark.slow
@settings(deadline=None)
@given(log=logs())
def test_a_log_as_it_was_written_holds(log):
    assert holds(log, head_of(log))


@pytest.mark.slow
@settings(deadline=None)
@given(log=logs(), data=st.data())
def test_any_change_of_any_row_is_seen(log, data):
    head = head_of(log)
    number = data.draw(st.integers(0, len(log) - 1))
    entry, digest = log[number]
    name = data.draw(st.sampled_from([*FIELDS, "sequence"]))
    old = getattr(entry, name)
    new = data.draw((st.integers(0, 2**53) if isinstance(old, int) else TEXT).filter(lambda value: value != old))
    fields = {field: getattr(entry, field) for field in (*FIELDS, "sequence")} | {name: new}
    changed = Entry(**fields)
    assert not holds([*log[:number], (changed, digest), *log[number + 1 :]], head)
    # Also with a digest that fits it: then the next one does not, or the head.
    before = log[number - 1][1] if number else GENESIS
    assert not holds([*log[:number], (changed, digest_of(before, changed)), *log[number + 1 :]], head)


@pytest.mark.slow
@settings(deadline=None)
@given(log=logs(), data=st.data())
def test_a_row_that_is_missing_doubled_or_elsewhere_is_seen(log, data):
    head = head_of(log)
    number = data.draw(st.integers(0, len(log) - 1))
    assert not holds([*log[:number], *log[number + 1 :]], head)
    assert not holds([*log[: number + 1], log[number], *log[number + 1 :]], head)
    assert not holds(log[:number], head)
    other = data.draw(st.integers(0, len(log) - 1))
    if number != other:
        log = list(log)
        log[number], log[other] = log[other], log[number]
        assert not holds(log, head)


@pytest.mark.slow
@settings(deadline=None)
@given(left=TEXT, right=TEXT, moved=st.integers(1, 5))
def test_no_text_can_move_from_one_field_to_the_next(left, right, moved):
    if not right[:moved]:
        return
    fields = {"sequence": 1, "at_us": 1, "actor": "", "action": "", "outcome": ""}
    one = Entry(subject=left, detail=right, **fields)
    two = Entry(subject=left + right[:moved], detail=right[moved:], **fields)
    assert digest_of(GENESIS, one) != digest_of(GENESIS, two)


TAMPERINGS = [
    "UPDATE audit SET detail = 'x' WHERE sequence = 2",
    "UPDATE audit SET at_us = at_us + 1 WHERE sequence = 1",
    "UPDATE audit SET outcome = 'done' WHERE sequence = 3",
    "UPDATE audit SET digest = x'00' WHERE sequence = 3",
    "DELETE FROM audit WHERE sequence = 2",
    "DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)",
    "DELETE FROM audit",
    "UPDATE audit_head SET sequence = sequence - 1",
    "DELETE FROM audit_head",
    "INSERT INTO audit SELECT sequence + 100, at_us, actor, action, subject, outcome, detail, digest FROM audit",
]


@pytest.mark.parametrize("statement", TAMPERINGS)
async def test_tampering_with_the_file_is_seen(tmp_path, statement):
    async with office(tmp_path) as found:
        for number in range(4):
            await found.log.note(
                "local:test", "act", f"subject {number}", outcome="done" if number != 2 else "BadToken"
            )
        assert await found.log.broken_at() == 0
    with closing(sqlite3.connect(tmp_path / "identity" / "identity.sqlite3")) as connection:
        for trigger in ("audit_is_append_only_update", "audit_is_append_only_delete"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute(statement)
        connection.commit()
    async with office(tmp_path) as found:
        assert await found.log.broken_at() > 0


async def test_entries_can_be_neither_changed_nor_removed_by_accident(tmp_path):
    async with office(tmp_path) as found:
        await found.log.note("local:test", "act", "")
    with closing(sqlite3.connect(tmp_path / "identity" / "identity.sqlite3")) as connection:
        for statement in ("UPDATE audit SET detail = 'x'", "DELETE FROM audit"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


async def test_a_refused_enrolment_leaves_nothing_but_its_entry(tmp_path):
    async with office(tmp_path) as found:
        with pytest.raises(BadToken):
            await found.registrar.enrol("circ1.x", "box-1", Box().csr, {}, "10.0.0.7")
        assert await outcomes(found, "enrol") == ["BadToken"]
        assert await found.registrar.identities() == ()
        ((entry, _),) = await found.log.entries(0, 10, refused=True)
        assert (entry.actor, entry.subject) == ("peer:10.0.0.7", "box-1")


async def test_the_same_refusal_is_written_once_in_a_while(tmp_path):
    clock = FakeClock()
    async with office(tmp_path, clock) as found:
        for _ in range(5):
            await found.log.refused("device:box-1", "Connect", "box-1", NotAllowed("no"))
        assert await outcomes(found, "Connect") == ["NotAllowed"]
        clock.move(hours=1)
        await found.log.refused("device:box-1", "Connect", "box-1", NotAllowed("no"))
        assert await outcomes(found, "Connect") == ["NotAllowed"] * 2


async def test_a_flood_of_refusals_is_counted_in_place_of_listed(tmp_path, monkeypatch):
    monkeypatch.setattr("cloud_planner.identity.log._BURST", 10.0)
    clock = FakeClock()
    async with office(tmp_path, clock) as found:
        for number in range(50):
            await found.log.refused("peer:x", "enrol", f"box-{number}", BadToken("no"))
        assert len(await outcomes(found, "enrol")) == 10
        clock.move(seconds=2)
        await found.log.refused("peer:x", "enrol", "box-last", BadToken("no"))
        (entry, _) = (await found.log.entries(0, 100))[-1]
        assert "40 other refusals" in entry.detail


async def test_entries_are_told_newest_first_cut_and_after_one(tmp_path):
    async with office(tmp_path) as found:
        for number in range(6):
            await found.log.note("local:test", "act", str(number))
        assert [entry.subject for entry, _ in await found.log.entries(0, 2)] == ["4", "5"]
        assert [entry.subject for entry, _ in await found.log.entries(3, 100)] == ["3", "4", "5"]


async def test_what_comes_from_elsewhere_is_one_line(tmp_path):
    async with office(tmp_path) as found:
        await found.log.note("device:x\nforged", "act", "a" * 1000, detail="line\nbreak\x1b[31m")
        ((entry, _),) = await found.log.entries()
        assert (entry.actor, entry.detail) == ("device:x forged", "line break [31m")
        assert len(entry.subject) == 200


def test_cleaning_keeps_what_can_be_read():
    assert clean("Zürich 7") == "Zürich 7"
    assert len(clean("x" * 10_000)) == audit.MAX_DETAIL_CHARS


async def test_the_log_goes_on_after_a_restart(tmp_path):
    for _ in range(3):
        async with office(tmp_path) as found:
            await enrolled(found)
            assert await found.log.broken_at() == 0
    async with office(tmp_path) as found:
        assert len(await outcomes(found, "enrol")) == 3
