"""What is done is remembered for its inputs; the exit code tells all, some, or none."""

import json

import pytest

from scripts.provisioning.inventory import load_inventory
from scripts.provisioning.outcomes import Book, Outcome, Result, as_json, as_table, exit_code


@pytest.fixture
def host(tmp_path):
    path = tmp_path / "fleet.toml"
    path.write_text('[planner]\naddress = "h:1"\n[hosts.a]\n')
    return load_inventory(path).hosts[0]


def outcome(result, said=""):
    return Outcome(host="a", device="a", ring=0, result=result, step="ready", said=said)


def test_what_is_done_is_known_after_a_restart(tmp_path, host):
    book = Book(tmp_path / "book.json")
    book.step("install", host, "inputs", "upload")
    assert not book.done("install", host, "inputs")
    book.end("install", host, "inputs", outcome(Result.CHANGED))
    assert Book(tmp_path / "book.json").done("install", host, "inputs")
    assert json.loads((tmp_path / "book.json").read_text())["entries"]["install a"]["steps"].keys() == {"upload"}


def test_other_inputs_a_failure_and_a_leave_are_not_done(tmp_path, host):
    book = Book(tmp_path / "book.json")
    book.end("install", host, "inputs", outcome(Result.CHANGED))
    assert not book.done("install", host, "others")
    book.forget("install", host)
    assert not book.done("install", host, "inputs")
    book.end("install", host, "inputs", outcome(Result.FAILED))
    assert not book.done("install", host, "inputs")


def test_a_damaged_book_is_begun_anew(tmp_path, host):
    (tmp_path / "book.json").write_text("{")
    assert not Book(tmp_path / "book.json").done("install", host, "inputs")


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([Result.CHANGED, Result.SAME, Result.WOULD], 0),
        ([Result.SAME, Result.UNREACHABLE], 7),
        ([Result.UNREACHABLE, Result.UNREACHABLE], 4),
        ([Result.UNREACHABLE, Result.FAILED], 1),
        ([Result.ROLLED_BACK, Result.SKIPPED], 1),
    ],
)
def test_the_exit_code_tells_all_some_or_none(results, code):
    assert exit_code([outcome(result) for result in results]) == code


def test_a_report_holds_no_control_characters_for_a_terminal():
    assert "\x1b" not in as_table([outcome(Result.FAILED, "\x1b[31mred\x07")])
    assert json.loads(as_json("install", [outcome(Result.FAILED)]))["hosts"][0]["result"] == "failed"
