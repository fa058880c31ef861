"""The rivals by name, each with its settings from cheap to thorough. PURE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cloud_planner.baselines import (
    compass_v,
    exhaustive,
    fixed,
    ipa,
    jellybean,
    oracle,
    random_search,
    videostorm,
    vulcan,
)
from cloud_planner.baselines.task import Planner

#: ``best static`` is not among them: it has to be told its configuration (fixed.best_static).
RIVALS: Final[tuple[tuple[str, Callable[[], tuple[Planner, ...]]], ...]] = (
    ("exhaustive", exhaustive.settings),
    ("exhaustive reinforced", exhaustive.reinforced_settings),
    ("random", random_search.settings),
    ("random reinforced", random_search.reinforced_settings),
    ("vulcan", vulcan.settings),
    ("vulcan reinforced", vulcan.reinforced_settings),
    ("jellybean", jellybean.settings),
    ("jellybean reinforced", jellybean.reinforced_settings),
    ("videostorm", videostorm.settings),
    ("videostorm reinforced", videostorm.reinforced_settings),
    ("ipa", ipa.settings),
    ("ipa reinforced", ipa.reinforced_settings),
    ("compass-v", compass_v.settings),
    ("compass-v reinforced", compass_v.reinforced_settings),
    ("all edge", fixed.edge_settings),
    ("all cloud", fixed.cloud_settings),
    ("oracle", oracle.settings),
)
