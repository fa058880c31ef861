"""`circinus pipeline check` runs what is declared `each` part by part, and says where that gives something else."""

import numpy as np
import pytest

from circinus.cli.main import main
from circinus.operator import Operator, OperatorContext
from circinus.payload import encode
from edge_agent.local.check_parts import parts_differ

PIPELINE = """
pipeline: parted
environment: {python: [numpy]}
source: code:Rows
scorer: code:All
operators:
  - {id: cut, class: "code:Cut", inputs: [source], fan_out: rows}
  - {id: look, class: "code:Look", inputs: [cut], each: true}
outputs: [look]
contents:
  few: {seed: 1, samples: 2}
"""
CODE = """
import numpy as np
from circinus.operator import Operator, Sample, Scorer, Source

class Rows(Source):
    def samples(self):
        while True:
            yield Sample(payload={"rows": np.arange(12.0).reshape(4, 3)})

class Cut(Operator):
    def process(self, inputs):
        return {"rows": inputs["source"]["rows"] + 1.0}

class Look(Operator):
    def process(self, inputs):
        rows = inputs["cut"]["rows"]
        return {"sums": rows.sum(axis=1)}

class All(Scorer):
    def score(self, outputs, truth):
        return float(len(outputs["look"]["sums"]) == 4)
"""


class Centred(Operator):
    """Looks at its neighbours."""

    def process(self, inputs):
        rows = inputs["cut"]["rows"]
        return {"rows": rows - rows.mean(axis=0)}


class Squares(Operator):
    """Looks at nothing but the part."""

    def process(self, inputs):
        return {"rows": inputs["cut"]["rows"] ** 2, "unit": "m"}


class Counts(Operator):
    """Counts, which no joining can do."""

    def process(self, inputs):
        return {"count": len(inputs["cut"]["rows"])}


@pytest.mark.parametrize(
    ("kind", "said"),
    [(Squares, ""), (Centred, "field 'rows' has other numbers"), (Counts, "field 'count' has another value")],
)
def test_what_looks_beyond_its_part_is_found(kind, said):
    operator = kind({}, OperatorContext())
    rows = {"rows": np.arange(8.0).reshape(4, 2)}
    whole = encode(operator.process({"cut": rows}))
    assert parts_differ(operator, "cut", encode(rows), "rows", whole) == said


@pytest.mark.slow
@pytest.mark.system
def test_a_folder_with_parts_is_checked_part_by_part(tmp_path, capsys):
    (tmp_path / "pipeline.yaml").write_text(PIPELINE)
    (tmp_path / "code.py").write_text(CODE)
    assert main(["pipeline", "check", str(tmp_path)]) == 0, capsys.readouterr()
    (tmp_path / "code.py").write_text(CODE.replace("rows.sum(axis=1)", "rows.sum(axis=1) - rows.sum()"))
    assert main(["pipeline", "check", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert "part by part, doesn't give what it gives for all parts" in said.out + said.err
