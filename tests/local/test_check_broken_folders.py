"""Folders that are broken in one place: `circinus pipeline check` says what is wrong, once, and where."""

from __future__ import annotations

import json

import pytest
from toy_folder import FILES, write_toy

from circinus.cli.main import main
from edge_agent.local import check as check_module

pytestmark = [pytest.mark.slow, pytest.mark.system]

#: Exit codes: wrong in the files, and fails when it is run.
FILE, RUN = 2, 1

PIPELINE, NUMBERS, STEPS, SCORE = FILES


def line_of(name, text, edits):
    """The line of an edited file that has this text."""
    content = FILES[name]
    for edited, old, new in edits:
        if edited == name:
            content = content.replace(old, new) if old else new
    (found,) = [number for number, line in enumerate(content.splitlines(), 1) if text in line]
    return found


# Name; edits of the good folder (file, old, new); exit code; place as (file, text of its line); part of the message.
CASES = [
    # A missing knob.
    ("knob not declared", [(STEPS, '["by"]', '["size"]')], FILE, (STEPS, '["size"]'), "reads the knob 'size'"),
    ("knob misspelt", [(STEPS, '["wrong"]', '["wrng"]')], FILE, (STEPS, '["wrng"]'), "did you mean 'wrong'?"),
    (
        "knob read through a variable",
        [(STEPS, 'self.knobs["by"]', 'self.knobs["size"[:]]')],
        RUN,
        (STEPS, '"size"[:]'),
        """operator scale {"by":1} failed: KeyError: 'size'""",
    ),
    (
        "knob read in setup through a variable",
        [(STEPS, "        self.reset()\n", '        self.size = self.knobs["si" + "ze"]\n        self.reset()\n')],
        RUN,
        (STEPS, '"si" + "ze"'),
        """operator total {"wrong":false} doesn't start: KeyError: 'size'""",
    ),
    # A wrong type.
    ("knob's values no list", [(PIPELINE, "by: [1, 2]", "by: 1")], FILE, (PIPELINE, "by: 1"), "'by' must be a list"),
    ("knob's values empty", [(PIPELINE, "by: [1, 2]", "by: []")], FILE, (PIPELINE, "by: []"), "at least 1"),
    ("seed no number", [(PIPELINE, "few: {seed: 1", "few: {seed: one")], FILE, (PIPELINE, "few:"), "whole number"),
    (
        "operator gives a list",
        [(STEPS, 'return {"number": number * self.knobs["by"]}', "return [number]")],
        RUN,
        (STEPS, "def process(self, inputs):  # scale"),
        "a payload is list; it must be a mapping",
    ),
    (
        "operator gives a set",
        [(STEPS, '"number": number * self', '"seen": {number}, "number": number * self')],
        RUN,
        (STEPS, "def process(self, inputs):  # scale"),
        "payload field 'seen' is set",
    ),
    (
        "class is no Operator",
        [(STEPS, "class Scale(Operator):", "class Scale:")],
        FILE,
        (STEPS, "class Scale:"),
        "steps_toy:Scale is no subclass of circinus.operator.Operator",
    ),
    (
        "operator without process",
        [(STEPS, "    def process(self, inputs):  # scale", "    def proces(self, inputs):")],
        FILE,
        (STEPS, "class Scale(Operator):"),
        "steps_toy:Scale lacks process()",
    ),
    (
        "process without inputs",
        [(STEPS, "process(self, inputs):  # scale", "process(self):"), (STEPS, 'inputs["source"]["number"]', "1")],
        RUN,
        (STEPS, "def process(self):"),
        "takes 1 positional argument but 2 were given",
    ),
    # An import error.
    (
        "missing module",
        [(STEPS, "from circinus", "import nosuchmodule\nfrom circinus")],
        FILE,
        (STEPS, "import nosuchmodule"),
        "no module 'nosuchmodule'",
    ),
    (
        "missing module of the source",
        [(NUMBERS, "from random", "import nosuchmodule\nfrom random")],
        FILE,
        (NUMBERS, "import nosuchmodule"),
        "no module 'nosuchmodule'",
    ),
    (
        "missing file",
        [(PIPELINE, "steps_toy:Scale", "stepz_toy:Scale")],
        FILE,
        (PIPELINE, "stepz_toy:Scale"),
        "no module 'stepz_toy'",
    ),
    (
        "name that a module lacks",
        [(STEPS, "import Operator", "import Operator, Operators")],
        FILE,
        (STEPS, "Operators"),
        "cannot import name 'Operators'",
    ),
    (
        "class that the file lacks",
        [(PIPELINE, "steps_toy:Scale", "steps_toy:Scail")],
        FILE,
        (PIPELINE, "steps_toy:Scail"),
        "steps_toy.py has no 'Scail'; did you mean 'Scale'?",
    ),
    (
        "syntax error",
        [(STEPS, "def reset(self):", "def reset(self)")],
        FILE,
        (STEPS, "def reset(self)"),
        "no valid Python: expected ':'",
    ),
    (
        "raises when it is imported",
        [(STEPS, "\n\nclass Scale", "\nSIZE = 1 // 0\n\n\nclass Scale")],
        RUN,
        (STEPS, "1 // 0"),
        "can't be imported: ZeroDivisionError",
    ),
    (
        "exits when it is imported",
        [(SCORE, "\n\nclass Right", "\nraise SystemExit(3)\n\n\nclass Right")],
        RUN,
        (SCORE, "SystemExit"),
        "can't be imported: SystemExit: 3",
    ),
    (
        "missing module in process()",
        [(STEPS, "        self.total += number", "        import nosuchmodule\n\n        self.total += number")],
        RUN,
        (STEPS, "import nosuchmodule"),
        "ModuleNotFoundError: No module named 'nosuchmodule'",
    ),
    # An operator that is not deterministic, or has a past that it doesn't declare.
    (
        "undeclared running mean",
        [
            (STEPS, "class Scale(Operator):\n", "class Scale(Operator):\n    mean = 0.0\n\n"),
            (
                STEPS,
                '        return {"number": number * self.knobs["by"]}',
                "        self.mean += 0.1 * (number - self.mean)\n"
                '        return {"number": number * self.knobs["by"], "mean": self.mean}',
            ),
        ],
        RUN,
        (STEPS, "def process(self, inputs):  # scale"),
        "declare state: per_source if it does",
    ),
    (
        "state not declared",
        [(PIPELINE, "    state: per_source\n", "")],
        RUN,
        (STEPS, "def process(self, inputs):  # total"),
        "operator 'total' gave two outputs for one input",
    ),
    (
        "reset that forgets nothing",
        [(STEPS, "    def reset(self):\n        self.total = 0", "    total = 0")],
        RUN,
        (STEPS, "def process(self, inputs):  # total"),
        "after reset() it must depend on the items since",
    ),
    (
        "only the warm-up shows what was carried over",
        [
            (STEPS, "    def reset(self):\n        self.total = 0\n", "    last = 0\n"),
            (STEPS, "        self.total += number\n", "        last, self.last = self.last, number\n"),
            (STEPS, '"total": self.total', '"total": number + last'),
            (PIPELINE, "warmup: 1}\n  many", "warmup: 3}\n  many"),
        ],
        RUN,
        (STEPS, "def process(self, inputs):  # total"),
        "after reset() it must depend on the items since",
    ),
    (
        "one sample of one content shows it, too",
        [
            (PIPELINE, "few: {seed: 1, samples: 3, clip: 2, warmup: 1}\n  many", "few"),
            (PIPELINE, "seed: 2, samples: 3, clip: 2, warmup: 1", "seed: 2, samples: 3"),
            (PIPELINE, "    state: per_source\n", ""),
        ],
        RUN,
        (STEPS, "def process(self, inputs):  # total"),
        "operator 'total' gave two outputs for one input",
    ),
    (
        "random numbers",
        [
            (STEPS, "from circinus", "import random\n\nfrom circinus"),
            (STEPS, "number * self", "random.random() * self"),
        ],
        RUN,
        (STEPS, "def process(self, inputs):  # scale"),
        "operator 'scale' gave two outputs for one input",
    ),
    (
        "the time",
        [(STEPS, "from circinus", "import time\n\nfrom circinus"), (STEPS, "number * self", "time.time() * self")],
        RUN,
        (STEPS, "def process(self, inputs):  # scale"),
        "time, the order of sets or global randomness",
    ),
    (
        "the order of a set",
        [(STEPS, '"number": number * self', '"words": " ".join({"ab", "cd", "ef", "gh", "ij"}), "number": 2 * self')],
        RUN,
        (STEPS, "def process(self, inputs):  # scale"),
        "operator 'scale' gave two outputs for one input",
    ),
    (
        "a source that is random",
        [(NUMBERS, 'Random(f"{self.content}-{self.seed}")', "Random()")],
        RUN,
        (NUMBERS, "def samples(self)"),
        "made other samples of content 'few' the second time",
    ),
    (
        "a scorer that is random",
        [(SCORE, "return float(", "return __import__('random').random() or float(")],
        RUN,
        (SCORE, "def score(self"),
        "the scorer gave two scores for one answer",
    ),
    # A wrong output name.
    (
        "output that is no operator",
        [(PIPELINE, "outputs: [total]", "outputs: [totals]")],
        FILE,
        (PIPELINE, "outputs:"),
        "output 'totals' is no operator; did you mean 'total'?",
    ),
    (
        "input that is no operator",
        [(PIPELINE, "inputs: [scale]", "inputs: [scail]")],
        FILE,
        (PIPELINE, "inputs: [scail]"),
        "operator 'total': unknown input 'scail'; did you mean 'scale'?",
    ),
    (
        "the scorer's field is not there",
        [(STEPS, 'return {"number": -1', 'return {"value": -1')],
        RUN,
        (SCORE, "return float"),
        "the scorer failed: KeyError: 'number'",
    ),
    (
        "the scorer's operator is not there",
        [(SCORE, 'outputs["total"]', 'outputs["totals"]')],
        RUN,
        (SCORE, '"totals"'),
        "the scorer failed: KeyError: 'totals'",
    ),
    (
        "the next operator's field is not there",
        [(STEPS, 'return {"number": number *', 'return {"value": number *')],
        RUN,
        (STEPS, 'number = inputs["scale"]'),
        "KeyError: 'number'",
    ),
    # A cycle.
    (
        "cycle",
        [(PIPELINE, "inputs: [source]", "inputs: [total]")],
        FILE,
        (PIPELINE, "id: scale"),
        "operators form a cycle: scale -> total -> scale",
    ),
    ("own input", [(PIPELINE, "inputs: [scale]", "inputs: [scale, total]")], FILE, (PIPELINE, "id: total"), "cycle"),
    # A duplicate id.
    (
        "duplicate operator",
        [
            (
                PIPELINE,
                "outputs: [total]",
                '  - {id: scale, class: "steps_toy:Scale", inputs: [source]}\noutputs: [total]',
            )
        ],
        FILE,
        (PIPELINE, "- {id: scale"),
        "operator 'scale' is defined twice (first on line 5)",
    ),
    (
        "duplicate content",
        [(PIPELINE, "  many: {seed: 2,", "  few: {seed: 2,")],
        FILE,
        (PIPELINE, "few: {seed: 2"),
        "'few'",
    ),
    ("duplicate value", [(PIPELINE, "by: [1, 2]", "by: [1, 1]")], FILE, (PIPELINE, "by: [1, 1]"), "repeated"),
    # An unknown metric.
    (
        "scorer that the file lacks",
        [(PIPELINE, "score_toy:Right", "score_toy:Rite")],
        FILE,
        (PIPELINE, "score_toy:Rite"),
        "score_toy.py has no 'Rite'",
    ),
    (
        "scorer that is an operator",
        [(PIPELINE, "score_toy:Right", "steps_toy:Scale")],
        FILE,
        (STEPS, "class Scale(Operator):"),
        "steps_toy:Scale is no subclass of circinus.operator.Scorer",
    ),
    (
        "score out of range",
        [(SCORE, "return float(", "return 2.0 * float(")],
        RUN,
        (SCORE, "def score(self"),
        "the scorer gave 2.0; a score is from 0 to 1",
    ),
    (
        "score that is no number",
        [(SCORE, "return float(", "return None and float(")],
        RUN,
        (SCORE, "def score(self"),
        "the scorer failed: TypeError",
    ),
    (
        "tally that is no number",
        [
            (
                SCORE,
                "    def score(",
                '    def tally(self, outputs, truths):\n        return {"n": "many"}\n\n    def score(',
            )
        ],
        RUN,
        (SCORE, "def score("),
        "the scorer failed: ValueError",
    ),
    # Empty samples.
    (
        "no contents",
        [(PIPELINE, "".join(FILES[PIPELINE].partition("contents:")[1:]), "contents: {}\n")],
        FILE,
        (PIPELINE, "contents: {}"),
        "contents is empty",
    ),
    (
        "no samples",
        [(PIPELINE, "1, samples: 3", "1, samples: 0")],
        FILE,
        (PIPELINE, "samples: 0"),
        "must be 1 to 10,000",
    ),
    (
        "source that ends at once",
        [(NUMBERS, "while True:", "for _ in range(0):")],
        RUN,
        (NUMBERS, "def samples(self)"),
        "ended after 0 samples; 1 are asked for",
    ),
    (
        "source that yields nothing",
        [(NUMBERS, "            yield Sample(payload={", "            return Sample(payload={")],
        RUN,
        (NUMBERS, "def samples(self)"),
        "the source raised in samples(): TypeError",
    ),
    (
        "source that yields no samples",
        [(NUMBERS, 'yield Sample(payload={"number": number}, truth={"number": number})', 'yield {"number": number}')],
        RUN,
        (NUMBERS, "def samples(self)"),
        "is dict; the source must yield circinus.operator.Sample",
    ),
    (
        "source that knows no such content",
        [(NUMBERS, "        while True:", '        {"few": 1}[self.content]\n        while True:')],
        RUN,
        (NUMBERS, '{"few": 1}'),
        "content 'many': the source raised in item 0 of sample 0: KeyError: 'many'",
    ),
    # A huge item.
    (
        "huge item of the source",
        [(NUMBERS, 'payload={"number"', 'payload={"image": bytes(5_000_000), "number"')],
        RUN,
        (NUMBERS, "def samples(self)"),
        "has 5,000,037 bytes; an item's limit is 4,128,768: make it smaller",
    ),
    (
        "huge item of an operator",
        [(STEPS, '"number": number * self', '"image": bytes(34_000_000), "number": number * self')],
        RUN,
        (STEPS, "def process(self, inputs):  # scale"),
        "the limit is 33,554,432: encode or scale its output",
    ),
    # Code that ends its process, or doesn't come back.
    (
        "operator that kills its process",
        [(STEPS, "        self.total += number", "        __import__('os').kill(__import__('os').getpid(), 9)")],
        RUN,
        (STEPS, "def process(self, inputs):  # total"),
        "operator total ended the process (signal 9)",
    ),
    (
        "operator that calls sys.exit()",
        [(STEPS, "        self.total += number", "        raise SystemExit(4)")],
        RUN,
        (STEPS, "SystemExit(4)"),
        "operator total raised SystemExit: 4",
    ),
    (
        "scorer that kills its process",
        [(SCORE, "return float(", "return __import__('os')._exit(5) or float(")],
        RUN,
        (SCORE, "def score(self"),
        "the scorer ended the process (exit status 5)",
    ),
    (
        "source that kills its process",
        [(NUMBERS, "while True:", "while not __import__('os').abort():")],
        RUN,
        (PIPELINE, "source: numbers_toy"),
        "the source's process died (signal 6)",
    ),
    (
        "operator that hangs",
        [
            (PIPELINE, "    state: per_source", "    state: per_source\n    hang_ms: 1"),
            (STEPS, "        self.total += number", "        __import__('time').sleep(600)"),
        ],
        RUN,
        (STEPS, "def process(self, inputs):  # total"),
        "hangs: no output after 5.002 s",
    ),
    (
        "operator whose setup hangs",
        [
            (PIPELINE, "    state: per_source", "    state: per_source\n    hang_ms: 1"),
            (STEPS, "        self.reset()\n", "        __import__('time').sleep(600)\n        self.reset()\n"),
        ],
        RUN,
        (STEPS, "def process(self, inputs):  # total"),
        "setup() hangs: no output after 5.002 s",
    ),
]


def checked(capsys, folder, *flags):
    code = main(["pipeline", "check", str(folder), *flags])
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, out, err


@pytest.mark.parametrize(("edits", "code", "place", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_is_wrong_is_said_once_with_its_place(tmp_path, capsys, edits, code, place, message):
    folder = write_toy(tmp_path / "toy", *edits)
    where = f"{folder / place[0]}:{line_of(*place, edits)}"
    found_code, out, err = checked(capsys, folder, "-o", "json")
    error = json.loads(out)["error"]
    assert (found_code, error["exit_code"]) == (code, code), err
    (violation,) = error["violations"]
    assert violation.get("field", f"{violation.get('file')}:{violation.get('line')}") == where, violation
    assert message in violation["message"]
    # People read the same, in one line, behind the steps that led there.
    (said,) = [line for line in err.splitlines() if not line.endswith(" ...")]
    assert said == f"circinus: {where}: {violation['message']}"
    assert error["message"] == f"{where}: {violation['message']}"


def test_without_json_nothing_stands_on_standard_output(tmp_path, capsys):
    folder = write_toy(tmp_path / "toy", (PIPELINE, "by: [1, 2]", "by: 1"))
    code, out, err = checked(capsys, folder)
    assert (code, out) == (2, "")
    assert "pipeline.yaml:9" in err


def test_all_that_is_wrong_with_the_files_is_said_at_once(tmp_path, capsys):
    folder = write_toy(
        tmp_path / "toy",
        (PIPELINE, "by: [1, 2]", "by: 1"),
        (PIPELINE, "1, samples: 3", "1, samples: 0"),
    )
    code, out, _ = checked(capsys, folder, "-o", "json")
    assert code == 2
    assert [one["line"] for one in json.loads(out)["error"]["violations"]] == [9, 18]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "no such file"),
        (lambda folder: (write_toy(folder) / "model.bin").write_bytes(bytes(70_000_000)), "the bundle is over 64 MiB"),
        (lambda folder: (write_toy(folder) / PIPELINE).write_bytes(b"pipeline: \xfc"), "can't be read as UTF-8"),
    ],
    ids=["no folder", "huge file", "no UTF-8"],
)
def test_folders_that_are_none_are_bad_files(tmp_path, capsys, make, message):
    make(tmp_path / "toy")
    code, out, err = checked(capsys, tmp_path / "toy", "-o", "json")
    assert (code, json.loads(out)["error"]["exit_code"]) == (2, 2)
    assert message in err
    assert str(tmp_path / "toy") in err


def test_a_source_that_hangs_is_a_time_out(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(check_module, "SAMPLES_TIMEOUT_S", 1.5)
    folder = write_toy(tmp_path / "toy", (NUMBERS, "while True:", "while not __import__('time').sleep(600):"))
    code, out, err = checked(capsys, folder, "-o", "json")
    assert (code, json.loads(out)["error"]["kind"]) == (6, "TimedOut")
    assert f"{folder / PIPELINE}:2: content" in err


@pytest.mark.parametrize("text", ["", "pipeline", "- 1", "pipeline: [", "\t", "a: &x 1\nb: *x\n"])
def test_texts_that_are_no_pipeline_are_bad_files(tmp_path, capsys, text):
    folder = write_toy(tmp_path / "toy")
    (folder / PIPELINE).write_text(text)
    code, out, err = checked(capsys, folder, "-o", "json")
    assert code == 2
    assert json.loads(out)["error"]["violations"]
    assert f"{folder / PIPELINE}" in err


def test_a_good_folder_has_nothing_wrong(tmp_path, capsys):
    code, out, _ = checked(capsys, write_toy(tmp_path / "toy"), "-o", "json")
    report = json.loads(out)
    assert (code, report["pipeline_id"], report["configurations"]) == (0, "sums", 4)
    assert [entry["operator_id"] for entry in report["operators"]] == ["scale", "total"]
    assert {entry["content"] for entry in report["contents"]} == {"few", "many"}
