"""The child that asks a pipeline's scorer for the metrics of whole contents, from tallies added up.

Started as ``python -m edge_agent.local.corpus_process REQUEST.json ANSWER.json``.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

from edge_agent.harness import load
from edge_agent.isolation.kernel import die_with_parent


def main() -> int:
    """Does what the file that the command line names asks for."""
    die_with_parent()
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.path.insert(0, request["bundle"])
    scorer = load(request["scorer"])()
    corpus = {
        content: [
            {str(name): float(value) for name, value in scorer.corpus(tally).items() if math.isfinite(value)}
            for tally in tallies
        ]
        for content, tallies in request["totals"].items()
    }
    answer = {"metric": str(scorer.metric), "corpus": corpus}
    Path(sys.argv[2]).write_text(json.dumps(answer), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
