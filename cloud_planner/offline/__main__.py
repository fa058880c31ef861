"""``python -m cloud_planner.offline FOLDER``."""

from __future__ import annotations

import sys

from cloud_planner.offline.command import main

sys.exit(main(sys.argv[1:]))
