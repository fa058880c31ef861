from __future__ import annotations

import sys

import pytest
from shell_fakes import TOY_OPERATORS, configuration, toy_bundle

from circinus.bundle import extract
from circinus.payload import encode
from edge_agent.harness import knob_values
from edge_agent.profile_inputs import Clip, Item, by_prefix, read_pipeline
from edge_agent.profile_run import ENTRY_BYTES, Measured, Outputs, PipelineRun, waited_ms


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    folder = tmp_path / "bundle"
    extract(toy_bundle(tmp_path / "toy"), folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "toy", raising=False)
    yield read_pipeline(folder)
    sys.modules.pop("toy", None)


def settings(megabytes, mode):
    return knob_values(configuration(megabytes, mode).values)


WORD = Clip(items=(Item(payload=encode({"text": "word"}), truth=encode({"text": "WORDWORD"})),))


def run_of(pipeline, speed_ratio=1.0):
    return PipelineRun(pipeline, speed_ratio=speed_ratio, providers=("CPUExecutionProvider",))


def test_a_sample_is_run_measured_and_scored(pipeline):
    result, error = run_of(pipeline).sample(3, WORD, settings(0, "loud"), score=True)
    assert error == ""
    assert result.sample_index == 3
    assert result.score_ratio == 1.0
    twice, shout = result.operators
    assert (twice.operator_id, shout.operator_id) == ("twice", "shout")
    assert twice.cpu_ms >= 4.0
    assert twice.wall_ms >= twice.cpu_ms
    assert twice.output_bytes == len(encode({"text": "wordword"}))
    assert not twice.cached


def test_an_equal_prefix_is_not_run_again_and_keeps_its_times(pipeline):
    run = run_of(pipeline)
    first, _ = run.sample(0, WORD, settings(0, "loud"), score=True)
    spent_s = run.operator_s
    second, _ = run.sample(0, WORD, settings(0, "quiet"), score=True)
    assert second.operators[0].cached
    assert second.operators[0].cpu_ms == first.operators[0].cpu_ms
    assert not second.operators[1].cached
    assert second.score_ratio == 0.25
    assert run.operator_s - spent_s < 0.004


def test_what_is_hurried_says_so_and_is_measured_again_when_times_are_asked_for(pipeline):
    run = run_of(pipeline)
    run.rested = False
    hurried, _ = run.sample(0, WORD, settings(0, "loud"), score=True)
    repeated, _ = run.sample(0, WORD, settings(0, "loud"), score=True)
    run.rested = True
    rested, _ = run.sample(0, WORD, settings(0, "loud"), score=True)
    run.rested = False
    last, _ = run.sample(0, WORD, settings(0, "loud"), score=True)
    flags = [[(one.hurried, one.cached) for one in result.operators] for result in (hurried, repeated, rested, last)]
    assert flags == [[(True, False)] * 2, [(True, True)] * 2, [(False, False)] * 2, [(False, True)] * 2]
    assert hurried.operators[0].cpu_ms >= 4.0
    assert {result.score_ratio for result in (hurried, repeated, rested, last)} == {1.0}


def test_an_operator_that_did_not_start_is_tried_again_by_the_next_request(pipeline, tmp_path):
    flag = tmp_path / "there"
    code = TOY_OPERATORS.replace("self.calls = 0", f"self.calls = 0; open({str(flag)!r}).close()")
    (tmp_path / "bundle" / "toy.py").write_text(code)
    run = run_of(pipeline)
    assert "doesn't start" in run.sample(0, WORD, settings(0, "loud"), score=True)[1]
    flag.touch()
    run.forget_failed()
    assert run.sample(0, WORD, settings(0, "loud"), score=True)[1] == ""


def test_equal_outputs_of_other_knobs_share_what_follows(pipeline):
    run = run_of(pipeline)
    run.sample(0, WORD, settings(0, "loud"), score=True)
    other, _ = run.sample(0, WORD, settings(32, "loud"), score=True)
    assert not other.operators[0].cached
    assert other.operators[1].cached


def test_an_emulated_device_takes_longer(pipeline):
    result, _ = run_of(pipeline, speed_ratio=0.1).sample(0, WORD, settings(0, "loud"), score=False)
    assert result.operators[0].cpu_ms >= 40.0
    assert not result.HasField("score_ratio")


def test_the_first_call_of_an_operator_is_not_counted(pipeline):
    run = run_of(pipeline)
    run.sample(0, WORD, settings(0, "loud"), score=False)
    (twice,) = [operator for (name, _), operator in run._operators.items() if name == "twice"]
    assert twice.calls == 2


def test_a_raising_operator_is_named_with_its_knobs_and_counts_as_wrong(pipeline):
    result, error = run_of(pipeline).sample(5, WORD, settings(0, "raise"), score=True)
    assert result.score_ratio == 0.0
    assert [operator.operator_id for operator in result.operators] == ["twice"]
    assert "sample 5: operator shout" in error
    assert '"mode":"raise"' in error
    assert "no voice" in error


def test_an_operator_that_does_not_start_is_not_tried_again(pipeline, tmp_path):
    broken = TOY_OPERATORS.replace("self.calls = 0", "raise OSError('no model')")
    (tmp_path / "bundle" / "toy.py").write_text(broken)
    run = run_of(pipeline)
    for index in (0, 1):
        _, error = run.sample(index, WORD, settings(0, "loud"), score=True)
        assert "doesn't start" in error
        assert "no model" in error


def test_configurations_with_equal_settings_upstream_stand_together(pipeline):
    mixed = [settings(0, "loud"), settings(32, "loud"), settings(0, "quiet"), settings(32, "quiet")]
    ordered = [entry["twice.megabytes"] for _, entry in by_prefix(pipeline.steps, mixed)]
    assert ordered in ([0, 0, 32, 32], [32, 32, 0, 0])


def test_the_cache_stays_within_its_bytes():
    outputs = Outputs(limit_bytes=2 * ENTRY_BYTES + 10)

    def entry(size):
        return Measured(data=b"x" * size, digest=b"", cpu_ms=0.0, wall_ms=0.0)

    for name, size in (("a", 4), ("b", 4), ("huge", ENTRY_BYTES + 11)):
        outputs.put((name,), entry(size))
    assert outputs.get(("a",)) is not None
    outputs.put(("c",), entry(4))
    assert outputs.get(("b",)) is None
    assert outputs.get(("huge",)) is None
    assert outputs.get(("a",)) is not None


@pytest.mark.parametrize(
    ("wall_s", "cpu_s", "queued_s", "expected_ms"),
    [
        (0.100, 0.010, 0.0, 90.0),  # it really waited
        (0.100, 0.010, 0.088, 0.0),  # others had the core
        (0.011, 0.010, 0.0, 0.0),  # noise
        (0.029, 0.010, None, 0.0),
        (0.050, 0.010, None, 40.0),
    ],
)
def test_only_the_operators_own_waiting_counts(wall_s, cpu_s, queued_s, expected_ms):
    assert waited_ms(wall_s=wall_s, cpu_s=cpu_s, queued_s=queued_s) == pytest.approx(expected_ms)


def test_a_damaged_pipeline_is_refused(tmp_path):
    (tmp_path / "pipeline.json").write_text(
        '{"operators": [{"id": "b", "entry_point": "m:B", "inputs": ["a"]}], "outputs": ["b"], "scorer": "m:S"}'
    )
    with pytest.raises(ValueError, match="before one of its inputs"):
        read_pipeline(tmp_path)
