"""Contexts, tokens, people, identities and the audit log on the command line."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_admin import BEARER, NOT_ADMIN, SECRET, Served, serve_all
from tls_authority import Authority

from circinus import contexts
from circinus.cli.main import main
from circinus.contexts import Context, Contexts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def served(authority: Authority) -> Iterator[Served]:
    found = serve_all(authority)
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def file(served: Served, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The context file: an admin by certificate, who is the current one, and one by token."""
    pair, root = authority.pair("ann"), authority.root.decode()
    path = tmp_path / "contexts.toml"
    shop = Context(
        name="shop", planner=served.mutual, root=root, certificate=pair.certificate.decode(), key=pair.key.decode()
    )
    lab = Context(name="lab", planner=served.bearer, root=root, token=BEARER)
    contexts.save(path, Contexts().plus(shop).plus(lab))
    monkeypatch.setenv("CIRCINUS_CONTEXTS", str(path))
    for name in ("CIRCINUS_CONTEXT", "CIRCINUS_PLANNER", "CIRCINUS_INSECURE_LOOPBACK"):
        monkeypatch.delenv(name, raising=False)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    found = capsys.readouterr()
    assert "Traceback" not in found.err + found.out
    return code, found.out, found.err


def test_the_current_context_is_asked_and_another_by_name(capsys, served: Served, monkeypatch) -> None:
    assert served.mutual in run(capsys, "status")[1]
    assert served.bearer in run(capsys, "status", "--context", "lab")[1]
    assert served.bearer in run(capsys, "--context=lab", "status")[1]
    monkeypatch.setenv("CIRCINUS_CONTEXT", "lab")
    assert served.bearer in run(capsys, "status")[1]
    assert served.mutual in run(capsys, "status", "--context", "shop")[1]
    assert served.clear in run(capsys, "status", "--insecure-loopback", "--planner", served.clear)[1]


def test_a_named_context_wins_over_the_environments_clear(capsys, served: Served, monkeypatch) -> None:
    monkeypatch.setenv("CIRCINUS_INSECURE_LOOPBACK", "1")
    assert served.bearer in run(capsys, "status", "--context", "lab")[1]
    code, _, err = run(capsys, "status", "--context", "lab", "--insecure-loopback")
    assert (code, "leave one out" in err) == (2, True)


def test_contexts_are_listed_shown_chosen_and_removed_without_their_secrets(capsys, file: Path) -> None:
    _, listed, _ = run(capsys, "context", "ls")
    assert "shop" in listed
    _, shown, _ = run(capsys, "context", "show", "-o", "json")
    assert json.loads(shown)["known_by"] == "certificate"
    _, token, _ = run(capsys, "context", "show", "lab")
    assert "PRIVATE KEY" not in listed + shown + token
    assert BEARER not in listed + shown + token
    assert run(capsys, "context", "use", "lab")[0] == 0
    assert contexts.load(file).current == "lab"
    assert run(capsys, "context", "rm", "lab")[0] == 0
    assert contexts.load(file) == Contexts(contexts=contexts.load(file).contexts)
    code, out, err = run(capsys, "status", "-o", "json")
    assert code == 2
    assert "choose one of shop" in json.loads(out)["error"]["message"]
    assert "circinus context use NAME" in err


def test_wide_tables_say_more(capsys, served: Served) -> None:
    submit = ["query", "submit", "--pipeline", "documents", "--content", "clean", "--source", "camera-1"]
    assert run(capsys, *submit, "--rate", "2", "--id", "gate")[0] == 0
    assert "0.981" not in run(capsys, "query", "ls")[1]
    assert "0.981" in run(capsys, "query", "ls", "-o", "wide")[1]
    assert "slow-box" in run(capsys, "device", "ls", "-o", "wide")[1]


def test_names_alone_are_listed_one_a_line(capsys) -> None:
    assert run(capsys, "context", "ls", "-o", "name")[1] == "lab\nshop\n"
    assert run(capsys, "device", "ls", "-o", "name")[1] == "camera-1\n"
    assert run(capsys, "identity", "ls", "-o", "name")[1] == "camera-1\ncamera-2\ncamera-3\n"
    code, _, err = run(capsys, "status", "-o", "name")
    assert (code, "-o name is for lists" in err) == (2, True)


def test_a_context_is_added_from_a_file_that_an_admin_wrote(capsys, file: Path, tmp_path: Path, served: Served) -> None:
    given = tmp_path / "bob.toml"
    code, _, err = run(capsys, "person", "create", "bob", "--role", "viewer", "--name", "his", "--output-file", given)
    assert code == 0
    assert "circinus context add" in err
    assert stat.S_IMODE(given.stat().st_mode) == 0o600
    assert run(capsys, "context", "add", given, "--use")[0] == 0
    assert contexts.load(file).current == "his"
    assert served.mutual in run(capsys, "status")[1]
    assert "operator" not in run(capsys, "person", "ls")[1]


def test_a_person_by_token_is_sent_to_the_planners_other_port(capsys, tmp_path: Path) -> None:
    code, out, _ = run(capsys, "person", "create", "ci", "--role", "operator", "--token", "--dial", "p.example:7401")
    assert code == 0
    (made,) = contexts.parse(out).contexts
    assert (made.name, made.planner, made.token) == ("p.example", "p.example:7401", BEARER)


def test_a_context_of_another_planner_is_not_overwritten_by_mistake(capsys, file: Path, tmp_path: Path) -> None:
    before = file.read_text()
    given = tmp_path / "shop.toml"
    shop = Context(name="shop", planner="h:1", root=Authority().root.decode(), token="circp.x.y")
    contexts.save(given, Contexts().plus(shop))
    code, _, err = run(capsys, "context", "add", given)
    assert (code, "--replace" in err) == (1, True)
    assert file.read_text() == before
    assert run(capsys, "context", "add", given, "--replace")[0] == 0
    assert contexts.load(file).named("shop") == shop


def test_a_file_with_secrets_that_others_may_read_is_spoken_of(capsys, file: Path) -> None:
    file.chmod(0o644)
    code, _, err = run(capsys, "status")
    assert (code, f"chmod 600 {file}" in err) == (0, True)


def test_a_token_is_told_once_bare_or_into_a_file_of_its_own(capsys, tmp_path: Path, served: Served) -> None:
    code, out, err = run(capsys, "token", "create", "--device", "camera-1", "--label", "site=hall", "--ttl", "30m")
    assert (code, out) == (0, SECRET + "\n")
    assert "edge-agent join" in err
    (about,) = served.admin.tokens.values()
    assert (about.ends_at.seconds - about.created_at.seconds, dict(about.labels)) == (1_800, {"site": "hall"})
    path = tmp_path / "camera-1.token"
    code, out, err = run(capsys, "token", "create", "--device", "camera-1", "--output-file", path, "-o", "json")
    assert json.loads(out)["about"]["id"] == "4f1c09d2"
    assert SECRET not in out + err
    assert path.read_text() == SECRET + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SECRET not in run(capsys, "token", "ls", "-o", "json")[1]
    served.admin.tokens.clear()
    # What is there already is kept, and nothing is made that would be lost.
    code, _, err = run(capsys, "token", "create", "--device", "camera-2", "--output-file", path)
    assert (code, "is there already" in err, served.admin.tokens) == (1, True, {})


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["token", "create"], "--device NAME, or --label KEY=VALUE"),
        (["token", "create", "--device", "a", "--ttl", "60"], "60 of what? 60s, 60m, 60h or 60d"),
        (["token", "create", "--device", "a", "--ttl", "0h"], "must be above 0"),
        (["token", "create", "--label", "site"], "must be KEY=VALUE"),
        (["person", "create", "bob", "--role", "boss"], "'boss' is not one of"),
        (["device", "revoke", "camera-1"], "--why"),
        (["audit-log", "--timeout", "3"], "goes with --follow only"),
        (["audit-log", "--follow", "-o", "yaml"], "-o table or -o json"),
    ],
)
def test_what_is_wrong_with_the_input_is_exit_code_2(capsys, arguments: list[str], expected: str) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert expected in err


def test_tokens_and_people_are_removed_by_name(capsys) -> None:
    run(capsys, "token", "create", "--device", "camera-1")
    assert "open" in run(capsys, "token", "ls")[1]
    assert run(capsys, "token", "rm", "4f1c09d2", "nope")[0] == 7
    run(capsys, "person", "create", "bob", "--role", "viewer", "--token", "-o", "json")
    assert run(capsys, "person", "rm", "bob")[0] == 0
    assert run(capsys, "person", "rm", "bob")[0] == 1


def test_identities_say_what_they_are_worth_and_can_be_taken_back(capsys, served: Served) -> None:
    _, out, _ = run(capsys, "identity", "ls")
    assert all(state in out for state in ("good", "revoked: stolen", "two boxes have it"))
    code, out, _ = run(capsys, "device", "revoke", "camera-1", "--why", "sold")
    assert (code, served.admin.revoked) == (0, {"camera-1": "sold"})
    assert "circinus token create --device camera-1" in out


def test_the_audit_log_tells_what_was_refused(capsys) -> None:
    code, out, _ = run(capsys, "audit-log", "--refused", "-o", "json")
    assert code == 0
    found = json.loads(out)
    assert ([entry["outcome"] for entry in found["entries"]], found["intact"]) == (["BadToken"], True)


def test_an_audit_log_that_was_changed_ends_with_1(capsys, served: Served) -> None:
    served.admin.intact = False
    code, _, err = run(capsys, "audit-log")
    assert (code, "digests do not hold" in err) == (1, True)


def test_following_the_audit_log_goes_on_with_what_is_new(capsys) -> None:
    code, out, _ = run(capsys, "audit-log", "--follow", "--timeout", "1.5", "-o", "json")
    assert code == 0
    numbers = [json.loads(line)["sequence"] for line in out.splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 3


@pytest.mark.parametrize(
    "arguments",
    [["token", "ls"], ["device", "revoke", "camera-1", "--why", "sold"], ["person", "ls"], ["audit-log"]],
)
def test_who_is_no_admin_is_told_whom_to_ask(capsys, served: Served, arguments: list[str]) -> None:
    served.admin.refusal = NOT_ADMIN
    code, _, err = run(capsys, *arguments)
    assert (code, "ask an admin" in err) == (5, True)
