"""`circinus apply` and `circinus version` against a planner at work, in this process."""

import asyncio
import json
from dataclasses import replace

import pytest
from planner_fleet import FakeAgent, FirstFit, device, serving, settings

import circinus
from circinus.cli import version
from circinus.cli.main import main
from circinus.client import Client
from circinus.declared_calls import AgentVersion, Versions
from circinus.errors import InvalidInput
from circinus.model.query import Query, Slo
from circinus.v1 import planner_pb2
from cloud_planner.services.roles import subject_of

pytestmark = pytest.mark.slow

QUERY = "pipeline: words, content: plain, source: camera"
CODE = """
import itertools

from circinus.operator import Operator, Sample, Scorer, Source


class Words(Source):
    def samples(self):
        for number in itertools.count():
            yield Sample(payload={"word": f"word {number}"}, truth={"word": "word"})


class Cut(Operator):
    def process(self, inputs):
        return {"word": inputs["source"]["word"][: self.knobs["length"]]}


class Read(Operator):
    def process(self, inputs):
        return inputs["cut"]


class Same(Scorer):
    def score(self, answer, truth):
        return 1.0
"""


@pytest.fixture
async def planner(tmp_path):
    async with (
        serving(settings(tmp_path), FirstFit()) as (people, parts),
        FakeAgent(people.address, device("camera")) as agent,
    ):
        yield people, parts, agent


@pytest.fixture
def run(planner, capsys):
    """Runs a command as a person would; its exit code and its document."""
    people, _, _ = planner

    async def command(*words):
        argv = [str(word) for word in words]
        code = await asyncio.to_thread(main, [*argv, "--insecure-loopback", "--planner", people.address, "-o", "json"])
        return code, json.loads(capsys.readouterr().out)

    return command


def declare(tmp_path, *queries, labels=""):
    file = tmp_path / "declared.yaml"
    rows = "".join(f"  - {{id: {name}, {QUERY}, rate_per_s: {rate}}}\n" for name, rate in queries)
    file.write_text((f"queries:\n{rows}" if rows else "") + labels)
    return file


def verdicts(document):
    return {f"{one['noun']} {one['id']}": one["verdict"] for one in document["changes"]}


async def test_what_files_declare_is_applied_once_and_then_unchanged(planner, run, tmp_path):
    people, parts, _ = planner
    await people.add_pipeline()
    labels = "devices:\n  - {id: camera, labels: {zone: north}}\n"
    file = declare(tmp_path, ("gate", 2), ("yard", 1), labels=labels)
    code, found = await run("apply", "-f", file, "--dry-run")
    assert code == 0
    assert verdicts(found) == {"query gate": "added", "query yard": "added", "device camera": "changed"}
    assert "plans" in found
    assert await people.queries() == {}
    code, found = await run("apply", "-f", file, "--wait", "--timeout", "20")
    assert (code, found["counts"]["added"], found["unplaced"]) == (0, 2, [])
    assert {name: state.serving for name, state in (await people.queries()).items()} == {"gate": True, "yard": True}
    assert parts.marks.of("camera").people == {"zone": "north"}
    generation = (await people.status()).generation
    code, found = await run("apply", "-f", file)
    assert (code, set(verdicts(found).values())) == (0, {"unchanged"})
    assert (await people.settled())[-1].generation == generation


async def test_a_changed_query_goes_from_its_old_to_its_new_plan_and_is_never_gone(planner, run, tmp_path):
    people, parts, agent = planner
    await people.add_pipeline()
    file = declare(tmp_path, ("gate", 2), ("yard", 1))
    await run("apply", "-f", file, "--wait", "--timeout", "20")
    before = set(agent.directives)
    file = declare(tmp_path, ("gate", 3))
    code, found = await run("apply", "-f", file, "--wait", "--timeout", "20")
    assert code == 0
    assert [one["details"] for one in found["changes"]] == [["rate_per_s 2 -> 3"]]
    after = [agent.directives[number] for number in sorted(set(agent.directives) - before)]
    assert after
    assert all({source.query_id for source in one.sources} == {"gate", "yard"} for one in after)
    assert {source.query_id: source.rate_per_s for source in after[-1].sources}["gate"] == 3.0
    # In the store, too, in its old place.
    assert [(query.id, query.rate_per_s) for query in await parts.store.queries()] == [("gate", 3.0), ("yard", 1.0)]


async def test_one_wrong_query_keeps_all_from_being_applied(planner, run, tmp_path):
    people, parts, _ = planner
    await people.add_pipeline()
    file = declare(tmp_path, ("gate", 2), labels="devices:\n  - {id: camera, labels: {zone: north}}\n")
    file.write_text(
        file.read_text() + "---\n- {id: lost, pipeline: words, content: none, source: attic, rate_per_s: 1}\n"
    )
    for words in ((), ("--dry-run",)):
        code, found = await run("apply", "-f", file, *words)
        assert code == 2
        (violation,) = found["error"]["violations"]
        assert violation["field"] == "query lost"
        assert "no content 'none'" in violation["message"]
    assert await people.queries() == {}
    assert parts.marks.of("camera").people == {}


async def test_removing_asks_for_a_yes_and_stays_within_its_selector(planner, run, tmp_path):
    people, _, _ = planner
    await people.add_pipeline()
    await run("apply", "-f", declare(tmp_path, ("gate", 2), ("yard", 1)))
    file = declare(tmp_path, ("gate", 2))
    code, found = await run("apply", "-f", file, "--prune")
    assert code == 2
    assert "--yes" in found["error"]["message"]
    assert set(await people.queries()) == {"gate", "yard"}
    code, found = await run("apply", "-f", file, "--prune", "--yes", "--selector", "site=elsewhere")
    assert (code, found["counts"]["removed"]) == (0, 0)
    code, found = await run("apply", "-f", file, "--prune", "--yes")
    assert (code, found["counts"]["removed"]) == (0, 1)
    assert set(await people.queries()) == {"gate"}
    code, found = await run("apply", "-f", file, "--selector", "site=home")
    assert code == 2
    assert "--prune" in found["error"]["message"]


async def test_a_pipeline_is_brought_with_its_queries_and_another_code_asks_for_a_yes(planner, run, tmp_path):
    people, parts, _ = planner
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "words.py").write_text(CODE)
    (folder / "pipeline.yaml").write_text(SPEC)
    (folder / "queries.yaml").write_text(f"- {{id: gate, {QUERY}, rate_per_s: 2}}\n")
    code, found = await run("apply", "-f", folder, "--wait", "--timeout", "20")
    assert (code, verdicts(found)) == (0, {"pipeline words": "added", "query gate": "added"})
    # Comments are no change.
    (folder / "pipeline.yaml").write_text(f"# words\n{SPEC}")
    code, found = await run("apply", "-f", folder)
    assert set(verdicts(found).values()) == {"unchanged"}
    (folder / "words.py").write_text(f"{CODE}\n# another one\n")
    code, found = await run("apply", "-f", folder)
    assert code == 2
    assert "1 queries pause until they are measured anew (gate)" in found["error"]["message"]
    old = parts.catalog.pipelines["words"].bundle_digest
    code, found = await run("apply", "-f", folder, "--yes", "--wait", "--timeout", "20")
    assert code == 0
    assert parts.catalog.pipelines["words"].bundle_digest != old
    assert (await people.queries())["gate"].serving


async def test_a_pipeline_that_queries_need_is_not_taken_from_under_them(planner):
    people, _, _ = planner
    await people.add_pipeline()
    async with Client(people.address) as client:
        query = Query(
            id="gate", pipeline_id="words", content="plain", source_device_id="camera", rate_per_s=1.0, slo=Slo()
        )
        await client.apply_changes(queries=[query])
        with pytest.raises(InvalidInput, match="there is no pipeline 'words'"):
            await client.apply_changes(remove_pipelines=["words"])
        # Both together fit.
        await client.apply_changes(remove_pipelines=["words"], remove_queries=["gate"])
        assert await client.pipelines() == ()
        # And again: it is so already.
        await client.apply_changes(remove_pipelines=["words"], remove_queries=["gate"])


async def test_a_plan_is_shown_without_and_in_place_of_queries(planner):
    people, _, _ = planner
    await people.add_pipeline()
    async with Client(people.address) as client:
        query = Query(
            id="gate", pipeline_id="words", content="plain", source_device_id="camera", rate_per_s=1.0, slo=Slo()
        )
        await client.apply_changes(queries=[query])
        await people.settled()
        assert (await client.plan(without=["gate"])).selection.plans == ()

        (plan,) = (await client.plan([replace(query, rate_per_s=4.0)])).selection.plans
        assert plan.item_goodput_per_s == 4.0


async def test_versions_are_told_of_all_and_by_count(planner, run):
    code, found = await run("version")
    assert code == 0
    assert found["client"]["version"] == circinus.__version__
    assert found["planner"]["schemas"]["planner"] >= 8
    assert found["agents"] == [{"version": "1", "devices": 1, "connected": 1}]
    assert found["fits"]


def test_a_version_is_told_where_no_planner_answers(capsys):
    assert main(["version", "--insecure-loopback", "--planner", "127.0.0.1:1", "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["planner"] is None
    assert "no planner answers" in found["unreachable"]
    assert found["fits"] is None


@pytest.mark.parametrize(
    ("client", "planner_version", "agents", "expected"),
    [
        ("1.2.3", "1.2.9", ["1.2.0"], []),
        ("1.2.0", "1.3.0", ["1.3.1"], ["this command is 1.2.0"]),
        ("1.3.0", "1.3.0", ["1.4.0", "1.2.0"], ["newer than the planner: upgrade", "older than the planner"]),
        ("2.0.0", "2.0.0", ["?"], ["older than the planner"]),
    ],
)
def test_what_does_not_fit_is_named_with_its_cure(client, planner_version, agents, expected):
    found = version.fit(client, versions(planner_version, agents))
    assert len(found) == len(expected)
    assert all(text in one.text for text, one in zip(expected, found, strict=True))
    assert not any(one.fatal for one in found)


def test_another_protocol_does_not_fit():
    (found,) = version.fit("1.0.0", versions("9.0.0", [], protocol="circinus.v2"))
    assert found.fatal


def versions(planner_version, agents, protocol="circinus.v1"):
    return Versions(
        planner=planner_version,
        protocol=protocol,
        planner_schema=8,
        identity_schema=0,
        epoch=1,
        agents=tuple(AgentVersion(version=one, devices=2, connected=1) for one in agents),
    )


SPEC = """
pipeline: words
source: words:Words
scorer: words:Same
operators:
  - id: cut
    class: words:Cut
    inputs: [source]
    knobs: {length: [1, 2]}
  - id: read
    class: words:Read
    inputs: [cut]
outputs: [read]
contents:
  plain: {seed: 1, samples: 4}
"""


async def test_dry_runs_of_what_changes_plans_change_nothing(planner, run, tmp_path):
    people, parts, _ = planner
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "words.py").write_text(CODE)
    (folder / "pipeline.yaml").write_text(SPEC)
    code, found = await run("pipeline", "add", folder, "--dry-run")
    assert (code, found["verdict"]) == (0, "added")
    await people.add_pipeline()
    code, found = await run("pipeline", "add", folder, "--dry-run")
    assert (code, found["verdict"]) == (0, "changed")
    gate = tmp_path / "gate.yaml"
    gate.write_text(f"- {{id: gate, {QUERY}, rate_per_s: 2}}\n")
    code, found = await run("query", "submit", "-f", gate, "--dry-run")
    # Nothing was measured yet; as `circinus plan -f` says.
    assert [(one["query_id"], one["change"]) for one in found["queries"]] == [("gate", "waiting")]
    await run("query", "submit", "-f", gate, "--wait")
    code, found = await run("query", "rm", "gate", "--dry-run")
    # Fewer queries would have a plan.
    assert (code, [one["change"] for one in found["queries"]]) == (3, ["unplaced"])
    code, found = await run("query", "rm", "nobody", "--dry-run")
    assert code == 1
    code, found = await run("pipeline", "rm", "words", "--dry-run")
    assert (code, found["error"]["kind"]) == (2, "InvalidInput")
    for words in (("drain", "camera"), ("leave", "camera"), ("cordon", "camera")):
        code, found = await run("device", *words, "--dry-run")
        assert "queries" in found
    assert set(await people.queries()) == {"gate"}
    assert not parts.marks.cordoned
    code, found = await run("query", "rm", "gate", "--wait", "--timeout", "20")
    assert (code, found["removed"]) == (0, ["gate"])
    assert (await people.settled())[-1].settled


def test_what_is_applied_is_in_the_audit_log_by_its_names():
    response = planner_pb2.ApplyChangesResponse(begun_anew=["yard"], changed_ids=["words", "gate", "camera"])
    assert subject_of(planner_pb2.ApplyChangesRequest(), response) == "words, gate, camera"
