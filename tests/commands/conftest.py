import sys
from pathlib import Path

# The scripted agents and the boxes with keys are the planner's own tests'.
for _folder in ("planner", "identity_planner"):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / _folder))
