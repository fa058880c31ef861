from pathlib import Path

import pytest

from circinus.errors import InvalidInput
from circinus.spec.declared import read_declared
from circinus.spec.errors import SpecErrors

ROOT = Path(__file__).resolve().parent.parent.parent
QUERY = "pipeline: words, content: plain, source: camera-1, rate_per_s: 2"
PIPELINE = """
pipeline: words
source: words:Words
scorer: words:Same
operators:
  - {id: cut, class: words:Cut, inputs: [source], knobs: {length: [1, 2]}}
outputs: [cut]
contents:
  plain: {seed: 1, samples: 4}
"""
CODE = "class Words: ...\nclass Same: ...\nclass Cut: ...\n"


def a_pipeline(folder):
    folder.mkdir(parents=True)
    (folder / "pipeline.yaml").write_text(PIPELINE)
    (folder / "words.py").write_text(CODE)
    return folder


def wrong(*paths, stdin=""):
    with pytest.raises(SpecErrors) as caught:
        read_declared([Path(path) for path in paths], stdin)
    return [f"{error.line}: {error.message}" for error in caught.value.errors]


def test_a_file_may_have_several_documents_of_every_kind(tmp_path):
    a_pipeline(tmp_path / "words")
    file = tmp_path / "all.yaml"
    file.write_text(
        f"- {{id: gate, {QUERY}}}\n---\n---\n"
        f"pipelines: [words]\ndevices:\n  - {{id: camera-1, labels: {{zone: north, old: null, gpu: ''}}}}\n---\n"
        f"queries:\n  - {{id: yard, {QUERY}}}\n"
    )
    found = read_declared([file])
    assert set(found.queries) == {"gate", "yard"}
    assert [(folder.name, pipeline.id) for folder, pipeline in found.pipelines.values()] == [("words", "words")]
    assert found.labels == {"camera-1": {"zone": "north", "old": None, "gpu": ""}}


def test_a_folder_is_its_files_and_the_pipelines_below_it(tmp_path):
    a_pipeline(tmp_path / "words")
    (tmp_path / "b.yml").write_text(f"- {{id: gate, {QUERY}}}\n")
    (tmp_path / "notes.txt").write_text("not: read")
    found = read_declared([tmp_path])
    assert (set(found.pipelines), set(found.queries)) == ({"words"}, {"gate"})


def test_a_pipelines_own_folder_is_the_pipeline_and_its_queries(tmp_path):
    folder = a_pipeline(tmp_path / "words")
    (folder / "queries.yaml").write_text(f"- {{id: gate, {QUERY}}}\n")
    (folder / "settings.yaml").write_text("of: the author's own")
    for path in (folder, folder / "pipeline.yaml"):
        assert set(read_declared([path]).pipelines) == {"words"}
    assert set(read_declared([folder]).queries) == {"gate"}


def test_the_examples_can_be_applied_as_they_are():
    found = read_declared([ROOT / "examples" / "documents"])
    assert set(found.pipelines) == {"documents"}
    assert "receipts" in found.queries


def test_all_that_is_wrong_is_told_with_its_line(tmp_path):
    file = tmp_path / "all.yaml"
    file.write_text(
        f"- {{{QUERY}}}\n- {{id: gate, {QUERY}}}\n---\nqueries:\n  - {{id: gate, {QUERY}, rate: 3}}\n"
        "devices:\n  - {id: camera-1, labels: {site: shop, 'bad key': x}}\npipelines: [nowhere]\n"
    )
    told = "\n".join(wrong(file))
    assert "1: a query that is declared needs an id" in told
    assert "5: query 'gate': unknown key 'rate'" in told
    assert f"5: query 'gate' is declared twice (first at {file}:2)" in told
    assert "'site' is what a device has by itself" in told
    assert "'bad key' is no label" in told
    assert "has no pipeline.yaml" in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("machines: []\n", "declares nothing"),
        ("words", "declares nothing"),
        ("", "the file is empty"),
        ("a: [1\n", "not valid YAML"),
        (PIPELINE, "a pipeline is a folder with its code"),
    ],
)
def test_what_declares_nothing_is_refused(text, expected):
    assert any(expected in error for error in wrong("-", stdin=text))


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="has no YAML file"):
        read_declared([tmp_path])
