import asyncio
import json
import sqlite3
from contextlib import closing

import pytest
from identity_fleet import enrolled, office

from circinus import contexts
from circinus.clock import SystemClock
from cloud_planner.command_line import main


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Runs a command on a state folder; gives its exit code, its output and its talk."""
    # What it would set up outlives the test, and writes to a stream that does not.
    monkeypatch.setattr("cloud_planner.command_line.configure", lambda *_, **__: None)

    def command(*words):
        code = main([*(str(word) for word in words), "--state-dir", str(tmp_path / "state")])
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def test_a_token_is_alone_on_standard_output(run):
    code, out, err = run("token", "create", "--device", "box-1", "--ttl", "2h")
    assert code == 0
    assert len(out.strip().split(".")) == 4
    assert out.strip() not in err
    assert "box-1" in err


def test_tokens_are_made_listed_and_removed_as_json(run):
    made = json.loads(run("token", "create", "--label", "shop=7", "--label", "floor=2", "-o", "json")[1])
    assert made["labels"] == {"shop": "7", "floor": "2"}
    (listed,) = json.loads(run("token", "ls", "-o", "json")[1])
    assert listed["id"] == made["id"]
    assert "token" not in listed
    assert run("token", "rm", made["id"])[0] == 0
    assert json.loads(run("token", "ls", "-o", "json")[1]) == []
    code, _, err = run("token", "rm", made["id"])
    assert code == 1
    assert "no token" in err


@pytest.mark.parametrize(
    "words",
    [
        ("token", "create"),
        ("token", "create", "--device", "planner.circinus"),
        ("token", "create", "--label", "nonsense"),
        ("token", "create", "--device", "box-1", "--ttl", "31d"),
        ("person", "create", "ann", "--role", "viewer"),
        ("person", "rm", "ann"),
        ("revoke", "box-1", "--why", "stolen"),
        ("audit-log", "--limit", "0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, words):
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert err.startswith("cloud-planner: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("words", [("token", "create", "--device", "b", "--ttl", "soon"), ("person", "create", "ann")])
def test_what_is_not_understood_is_a_usage_error(run, words):
    with pytest.raises(SystemExit) as error:
        run(*words)
    assert error.value.code == 2


@pytest.mark.parametrize("flags", [(), ("--token",)])
def test_a_person_gets_a_file_that_the_client_reads(run, tmp_path, flags):
    path = tmp_path / "ann.toml"
    made = run("person", "create", "ann", "--role", "operator", "--planner", "planner.example:7400", "-o", path, *flags)
    assert made[:2] == (0, "")
    context = contexts.chosen(path)
    assert (context.name, context.planner) == ("ann", "planner.example:7400")
    assert context.kind == ("token" if flags else "certificate")
    assert not contexts.others_may_read(path)
    (person,) = json.loads(run("person", "ls", "-o", "json")[1])
    assert (person["name"], person["role"]) == ("ann", "operator")
    # Neither the file nor the person is made twice.
    assert run("person", "create", "bob", "--role", "viewer", "--planner", "p:1", "-o", path)[0] == 1
    code, _, err = run("person", "create", "ANN", "--role", "viewer", "--planner", "p:1")
    assert code == 1
    assert "there is a person" in err
    assert run("person", "rm", "ann")[0] == 0


def test_without_a_file_a_person_is_told_on_standard_output(run):
    out = run("person", "create", "ann", "--role", "viewer", "--planner", "p:1")[1]
    assert contexts.parse(out).named("ann").key


async def test_boxes_are_listed_and_revoked(tmp_path, capsys):

    async with office(tmp_path / "state", SystemClock()) as found:
        await enrolled(found)
    words = ("--state-dir", str(tmp_path / "state"))
    assert await asyncio.to_thread(main, ["identity", "ls", *words]) == 0
    assert "box-1" in capsys.readouterr().out
    assert await asyncio.to_thread(main, ["revoke", "box-1", "--why", "stolen", *words]) == 0
    assert await asyncio.to_thread(main, ["identity", "ls", "-o", "json", *words]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert one["revoked_why"] == "stolen"


def test_the_audit_log_says_who_and_whether_it_is_whole(run, tmp_path):
    run("token", "create", "--device", "box-1")
    told = json.loads(run("audit-log", "-o", "json")[1])
    assert told["intact"]
    assert [entry["action"] for entry in told["entries"]] == ["CreateToken"]
    assert told["entries"][0]["actor"].startswith("local:")
    assert json.loads(run("audit-log", "--refused", "-o", "json")[1])["entries"] == []
    assert "CreateToken" in run("audit-log")[1]
    with closing(sqlite3.connect(tmp_path / "state" / "identity" / "identity.sqlite3")) as connection:
        connection.execute("DROP TRIGGER audit_is_append_only_update")
        connection.execute("UPDATE audit SET actor = 'nobody'")
        connection.commit()
    code, out, err = run("audit-log", "-o", "json")
    assert code == 1
    assert json.loads(out)["broken_at"] == 1
    assert "not as it was written" in err


def test_a_planner_in_the_clear_has_no_identity_to_change(run, tmp_path):
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "planner.sqlite3").touch()
    code, _, err = run("token", "create", "--device", "box-1")
    assert code == 1
    assert "--insecure-loopback" in err
    assert not (tmp_path / "state" / "identity").exists()


@pytest.mark.parametrize("name", ["identity.sqlite3", "root.key", "root.pem"])
def test_what_can_not_be_read_is_said_in_one_line(run, tmp_path, name):
    run("token", "create", "--device", "box-1")
    path = tmp_path / "state" / "identity" / name
    path.unlink()
    path.mkdir()
    code, _, err = run("token", "ls")
    assert code == 1
    assert err.startswith("cloud-planner: ")
    assert len(err.splitlines()) == 1


def test_a_file_of_a_newer_planner_is_left_alone(run, tmp_path):
    run("token", "create", "--device", "box-1")
    with closing(sqlite3.connect(tmp_path / "state" / "identity" / "identity.sqlite3")) as connection:
        connection.execute("PRAGMA user_version = 99")
    code, _, err = run("token", "ls")
    assert code == 1
    assert "newer planner" in err


@pytest.mark.parametrize(
    ("flag", "value"),
    [("--certificate-ttl", "0s"), ("--certificate-ttl", "soon"), ("--renewal-grace", "-1d"), ("--renewal-grace", "1w")],
)
def test_spans_of_the_planner_are_checked(run, flag, value):
    with pytest.raises(SystemExit) as error:
        run("run", flag, value)
    assert error.value.code == 2


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1", ":7400"])
def test_where_it_listens_is_checked(run, address):
    code, _, err = run("run", "--listen", address)
    assert code == 1
    assert "HOST:PORT" in err
