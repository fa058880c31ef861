"""Every command: its document has the schema that it is promised with, and the example of its help runs.

Whoever adds a command adds: an entry to DOCUMENTS (or NONE) of scripts/cli_schema.py, which then writes its schema; an
entry to RUNS here, the words that it is run with against the planner below; and an example to its help, which runs, or
stands in NOT_RUN with the reason.
"""

import json
import shlex
import sys
from pathlib import Path

import jsonschema
import pytest
from planner_behind import planner_behind

from circinus import contexts
from circinus.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import cli_docs  # noqa: E402 - a script, found where scripts are
import cli_schema  # noqa: E402 - likewise

sys.path.remove(str(ROOT / "scripts"))
COMMANDS = dict(cli_docs.commands())
HOW = (
    "tests/commands/test_every_command.py says how: an entry in DOCUMENTS of scripts/cli_schema.py (then run that), "
    "one in RUNS of the test, an example in its help"
)

#: The words that each command is run with, after its name, in this order; -o json comes by itself.
RUNS = {
    "circinus version": [[]],
    "circinus status": [[]],
    "circinus watch": [["--timeout", "30"]],
    "circinus doctor": [[]],
    "circinus events": [[], ["--kind", "query"]],
    "circinus top": [[], ["--query", "gate"], ["--filter", "camera"]],
    "circinus device ls": [[], ["-l", "tier=edge"]],
    "circinus device show": [["camera-1"]],
    "circinus device label": [["gateway-1", "zone=north"]],
    "circinus device cordon": [["gateway-1", "--dry-run"], ["gateway-1", "--why", "new disk"]],
    "circinus device drain": [["gateway-1", "--dry-run"], ["gateway-1", "--wait"]],
    "circinus device uncordon": [["gateway-1"]],
    "circinus pipeline ls": [[]],
    "circinus pipeline lint": [["examples/documents"]],
    "circinus query ls": [[]],
    "circinus query show": [["gate"]],
    "circinus query watch": [["gate", "--timeout", "30"]],
    "circinus query submit": [
        ["--id", "extra", "--pipeline", "documents", "--content", "plain", "--source", "camera-1", "--rate", "1"]
    ],
    "circinus plan": [
        [],
        ["--diff"],
        ["-f", "more.yaml", "--rivals", "5"],
        ["--offline", "examples/offline"],
        ["--offline", "examples/offline", "--diff", "earlier.json"],
    ],
    "circinus apply": [["-f", "more.yaml", "--dry-run"]],
    "circinus explain": [["gate"], ["yard", "--offline", "examples/offline"], ["--offline", "examples/offline"]],
    "circinus what-if": [["--rate", "gate=2x"], ["--offline", "examples/offline", "--add", "2", "vm"]],
    "circinus audit": [["decision.json"]],
    "circinus ledger": [[], ["--since", "5m"], ["--calibration"]],
    "circinus report": [["--into", "report.html"]],
    "circinus support-bundle": [["--offline", "--no-journal", "--file", "support.tar.gz"]],
    "circinus token create": [["--device", "box-9"], ["--device", "box-8", "--output-file", "box-8.token"]],
    "circinus token ls": [[]],
    "circinus token rm": [["{token}"]],
    "circinus person create": [["bob", "--role", "viewer"], ["eve", "--role", "viewer", "--output-file", "eve.toml"]],
    "circinus person ls": [[]],
    "circinus person rm": [["bob", "eve"]],
    "circinus identity ls": [[]],
    "circinus audit-log": [["--limit", "20"]],
    "circinus context add": [["shop.toml"]],
    "circinus context ls": [[]],
    "circinus context show": [[]],
    "circinus query rm": [["gate", "--dry-run"], ["extra", "nobody"]],
    "circinus pipeline rm": [["nothing", "nowhere"], ["nothing", "--dry-run"]],
    "circinus device revoke": [["old-2", "--why", "stolen"]],
    "circinus device leave": [["old-1", "--dry-run"], ["old-1", "--force", "--yes"]],
}
#: Commands whose documents other tests hold against their schema, or that need what is not here, and why.
RUN_ELSEWHERE = {
    "circinus backup": "it is run on the planner's host: the tests of backups do",
    "circinus restore": "it is run on the planner's host: the tests of backups do",
    "circinus down": "it ends processes: the tests of the first hour do",
    "circinus up": "it starts processes: the tests of the first hour do",
    "circinus logs": "it asks real agents: the tests of looks do",
    "circinus tap": "it asks real agents: the tests of looks do",
    "circinus pipeline add": "it makes samples for half a minute",
    "circinus pipeline check": "it runs operators for half a minute: tests/local does",
    "circinus pipeline profile": "it measures for minutes: tests/local does",
}
#: Examples that are only parsed, and why.
NOT_RUN = {
    **RUN_ELSEWHERE,
    "circinus apply": "its example's pipeline is another one",
    "circinus demo": "it takes minutes: scripts/demo is it",
    "circinus device drain": "it waits until its device is empty; RUNS has one that is",
    "circinus device leave": "the query's source would leave",
    "circinus device revoke": "the query's source would be refused",
    "circinus pipeline export": "it needs an author's module: tests/circinus/test_pipeline_export.py has one",
    "circinus pipeline rm": "the pipeline of its example is in use",
    "circinus query results": "it asks a real agent",
    "circinus query rm": "it waits for the query's processes, which are not real here; RUNS has others",
    "circinus query submit": "its example's pipeline is another one",
    "circinus token rm": "its example's token is not there",
}
ENDINGS = (0, 1, 2, 3, 4, 5, 6, 7)
MORE = "- {id: more, pipeline: documents, content: plain, source: camera-1, rate_per_s: 1, slo: {accuracy: 0.4}}\n"

pytestmark = [pytest.mark.slow, pytest.mark.system]


@pytest.fixture(scope="module")
def behind(tmp_path_factory):
    with planner_behind(tmp_path_factory.mktemp("planner")) as found:
        yield found


@pytest.fixture(scope="module")
def place(behind, tmp_path_factory):
    """A folder with what the examples name, and whose contexts are the admin's."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "examples").symlink_to(ROOT / "examples")
    text = behind.context_file.read_text()
    (folder / "contexts.toml").write_text(text)
    named = [line.replace("admin", "shop") if line.startswith(("current", "[")) else line for line in text.splitlines()]
    (folder / "shop.toml").write_text("\n".join(named) + "\n")
    (folder / "more.yaml").write_text(MORE)
    return folder


@pytest.fixture
def run(behind, place, monkeypatch, capsys):
    """Runs a command there; gives its exit code, its output and its talk."""
    monkeypatch.chdir(place)
    monkeypatch.setenv(contexts.FILE_VARIABLE, str(place / "contexts.toml"))
    monkeypatch.delenv("CIRCINUS_PLANNER", raising=False)
    monkeypatch.delenv("CIRCINUS_INSECURE_LOOPBACK", raising=False)

    def command(*words):
        code = main([*words])
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return code, said.out, said.err

    if not (place / "decision.json").exists():
        assert command("plan", "--record", "decision.json")[0] == 0
        (place / "earlier.json").write_text(command("plan", "--offline", "examples/offline", "-o", "json")[1])
    return command


def schema(name):
    return json.loads((cli_schema.FOLDER / f"{name.removeprefix('circinus ').replace(' ', '-')}.json").read_text())


def valid(document, name):
    jsonschema.Draft202012Validator(schema(name)).validate(document)


def documents(name, out):
    """What was printed: one document, or one a line."""
    if isinstance(cli_schema.DOCUMENTS[name], cli_schema.Lines):
        return [json.loads(line) for line in out.splitlines()]
    return [json.loads(out)]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_a_schema_and_is_run(name):
    has = name in cli_schema.DOCUMENTS or name in cli_schema.NONE
    assert has, f"{name} has no schema: {HOW}"
    run_here = name in RUNS or name in RUN_ELSEWHERE or name in cli_schema.NONE
    assert run_here, f"{name} is not run: {HOW}"


def test_nothing_is_promised_of_commands_that_there_are_not():
    named = {*cli_schema.DOCUMENTS, *cli_schema.NONE, *RUNS, *RUN_ELSEWHERE, *NOT_RUN}
    assert sorted(named - COMMANDS.keys()) == []


def test_the_schemas_are_as_the_code_says():
    wanted = cli_schema.files()
    there = {path: path.read_text() for path in cli_schema.FOLDER.glob("*.json")}
    wrong = sorted(path.name for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path))
    assert wrong == [], "run .venv/bin/python scripts/cli_schema.py, and look at what its diff tells users"


@pytest.mark.parametrize("name", sorted(cli_schema.DOCUMENTS))
def test_a_schema_lets_nothing_else_in(name):
    found = schema(name)
    jsonschema.Draft202012Validator.check_schema(found)
    assert found["title"] == name
    with pytest.raises(jsonschema.ValidationError):
        valid({"something": {"else": [1]}}, name)


@pytest.mark.parametrize("name", RUNS)
def test_a_document_has_its_schema(run, name):
    for words in RUNS[name]:
        if "{token}" in words:
            words = [json.loads(run("token", "ls", "-o", "json")[1])[0]["id"]]
        code, out, err = run(*name.split()[1:], *words, "-o", "json")
        assert code in ENDINGS, err
        for document in documents(name, out):
            valid(document, "error" if "error" in document else name)
            assert "error" not in document, err


@pytest.mark.parametrize("name", [name for name in RUNS if "offline" not in str(RUNS[name][0])])
def test_a_failure_is_a_document_too(run, name, monkeypatch):
    monkeypatch.setenv(contexts.FILE_VARIABLE, "nowhere.toml")
    code, out, err = run(*name.split()[1:], *RUNS[name][0], "--no-such-option", "-o", "json")
    assert (code, err != "") == (2, True)
    valid(json.loads(out), "error")


def test_a_planner_that_is_not_there_is_a_document_with_exit_code_4(run, monkeypatch):
    monkeypatch.setenv("CIRCINUS_INSECURE_LOOPBACK", "1")
    monkeypatch.setenv("CIRCINUS_PLANNER", "127.0.0.1:1")
    for words in (
        ["status"],
        ["query", "ls"],
        ["device", "ls"],
        ["plan"],
        ["top"],
        ["ledger"],
        ["query", "watch", "gate"],
    ):
        code, out, _ = run(*words, "-o", "json")
        assert code == 4, words
        valid(json.loads(out), "error")


EXAMPLES = {name: cli_docs.example_of(command) for name, command in COMMANDS.items()}


#: At last what takes away that others name.
IN_ORDER = sorted((name for name in COMMANDS if name not in NOT_RUN), key=lambda name: name == "circinus query rm")


@pytest.mark.parametrize("name", IN_ORDER)
def test_an_example_runs(run, place, name):
    line = EXAMPLES[name]
    assert line, f"{name} shows no example: {HOW}"
    for left in ("monday.html", "support.tar.gz", "ann.toml", "camera-1.token"):
        (place / left).unlink(missing_ok=True)
    if name == "circinus person rm":
        run("person", "create", "ann", "--role", "viewer")
    if name in ("circinus context use", "circinus context rm"):
        run("context", "add", "shop.toml")
    if name == "circinus context rm":
        run("context", "use", "admin")
    code, out, err = run(*shlex.split(line.partition(" > ")[0])[1:])
    # Something may be wrong with the fleet, or have no plan: that is what the command is there to say.
    assert code in (0, 3, *((1,) if name == "circinus doctor" else ())), err
    assert out or name in cli_schema.NONE or err


@pytest.mark.parametrize("name", NOT_RUN)
def test_an_example_that_is_not_run_is_understood(name):
    words = shlex.split(EXAMPLES[name].partition(" > ")[0])
    assert words[: len(name.split())] == name.split(), HOW
    COMMANDS[name].make_context(name, words[len(name.split()) :], resilient_parsing=True)
