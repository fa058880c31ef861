import sys
from pathlib import Path

# The scripted planning and the small pipeline are the planner's own tests'.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "planner"))
