"""Results as they stand in their file: what is written is read, and a line that was cut off costs that line alone."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from toy_folder import FILES

from circinus.errors import InvalidInput
from circinus.spec.pipeline import parse_pipeline
from circinus.v1 import control_pb2
from edge_agent.local.results import (
    ContentHeader,
    Header,
    OperatorFigure,
    ResultsFile,
    SampleLine,
    Sheet,
    prefixes_of,
    read_results,
)

PIPELINE = parse_pipeline(FILES["pipeline.yaml"])
CONFIGURATIONS = tuple(PIPELINE.configurations())
HEADER = Header(
    pipeline_id="sums",
    bundle_digest="sha256:00",
    machine={"cpu": "one", "cores": "2"},
    measured_on="2030-01-02",
    configurations=CONFIGURATIONS,
    operators=("scale", "total"),
    prefixes=prefixes_of(PIPELINE, CONFIGURATIONS),
    contents={"few": ContentHeader(digest="sha256:11", samples=2, clip=2, seed=1, warmup=1)},
)

ratios = st.integers(0, 10**6).map(lambda number: number / 10**6)
figures = st.builds(
    OperatorFigure,
    cpu_ms=st.floats(0, 1e6),
    wall_ms=st.floats(0, 1e6),
    output_bytes=st.integers(0, 2**40),
    fingerprint=st.integers(0, 2**64 - 1),
    parts=st.none() | st.floats(0, 1e3),
)


@st.composite
def sample_lines(draw):
    count = len(CONFIGURATIONS)
    names = draw(st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=3))
    tally = st.fixed_dictionaries({name: st.floats(-1e9, 1e9) for name in names})
    return SampleLine(
        content=draw(st.sampled_from(["few", "many"])),
        sample=draw(st.integers(0, 9_999)),
        source_bytes=draw(st.integers(0, 2**32)),
        scores=tuple(draw(st.lists(ratios, min_size=count, max_size=count))),
        tallies=tuple(draw(st.lists(tally, min_size=count, max_size=count))),
        figures={
            name: tuple(
                draw(
                    st.lists(
                        st.none() | figures,
                        min_size=1 + max(HEADER.prefixes[name]),
                        max_size=1 + max(HEADER.prefixes[name]),
                    )
                )
            )
            for name in HEADER.operators
        },
        errors=draw(st.dictionaries(st.integers(0, count - 1), st.text(max_size=20))),
    )


def written(path, lines, memory=None):
    file = ResultsFile(path)
    file.begin(HEADER)
    for line in lines:
        file.add(line)
    if memory:
        file.add_memory(memory)
    return file


def a_line(sample=0, content="few"):
    figure = OperatorFigure(cpu_ms=1.5, wall_ms=1.5, output_bytes=10, fingerprint=7)
    return SampleLine(
        content=content,
        sample=sample,
        source_bytes=100,
        scores=(0.0, 0.25, 0.5, 1.0),
        tallies=({},) * 4,
        figures={name: (figure,) * (1 + max(numbers)) for name, numbers in HEADER.prefixes.items()},
    )


@pytest.mark.slow
@given(lines=st.lists(sample_lines(), max_size=3), memory=st.none() | st.just({"scale": (1, 2), "total": (3, 4, 5, 6)}))
def test_what_is_written_is_read(tmp_path_factory, lines, memory):
    path = tmp_path_factory.mktemp("results") / "results.jsonl"
    written(path, lines, memory)
    found = read_results(path)
    assert found.header == HEADER
    assert found.lines == lines
    assert found.memory_bytes == (memory or {})
    packed = path.with_name("results.jsonl.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_results(packed) == found


def test_a_line_that_was_cut_off_anywhere_costs_that_line_alone(tmp_path):
    path = tmp_path / "results.jsonl"
    written(path, [a_line(0), a_line(1)])
    data = path.read_bytes()
    begin = data[:-1].rfind(b"\n") + 1
    for end in range(begin, len(data)):
        path.write_bytes(data[:end])
        assert [line.sample for line in read_results(path).lines] == [0]


def test_after_a_line_that_was_cut_off_the_next_one_begins_anew(tmp_path):
    path = tmp_path / "results.jsonl"
    file = written(path, [a_line(0), a_line(1)])
    path.write_bytes(path.read_bytes()[:-20])
    assert file.mend()
    file.add(a_line(2))
    assert [line.sample for line in read_results(path).lines] == [0, 2]
    # What is whole stays as it is.
    whole = path.read_bytes()
    assert file.mend()
    assert path.read_bytes() == whole


def test_of_a_header_that_was_cut_off_nothing_is_left(tmp_path):
    file = ResultsFile(tmp_path / "results.jsonl")
    assert not file.mend()
    file.path.write_bytes(b'{"header": {"for')
    assert not file.mend()
    assert file.path.read_bytes() == b""


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "{}\n" + text,
        lambda text: text.replace('"format":1', '"format":99'),
        lambda text: text.replace('"sample":0', '"sample":', 1),
        lambda text: text.replace('"figures"', '"figure"'),
        lambda text: "[1]\n",
    ],
)
def test_what_is_no_file_of_results_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "results.jsonl"
    written(path, [a_line(0), a_line(1)])
    path.write_text(damage(path.read_text()))
    with pytest.raises(InvalidInput, match=r"results\.jsonl holds no profile results.*; remove it"):
        read_results(path)
    with pytest.raises(InvalidInput):
        read_results(tmp_path / "none.jsonl")


def test_results_are_found_by_content_and_index(tmp_path):
    path = tmp_path / "results.jsonl"
    written(path, [a_line(2), a_line(0), a_line(1, "many")])
    found = read_results(path)
    assert [line.sample for line in found.of("few")] == [0, 2]
    assert found.done("few") == {0, 2}
    assert found.done("none") == frozenset()


def test_operators_share_a_prefix_where_all_upstream_is_equal():
    for operator, numbers in HEADER.prefixes.items():
        names = PIPELINE.upstream_knobs(operator)
        for one, first in zip(numbers, CONFIGURATIONS, strict=True):
            for another, second in zip(numbers, CONFIGURATIONS, strict=True):
                # 1 and true are equal in Python, and are other settings.
                same = all((type(first[name]), first[name]) == (type(second[name]), second[name]) for name in names)
                assert (one == another) is same
        assert list(dict.fromkeys(numbers)) == list(range(1 + max(numbers)))


def test_headers_are_comparable_whatever_the_number_of_samples():
    content = HEADER.contents["few"]
    longer = replace(
        HEADER, contents={"few": replace(content, samples=9, digest="sha256:22")}, measured_on="2031-01-01"
    )
    other = replace(HEADER, contents={"many": content})
    for header in (longer, other):
        assert HEADER.comparable(header)
        assert header.comparable(HEADER)


@pytest.mark.parametrize(
    "other",
    [
        replace(HEADER, bundle_digest="sha256:01"),
        replace(HEADER, machine={"cpu": "another", "cores": "2"}),
        replace(HEADER, configurations=CONFIGURATIONS[:2]),
        *(
            replace(HEADER, contents={"few": replace(HEADER.contents["few"], **change)})
            for change in ({"seed": 2}, {"clip": 3}, {"warmup": 0}, {"digest": "sha256:22"})
        ),
    ],
)
def test_headers_of_other_code_samples_or_machine_are_not_comparable(other):
    assert not HEADER.comparable(other)
    assert not other.comparable(HEADER)


def result(position, *, cpu_ms=1.0, cached=False, operators=("scale", "total")):
    made = control_pb2.SampleResult(sample_index=3, score_ratio=position / 4)
    for name in operators:
        made.operators.add(
            operator_id=name, cpu_ms=cpu_ms, wall_ms=cpu_ms, output_bytes=position, cached=cached, output_fingerprint=9
        )
    return made


def test_a_sheet_is_complete_when_all_configurations_are_there():
    sheet = Sheet(HEADER, "few", 3)
    for position in (2, 0, 3, 1):
        assert not sheet.complete
        sheet.note(CONFIGURATIONS[position], result(position), source_bytes=55)
    assert sheet.complete
    line = sheet.line()
    assert (line.content, line.sample, line.source_bytes) == ("few", 3, 55)
    assert line.scores == (0.0, 0.25, 0.5, 0.75)
    assert [figure.output_bytes for figure in line.figures["total"]] == [0, 1, 2, 3]
    assert line.errors == {}


def test_of_what_was_run_twice_the_figures_are_those_of_a_run_not_of_the_cache():
    sheet = Sheet(HEADER, "few", 3)
    for position in range(4):
        cached = position in (0, 3)
        sheet.note(CONFIGURATIONS[position], result(position, cpu_ms=10.0 + position, cached=cached), source_bytes=1)
    line = sheet.line()
    assert HEADER.prefixes["scale"] == (0, 0, 1, 1)
    assert [figure.cpu_ms for figure in line.figures["scale"]] == [11.0, 12.0]


def test_an_operator_that_failed_is_named_and_has_no_figures():
    sheet = Sheet(HEADER, "few", 3)
    for position in range(4):
        operators = ("scale",) if position == 1 else ("scale", "total")
        sheet.note(CONFIGURATIONS[position], result(position, operators=operators), source_bytes=1)
    line = sheet.line()
    assert line.errors == {1: "operator total failed"}
    assert line.figures["total"][1] is None
    assert line.figures["total"][0] is not None
