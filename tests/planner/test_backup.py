import asyncio
import gzip
import io
import json
import os
import sys
import tarfile
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import resources

import jsonschema
import pytest
from planner_fleet import BUNDLE, PIPELINE, FakeAgent, FirstFit, device, query, serving, settings

from circinus.bundle import digest_of
from circinus.cli.main import main
from circinus.errors import AlreadyExists, BadDigest, CircinusError, InvalidInput
from cloud_planner.backup import databases
from cloud_planner.backup.commands import backup, restored, run_command
from cloud_planner.backup.databases import Numbers
from cloud_planner.backup.manifest import Manifest, Part, dump, parse
from cloud_planner.backup.restoring import restore
from cloud_planner.backup.taking import take
from cloud_planner.command_line import _parser
from cloud_planner.identity.office import identity_office
from cloud_planner.state_lock import state_lock

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MANIFEST = Manifest(
    made_at=NOW,
    version="1",
    host="here",
    epoch=1,
    generation=7,
    schemas={"planner": 8},
    with_keys=False,
    root_sha256="",
    devices=1,
    pipelines=1,
    queries=1,
    parts=(Part(name="planner.sqlite3", size_bytes=3, sha256="a" * 64),),
    left_out={"b" * 64: "missing"},
)


def test_a_manifest_comes_back_as_it_was():
    assert parse(dump(MANIFEST)) == MANIFEST


@pytest.mark.parametrize("name", ["../etc/passwd", "/planner.sqlite3", "blobs/../x", "blobs/" + "c" * 64, "address"])
def test_a_part_with_a_name_of_its_own_is_refused(name):
    part = Part(name=name, size_bytes=3, sha256="a" * 64)
    with pytest.raises(BadDigest):
        parse(dump(replace(MANIFEST, parts=(*MANIFEST.parts, part))))


def test_a_newer_format_is_refused_with_the_version_that_reads_it():
    newer = json.loads(dump(MANIFEST)) | {"format": 2, "version": "9.1"}
    with pytest.raises(CircinusError, match=r"restore it with circinus 9\.1"):
        parse(json.dumps(newer).encode())


def test_a_restored_planner_goes_on_above_all_that_was_numbered():
    backed_up = Numbers(epoch=1, generation=7, queries_named=2, cursor=40)
    since = Numbers(epoch=1, generation=12, queries_named=5, cursor=90)
    found = databases.ahead_of([backed_up, since], now_s=1_000.5, sure=True)
    assert found == Numbers(epoch=1_000, generation=13, queries_named=5, cursor=90)
    # What came after the backup is lost: then there is room for all that there may have been.
    found = databases.ahead_of([backed_up], now_s=1_000.5, sure=False)
    assert found.generation > 1_000_000
    assert found.queries_named > 1_000


def test_the_epoch_rises_whatever_the_clock_says():
    known = [Numbers(epoch=5_000), Numbers(epoch=3)]
    assert databases.ahead_of(known, now_s=0.0, sure=True).epoch == 5_001
    assert databases.ahead_of(known, now_s=6_000.0, sure=True).epoch == 6_000
    assert databases.ahead_of(known, now_s=6_000.0, sure=True, epoch=5_002).epoch == 5_002
    with pytest.raises(CircinusError, match="not above 5000"):
        databases.ahead_of(known, now_s=6_000.0, sure=True, epoch=5_000)


async def planned(people, *queries):
    await people.add_pipeline()
    await people.submit(*queries)
    return (await people.settled())[-1].generation


async def in_thread(function, *arguments, **options):
    return await asyncio.to_thread(lambda: function(*arguments, **options))


@pytest.mark.slow
async def test_agents_obey_a_restored_planner_though_they_accepted_newer_directives(tmp_path):
    how, file = settings(tmp_path), tmp_path / "one.tar.gz"
    state = how.state_dir
    async with (
        serving(how, FirstFit()) as (people, _),
        FakeAgent(people.address, device("camera")) as agent,
    ):
        first = await planned(people, query("q1"))
        # While it runs and is planned with.
        manifest = await in_thread(take, state, file, with_keys=False, now=NOW)
        assert (manifest.queries, manifest.epoch, manifest.generation) == (1, 1, first)
        for number in range(2, 5):
            await people.submit(query(f"q{number}"))
            last = (await people.settled())[-1].generation
        with pytest.raises(CircinusError, match="stop the planner"):
            await in_thread(restore, file, state, now=NOW)
        accepted = agent.status
        assert (accepted.epoch, accepted.generation) == (1, last)
        assert last > first
    done = await in_thread(restore, file, state, now=datetime.now(UTC))
    assert done.numbers.epoch > 1
    assert done.numbers.generation >= last
    assert done.aside is not None
    assert databases.numbers_of(done.aside / "planner.sqlite3").generation == last
    async with (
        serving(how, FirstFit()) as (people, parts),
        FakeAgent(people.address, device("camera"), generation_status=accepted) as agent,
    ):
        await agent.until("retire")
        assert agent.status.epoch == done.numbers.epoch
        assert agent.status.generation > last
        assert set(await people.queries()) == {"q1"}
        assert {source.query_id for source in agent.directives[agent.status.generation].sources} == {"q1"}
        # Nothing of the old epoch was sent to be refused, and what happens next has new numbers, too.
        assert agent.count("directive") == 1
        assert parts.rollout.settled
        assert (await people.submit(query(""))) == ["query-1"]


@pytest.mark.slow
async def test_a_planner_restored_to_before_its_first_plan_has_agents_run_nothing(tmp_path):
    how, file = settings(tmp_path), tmp_path / "one.tar.gz"
    async with serving(how, FirstFit()) as (people, _), FakeAgent(people.address, device("camera")) as agent:
        await in_thread(take, how.state_dir, file, with_keys=False, now=NOW)
        await planned(people, query("q1"))
        accepted = agent.status
    await in_thread(restore, file, how.state_dir, now=datetime.now(UTC))
    async with (
        serving(how, FirstFit()) as (people, _),
        FakeAgent(people.address, device("camera"), generation_status=accepted) as agent,
    ):
        directive = await agent.until("directive")
        assert directive.epoch > 1
        assert not directive.sources


@pytest.fixture
async def backed_up(tmp_path):
    """A state folder with a pipeline, whose planner has ended, and a backup of it."""
    how = settings(tmp_path)
    async with serving(how, FirstFit()) as (people, _), FakeAgent(people.address, device("camera")):
        await planned(people, query("q1"))
    file = tmp_path / "one.tar.gz"
    await in_thread(take, how.state_dir, file, with_keys=False, now=NOW)
    return how.state_dir, file


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def names_in(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


@pytest.mark.slow
async def test_a_backup_is_for_its_owner_and_never_over_another(backed_up):
    state, file = backed_up
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InvalidInput, match="is there already"):
        await in_thread(take, state, file, with_keys=False, now=NOW)
    assert sorted(path.name for path in file.parent.iterdir()) == ["one.tar.gz", "state"]
    with pytest.raises(InvalidInput, match="no planner"):
        await in_thread(take, state / "blobs", file.with_name("two"), with_keys=False, now=NOW)


def unpacked(data):
    """What a packed file holds, if it holds anything."""
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error):
        return None


@pytest.mark.slow
async def test_a_damaged_backup_changes_nothing(backed_up):
    state, file = backed_up
    before = snapshot(state)
    whole = file.read_bytes()
    damaged = file.with_name("damaged")
    # Its bytes at many places, and its end cut off at many. The first 20 are the time and name of the file itself.
    for at in (*range(20, len(whole), len(whole) // 40), *range(len(whole) - 8, len(whole))):
        for data in (whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :], whole[:at]):
            if unpacked(data) == unpacked(whole):
                # Zeros that are copied from another place before them are the same zeros.
                continue
            damaged.write_bytes(data)
            with pytest.raises(CircinusError):
                await in_thread(restore, damaged, state, now=NOW)
    damaged.write_text("no archive")
    with pytest.raises(BadDigest, match="no backup of a planner"):
        await in_thread(restore, damaged, state, now=NOW)
    damaged.write_bytes(gzip.compress(gzip.decompress(whole) + bytes(20_000)))
    with pytest.raises(BadDigest, match="goes on after its end"):
        await in_thread(restore, damaged, state, now=NOW)
    assert snapshot(state) == before


def rewritten(file, to, change, extra=()):
    """A backup with other content, as somebody could make it by hand."""
    with tarfile.open(file, "r:gz") as old, tarfile.open(to, "w:gz") as new:
        for member in old:
            data = old.extractfile(member).read()
            if member.name == "manifest.json":
                data = json.dumps(change(json.loads(data))).encode()
                member.size = len(data)
            new.addfile(member, fileobj=io.BytesIO(data))
        for member in extra:
            new.addfile(member)


@pytest.mark.slow
async def test_what_the_manifest_does_not_name_or_a_newer_planner_wrote_is_refused(backed_up):
    state, file = backed_up
    before = snapshot(state)
    other = file.with_name("other")
    link = tarfile.TarInfo("identity/root.key")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    rewritten(file, other, lambda document: document, [link])
    with pytest.raises(BadDigest, match="not what the manifest says"):
        await in_thread(restore, other, state, now=NOW)
    rewritten(file, other, lambda document: document | {"schemas": {"planner": 99}, "version": "9.9"})
    with pytest.raises(CircinusError, match=r"of circinus 9\.9.*install 9\.9 or newer"):
        await in_thread(restore, other, state, now=NOW)
    assert snapshot(state) == before


@pytest.mark.slow
async def test_a_dry_run_verifies_and_changes_nothing(backed_up):
    state, file = backed_up
    before, numbers = names_in(state), databases.numbers_of(state / "planner.sqlite3")
    document = await in_thread(restored, file, state, dry_run=True)
    assert document["dry_run"]
    assert names_in(state) == before
    assert databases.numbers_of(state / "planner.sqlite3") == numbers


@pytest.mark.slow
async def test_a_restore_mends_a_damaged_state_and_keeps_it_aside(backed_up):
    state, file = backed_up
    blob = state / "blobs" / digest_of(BUNDLE).removeprefix("sha256:")
    blob.write_bytes(b"damaged")
    (state / "planner.sqlite3").write_bytes(b"\0" * 10_000)
    done = await in_thread(restore, file, state, now=NOW)
    assert blob.read_bytes() == BUNDLE
    assert (done.aside / "planner.sqlite3").read_bytes() == b"\0" * 10_000
    # Nobody knows what came after the backup.
    assert done.numbers.generation > 1_000_000
    again = await in_thread(restore, file, state, now=NOW + timedelta(seconds=1))
    assert again.numbers.epoch > done.numbers.epoch
    # What was put aside is a state folder by itself, and the way back.
    way_back = file.with_name("way-back.tar.gz")
    await in_thread(take, again.aside, way_back, with_keys=False, now=NOW)
    assert parse(contents_of(way_back)["manifest.json"]).epoch == done.numbers.epoch


@pytest.mark.slow
async def test_cut_off_at_any_step_the_state_is_the_old_one_or_the_new_one(backed_up, monkeypatch):
    state, file = backed_up
    name = digest_of(BUNDLE).removeprefix("sha256:")
    for step in range(1, 4):
        (state / "blobs" / name).unlink()
        left = step

        def cut_off(source, target, real=os.replace):
            nonlocal left
            left -= 1
            if left == 0:
                raise OSError("cut off")
            real(source, target)

        monkeypatch.setattr("cloud_planner.backup.restoring.os.replace", cut_off)
        # The bundle, then the planner's file; then there is no step left to cut off.
        if step < 3:
            with pytest.raises(OSError, match="cut off"):
                await in_thread(restore, file, state, now=NOW)
        else:
            await in_thread(restore, file, state, now=NOW)
        monkeypatch.undo()
        databases.check(state / "planner.sqlite3")
        assert databases.numbers_of(state / "planner.sqlite3").epoch == (1 if step < 3 else int(NOW.timestamp()))
        assert not (state / "restoring").exists()
        if step == 1:
            # As a person would: once more.
            (state / "blobs" / name).write_bytes(BUNDLE)


@pytest.mark.slow
async def test_a_blob_that_is_missing_is_told_and_the_rest_is_backed_up(backed_up):
    state, file = backed_up
    name = digest_of(BUNDLE).removeprefix("sha256:")
    (state / "blobs" / name).unlink()
    document = await in_thread(backup, state, file.with_name("two.tar.gz"))
    assert document["left_out"] == {name: "missing"}


@pytest.mark.slow
async def test_an_older_state_is_brought_up_to_date_and_a_planner_starts_on_it(backed_up, tmp_path):
    _, file = backed_up
    fresh = tmp_path / "fresh"
    await in_thread(restore, file, fresh, now=NOW)
    how = replace(settings(tmp_path), state_dir=fresh)
    async with serving(how, FirstFit()) as (people, parts):
        assert parts.rollout.epoch == int(NOW.timestamp())
        assert set(await people.queries()) == {"q1"}
        assert PIPELINE in [record.spec_yaml for record in await parts.store.pipelines()]


async def enrolled_state(folder):
    """A state folder with an identity; the digest of its root."""
    folder.mkdir()
    async with identity_office(folder, FixedClock()) as office:
        await office.log.note("local:test", "Test", "one")
        return office.authority.root_digest


class FixedClock:
    def now(self):
        return NOW

    def monotonic_s(self):
        return 0.0

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)


async def with_store(state):
    """Its planner's file, as a start of a planner makes it."""
    from cloud_planner.store import SqliteStore

    store = await SqliteStore.open(state / "planner.sqlite3")
    await store.close()


@pytest.mark.slow
async def test_an_identity_that_is_there_stays_and_the_restore_is_in_its_audit_log(tmp_path):
    state, file = tmp_path / "state", tmp_path / "one.tar.gz"
    await enrolled_state(state)
    await with_store(state)
    await in_thread(backup, state, file)
    async with identity_office(state, FixedClock()) as office:
        await office.log.note("local:test", "Revoke", "box-1")
    document = await in_thread(restored, file, state)
    assert document["identity"] == "kept"
    async with identity_office(state, FixedClock()) as office:
        actions = [entry.action for entry, _ in await office.log.entries()]
        assert actions == ["Test", "Revoke", "Restore"]
        assert not await office.log.broken_at()


@pytest.mark.slow
async def test_keys_are_backed_up_when_asked_alone_and_come_back_with_the_same_root(tmp_path):
    state, bare, keys = tmp_path / "state", tmp_path / "bare.tar.gz", tmp_path / "keys.tar.gz"
    root = await enrolled_state(state)
    await with_store(state)
    await in_thread(backup, state, bare)
    await in_thread(backup, state, keys, with_keys=True)
    found = contents_of(bare)
    assert {"identity/identity.sqlite3", "identity/root.pem"} <= found.keys()
    assert b"PRIVATE KEY" not in b"".join(found.values())
    async with identity_office(state, FixedClock()) as office:
        assert [entry.action for entry, _ in await office.log.entries()] == ["Test", "BackUpKeys"]
    # On a new machine: the keys have to come from somewhere.
    fresh = tmp_path / "fresh"
    with pytest.raises(InvalidInput, match="has no keys"):
        await in_thread(restored, bare, fresh)
    assert (await in_thread(restored, keys, fresh))["identity"] == "from the backup"
    assert (fresh / "identity" / "root.key").stat().st_mode & 0o777 == 0o600
    async with identity_office(fresh, FixedClock()) as office:
        assert office.authority.root_digest == root
    # A machine whose planner was started once has a root of its own; it is kept aside.
    other = tmp_path / "other"
    of_its_own = await enrolled_state(other)
    await with_store(other)
    document = await in_thread(restored, keys, other)
    async with identity_office(other, FixedClock()) as office:
        assert office.authority.root_digest == root != of_its_own
    assert (tmp_path / "other" / document["aside"] / "identity" / "root.key").exists()


def contents_of(file):
    with tarfile.open(file) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


@pytest.mark.slow
async def test_a_state_folder_has_one_planner(tmp_path):
    script = (
        "import sys; from pathlib import Path; from cloud_planner.state_lock import state_lock\n"
        "with state_lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(tmp_path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert await holder.stdout.readline() == b"held\n"
    with pytest.raises(AlreadyExists, match="a planner runs on"), state_lock(tmp_path):
        pass
    holder.kill()
    await holder.wait()
    with state_lock(tmp_path):
        pass


@pytest.mark.slow
async def test_the_command_asks_for_a_yes_before_it_takes_the_place_of_a_state(backed_up, capsys):
    state, file = backed_up

    def command(*words):
        code = run_command(_parser().parse_args([*map(str, words), "--state-dir", str(state)]))
        return code, *capsys.readouterr()

    code, out, err = await in_thread(command, "restore", file)
    assert (code, out) == (1, "")
    assert "--yes" in err
    code, out, _ = await in_thread(command, "restore", file, "--dry-run", "-o", "json")
    assert code == 0
    assert json.loads(out)["queries"] == 1
    code, out, _ = await in_thread(command, "restore", file, "--yes")
    assert code == 0
    assert "start the planner now" in out
    code, out, _ = await in_thread(command, "backup", "--to", file.with_name("two.tar.gz"))
    assert code == 0
    assert "for its owner only" in out


def valid(document, name):
    schema = json.loads(resources.files("circinus.cli").joinpath("schema", f"{name}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)


@pytest.mark.slow
async def test_people_say_it_to_circinus_and_get_one_document(backed_up, capsys):
    state, file = backed_up

    def command(*words):
        code = main([*map(str, words), "--state-dir", str(state), "-o", "json"])
        return code, json.loads(capsys.readouterr().out)

    code, document = await in_thread(command, "backup", "--to", file.with_name("two.tar.gz"))
    assert code == 0
    valid(document, "backup")
    code, document = await in_thread(command, "backup", "--to", file)
    assert (code, document["error"]["kind"]) == (2, "InvalidInput")
    code, document = await in_thread(command, "restore", file)
    assert code == 2
    assert "--yes" in document["error"]["message"]
    code, document = await in_thread(command, "restore", file, "--yes")
    assert code == 0
    valid(document, "restore")
    (state / "blobs" / digest_of(BUNDLE).removeprefix("sha256:")).unlink()
    code, document = await in_thread(command, "backup", "--to", file.with_name("three.tar.gz"))
    assert (code, len(document["left_out"])) == (7, 1)
