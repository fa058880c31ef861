from __future__ import annotations

import sqlite3

import pytest
from shell_fakes import directive_message

from circinus.errors import ConflictingDirective, StaleGeneration
from circinus.model.device import DeviceId
from circinus.model.directive import Generation
from edge_agent.law import Decision
from edge_agent.ledger import Ledger

OWN = DeviceId("camera")


def generation(number):
    return Generation(epoch=1, number=number)


async def filled(path, numbers, active=None):
    async with Ledger(path, OWN) as ledger:
        await ledger.load()
        for number in numbers:
            await ledger.store(directive_message(number=number))
        if active:
            await ledger.activate(generation(active))


def damage(path, number):
    with sqlite3.connect(path) as database:
        database.execute(
            "UPDATE directive SET body = CAST(x'00' || substr(body, 2) AS BLOB) WHERE generation = ?", (number,)
        )
    database.close()


async def test_an_empty_ledger_holds_nothing(tmp_path):
    async with Ledger(tmp_path / "ledger.db", OWN) as ledger:
        held = await ledger.load()
    assert held.directives == ()
    assert held.active is None
    assert ledger.accepted is None


async def test_what_was_accepted_is_there_after_a_restart(tmp_path):
    path = tmp_path / "ledger.db"
    await filled(path, [1, 2, 3], active=2)
    async with Ledger(path, OWN) as ledger:
        held = await ledger.load()
        assert [directive.generation.number for directive in held.directives] == [2, 3]
        assert held.active == generation(2)
        assert ledger.judge(directive_message(number=3)) is Decision.KEEP
        with pytest.raises(StaleGeneration):
            ledger.judge(directive_message(number=2))
        with pytest.raises(ConflictingDirective):
            ledger.judge(directive_message(number=3, query_id="other"))


async def test_a_damaged_newest_directive_is_left_out_and_taken_again(tmp_path):
    path = tmp_path / "ledger.db"
    await filled(path, [1, 2], active=1)
    damage(path, 2)
    async with Ledger(path, OWN) as ledger:
        held = await ledger.load()
        assert [directive.generation.number for directive in held.directives] == [1]
        assert ledger.newest.generation == generation(1)
        with pytest.raises(StaleGeneration):
            ledger.judge(directive_message(number=1))
        with pytest.raises(ConflictingDirective):
            ledger.judge(directive_message(number=2, query_id="other"))
        again = directive_message(number=2)
        assert ledger.judge(again) is Decision.ACCEPT
        await ledger.store(again)
    async with Ledger(path, OWN) as ledger:
        assert len((await ledger.load()).directives) == 2


async def test_the_last_good_copy_is_used_when_the_active_one_is_damaged(tmp_path):
    path = tmp_path / "ledger.db"
    await filled(path, [1, 2], active=2)
    damage(path, 2)
    async with Ledger(path, OWN) as ledger:
        held = await ledger.load()
    assert [directive.generation.number for directive in held.directives] == [1]
    assert held.active == generation(1)


async def test_all_damaged_is_nothing_but_older_ones_stay_refused(tmp_path):
    path = tmp_path / "ledger.db"
    await filled(path, [4], active=4)
    damage(path, 4)
    async with Ledger(path, OWN) as ledger:
        held = await ledger.load()
        assert held.directives == ()
        assert held.active is None
        with pytest.raises(StaleGeneration):
            ledger.judge(directive_message(number=3))


async def test_retired_directives_go_but_one_stays_for_damage(tmp_path):
    path = tmp_path / "ledger.db"
    await filled(path, [1, 2, 3, 4], active=4)
    async with Ledger(path, OWN) as ledger:
        await ledger.load()
        await ledger.retire(generation(4))
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT generation FROM directive ORDER BY 1").fetchall() == [(3,), (4,)]
    database.close()


async def test_the_active_directive_is_never_retired(tmp_path):
    path = tmp_path / "ledger.db"
    await filled(path, [1, 2], active=1)
    async with Ledger(path, OWN) as ledger:
        await ledger.load()
        await ledger.retire(generation(9))
        assert [directive.generation.number for directive in (await ledger.load()).directives] == [1, 2]


async def test_a_file_that_is_no_database_is_moved_aside(tmp_path):
    path = tmp_path / "ledger.db"
    path.write_bytes(b"torn" * 4096)
    async with Ledger(path, OWN) as ledger:
        assert (await ledger.load()).directives == ()
        await ledger.store(directive_message(number=1))
    assert (tmp_path / "ledger.db.damaged-1").read_bytes().startswith(b"torn")


async def test_a_torn_page_is_survived(tmp_path):
    path = tmp_path / "ledger.db"
    await filled(path, [1, 2, 3])
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xff" * 4096
    path.write_bytes(data)
    async with Ledger(path, OWN) as ledger:
        await ledger.load()
        await ledger.store(directive_message(number=9))
        assert ledger.accepted.generation == generation(9)
